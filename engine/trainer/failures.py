"""Why training failed, in classes a user can act on; each with one line of advice.

What is classified here is permanent: trying again would fail again. Everything else is a crash.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import BadDataset, BadSpec, PodiumError, TrainingError
from engine.job.folder import JobFolder

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NEARLY_FULL = 32 << 20
"""Bytes of free disk under which a failed write is blamed on the disk."""

_FAILED_WRITES = ("PytorchStreamWriter", "inline_container.cc", "iostream error")
"""What torch says of a file that it could not write."""

_OUT_OF_MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "DefaultCPUAllocator: can't allocate memory",
)


_OUTSIDE = "index out of range in self"
"""What torch says of an index that a table lacks; what a GPU says, it says of many other things too."""


def classify(error: BaseException, folder: JobFolder) -> TrainingError | None:
    """The permanent failure that an exception means; None for a crash."""
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, BadDataset):
        return TrainingError("dataset", error.what, error.advice or "Correct the data and start again.")
    if isinstance(error, BadSpec):
        return TrainingError("spec", error.what, error.advice or "Correct the spec and start again.")
    if isinstance(error, PodiumError):
        return TrainingError("unknown", error.what, error.advice)
    for cause in _chain(error):
        if found := _classify_one(cause, folder):
            return found
    return None


@contextmanager
def refusals(folder: JobFolder) -> Iterator[None]:
    """Where libraries look at what they are given: a ValueError is their refusal, which would come again.

    Raises:
        TrainingError: Of kind `spec`, with what the library says.
    """
    try:
        yield
    except ValueError as error:
        if classify(error, folder) is not None:
            raise
        advice = "Change the setting or the data that it names."
        raise TrainingError("spec", f"this can't be trained ({first_line(error)})", advice) from error


def out_of_memory(error: BaseException) -> bool:
    """Does an exception, or one behind it, mean that memory ran out?"""
    return any(_says_out_of_memory(cause) for cause in _chain(error))


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that led to it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _classify_one(error: BaseException, folder: JobFolder) -> TrainingError | None:
    if _says_out_of_memory(error):
        return TrainingError(
            "out_of_memory",
            f"memory ran out ({first_line(error)})",
            "Lower training.batch_size or training.max_length, or take a larger GPU.",
        )
    if _disk_full(error, folder):
        return TrainingError(
            "disk_full",
            f"{folder.path}: no space left on the disk",
            "Free some space or lower training.keep_checkpoints, then resume: the last checkpoint is whole.",
        )
    if type(error).__module__.startswith("jinja2"):
        return TrainingError(
            "tokenizer",
            f"the chat template refuses the data ({first_line(error)})",
            "Give rows that it takes, or set model.chat_template.",
        )
    if isinstance(error, ValueError) and str(error).startswith("Target modules"):
        return TrainingError("model", first_line(error).rstrip("."), "Correct lora.target_modules.")
    if isinstance(error, IndexError) and _OUTSIDE in str(error):
        return TrainingError(
            "model",
            f"a token or a position lies outside of what the model knows ({first_line(error)})",
            "Use the model's own tokenizer, and a training.max_length that the model has positions for.",
        )
    if isinstance(error, PermissionError):
        return TrainingError(
            "permission",
            f"{error.filename or folder.path}: no permission",
            "Let this user read and write it.",
        )
    return None


def _disk_full(error: BaseException, folder: JobFolder) -> bool:
    """A full disk; safetensors and torch wrap the system's error, sometimes without its text."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    if "No space left on device" in str(error) or "os error 28" in str(error):
        return True
    told = str(error)
    writes = type(error).__name__ == "SafetensorError" or any(text in told for text in _FAILED_WRITES)
    return writes and shutil.disk_usage(folder.path).free < _NEARLY_FULL


def first_line(error: BaseException) -> str:
    """What an exception says, in one line of bearable length."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
