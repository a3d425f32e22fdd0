"""Filters of commands: conditions, and names under which the History screen saved some."""

from __future__ import annotations

from engine.analysis.filters import Filter
from tui.cli.workplace import opened


def filter_of(text: str) -> Filter:
    """The filter that `--filter` means.

    Raises:
        BadInput: It can't be understood, or there is no saved filter of that name.
    """
    if "@" not in text:
        return Filter.parse(text)
    from tui.saved_filters import SETTING, expanded, known

    with opened() as store:
        return Filter.parse(expanded(text, known(store.setting(SETTING))))
