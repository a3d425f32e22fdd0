"""The model card: what was trained, on which data, how, and how it went. The same run gives the same card."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from engine.errors import BadWireLine
from engine.job.events import EventType, decode, number
from engine.job.spec import JobSpec
from engine.trainer.merge import Parity

_BARS: Final = "▁▂▃▄▅▆▇█"
_ROWS: Final = 20
"""Rows of the curve's table; of more evaluations every so manieth is shown, and the best and the last."""

_UNSHOWN: Final = ("name", "limits", "pod", "tags", "finish")
"""Sections that say nothing of the model."""

Evals = Mapping[int, Mapping[str, Any]]


def started(events: Path) -> dict[str, Any]:
    """What the newest `start` event told; empty where there is none."""
    found: dict[str, Any] = {}
    with events.open("rb") as file:
        for line in file:
            if b'"type":"start"' in line:
                with contextlib.suppress(BadWireLine):
                    found = dict(decode(line).data)
    return found


def evaluations(events: Path) -> dict[int, dict[str, Any]]:
    """What each evaluation told, by step; of a step that several attempts reached, the latest."""
    found: dict[int, dict[str, Any]] = {}
    with events.open("rb") as file:
        for line in file:
            # Most lines are no evaluations, and there may be millions.
            if b'"type":"eval"' not in line:
                continue
            try:
                event = decode(line)
            except BadWireLine:
                continue
            if event.type == EventType.EVAL and event.step is not None:
                found[event.step] = dict(event.data)
    return dict(sorted(found.items()))


def card(
    spec: JobSpec,
    start: Mapping[str, Any],
    evals: Evals,
    best_step: int,
    parity: Parity | None,
) -> str:
    """The card as Markdown with YAML before it, as the Hub reads it.

    Args:
        spec: The job as it was asked for.
        start: What the `start` event told: versions, data hash, rows, parameters.
        evals: What each evaluation told, by step.
        best_step: The step of the checkpoint that this model is.
        parity: How the merged model differs from the adapter; None where nothing was merged.
    """
    base = _no_path(spec.model.name)
    head = ["---", "library_name: transformers", f"base_model: {json.dumps(base)}"]
    tags = ["podium", spec.method, *(["lora"] if spec.lora is not None else [])]
    head += [f"tags: {json.dumps(tags)}", "---"]
    return "\n".join(
        [
            *head,
            "",
            f"# {_plain(spec.name)}",
            "",
            f"{base}, trained with {spec.method.upper()}" + (" (LoRA)." if spec.lora is not None else "."),
            f"This is its checkpoint at step {best_step}, the best by Podium's score.",
            "",
            *_results(evals, best_step),
            *_merged(parity),
            "## Data",
            "",
            f"- {_rows(start)}, format `{start.get('format')}`",
            f"- sha256 of the training data's rows: `{start.get('data_sha256')}`",
            "",
            "## Configuration",
            "",
            "```json",
            json.dumps(_configuration(spec), indent=2, ensure_ascii=False),
            "```",
            "",
            "## Versions",
            "",
            ", ".join(f"{name} {version}" for name, version in (start.get("versions") or {}).items()),
            "",
        ]
    )


def sparkline(values: Sequence[float]) -> str:
    """A curve in one line of bars; what is no finite number is a blank."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(
        _BARS[round((value - low) / span * (len(_BARS) - 1))] if math.isfinite(value) else " "
        for value in values
    )


def _results(evals: Evals, best_step: int) -> list[str]:
    """Score and curve."""
    if not evals:
        return []
    measure = "eval_reward" if "eval_reward" in next(iter(evals.values())) else "eval_loss"
    curve = [_number(data.get(measure)) for data in evals.values()]
    lines = [
        "## Evaluation",
        "",
        f"`{measure}` {_shown(curve[0])} → {_shown(curve[-1])}  `{sparkline(curve)}`",
        "",
        f"| step | train loss | {measure.replace('_', ' ')} | score | |",
        "|---:|---:|---:|---:|---|",
    ]
    stride = -(-len(evals) // _ROWS)
    last = next(reversed(evals))
    for at, (step, data) in enumerate(evals.items()):
        if at % stride and step not in (best_step, last):
            continue
        figures = (data.get("train_loss"), data.get(measure), (data.get("score") or {}).get("total"))
        mark = "best" if step == best_step else ""
        lines.append(f"| {step} | {' | '.join(_shown(_number(value)) for value in figures)} | {mark} |")
    return [*lines, "", "Losses are nats a token; a lower score is better.", ""]


def _merged(parity: Parity | None) -> list[str]:
    if parity is None:
        return []
    return [
        f"The merged model's loss differs from the adapter's by {parity.loss_difference:+.2e} nats a token "
        f"on {parity.rows} eval rows, its logits by at most {parity.max_logit_difference:.2e}."
        + _trained_on_quantized(parity),
        "",
    ]


def _trained_on_quantized(parity: Parity) -> str:
    if parity.quantized_loss is None:
        return ""
    merged = _shown(parity.loss + parity.loss_difference)
    return (
        f" It was trained on a quantized base, where these rows' loss is {_shown(parity.quantized_loss)};"
        f" merged into the whole one it is {merged}."
    )


def _rows(start: Mapping[str, Any]) -> str:
    rows = start.get("rows") or {}
    return f"{rows.get('train', 0):,} rows to train on, {rows.get('eval', 0):,} to evaluate on"


def _configuration(spec: JobSpec) -> dict[str, Any]:
    """The spec without what is nobody's business: machines, limits, and where files lie."""
    values = {name: value for name, value in spec.to_json().items() if name not in _UNSHOWN}
    values["model"] |= {"name": _no_path(spec.model.name)}
    for key in ("path", "eval_path"):
        if values["dataset"].get(key):
            values["dataset"][key] = PurePath(values["dataset"][key]).name
    if values.get("rlhf") and values["rlhf"].get("reward_model"):
        values["rlhf"]["reward_model"] = _no_path(values["rlhf"]["reward_model"])
    return values


def _no_path(name: str) -> str:
    """A model's name; of a folder on this machine its own name alone."""
    return PurePath(name).name if name.startswith(("/", ".", "~")) else name


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>#|" else character for character in text)


def _number(value: Any) -> float:
    found = number(value)
    return math.nan if found is None else found


def _shown(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "—"
