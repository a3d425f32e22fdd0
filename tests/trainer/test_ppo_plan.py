"""Which prompts and completions an optimizer step uses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from engine.trainer.ppo_rollout import MicroStep, Plan

PLAN = Plan(prompts=10, size=8, passes=3, step_rows=4, micro_rows=2, seed=5, epoch=lambda: 0)


def steps(plan: Plan) -> list[MicroStep]:
    return [step for (step,) in plan]


def test_an_epoch_has_every_prompt_and_as_many_micro_steps_as_it_says() -> None:
    planned = steps(PLAN)
    assert len(planned) == len(PLAN) == 2 * 3 * 4
    assert set().union(*(step.prompts for step in planned)) == set(range(10))
    first = Counter(place for step in planned if step.rollout == 0 for place in step.prompts)
    assert len(first) == 8


def test_every_pass_uses_each_completion_of_its_rollout_once() -> None:
    planned = steps(PLAN)
    for start in range(0, len(planned), 4):
        pass_ = planned[start : start + 4]
        assert sorted(row for step in pass_ for row in step.rows) == list(range(8))
        assert len({step.rollout for step in pass_}) == 1
    orders = {tuple(row for step in planned[at : at + 4] for row in step.rows) for at in (0, 4, 8)}
    assert len(orders) == 3


def test_the_micro_steps_of_an_optimizer_step_make_up_its_minibatch() -> None:
    planned = steps(PLAN)
    for one, other in zip(planned[::2], planned[1::2], strict=True):
        assert one.minibatch == other.minibatch == one.rows + other.rows


def test_smaller_micro_steps_change_no_minibatch() -> None:
    """What running out of memory does to a job."""
    whole = steps(replace(PLAN, micro_rows=4))
    halves = steps(PLAN)[::2]
    assert [(step.rollout, step.prompts, step.minibatch) for step in whole] == [
        (step.rollout, step.prompts, step.minibatch) for step in halves
    ]


def test_epochs_differ_and_the_same_epoch_comes_again_the_same() -> None:
    later = replace(PLAN, epoch=lambda: 1)
    assert steps(PLAN) == steps(PLAN)
    assert steps(later) == steps(later)
    assert [step.rows for step in steps(later)] != [step.rows for step in steps(PLAN)]
    assert {step.rollout for step in steps(later)} == {2, 3}


def test_fewer_prompts_than_a_rollout_takes_come_more_than_once() -> None:
    planned = steps(replace(PLAN, prompts=3))
    assert sorted(Counter(planned[0].prompts).values()) == [2, 3, 3]
