"""The checkpoints of a run with their scores: which is best, by what, and where its files are."""

from __future__ import annotations

import math
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive

from engine.analysis.format import UNKNOWN, count, loss, percent, size
from engine.analysis.snapshot import JobDetail
from engine.records import Checkpoint
from tui.commands import Command, Commanding
from tui.widgets.bars import level
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList
from tui.widgets.show_step import ShowStep
from tui.widgets.title_line import TitleLine
from tui.wishes import PullCheckpoint

QUIET = "$text-muted"

HEADINGS: Final = ((21, "score"), (29, "eval"), (35, "gap"), (45, "size"))
"""Where the columns of `CheckpointList` end."""

FULL: Final = 66
"""From which width on there is room for sizes, cells."""


class CopyPath(Command):
    """Copy where this checkpoint's files are."""

    KEYS = "y"
    LABEL = "copy path"
    FOOTER = True


class ShowCheckpoint(Command):
    """Put the crosshair on this checkpoint."""

    KEYS = "enter"
    LABEL = "show in chart"


class DownloadCheckpoint(Command):
    """Download this checkpoint to this machine, every hash checked."""

    KEYS = "d"
    LABEL = "download"
    FOOTER = True


class SortCheckpoints(Command):
    """Order by step, or best first."""

    KEYS = "o"
    LABEL = "order"
    FOOTER = True


class CheckpointList(LineList):
    """One checkpoint a line.

    The three bars are what eval loss, gap and perplexity add to the score, each between the least and the
    most of the run: the lower the better.
    """

    rows: reactive[tuple[Checkpoint, ...]] = reactive(())

    def __init__(self) -> None:
        super().__init__()
        self.on_this_machine: frozenset[int] = frozenset()
        """The steps of those whose files are here."""
        self.rented = False
        self._ranges: tuple[tuple[float, float], ...] = ()

    def watch_rows(self) -> None:
        """Other checkpoints, or other standings."""
        parts = [found for row in self.rows if (found := _parts(row))]
        self._ranges = tuple((min(column), max(column)) for column in zip(*parts, strict=True))
        self.show([row.step for row in self.rows])

    def _bars(self, checkpoint: Checkpoint) -> str:
        parts = _parts(checkpoint)
        if parts is None:
            return "   "
        return "".join(level(part, *edges) for part, edges in zip(parts, self._ranges, strict=True))

    def _where(self, checkpoint: Checkpoint) -> str:
        """Where its files are, when there are two places where they could be."""
        if checkpoint.path is None or not self.rented:
            return ""
        return "here" if checkpoint.step in self.on_this_machine else "on pod"

    @property
    def here(self) -> Checkpoint | None:
        """The checkpoint under the cursor."""
        return self.rows[self.row] if self.rows else None

    def draw(self, row: int, width: int) -> Content:
        """Sign, step, score with its parts, eval loss, gap, standing."""
        checkpoint = self.rows[row]
        gone = QUIET if checkpoint.path is None else ""
        sign, sign_style = _sign(checkpoint)
        cells: list[tuple[str, str]] = [
            (f"{sign} ", sign_style),
            (f"{count(checkpoint.step):>6}  ", gone or ("bold" if checkpoint.is_best else "")),
            (f"{self._bars(checkpoint)}  ", "$secondary"),
            (f"{_total(checkpoint):>6}  ", gone or ("bold" if checkpoint.is_best else "")),
            (f"{loss(checkpoint.eval_loss):>6}", gone),
        ]
        if width >= 44:
            cells.append((f"{_gap(checkpoint):>6}", gone))
        if width >= FULL:
            cells.append((f"{size(checkpoint.size_bytes):>10}", gone))
        standing = _standing(checkpoint)
        short = f"  {standing.removesuffix(' eval'):<7}{self._where(checkpoint).removeprefix('on ')}"
        cells.append((f"  {standing:<13}{self._where(checkpoint)}" if width >= FULL else short, QUIET))
        return Content.assemble(*cells).truncate(width, ellipsis=True)


