"""Pictures of curves: what is where, what is left out, and what is never drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.records import Curve, CurvePoint
from tui.widgets.plot import Line, Picture, Plot, draw

RED = ((255, 0, 0), (90, 0, 0))
BLUE = ((0, 0, 255), (0, 0, 90))


def a_line(values: Sequence[tuple[float, float]], bad: tuple[float, ...] = ()) -> Line:
    points = tuple(CurvePoint(x, y, y, y, 1) for x, y in values)
    return Line("loss", Curve("job", "loss", "step", points, len(points), bad), "$run-0")


def a_plot(*lines: Line, **how: object) -> Plot:
    return Plot(lines, (RED, BLUE)[: len(lines)], **{"width": 60, "height": 14, **how})


def rows(picture: Picture) -> list[str]:
    return [strip.text for strip in picture.canvas]


FALLING = a_line([(step, 2.0 - step / 100) for step in range(101)])


def test_a_falling_curve_goes_from_the_top_left_to_the_bottom_right() -> None:
    picture = draw(a_plot(FALLING))
    drawn = rows(picture)
    assert len(drawn) == 13
    assert all(strip.cell_length == picture.columns for strip in picture.canvas)
    assert drawn[0][:3].strip()
    assert not drawn[0][-10:].strip()
    assert drawn[-1][-3:].strip()
    assert not drawn[-1][:10].strip()


def test_values_are_found_where_they_are_drawn() -> None:
    picture = draw(a_plot(FALLING))
    for x, y in ((0, 2.0), (50, 1.5), (100, 1.0)):
        column, row = picture.column(x), picture.row(y)
        assert column is not None
        assert row is not None
        near = [
            rows(picture)[r][max(0, column - 1) : column + 2] for r in (row - 1, row, row + 1) if 0 <= r < 13
        ]
        assert "".join(near).strip(), (x, y)
        assert abs(picture.at(column) - x) <= 100 / picture.columns


def test_axes_are_labelled_with_round_numbers() -> None:
    picture = draw(a_plot(FALLING))
    assert set(picture.y_labels.values()) <= {"1.0", "1.2", "1.4", "1.5", "1.6", "1.8", "2.0"}
    assert [label for _, label in picture.x_labels][:2] == ["0", "20"]
    ends = [start + len(label) for start, label in picture.x_labels]
    starts = [start for start, _ in picture.x_labels]
    assert all(end < start for end, start in zip(ends[:-1], starts[1:], strict=True))
    assert ends[-1] <= picture.columns


@pytest.mark.parametrize("size", [(12, 3), (60, 14), (300, 80)])
def test_a_picture_has_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    width, height = size
    picture = draw(a_plot(FALLING, width=width, height=height))
    assert picture.rows == height - 1
    assert picture.gutter + picture.columns == width
    assert all(strip.cell_length == picture.columns for strip in picture.canvas)


@pytest.mark.parametrize(
    "line",
    [a_line([]), a_line([(1, math.nan)]), a_line([(1, math.inf), (2, -math.inf)])],
    ids=["none", "nan", "infinite"],
)
def test_no_points_give_an_empty_picture(line: Line) -> None:
    assert draw(a_plot(line)).canvas == ()


def test_a_single_point_is_drawn() -> None:
    assert "".join(rows(draw(a_plot(a_line([(5, 1.0)]))))).strip()


def test_a_hole_of_numbers_that_are_none_stays_a_hole_and_is_marked() -> None:
    values = [(step, 1.0) for step in range(101) if not 40 <= step <= 60]
    whole = draw(a_plot(a_line(values)))
    holed = draw(a_plot(a_line(values, bad=tuple(range(40, 61)))))
    middle = holed.columns // 2
    row = holed.row(1.0)
    assert row is not None
    assert rows(whole)[row][middle].strip()
    assert not rows(holed)[row][middle].strip()
    assert middle in holed.bad


def test_only_the_window_is_drawn() -> None:
    picture = draw(a_plot(FALLING, low=50.0, high=75.0))
    assert picture.x == (50.0, 75.0)
    assert picture.column(49) is None
    assert picture.column(60) is not None


def test_a_logarithmic_axis_leaves_out_what_it_has_no_place_for() -> None:
    line = a_line([(0, 0.0), (1, -5.0), (10, 10.0), (100, 1000.0)])
    picture = draw(a_plot(line, log_x=True, log_y=True))
    assert picture.x == (1.0, 2.0)
    assert picture.y[0] >= 0.8
    assert picture.column(0) is None
    assert set(picture.y_labels.values()) >= {"10", "100", "1000"}


def test_clipping_says_what_it_hides() -> None:
    line = a_line([(step, 1.0 + step / 1000) for step in range(200)] + [(200, 1e6), (201, 1e6), (202, -1e6)])
    assert draw(a_plot(line)).hidden == ""
    clipped = draw(a_plot(line, clipped=True))
    assert clipped.hidden.startswith("2 above 1.2")
    assert "1 below 0.9" in clipped.hidden
    assert clipped.y[1] < 2


def test_clipping_counts_recorded_points_not_drawn_ones() -> None:
    usual = [CurvePoint(x, 0.9, 1.0 + x / 1000, 1.3, 50) for x in range(200)]
    far = [CurvePoint(200, 1e6, 2e6, 3e6, 50), CurvePoint(201, 1e6, 2e6, 3e6, 7)]
    mixed = CurvePoint(202, 0.9, 2e4, 1e6, 50)  # one or more of fifty: only the recorded points would tell

    def hidden(*points: CurvePoint) -> str:
        line = Line("loss", Curve("job", "loss", "step", points, len(points)), "$run-0")
        return draw(a_plot(line, clipped=True)).hidden

    assert hidden(*usual, *far).startswith("57 above 1.2")
    assert hidden(*usual, *far, mixed).startswith("at least 58 above 1.2")
    assert hidden(*usual, CurvePoint(200, 1.0, 5e5, 1e6, 2)).startswith("1 above 1.2")


def test_a_logarithmic_axis_says_what_it_has_no_place_for() -> None:
    line = a_line([(0, 0.0), (1, -5.0), (10, 10.0), (100, 1000.0)])
    assert draw(a_plot(line, log_y=True)).hidden == "2 not above 0 hidden"
    assert draw(a_plot(line)).hidden == ""


def test_smoothing_keeps_the_raw_points_faintly_behind() -> None:
    noisy = a_line([(step, 1.0 + (step % 2)) for step in range(200)])
    plain = {str(segment.style) for strip in draw(a_plot(noisy)).canvas for segment in strip}
    smooth = {str(segment.style) for strip in draw(a_plot(noisy, smoothing=0.1)).canvas for segment in strip}
    assert "#ff0000" in plain
    assert "#5a0000" not in plain
    assert {"#ff0000", "#5a0000"} <= smooth


def test_few_points_are_not_smoothed() -> None:
    few = a_line([(step, float(step % 2)) for step in range(10)])
    assert rows(draw(a_plot(few, smoothing=0.5))) == rows(draw(a_plot(few)))


def test_the_last_line_is_drawn_over_the_others() -> None:
    picture = draw(a_plot(FALLING, a_line([(step, 2.0 - step / 100) for step in range(101)])))
    styles = {str(segment.style) for strip in picture.canvas for segment in strip if segment.text.strip()}
    assert styles == {"#0000ff"}


anything = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e308, 1e308), anything), max_size=30),
    st.integers(1, 80),
    st.integers(1, 20),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.1]),
)
def test_no_numbers_break_the_picture(
    values: list[tuple[float, float]],
    width: int,
    height: int,
    log_x: bool,
    log_y: bool,
    clipped: bool,
    smoothing: float,
) -> None:
    line = a_line(sorted(values, key=lambda value: value[0]))
    how = {"log_x": log_x, "log_y": log_y, "clipped": clipped, "smoothing": smoothing}
    picture = draw(a_plot(line, width=width, height=height, **how))
    assert all(strip.cell_length == picture.columns for strip in picture.canvas)
    for x, y in values:
        assert picture.column(x) is None or 0 <= picture.column(x) < picture.columns
        assert picture.row(y) is None or 0 <= picture.row(y) < picture.rows
