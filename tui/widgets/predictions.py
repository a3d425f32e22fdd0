"""What the model answers to its sample of eval prompts, epoch by epoch, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.analysis.format import count, percent
from engine.analysis.snapshot import JobDetail
from tui.commands import Command, Commanding
from tui.widgets.clean import clean
from tui.widgets.difference import difference
from tui.widgets.title_line import TitleLine

QUIET: Final = "$text-muted"
AGAINST: Final = ("truth", "before", "nothing")
"""What answers are compared with."""
STYLES: Final = {"same": "", "added": "$warning", "missing": "$error strike"}
LONGEST: Final = 4000
"""Characters of a text that are shown."""

Row = Mapping[str, Any]


class NextSample(Command):
    """Show the answers to the next prompt."""

    KEYS = "right,l"
    SHOWN = "←→"
    LABEL = "prompt"
    FOOTER = True


class PreviousSample(Command):
    """Show the answers to the prompt before."""

    KEYS = "left,h"


class CompareAnswers(Command):
    """Compare each answer with the truth, with the answer before it, or with nothing."""

    KEYS = "D"
    LABEL = "diff"
    FOOTER = True


class NewestFirst(Command):
    """Put the newest answer first, or last."""

    KEYS = "r"
    LABEL = "order"
    FOOTER = True


class PredictionsView(VerticalScroll, can_focus=True):
    """The texts, as long as they are."""

    BINDINGS = [
        ("k", "scroll_up", "up"),
        ("j", "scroll_down", "down"),
        ("g", "scroll_home", "first"),
        ("G", "scroll_end", "last"),
    ]


class PredictionsPane(Commanding, Vertical):
    """A prompt, what should be answered, and what was answered at each step, with the differences."""

    TITLE_IN_HELP = "Predictions"
    COMMANDS = (NextSample, PreviousSample, CompareAnswers, NewestFirst)

    detail: reactive[JobDetail | None] = reactive(None)
    sample: reactive[int] = reactive(0)
    against: reactive[int] = reactive(0)
    newest_first: reactive[bool] = reactive(True)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = TitleLine("predictions")
        self._text = Static()
        self._rows: tuple[Row, ...] = ()

    def compose(self) -> ComposeResult:
        """Title, texts."""
        yield self._title
        with PredictionsView():
            yield self._text

    @property
    def samples(self) -> list[int]:
        """The numbers of the prompts."""
        return sorted({row["sample_index"] for row in self._rows})

    def watch_detail(self) -> None:
        """New answers."""
        rows = self.detail.predictions if self.detail else ()
        if rows != self._rows or not rows:
            self._rows = tuple(rows)
            self._show()

    def _show(self) -> None:
        samples = self.samples
        if not samples:
            self._title.facts = Content("")
            ended = self.detail is not None and self.detail.job.status.ended
            self._text.update(Content.styled(f"No predictions{'' if ended else ' yet'}.", QUIET))
            return
        sample = samples[self.sample % len(samples)]
        rows = [row for row in self._rows if row["sample_index"] == sample]
        at = self.sample % len(samples) + 1
        facts = f"prompt {at} of {len(samples)} · compared with {AGAINST[self.against]}"
        self._title.facts = Content.styled(facts, QUIET)
        self._text.update(answers(rows, AGAINST[self.against], newest_first=self.newest_first))

    def watch_sample(self) -> None:
        """Another prompt, or another look."""
        if self.is_mounted:
            self._show()

    watch_against = watch_newest_first = watch_sample

    def on_next_sample(self) -> None:
        """The next, around."""
        self.sample += 1

    def on_previous_sample(self) -> None:
        """The one before, around."""
        self.sample -= 1

    def on_compare_answers(self) -> None:
        """Around."""
        self.against = (self.against + 1) % len(AGAINST)

    def on_newest_first(self) -> None:
        """The other order."""
        self.newest_first = not self.newest_first


def answers(rows: Sequence[Row], against: str, *, newest_first: bool) -> Content:
    """One prompt's answers.

    Args:
        rows: Of `training_predictions`, of one sample, by step.
        against: One of `AGAINST`.
        newest_first: Is the newest on top?
    """
    truth = _text(rows[-1]["ground_truth"])
    parts = [_labelled("prompt", Content(_text(rows[-1]["prompt"])))]
    parts.append(_labelled("truth", Content.styled(truth or "—", "$success")))
    shown = []
    before: str | None = None
    for row in rows:
        answer = _text(row["prediction"])
        other = {"truth": truth or None, "before": before}.get(against)
        shown.append(Content.assemble(_head(row), "  ", _compared(other, answer)))
        before = answer
    return Content("\n").join([*parts, *(reversed(shown) if newest_first else shown)])


def _head(row: Row) -> Content:
    """Where an answer stands and how good it is."""
    epoch = f"epoch {row['epoch']:.2f}  " if row["epoch"] is not None else ""
    marks = [f"{epoch}step {count(row['step'])}"]
    if row["char_error_rate"] is not None:
        marks.append(f"{percent(row['char_error_rate'] * 100)} wrong")
    sign, style = {True: ("✓", "$success"), False: ("✗", "$warning")}.get(row["exact_match"], (" ", ""))
    valid = "" if row["validation_pass"] is not False else "  not valid"
    return Content.assemble((f"{sign} ", style), ("  ".join(marks), QUIET), (valid, "$error"))


def _compared(other: str | None, answer: str) -> Content:
    if other is None:
        return Content(answer)
    return Content.assemble(*((text, STYLES[kind]) for kind, text in difference(other, answer)))


def _labelled(label: str, text: Content) -> Content:
    return Content.assemble((f"{label:<7}", QUIET), text)


def _text(value: Any) -> str:
    """A text from elsewhere with its line breaks."""
    lines = str(value or "")[:LONGEST].split("\n")
    return "\n".join(clean(line) for line in lines)
