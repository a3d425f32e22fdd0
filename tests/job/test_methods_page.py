"""docs/METHODS.md is right about every method: its formats, templates, formulas, rewards and example rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from engine.job import dataset, formats
from engine.job.rewarding import RewardName, RlhfSpec
from engine.job.spec import Method, templates

TEXT = (Path(__file__).parents[2] / "docs" / "METHODS.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
METHODS = get_args(Method)


def test_every_method_has_a_row_and_a_section() -> None:
    assert tuple(SECTIONS) == METHODS
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| `(\w+_standard)` \|[^|]*\| ([^|]*) \|", TEXT, re.MULTILINE)
    assert [row[0] for row in rows] == list(METHODS)
    assert sorted(row[1] for row in rows) == templates()
    assert {row[0]: tuple(row[2].split(", ")) for row in rows} == formats.FORMATS


@pytest.mark.parametrize("method", METHODS)
def test_the_rows_it_shows_are_fit(method: str, tmp_path: Path) -> None:
    shown = re.findall(r"```jsonl\n(.*?)```", SECTIONS[method], re.DOTALL)
    found = set()
    for row in shown:
        file = tmp_path / "data.jsonl"
        file.write_text(row, encoding="utf-8")
        found.add(dataset.read(file, method=method).format)
    assert found == set(formats.FORMATS[method])


def test_every_reward_and_setting_of_rlhf_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", SECTIONS["rlhf"]))
    assert named >= set(get_args(RewardName))
    assert named | {"rewards", "reward_model"} >= set(RlhfSpec.model_fields) - {
        "algorithm",
        "reward_model_weight",
    }
