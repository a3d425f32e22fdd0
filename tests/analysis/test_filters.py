"""The filter language of the run list."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.filter_fields import FIELDS, NUMBERS
from engine.analysis.filters import Filter, completions
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Job
from tests.analysis.made import NAN, START, a_run, with_config

JOBS = [
    a_run(1, 0.66, name="support-qwen-01", tags=("final", "Sweep A"), size_bytes=14_200_000_000),
    a_run(
        2, 0.90, name="support-qwen-02", status=Status.FAILED, error_message="Out of memory", cost_total=0.19
    ),
    with_config(
        a_run(3, None, name="llama-03", base_model="meta-llama/Llama-3.2", cost_total=None),
        training={"learning_rate": 5e-4},
    ),
    a_run(4, NAN, name="Ünï \x1b[2J", status=Status.RUNNING, metadata={"note": "debug only", "replay": True}),
    a_run(5, 1.20, name="old", archived_at=START, elapsed_seconds=600.0, gpu_utilization_percent=55.0),
]
NOW = START + timedelta(days=5)


def names(text: str) -> list[int]:
    return [job.number for job in Filter.parse(text, NOW).select(JOBS)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("qwen", [1, 2, 4, 5]),
        ("QWEN-0", [1, 2]),
        ("support 02", [2]),
        ('"Sweep A"', [1]),
        ("ünï", [4]),
        ("job-3", [3]),
        ("name:qwen", [1, 2]),
        ("model:llama", [3]),
        ("model:llama,QWEN name:0", [1, 2, 3]),
        ("status:failed", [2]),
        ("status:run,fail", [2, 4]),
        ("status:c", [1, 3, 5]),
        ("status!=completed", [2, 4]),
        ("tag:final", [1]),
        ("tag:#FINAL", [1]),
        ("tag:fin", []),
        ('tag:"sweep a"', [1]),
        ("error:memory", [2]),
        ("note:debug", [4]),
        ("-note:debug", [1, 2, 3, 5]),
        ("!qwen", [3]),
        ("-status:completed -qwen", []),
        ("is:live", [4]),
        ("is:replay", [4]),
        ("is:archived,live", [4, 5]),
        ("-is:archived", [1, 2, 3, 4]),
        ("loss<0.7", [1]),
        ("loss>=0.66", [1, 2, 5]),
        ("loss!=0.66", [2, 5]),
        ("-loss<0.7", [2, 3, 4, 5]),
        ("loss:0.9", [2]),
        ("loss>0.7 loss<1", [2]),
        ("lr>=3e-4", [3]),
        ("lr=.0002 status:failed", [2]),
        ("cost<$1", [2]),
        ("time>1h", [1, 2, 3, 4]),
        ("time<=10m", [5]),
        ("time=600s", [5]),
        ("size>14GB", [1]),
        ("age<2d", [4, 5]),
        ("age>=3.5d", [1]),
        ("util<80%", [5]),
        ("run>3", [4, 5]),
        ("model:qwen status:failed loss<1 lr>=1e-4 cost<2 -tag:final -note:debug support", [2]),
        ("-", [1, 2, 3, 4, 5]),
    ],
)
def test_a_filter_lets_through_the_runs_that_answer_to_it(text: str, found: list[int]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode:x", "no field 'mode'. Did you mean model?"),
        ("zzzz:x", "Known: age, cost"),
        ("loss<", "loss< needs a value"),
        ('model:""', "model: needs a value"),
        ("loss<abc", "loss needs a number, not 'abc'. For instance loss<0.7."),
        ("time>2", "time needs a unit (s, m, min, h, d, w)"),
        ("size>3x", "size no unit 'x'"),
        ("name<3", "name holds text"),
        ("status:exploded", "no status 'exploded'. Known: queued"),
        ("is:dead", "no run can be 'dead'"),
        ("qwen loss<0.7 cost>", "cost> needs a value"),
    ],
)
def test_what_can_not_be_understood_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(BadInput) as error:
        Filter.parse(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_bad_input(text: str) -> None:
    try:
        chosen = Filter.parse(text)
    except BadInput:
        return
    assert {job.id for job in chosen.select(JOBS)} == {job.id for job in JOBS if chosen.matches(job)}


@given(
    st.sampled_from(FIELDS),
    st.sampled_from([":", "<", "<=", ">", ">=", "=", "!="]),
    st.text("ab12.e-%GBhd,", max_size=5),
)
def test_a_condition_and_its_opposite_share_the_runs_out(field: str, sign: str, value: str) -> None:
    try:
        chosen, opposite = (Filter.parse(f"{turn}{field}{sign}{value}", NOW) for turn in ("", "-"))
    except BadInput:
        return
    assert sorted(job.id for job in (*chosen.select(JOBS), *opposite.select(JOBS))) == [
        job.id for job in JOBS
    ]


@pytest.mark.parametrize("field", sorted(set(FIELDS) - {"name", "id", "status", "is", "age", "run"}))
def test_a_run_that_knows_nothing_of_itself_answers_to_no_condition(field: str) -> None:
    bare = Job(id="x", name="x", status=Status.QUEUED, created_at=START)
    for condition in (":x", "<1e9", "<1e9d", "<1e9GB", "!=5", "!=5d", "!=5GB"):
        try:
            chosen = Filter.parse(f"{field}{condition}")
        except BadInput:
            continue
        assert not chosen.matches(bare) or (field not in NUMBERS and condition.startswith("!="))


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("mod", "model:"),
        ("-st", "-status:"),
        ("status:fa", "status:failed"),
        ("model:meta", "model:meta-llama/Llama-3.2"),
        ("tag:fin", "tag:final"),
        ("tag:sw", 'tag:"Sweep A"'),
        ("is:l", "is:live"),
        ("los", "loss<0.7"),
    ],
)
def test_a_word_being_typed_is_completed(word: str, first: str) -> None:
    assert next(completions(word, JOBS)) == first


def test_completions_parse_and_unknown_beginnings_have_none() -> None:
    assert list(completions("zzz", JOBS)) == []
    assert list(completions("nofield:x", JOBS)) == []
    for word in ("status:", "tag:", "model:", "is:", "method:"):
        for completed in completions(word, JOBS):
            Filter.parse(completed)
