"""The colours: three themes of our own, and the run colours that every theme has.

A run's colour is a function of its number among its model's runs, so that no colour
shifts when a run appears.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from textual.theme import Theme

RUN_COLOURS: Final = ("#5fb3f9", "#f2a65a", "#6fd08c", "#e07a9f", "#b69cff", "#e6d15c", "#4fd1c5", "#c98f6b")
"""Apart in hue and near in lightness, on a dark ground."""

DARK_RUNS: Final = ("#1667b0", "#b45f06", "#22793f", "#a8325e", "#6b46c1", "#8a7300", "#0f766e", "#7c4a21")
"""The same hues on a light ground."""

OKABE_ITO: Final = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#0072b2", "#d55e00", "#bbbbbb")
"""Told apart by nearly everybody (Okabe and Ito, 2008)."""


def _variables(runs: tuple[str, ...], muted: str, rule: str) -> dict[str, str]:
    """A theme's variables: run colours, quiet text, the lines beside titles."""
    named = {"text-muted": muted, "rule": rule, "block-cursor-text-style": "none"}
    return {f"run-{index}": colour for index, colour in enumerate(runs)} | named


THEMES: Final = (
    Theme(
        name="podium",
        primary="#5fb3f9",
        secondary="#8aa0b8",
        accent="#5fb3f9",
        warning="#e5b454",
        error="#f2777a",
        success="#7cc88f",
        foreground="#d5dae1",
        background="#101418",
        surface="#161b21",
        panel="#1d242c",
        variables=_variables(RUN_COLOURS, muted="#7d8996", rule="#2a333d"),
    ),
    Theme(
        name="podium-light",
        primary="#1667b0",
        secondary="#5b6b7b",
        accent="#1667b0",
        warning="#9a6700",
        error="#c0303b",
        success="#22793f",
        foreground="#1f2328",
        background="#fbfbf9",
        surface="#f1f1ee",
        panel="#e6e6e2",
        dark=False,
        variables=_variables(DARK_RUNS, muted="#68717b", rule="#d4d4ce"),
    ),
    Theme(
        name="podium-colour-blind",
        primary="#56b4e9",
        secondary="#9aa5b1",
        accent="#56b4e9",
        warning="#e69f00",
        error="#d55e00",
        success="#009e73",
        foreground="#dddddd",
        background="#111111",
        surface="#181818",
        panel="#222222",
        variables=_variables(OKABE_ITO, muted="#8f8f8f", rule="#333333"),
    ),
)


def defaults() -> dict[str, str]:
    """The variables that our stylesheet needs under a theme that is not ours."""
    return {f"run-{index}": colour for index, colour in enumerate(RUN_COLOURS)} | {"rule": "#7f7f7f"}


def run_style(number: int) -> str:
    """The style of a run's colour, for `Content` and CSS: `$run-3`."""
    return f"$run-{(number - 1) % len(RUN_COLOURS)}"


def run_colour(number: int, variables: Mapping[str, str]) -> str:
    """A run's colour as `#rrggbb`, for what can't look up variables.

    Args:
        number: `Job.number`.
        variables: The app's `theme_variables`.
    """
    return variables.get(run_style(number)[1:], RUN_COLOURS[(number - 1) % len(RUN_COLOURS)])
