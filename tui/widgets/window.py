"""The part of an axis that a chart shows: zoomed, panned, and never outside of what there is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

Edges = tuple[float | None, float | None]
"""Left and right; None where the window stays with the end of what there is while that grows."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window on the points from x `first` to `last`."""

    first: float
    last: float
    low: float | None = None
    high: float | None = None

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.first if self.low is None else self.low

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.last if self.high is None else self.high

    def zoomed(self, factor: float, pivot: float | None = None) -> Edges:
        """`factor` times as much, with `pivot` (else the right edge) staying where it is on the screen."""
        centre = self.right if pivot is None else pivot
        return self.between(centre - (centre - self.left) * factor, centre + (self.right - centre) * factor)

    def panned(self, share: float) -> Edges:
        """Moved by a share of its width, as far as there are points."""
        by = (self.right - self.left) * share
        by = max(self.first - self.left, min(max(self.last, self.right) - self.right, by))
        return self.between(self.left + by, self.right + by)

    def between(self, low: float, high: float) -> Edges:
        """Those edges; one that reaches the end of what there is stays with it. Too narrow is not taken."""
        if high - low < (self.last - self.first) / 10_000:
            return self.low, self.high
        spare = (self.last - self.first) * 1e-9
        return (
            None if low <= self.first + spare else low,
            None if high >= self.last - spare else high,
        )
