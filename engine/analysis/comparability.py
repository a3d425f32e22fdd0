"""Can the eval losses of some runs be compared at all? Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.analysis.configuration import setting
from engine.analysis.format import listed
from engine.records import Job


@dataclass(frozen=True, slots=True)
class Facet:
    """Something that must be the same in all runs for their eval losses to mean the same.

    Args:
        name: What it is called in a sentence.
        value: What it is in a run: what is compared, and how it is written; None when unknown.
    """

    name: str
    value: Callable[[Job], tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class Comparability:
    """What makes some runs comparable or not.

    Args:
        differing: One sentence on each facet that differs: the runs can't be compared.
        unknown: One sentence on each facet that is not known of all runs.
    """

    differing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Do the eval losses mean the same, as far as is known?"""
        return not self.differing


def comparability(jobs: Sequence[Job], names: Mapping[str, str]) -> Comparability:
    """Judge some runs.

    Args:
        jobs: The runs.
        names: What each is called in sentences, by id.
    """
    differing, unknown = [], []
    for facet in FACETS:
        values = {job.id: facet.value(job) for job in jobs}
        known = {job_id: value for job_id, value in values.items() if value is not None}
        if len({value[0] for value in known.values()}) > 1:
            differing.append(f"{facet.name} differ: {_groups(known, names)}")
        elif known and len(known) < len(jobs):
            missing = listed(names[job.id] for job in jobs if values[job.id] is None)
            unknown.append(f"{facet.name} of {missing} are not known to be the same")
    return Comparability(tuple(differing), tuple(unknown))


def _groups(known: Mapping[str, tuple[str, str]], names: Mapping[str, str]) -> str:
    """«2048 in a and b, 4096 in c»."""
    members: dict[str, list[str]] = {}
    shown: dict[str, str] = {}
    for job_id, (identity, words) in known.items():
        members.setdefault(identity, []).append(names[job_id])
        shown[identity] = words
    return ", ".join(f"{shown[identity]} in {listed(group)}" for identity, group in members.items())


def _method(job: Job) -> tuple[str, str] | None:
    method = job.config.get("method") or job.method
    return (str(method), str(method)) if method else None


def _evaluation_data(job: Job) -> tuple[str, str] | None:
    """The hash of the eval rows; without it, that of the data with the settings that split them."""
    if told := job.metadata.get("eval_sha256"):
        return str(told), f"{str(told)[:8]}…"
    data = job.metadata.get("data_sha256")
    if not data:
        return None
    names = ("eval_path", "train_split", "split_by", "max_samples")
    split = {name: setting(job, "dataset", name) for name in names}
    if split["eval_path"] is None:
        split["seed"] = setting(job, "training", "seed")
        words = f"{str(data)[:8]}… split by seed {split['seed']}"
    else:
        # The training data may then differ at will.
        split, data, words = {"eval_path": split["eval_path"]}, "", str(split["eval_path"])
    return _identity([data, split]), words


def _tokenizer(job: Job) -> tuple[str, str] | None:
    """The tokenizer's hash; without it, the model that it came with."""
    if told := job.metadata.get("tokenizer_sha256"):
        return str(told), f"{str(told)[:8]}…"
    model = job.config.get("model")
    if not isinstance(model, Mapping):
        return (job.base_model, job.base_model) if job.base_model else None
    identity = [model.get("name"), model.get("revision"), model.get("chat_template"), model.get("build")]
    if model.get("build") is not None:
        # It was trained on this run's own rows.
        if not job.metadata.get("data_sha256"):
            return None
        identity = [model.get("build"), model.get("chat_template"), job.metadata.get("data_sha256")]
    return _identity(identity), str(model.get("name") or job.base_model or "a model of its own")


def _rewards(job: Job) -> tuple[str, str] | None:
    """What completions are rewarded for; methods without rewards all have the same: none."""
    rlhf = job.config.get("rlhf")
    if not isinstance(rlhf, Mapping):
        return ("", "none") if job.config.get("method") else None
    given = rlhf.get("rewards")
    rewards = given if isinstance(given, list) else []
    asked = {name: rlhf.get(name) for name in ("reward_model", "reward_model_weight", "temperature")}
    names = [str(item.get("name") if isinstance(item, Mapping) else item) for item in rewards]
    return _identity([rewards, asked]), listed([*names, *filter(None, [asked["reward_model"]])])


def _length(job: Job) -> tuple[str, str] | None:
    length = setting(job, "training", "max_length")
    return (str(length), f"{length} tokens") if length is not None else None


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


FACETS: Final = (
    Facet("the evaluation data", _evaluation_data),
    Facet("the tokenizers", _tokenizer),
    Facet("the losses", _method),
    Facet("the rewards", _rewards),
    Facet("the sequence lengths", _length),
)
