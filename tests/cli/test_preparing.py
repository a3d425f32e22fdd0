"""What is checked before anything starts: templates, data files, job files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.recorded import told
from tests.conftest import Podium
from tests.warm import Nursery

ROWS = [{"prompt": f"What is {number}?", "completion": f"A number, {number}."} for number in range(20)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.jsonl"
    rows = [json.dumps(row) for row in ROWS]
    rows[6] = '{"prompt": "What is 6?", "completion": '
    path.write_text("\n".join(rows) + "\n")
    return path


def one_line(stderr: str) -> str:
    (line,) = stderr.splitlines()
    return line


def test_every_template_is_listed_shown_and_sound(podium: Podium) -> None:
    names = [template["name"] for template in told(podium("templates", "list", "--json").stdout)["templates"]]
    assert "sft_standard" in names
    for name in names:
        shown = yaml.safe_load(podium("templates", "show", name).stdout)
        assert shown["method"]
        assert told(podium("templates", "show", name, "--json").stdout)["template"] == {"name": name, **shown}
    verified = podium("templates", "verify", "--json")
    assert verified.returncode == 0
    assert [template["ok"] for template in told(verified.stdout)["templates"]] == [True] * len(names)


def test_an_unknown_template_is_bad_input_that_names_the_nearest(podium: Podium) -> None:
    result = podium("templates", "show", "sft_standart")
    assert result.returncode == 2
    assert "sft_standard" in one_line(result.stderr)


def test_sound_data_is_described(podium: Podium, data: Path) -> None:
    found = told(podium("validate", data, "--json").stdout)["dataset"]
    assert found["rows"] == 20
    assert found["format"] == "prompt_completion"
    assert "20 rows" in podium("validate", data).stdout


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("file", "method", "format"),
    [
        ("capitals", "sft", "messages"),
        ("capitals-text", "cpt", "text"),
        ("capitals-pairs", "dpo", "preference"),
        ("capitals-pairs", "orpo", "preference"),
        ("capitals-prompts", "rlhf", "prompt"),
    ],
)
def test_data_of_every_method_is_described(podium: Podium, file: str, method: str, format: str) -> None:
    result = podium("validate", EXAMPLES / f"{file}.jsonl", "--method", method, "--json")
    found = told(result.stdout)["dataset"]
    assert (found["format"], found["warnings"]) == (format, [])
    other = "cpt" if method != "cpt" else "dpo"
    refused = podium("validate", EXAMPLES / f"{file}.jsonl", "--method", other)
    assert refused.returncode == 2
    assert "Rows need" in one_line(refused.stderr)


def test_a_pair_that_is_none_is_named_by_its_row(podium: Podium, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b", "rejected": "b"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = podium("validate", path, "--method", "dpo")
    assert result.returncode == 2
    assert "row 2: 'chosen' and 'rejected' are the same" in one_line(result.stderr)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_would_launch(podium: Podium, path: Path, home: Path) -> None:
    shown = yaml.safe_load(podium("launch", path, "--dry-run").stdout)
    assert shown["name"].startswith("capitals")
    assert not home.exists()


def test_a_broken_row_is_named_by_its_number(podium: Podium, broken: Path, home: Path) -> None:
    result = podium("validate", broken)
    assert result.returncode == 2
    assert "row 7" in one_line(result.stderr)
    assert not home.exists()


def test_an_unknown_method_is_refused(podium: Podium, data: Path) -> None:
    result = podium("validate", data, "--method", "magic")
    assert result.returncode == 2
    assert "magic" in one_line(result.stderr)


def test_a_dry_run_shows_the_resolved_job_and_launches_nothing(
    podium: Podium, data: Path, home: Path
) -> None:
    change = ["--set", f"dataset.path={data}", "--set", "training.epochs=0.5", "--set", "quantization=null"]
    shown = yaml.safe_load(podium("launch", "sft_standard", "--dry-run", *change).stdout)
    assert shown["training"]["epochs"] == 0.5
    assert shown["quantization"] is None
    assert shown["name"] == "sft_standard"
    assert not home.exists()


def test_a_dry_run_warns_of_suspicious_rows(podium: Podium, data: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "eval.jsonl"
    held_out.write_text("".join(json.dumps(row) + "\n" for row in [ROWS[3], ROWS[3]]))
    change = ["--set", f"dataset.path={data}", "--set", f"dataset.eval_path={held_out}"]
    warned = told(podium("launch", "sft_standard", "--dry-run", *change, "--json").stdout)["warnings"]
    assert len(warned) == 2
    assert "eval.jsonl: 1 row repeats an earlier one (row 2 repeats row 1)" in warned[0]
    assert "1 row also stands in the eval data eval.jsonl" in warned[1] and "row 4 is its row 1" in warned[1]
    assert f"# Data: {warned[1]}" in podium("launch", "sft_standard", "--dry-run", *change).stdout


def test_a_job_file_is_read_with_changes_on_top(podium: Podium, data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("template: sft_standard\nname: mine\ndataset: {path: data.jsonl}\ntraining: {seed: 1}\n")
    shown = told(podium("launch", spec, "--dry-run", "--set", "training.epochs=2", "--json").stdout)
    assert shown["rows"] == 20
    assert shown["spec"]["dataset"]["path"] == str(data)
    assert (shown["spec"]["training"]["seed"], shown["spec"]["training"]["epochs"]) == (1, 2)


def test_all_mistakes_of_a_job_file_are_one_line(podium: Podium, tmp_path: Path, home: Path) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text(
        "name: mine\nmodel: {name: m}\nmethod: magic\ndataset: {path: x.jsonl}\n"
        "training: {lerning_rate: 1, epochs: -1}\n"
    )
    result = podium("launch", spec)
    assert result.returncode == 2
    line = one_line(result.stderr)
    assert "3 mistakes" in line
    for place in ("lerning_rate (did you mean learning_rate?)", "training.epochs", "method"):
        assert place in line
    assert not home.exists()


def test_a_launch_on_broken_data_writes_nothing(podium: Podium, broken: Path, home: Path) -> None:
    result = podium("launch", "sft_standard", "--set", f"dataset.path={broken}")
    assert result.returncode == 2
    assert "row 7" in one_line(result.stderr)
    assert not home.exists()


@pytest.mark.parametrize("change", ["training.epochs", "=1", "training..epochs=1", "training.epochs={"])
def test_a_change_that_is_none_is_refused(podium: Podium, change: str) -> None:
    result = podium("launch", "sft_standard", "--set", change)
    assert result.returncode == 2
    assert change in one_line(result.stderr)


@pytest.mark.parametrize("name", ["sft_standart", "nowhere/job.yaml"])
def test_neither_a_file_nor_a_template_is_bad_input(podium: Podium, name: str) -> None:
    result = podium("launch", name)
    assert result.returncode == 2
    assert name in one_line(result.stderr)


def test_a_dry_run_tells_what_the_job_will_take(podium: Podium, data: Path) -> None:
    change = ("--set", f"dataset.path={data}", "--set", "pod.cost_per_hour=2", "--gpu", "NVIDIA H100 80GB")
    found = told(podium("launch", "sft_standard", "--dry-run", *change, "--json").stdout)["estimate"]
    assert 3e9 < found["memory_bytes"] < 40e9
    assert found["gpu"] == "H100"
    assert found["dollars"] == pytest.approx(found["seconds"] / 1800)
    shown = podium("launch", "sft_standard", "--dry-run", *change).stdout
    assert "# GPU memory: about" in shown
    assert "# Time: under a minute" in shown and "# Cost: under $0.01" in shown


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine.job import dataset
    from engine.job.sections import BuildSpec
    from engine.trainer.build import build

    rows = dataset.read(EXAMPLES / "capitals.jsonl").rows
    place = tmp_path_factory.mktemp("model") / "model"
    build(BuildSpec(vocab_size=400, hidden_size=16, layers=1, heads=2), rows, 0, place)
    return place


def parts(sample: dict[str, Any]) -> tuple[str, str]:
    """What a sample shows: what is given and what is learnt."""
    texts = ["".join(run["text"] for run in sample["runs"] if run["trained"] is it) for it in (False, True)]
    return texts[0], texts[1]


@pytest.mark.training
@pytest.mark.parametrize(
    ("method", "data", "expected"),
    [
        ("sft", "capitals", [("text", "Argentina?", "Buenos Aires")]),
        ("cpt", "capitals-text", [("text", "", "Buenos Aires")]),
        ("dpo", "capitals-pairs", [("chosen", "Argentina?", "Buenos"), ("rejected", "Argentina?", "Why do")]),
        # The likelihood of the chosen answer is that of its prompt, too.
        ("orpo", "capitals-pairs", [("chosen", "", "Argentina?"), ("rejected", "Argentina?", "Why do")]),
        ("rlhf", "capitals-prompts", [("prompt", "Argentina?", "")]),
    ],
)
def test_rows_of_every_method_are_shown_with_what_is_learnt_marked(
    method: str, data: str, expected: list[tuple[str, str, str]], podium: Podium, model: Path, warm: Nursery
) -> None:
    path = EXAMPLES / f"{data}.jsonl"
    asked = ("validate", path, "--method", method, "--model", model, "--json")
    found = told(podium(*asked, env=warm.environment).stdout)["dataset"]
    assert [sample["row"] for sample in found["samples"]] == sorted([1, 2, 3] * len(expected))
    assert found["too_long"] is None
    for sample, (part, given, learnt) in zip(found["samples"], expected, strict=False):
        assert sample["part"] == part
        seen = parts(sample)
        assert given in seen[0] and learnt in seen[1] and bool(given) == bool(seen[0])
        assert bool(learnt) == bool(seen[1])


@pytest.mark.training
def test_a_preview_names_what_is_too_long_and_what_is_also_in_the_eval_data(
    podium: Podium, model: Path, tmp_path: Path, warm: Nursery
) -> None:
    rows = [*ROWS[:6], {"prompt": "Count to 99.", "completion": " ".join(map(str, range(99)))}, ROWS[5]]
    train, held_out = tmp_path / "train.jsonl", tmp_path / "eval.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out.write_text("".join(json.dumps(row) + "\n" for row in ROWS[4:9]))
    asked = ("validate", train, "--eval", held_out, "--model", model, "--max-length", "64")
    shown = podium(*asked, env=warm.environment).stdout
    assert "1 row repeats an earlier one (row 8 repeats row 6)" in shown
    assert "3 rows also stand in the eval data eval.jsonl" in shown and "row 5 is its row 1" in shown
    assert "1 row is longer than the 64 tokens" in shown and "(row 7, " in shown
    assert "row 1: " in shown and "▶A number, 0." in shown
    everything = podium("validate", train, "--eval", train)
    assert everything.returncode == 2
    assert "holds every training row" in one_line(everything.stderr)
    unmarked = podium("validate", train, "--max-length", "64")
    assert unmarked.returncode == 2


@pytest.mark.training
def test_a_preview_without_a_usable_tokenizer_or_room_is_refused_in_one_line(
    podium: Podium, data: Path, model: Path, tmp_path: Path, warm: Nursery
) -> None:
    asked = ("validate", data, "--model", model, "--max-length", "8")
    none_fits = podium(*asked, env=warm.environment)
    assert none_fits.returncode == 2
    assert "of 20 rows none fits: 20 rows are longer than the 8 tokens" in one_line(none_fits.stderr)
    refused = podium("validate", data, "--model", tmp_path / "nothing", env=warm.environment)
    assert refused.returncode == 2
    assert "no such folder" in refused.stderr


@pytest.mark.parametrize("key", ["model.name", "rlhf.reward_model"])
def test_a_model_folder_of_this_machine_is_refused_for_another_one(
    key: str, podium: Podium, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "mine").mkdir()
    data = EXAMPLES / "capitals-prompts.jsonl"
    change = ["--set", f"dataset.path={data}", "--set", f"{key}={tmp_path / 'mine'}"]
    refused = podium("launch", "rlhf_standard", *change, "--on", "ssh://me@gpu.example:22")
    assert refused.returncode == 2
    line = one_line(refused.stderr)
    assert f"{key}: {tmp_path / 'mine'} is a folder on this machine" in line and "gpu.example" in line
    assert not home.exists()
    assert podium("launch", "rlhf_standard", *change, "--on", "local", "--dry-run").returncode == 0
