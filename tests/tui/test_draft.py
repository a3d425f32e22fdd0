"""Spec → fields → spec: what was not touched is as it was, and what is shown is what is launched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.job.spec import JobSpec, template_values, templates
from tui.draft import FIELDS, PLACES, Draft, as_yaml, columns, file_name, of_run, resolve, told

HERE = "/here"
WORDS = st.text(st.characters(categories=["L", "N"], include_characters="._-"), min_size=1, max_size=20)
CAPS = st.none() | st.floats(1e-6, 1e6)
PODS = st.one_of(
    st.just({}),
    st.builds(
        lambda host, user, port: {"provider": "ssh", "host": host, "user": user, "port": port},
        st.sampled_from(["gpu-1", "10.0.0.7", "fe80::1"]),
        st.none() | st.just("root"),
        st.none() | st.integers(1, 65535),
    ),
    st.just({"provider": "ssh", "hosts": ["a", "root@b:2222"]}),
    st.builds(
        lambda gpu, count: {"provider": "runpod", "rent": {"gpu": gpu, "gpu_count": count}},
        st.lists(st.sampled_from(["A100 SXM", "H100 SXM", "auto"]), min_size=1, max_size=3, unique=True),
        st.integers(1, 16),
    ),
)
SPECS = st.builds(
    lambda template, name, model, path, pod, limits, tags: JobSpec.parse(
        {"template": template, "name": name, "model": {"name": model}, "dataset": {"path": path},
         "pod": pod, "limits": limits, "tags": tags}, "test", base=Path("/data"),
    ),
    st.sampled_from(templates()), WORDS, WORDS, WORDS, PODS,
    st.fixed_dictionaries(
        {"max_hours": CAPS, "max_cost_usd": CAPS, "stall_minutes": CAPS, "retrieve_minutes": st.floats(0, 9)}
    ),
    st.lists(WORDS, max_size=3),
)  # fmt: skip


def draft_of(spec: JobSpec) -> Draft:
    return of_run(spec.name, spec.to_json(), HERE)


@settings(deadline=None, max_examples=40)
@given(SPECS)
def test_an_untouched_draft_is_its_spec(spec: JobSpec) -> None:
    found = resolve(draft_of(spec))
    if spec.pod.provider == "runpod" and spec.limits.max_hours is None and spec.limits.max_cost_usd is None:
        assert set(found.mistakes) == {"max_hours"}
    else:
        assert not found.mistakes and not found.others
    assert found.spec == spec


@settings(deadline=None, max_examples=40)
@given(SPECS, st.sampled_from(FIELDS), st.text(max_size=12))
def test_a_touch_taken_back_is_no_touch(spec: JobSpec, field: str, text: str) -> None:
    draft = draft_of(spec)
    touched = draft.put(field, text)
    assert touched.text(field) == text
    assert touched.put(field, draft.text(field)) == draft


@settings(deadline=None, max_examples=40)
@given(SPECS, SPECS)
def test_all_fields_of_a_run_can_be_typed(typed: JobSpec, base: JobSpec) -> None:
    """Whatever a run has in its fields makes the same there when it is typed over another run."""
    draft, wanted = draft_of(base), draft_of(typed)
    for name in FIELDS:
        draft = draft.put(name, wanted.text(name))
    found = resolve(draft)
    assert found.spec is not None
    for name in PLACES:
        assert told(found.spec.to_json(), name) == wanted.text(name)
    assert told(found.spec.to_json(), "place") == wanted.text("place")
    assert found.spec.training == base.training


@settings(deadline=None, max_examples=40)
@given(SPECS)
def test_the_file_is_the_spec(spec: JobSpec) -> None:
    assert JobSpec.parse(yaml.safe_load(as_yaml(spec)), "file") == spec


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=30)))
def test_whatever_is_typed_is_a_spec_or_told_at_its_field(texts: dict[str, str]) -> None:
    draft = Draft("sft_standard", {"name": "a", **template_values("sft_standard")}, HERE, here=HERE)
    for name, text in texts.items():
        draft = draft.put(name, text)
    found = resolve(draft)
    if found.spec is None:
        assert found.mistakes or found.others
    else:
        assert not found.others and set(found.mistakes) <= {"max_hours"}
    assert set(found.mistakes) <= set(FIELDS)
    assert all(found.mistakes.values())


GOOD: dict[str, Any] = {"name": "a", "model": {"name": "m"}, "dataset": {"path": "d.jsonl"}}


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("name", "", "at least 1 character"),
        ("max_hours", "five", "valid number"),
        ("max_cost", "-1", "greater than 0"),
        ("retrieve", "-1", "greater than or equal to 0"),
        ("place", "ssh://a b", "is no SSH address"),
        ("more", "training.epochs", "is not key=value"),
        ("more", 'a="', "quotation"),
        ("data", "", "at least 1 character"),
        ("nodes", "65", "less than or equal to 64"),
    ],
)
def test_a_mistake_stands_at_its_field(field: str, text: str, words: str) -> None:
    rented = {"pod": {"provider": "runpod"}, "limits": {"max_hours": 1}} if field == "nodes" else {}
    found = resolve(Draft("x", {**GOOD, **rented}, HERE, here=HERE).put(field, text))
    assert found.spec is None
    assert list(found.mistakes) == [field] and words in found.mistakes[field]
    assert not found.mistakes[field].startswith(("limits.", "dataset."))


def test_a_mistake_without_a_field_is_told_too() -> None:
    found = resolve(Draft("x", GOOD, HERE, here=HERE).put("more", "training.epoch=2"))
    assert found.others == ("unknown key training.epoch (did you mean epochs?)",)


def test_typed_paths_start_from_here_and_those_of_the_file_from_its_folder() -> None:
    draft = Draft("x", GOOD, "/data", here=HERE)
    found = resolve(draft).spec
    assert found is not None and found.dataset.path == "/data/d.jsonl"
    moved = resolve(draft.put("data", "other.jsonl")).spec
    assert moved is not None and moved.dataset.path == "/here/other.jsonl"


def test_another_machine_keeps_nothing_of_the_old_one() -> None:
    pod = {"provider": "ssh", "host": "a", "key": "/k", "python": "/venv/bin/python", "cost_per_hour": 2}
    draft = Draft("x", {**GOOD, "pod": pod, "distributed": {"nodes": 1}}, HERE, here=HERE)
    here = resolve(draft.put("place", "local")).spec
    assert here is not None and here.pod == type(here.pod)()
    rented = resolve(draft.put("place", "runpod").put("gpu", "L4, A10").put("max_cost", "3")).spec
    assert rented is not None and rented.pod.rent is not None
    assert (rented.pod.folder, rented.pod.rent.gpu) == ("/workspace/podium", ("L4", "A10"))
    two = resolve(draft.put("place", "a, root@b:22")).spec
    assert two is not None and (two.pod.hosts, two.distributed.nodes) == (("a", "root@b:22"), 2)
    again = resolve(draft_of(two).put("place", "ssh://c")).spec
    assert again is not None and (again.pod.host, again.distributed.nodes) == ("c", 1)
    assert draft.put("place", "a, root@b:22").text("nodes") == "2"  # as many as there are hosts
    many = draft.put("nodes", "4").put("place", "runpod").put("max_cost", "3")
    cluster = resolve(many).spec
    assert cluster is not None and cluster.distributed.nodes == 4
    alone = resolve(many.put("place", "local")).spec
    assert alone is not None and alone.distributed.nodes == 1


def test_a_script_has_no_model_and_no_data_of_ours() -> None:
    base = {"name": "s", "method": "script", "script": {"command": ["true"]}}
    draft = Draft("x", base, HERE, here=HERE).put("model", "m").put("data", "d").put("max_hours", "1")
    found = resolve(draft)
    assert found.spec is not None and found.spec.limits.max_hours == 1
    assert resolve(of_run("s", found.spec.to_json(), HERE)).spec == found.spec


def test_what_was_typed_is_kept_on_another_base() -> None:
    draft = Draft("x", GOOD, HERE, here=HERE).put("name", "mine").put("max_hours", "2")
    moved = draft.on(Draft("y", {**GOOD, "limits": {"max_hours": 2}}, "/b", here=HERE))
    assert dict(moved.touched) == {"name": "mine"}
    assert (moved.source, moved.text("max_hours")) == ("y", "2")


def test_rows_are_shown_by_who_speaks() -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"content": 3}], "n": 1, "x": None, "t": "b"}
    assert list(columns(row)) == [("user", "a"), ("messages", "3"), ("n", "1"), ("t", "b")]


@pytest.mark.parametrize(("name", "file"), [("a b/c", "a-b-c.yaml"), ("…", "job.yaml"), ("x.1", "x.1.yaml")])
def test_a_file_is_named_after_its_job(name: str, file: str) -> None:
    assert file_name(name) == file
