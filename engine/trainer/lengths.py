"""How long the rows of a dataset are in tokens, and which are the longest."""

from __future__ import annotations

from typing import Any, Final

_TOKENS: Final = (
    "input_ids",
    "prompt_ids",
    "completion_ids",
    "chosen_ids",
    "rejected_ids",
    "chosen_input_ids",
    "rejected_input_ids",
)
"""Columns of a tokenized dataset that the model sees."""


def token_counts(rows: Any) -> Any | None:
    """The tokens of each row of a tokenized dataset, an integer array; None where it isn't tokenized."""
    import numpy
    import pyarrow.compute

    names = [name for name in getattr(rows, "column_names", None) or () if name in _TOKENS]
    if not names or len(rows) == 0:
        return None
    table = rows.flatten_indices().data if rows._indices is not None else rows.data
    lengths = numpy.zeros(len(rows), dtype=numpy.int64)
    for name in names:
        lengths += pyarrow.compute.list_value_length(table.column(name)).to_numpy()
    return lengths


def highest_token(rows: Any) -> int | None:
    """The highest token of a tokenized dataset; None where it isn't tokenized."""
    import pyarrow.compute

    names = [name for name in getattr(rows, "column_names", None) or () if name in _TOKENS]
    if not names or len(rows) == 0:
        return None
    highest = [
        pyarrow.compute.max(pyarrow.compute.list_flatten(rows.data.column(name))).as_py() for name in names
    ]
    return max((token for token in highest if token is not None), default=None)


def longest(lengths: Any, count: int) -> list[int]:
    """The places of the largest of some lengths, the largest first; of equal ones the first."""
    import numpy

    return [int(at) for at in numpy.argsort(-numpy.asarray(lengths), kind="stable")[:count]]
