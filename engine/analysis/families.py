"""Models that are of one family: the same line and generation, whatever their size and tuning. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from engine.analysis.history import model_of
from engine.records import Job

_SIZE: Final = re.compile(r"[-_ ]\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[bm]\b.*", re.IGNORECASE)
"""`-7B-Instruct`, `-8x7B`, `_135M`: a size, and what follows it."""

_TUNING: Final = re.compile(
    r"[-_ ](?:instruct|chat|base|it|hf|sft|dpo|gptq|awq|gguf|bnb|int[48]|[48]bit|mini|small|large)\b.*",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def family_of(model: str) -> str:
    """A model's family: `Qwen/Qwen2.5-7B-Instruct` and `unsloth/Qwen2.5-1.5B` are both `Qwen2.5`.

    The name's owner, its size and what follows that don't count; the generation does. A name that says
    nothing of a size or a tuning is a family of its own.
    """
    name = model.rstrip("/").rpartition("/")[2]
    for ending in (_SIZE, _TUNING):
        name = ending.sub("", name) or name
    return name or model


def group_of(job: Job, family: bool) -> str:
    """What a run is grouped by: its model, or its model's family."""
    return family_of(model_of(job)) if family else model_of(job)
