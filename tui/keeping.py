"""Comparisons that are kept: saved under a name, found again, forgotten, and written to files. Blocks.

The desk of the app and the command line share it.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engine.analysis.comparison import Comparison
from engine.comparing import exported_curves
from engine.errors import BadInput
from engine.records import SavedComparison
from engine.store.base import Store

KINDS: Final = {".csv": "csv", ".json": "json", ".md": "md", ".tex": "latex", ".html": "html"}
"""What a file's ending says of its kind."""

_NAME: Final = 100
"""Characters of a name."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the user says of a comparison.

    Args:
        name: What it is called.
        notes: What is noted of it.
    """

    name: str = ""
    notes: str = ""


def save(store: Store, comparison: Sequence[str], reference: str | None, words: Words) -> SavedComparison:
    """Keep a comparison; one of the same name is replaced.

    Args:
        store: Where.
        comparison: The ids of its runs, in their order.
        reference: The run that deltas are against; None for the best.
        words: Its name and notes.

    Raises:
        BadInput: The name is none.
    """
    name = " ".join(words.name.split())
    if not name or not name.isprintable() or len(name) > _NAME:
        raise BadInput("a comparison is saved under a name", f"Give one line of at most {_NAME} characters.")
    same = next((saved for saved in store.comparisons() if saved.name == name), None)
    saved = SavedComparison(
        str(uuid.uuid4()), name, tuple(comparison), datetime.now(UTC), reference, words.notes
    )
    if same is not None:
        saved = replace(saved, id=same.id, notes=words.notes or same.notes)
    store.save_comparison(saved)
    return saved


def found(store: Store, name: str) -> SavedComparison:
    """The saved comparison of that name, or of that id.

    Raises:
        BadInput: There is none.
    """
    every = store.comparisons()
    match = next((saved for saved in every if name in (saved.name, saved.id)), None)
    if match is None:
        known = ", ".join(saved.name for saved in every[:10]) or "none yet"
        raise BadInput(f"no saved comparison is called {name!r}", f"Those that are saved: {known}.")
    return match


def text_of(
    store: Store, comparison: Comparison, kind: str, words: Words | None = None, *, every: bool = False
) -> str:
    """A comparison in one of the kinds of `KINDS`.

    Args:
        store: Where its curves are.
        comparison: What to write.
        kind: How.
        words: Its name and notes, where it has some.
        every: All rows also where the main ones are usual.
    """
    from engine.analysis import export

    said = words or Words()
    match kind:
        case "csv":
            return export.to_csv(comparison)
        case "json":
            value = {"schema": 1, "comparison": {"name": said.name, **export.to_json(comparison)}}
            return json.dumps(value, indent=2, allow_nan=False) + "\n"
        case "md":
            return export.to_markdown(comparison, all_rows=every)
        case "latex":
            from engine.analysis.latex import to_latex

            return to_latex(comparison, all_rows=every)
        case _:
            from engine.analysis.page import to_html

            curves = exported_curves(store, comparison.jobs)
            return to_html(comparison, curves, title=said.name, notes=said.notes)


def kind_of(path: Path) -> str:
    """What a file's ending says.

    Raises:
        BadInput: Nothing that we can write.
    """
    if (kind := KINDS.get(path.suffix.lower())) is None:
        raise BadInput(f"{path}: is no kind of file that is written", f"End its name in {', '.join(KINDS)}.")
    return kind


def vacant(path: Path, advice: str = "Give another name.") -> None:
    """Make sure that nothing would be written over.

    Raises:
        BadInput: There is a file already.
    """
    if path.exists():
        raise BadInput(f"{path}: is there already", advice)


def write(path: Path, text: str, *, replacing: bool = True) -> None:
    """Write a file whole or not at all.

    Raises:
        BadInput: It can't be written, or is there already and is not to be replaced.
    """
    if not replacing:
        vacant(path)
    aside = ""
    try:
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except OSError as error:
        Path(aside).unlink(missing_ok=True) if aside else None
        raise BadInput(f"{path}: can't be written ({error.strerror})", "Give another place.") from None
