"""The sections of a spec that say what a run is to reach, and which metrics are looked at together. Ships."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from engine.job.sections import Fraction, Positive, Rate, Section

_CONDITION: Final = re.compile(
    r"\s*(?:(?P<sign><=|>=|<|>)\s*(?P<bound>[-+−]?[\d.]+(?:[eE][-+]?\d+)?)|(?P<change>[-+−][\d.]+)\s*%)\s*"
)
TIERS: Final = ("minimum", "strong", "exceptional")
"""From the least to the most."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a metric is to reach.

    Args:
        sign: `<`, `<=`, `>` or `>=`; `%` for a change from its first value.
        bound: The value, or the change as a fraction: −0.2 is 20 % less.
    """

    sign: Literal["<", "<=", ">", ">=", "%"]
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read `> 0.10`, `<= 3` or `-20 %`.

        Raises:
            ValueError: It is none of these.
        """
        found = _CONDITION.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            bound = float((found["bound"] or found["change"]).replace("−", "-"))
        except ValueError:
            raise ValueError(f"{text!r} is no condition, such as '> 0.10', '<= 3' or '-20 %'") from None
        if not math.isfinite(bound) or (found["change"] and bound == 0):
            raise ValueError(f"{text!r} asks for nothing that can be reached")
        sign: Any = found["sign"] or "%"
        return cls(sign, bound if found["sign"] else bound / 100)

    @property
    def down(self) -> bool:
        """Is less better?"""
        return self.bound < 0 if self.sign == "%" else self.sign in ("<", "<=")


def _condition(text: str) -> str:
    Condition.parse(text)
    return text


Tier = dict[Annotated[str, Field(min_length=1, max_length=200)], Annotated[str, AfterValidator(_condition)]]


class FlagsSpec(Section):
    """What is told of a run whatever it reaches; null switches one off."""

    exploding: Rate | None = 100
    """A gradient norm above it explodes."""
    vanishing: Rate | None = 0.001
    """One below it vanishes."""
    layer_ratio: Rate | None = 100
    """A layer whose gradient norm is so many times the median of all layers' stands out."""
    gradients: Annotated[str, Field(min_length=1)] = "gradient_stats/*"
    """The metrics that are the layers' gradient norms; `*` and `?` match."""
    gpu_percent: Annotated[float, Field(ge=0, le=100)] | None = 80
    """A GPU that is less busy wants a larger batch."""
    nan: bool = True
    """Is any metric no number?"""
    overfitting: Fraction | None = 0.05
    """The eval loss rose by so much above its lowest."""


class CriteriaSpec(Section):
    """What a run is to reach: for each tier, metric -> condition; all of a tier's must be met.

    The best value of a metric counts, not the last.
    """

    minimum: Tier = Field(default_factory=dict)
    strong: Tier = Field(default_factory=dict)
    exceptional: Tier = Field(default_factory=dict)
    flags: FlagsSpec = Field(default_factory=FlagsSpec)

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not any(getattr(self, tier) for tier in TIERS):
            raise ValueError(f"asks for nothing: give at least one of {', '.join(TIERS)}")
        return self


class PanelSpec(Section):
    """Metrics that are looked at together."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    metrics: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(min_length=1)]
    """Names of metrics; `*` and `?` match."""
    log: bool = False
    """Is y logarithmic at first?"""
    most: Positive = 8
    """How many curves it shows at most: the first by name."""
