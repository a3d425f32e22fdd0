"""Archive, restore, delete and undo in any order lose nothing and bring nothing back that was not there."""

from __future__ import annotations

from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.job.events import Status
from engine.store.base import Action
from engine.store.sqlite import SQLiteStore
from tests.store.test_delivery import empty_store
from tests.store.wire import a_job

JOBS = [f"job-{at}" for at in range(4)]
Hidden = dict[str, tuple[bool, bool]]

steps = st.one_of(
    st.just(None),
    st.tuples(st.sampled_from(get_args(Action)), st.lists(st.sampled_from(JOBS), max_size=4)),
)


def hidden(store: SQLiteStore) -> Hidden:
    """Which jobs are archived, which deleted."""
    return {job.id: (job.archived, job.deleted) for job in store.jobs(archived=True, deleted=True)}


def after(action: str, before: tuple[bool, bool]) -> tuple[bool, bool]:
    archived, deleted = before
    return {"archive": (True, deleted), "delete": (archived, True), "restore": (False, False)}[action]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=12))
def test_any_sequence_of_actions_and_undos_agrees_with_a_list_of_states(
    sequence: list[tuple[Action, list[str]] | None],
) -> None:
    with empty_store() as store:
        for job_id in JOBS:
            store.add(a_job(job_id, status=Status.COMPLETED))
        states: list[Hidden] = [hidden(store)]
        for step in sequence:
            if step is None:
                done = store.undo()
                assert (done is None) == (len(states) == 1)
                if done is not None:
                    states.pop()
            else:
                wanted = {**states[-1], **{job_id: after(step[0], states[-1][job_id]) for job_id in step[1]}}
                done = store.act(*step)
                assert set(done.job_ids) == {
                    job_id for job_id in JOBS if wanted[job_id] != states[-1][job_id]
                }
                if done.job_ids:
                    states.append(wanted)
            assert hidden(store) == states[-1]