class CheckpointPane(Commanding, Vertical):
    """All checkpoints, with what the score says of them. A lower score is better."""

    TITLE_IN_HELP = "Checkpoints"
    COMMANDS = (CopyPath, DownloadCheckpoint, SortCheckpoints, ShowCheckpoint)

    detail: reactive[JobDetail | None] = reactive(None)
    best_first: reactive[bool] = reactive(True)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title = TitleLine("checkpoints")
        self._list = CheckpointList()

    def compose(self) -> ComposeResult:
        """Title and list."""
        yield self._title
        yield self._list

    def watch_detail(self) -> None:
        """New checkpoints, new standings."""
        rows = self.detail.checkpoints if self.detail else ()
        if self.best_first:
            rows = tuple(sorted(rows, key=_merit))
        if self.detail is not None:
            here, rented = self.detail.here, self.detail.job.provider not in (None, "local")
            if (here, rented) != (self._list.on_this_machine, self._list.rented):
                self._list.on_this_machine, self._list.rented = here, rented
                self._list.redraw()
        self._list.rows = rows
        self._head()
        self._title.facts = Content.styled("" if rows else "none yet", QUIET)

    def on_resize(self) -> None:
        """Room for another column, or for one less."""
        self._head()

    def _head(self) -> None:
        fitting = HEADINGS if self.size.width > FULL + 1 else HEADINGS[:-1]
        self._title.columns = fitting if self._list.rows else ()

    def watch_best_first(self) -> None:
        """The other order."""
        self.watch_detail()

    def on_show_checkpoint(self) -> None:
        """Ask for the crosshair."""
        if (here := self._list.here) is not None:
            self.post_message(ShowStep(here.step).set_sender(self))

    def on_sort_checkpoints(self) -> None:
        """By step or by merit."""
        self.best_first = not self.best_first

    def on_download_checkpoint(self) -> None:
        """From the pod, unless it is here."""
        here = self._list.here
        if here is None or self.detail is None:
            return
        if here.path is None or here.step in self.detail.here:
            why = "Its files were removed by rotation." if here.path is None else "It is here already."
            self.notify(why, severity="warning", timeout=3)
            return
        self.post_message(PullCheckpoint(self.detail.job.id, here.step).set_sender(self))
        self.notify(f"Downloading checkpoint {here.step} …", timeout=3)

    def on_copy_path(self) -> None:
        """To the clipboard."""
        here, folder = self._list.here, self.detail.job.job_dir if self.detail else None
        if here is None:
            return
        if here.path is None:
            self.notify("Its files were removed by rotation.", severity="warning", timeout=3)
            return
        path = clean(f"{folder}/{here.path}" if folder else here.path)
        self.app.copy_to_clipboard(path)
        self.notify("Path copied.", timeout=2)


def _merit(checkpoint: Checkpoint) -> tuple[bool, int, float, float, int]:
    """The best first, then the scorer's own order: validity, score, eval loss, step."""
    from scorer import Validity  # it is there by now: whoever read the checkpoint needed it

    score = checkpoint.score
    total = score.total if score and not math.isnan(score.total) else math.inf
    return (
        not checkpoint.is_best,
        score.validity if score else Validity.MISSING,
        total,
        checkpoint.eval_loss if checkpoint.eval_loss is not None else math.inf,
        checkpoint.step,
    )


def _sign(checkpoint: Checkpoint) -> tuple[str, str]:
    if checkpoint.is_best:
        return "★", "$warning"
    return ("≈", QUIET) if checkpoint.tied else (" ", "")


def _parts(checkpoint: Checkpoint) -> tuple[float, float, float] | None:
    """What eval loss, gap and perplexity add to the score; None when it has none."""
    score = checkpoint.score
    from scorer import Validity

    if score is None or score.validity is not Validity.VALID:
        return None
    return score.eval_loss, score.gap, score.perplexity


def _total(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.score.total:.3f}" if checkpoint.score else UNKNOWN


def _gap(checkpoint: Checkpoint) -> str:
    """The train-eval gap as a share of the eval loss."""
    train, held_out = checkpoint.train_loss, checkpoint.eval_loss
    if train is None or held_out is None:
        return UNKNOWN
    return percent(abs(train - held_out) / max(held_out, 0.001) * 100)


def _standing(checkpoint: Checkpoint) -> str:
    if checkpoint.path is None:
        return "removed"
    if checkpoint.is_lowest_eval_loss:
        return "lowest eval"
    return "best" if checkpoint.is_best else "tied" if checkpoint.tied else ""
