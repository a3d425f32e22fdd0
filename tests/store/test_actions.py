"""Archive, restore, delete, names, notes, tags and undo in any order: nothing lost, nothing resurrected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.job.events import Status
from engine.store.base import Action, Done
from engine.store.sqlite import SQLiteStore
from tests.store.test_delivery import empty_store
from tests.store.wire import a_job

JOBS = [f"job-{at}" for at in range(4)]
TAGS = ("final", "debug", "x")


@dataclass(frozen=True)
class State:
    """What actions change of a run."""

    archived: bool = False
    deleted: bool = False
    name: str = "first"
    note: str | None = None
    tags: tuple[str, ...] = ()


States = dict[str, State]
Step = tuple[str, Any, list[str]]

chosen = st.lists(st.sampled_from(JOBS), max_size=4)
some_tags = st.lists(st.sampled_from(TAGS), max_size=2, unique=True)
steps = st.one_of(
    st.just(("undo", None, [])),
    st.tuples(st.sampled_from(get_args(Action)), st.none(), chosen),
    st.tuples(st.just("rename"), st.sampled_from(("first", "second")), chosen),
    st.tuples(st.just("note"), st.sampled_from(("", "good", "bad")), chosen),
    st.tuples(st.just("tag"), st.tuples(some_tags, some_tags), chosen),
)


def shown(store: SQLiteStore) -> States:
    """The runs as the store has them."""
    return {
        job.id: State(job.archived, job.deleted, job.name, job.metadata.get("note"), job.tags)
        for job in store.jobs(archived=True, deleted=True)
    }


def after(kind: str, value: Any, before: State) -> State:
    """What a run becomes."""
    match kind:
        case "archive":
            return replace(before, archived=True)
        case "delete":
            return replace(before, deleted=True)
        case "restore":
            return replace(before, archived=False, deleted=False)
        case "rename":
            return replace(before, name=value)
        case "note":
            return replace(before, note=value or None)
    add, drop = value
    kept = [tag for tag in before.tags if tag not in drop]
    return replace(before, tags=tuple(dict.fromkeys([*kept, *add])))


def carried_out(store: SQLiteStore, step: Step) -> Done:
    kind, value, job_ids = step
    match kind:
        case "rename":
            return store.annotate(job_ids, name=value)
        case "note":
            return store.annotate(job_ids, note=value)
        case "tag":
            return store.annotate(job_ids, add=value[0], drop=value[1])
        case "archive" | "restore" | "delete":
            return store.act(kind, job_ids)
    raise AssertionError(kind)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=12))
def test_any_sequence_of_actions_and_undos_agrees_with_a_list_of_states(sequence: list[Step]) -> None:
    with empty_store() as store:
        for job_id in JOBS:
            store.add(a_job(job_id, name="first", status=Status.COMPLETED, metadata={"rows": 7}))
        states: list[States] = [shown(store)]
        for step in sequence:
            if step[0] == "undo":
                done = store.undo()
                assert (done is None) == (len(states) == 1)
                if done is not None:
                    states.pop()
            else:
                wanted = {**states[-1], **{each: after(*step[:2], states[-1][each]) for each in step[2]}}
                done = carried_out(store, step)
                assert set(done.job_ids) == {each for each in JOBS if wanted[each] != states[-1][each]}
                if done.job_ids:
                    assert done.action == step[0]
                    states.append(wanted)
            assert shown(store) == states[-1]
        assert all(job.metadata["rows"] == 7 for job in store.jobs(archived=True, deleted=True))
