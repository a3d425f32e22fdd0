"""`python -m engine.trainer.publish FOLDER CHECKPOINT REPO [--public]`: a checkpoint to the Hub, merged.

An adapter is merged into its base first, and the merged model compared with it; a job that merged its best
checkpoint at its end is not merged again. The job's own files stay as they are. The last line of the output
is JSON: `url`, `model` and `bytes`, or `error` and `advice`.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from engine.errors import PodiumError, TrainingError
from engine.job import dataset
from engine.job.events import plain
from engine.job.folder import JobFolder, read_json, write_json
from engine.job.spec import JobSpec
from engine.trainer import checkpoints, failures, hub, log, merge
from engine.trainer.card import card, evaluations, started
from engine.trainer.finish import ADAPTER, MADE, MERGED, copy_model, parity_of

PLACE: Final = "deploy"
"""Below the job's folder: what was made to be published."""


def main(arguments: list[str]) -> int:
    """Publish, and say where."""
    public = "--public" in arguments
    named = [argument for argument in arguments if argument != "--public"]
    if len(named) != 3:
        sys.stderr.write("usage: python -m engine.trainer.publish FOLDER CHECKPOINT REPO [--public]\n")
        return 2
    folder, repo = JobFolder(Path(named[0]).absolute()), named[2]
    try:
        model = model_of(folder, Path(named[1]).absolute())
        url = hub.push([model], repo, private=not public)
    except PodiumError as error:
        return _told({"error": error.what, "advice": error.advice}, 1)
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        return _told({"error": failures.first_line(error), "advice": ""}, 1)
    size = sum(path.stat().st_size for path in model.iterdir())
    return _told({"url": url, "model": str(model), "bytes": size}, 0)


def _told(value: dict[str, Any], status: int) -> int:
    sys.stdout.write(json.dumps(value) + "\n")
    return status


def model_of(folder: JobFolder, path: Path) -> Path:
    """A folder with a checkpoint's whole model, its tokenizer and its card; made when there is none yet.

    Raises:
        TrainingError: The checkpoint is none, or can't be merged.
    """
    spec = JobSpec.from_json(folder.spec)
    try:
        checkpoint = checkpoints.read(path)
    except ValueError as error:
        raise TrainingError("checkpoint", f"{path}: {error}", "Pull it again.") from None
    target = folder.path / PLACE / f"step-{checkpoint.step}"
    if read_json(target / MADE).get("checkpoint") == checkpoint.sha256:
        return target
    aside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    parity = _fill(folder, spec, checkpoint, aside)
    text = card(spec, started(folder.events), evaluations(folder.events), checkpoint.step, parity)
    (aside / "README.md").write_text(text, encoding="utf-8")
    write_json(aside / MADE, {"checkpoint": checkpoint.sha256, "step": checkpoint.step})
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return target


def _fill(
    folder: JobFolder, spec: JobSpec, checkpoint: checkpoints.Checkpoint, target: Path
) -> merge.Parity | None:
    """Put the whole model there; how a merged one differs from the adapter."""
    if spec.lora is None:
        copy_model(checkpoint.path, target)
        return None
    made = folder.final
    if read_json(made / MADE).get("checkpoint") == checkpoint.sha256 and (made / MERGED).is_dir():
        copy_model(made / MERGED, target)
        return parity_of(made)
    adapter = target.with_name(f".{target.name}.{ADAPTER}")
    merged = target.with_name(f".{target.name}.{MERGED}")
    try:
        shutil.rmtree(adapter, ignore_errors=True)
        adapter.mkdir()
        copy_model(checkpoint.path, adapter)
        log.line(f"merging checkpoint-{checkpoint.step} into {spec.model.name}")
        rows, format = _rows(folder, spec)
        parity = merge.merge(spec, folder, adapter, merged, rows, format)
        log.line(f"merged: {json.dumps(plain(asdict(parity)))}")
        copy_model(merged, target)
    finally:
        shutil.rmtree(adapter, ignore_errors=True)
        shutil.rmtree(merged, ignore_errors=True)
    return parity


def _rows(folder: JobFolder, spec: JobSpec) -> tuple[list[dataset.Row], str]:
    """Rows to compare on: those that the job was evaluated on."""
    demands: Any = {"method": spec.method, "columns": spec.columns}
    given = dataset.read(folder.dataset, spec.dataset.format, limit=spec.dataset.max_samples, **demands)
    if folder.eval_dataset.exists():
        return dataset.read(folder.eval_dataset, given.format, **demands).rows, given.format
    return dataset.split(given, spec.dataset, spec.training.seed)[1], given.format


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
