"""The charts of the report as SVG inside the page, drawn by matplotlib and coloured by the page's CSS.

Read this to change how a chart looks. Sizes are CSS pixels; text stays text, so it can be searched and read aloud.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import cycle
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from selfportrait.report.form import finite, plain, signed

__all__ = ["Line", "accuracy_chart", "change_chart", "course_chart", "line_chart", "margin_chart", "step_chart"]

INK, MUTED, GRID = "#1b1f24", "#59636e", "#d1d9e0"
BEFORE, AFTER, SECOND = "#6e7781", "#0969da", "#bc4c00"
GOOD, BAD, OPEN = "#1a7f37", "#c62a30", "#59636f"
VIOLET, AMBER = "#8250df", "#9a6700"
LINES = (AFTER, SECOND, GOOD, VIOLET, AMBER, BEFORE)  # one a line of a chart, from the first on again after the last
TONES = {"good": GOOD, "bad": BAD, "open": OPEN}
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    BEFORE: "before",
    AFTER: "after",
    SECOND: "second",
    GOOD: "good",
    BAD: "bad",
    OPEN: "open",
    VIOLET: "stage-4",
    AMBER: "stage-5",
}  # a colour drawn here is replaced by the CSS variable, which light and dark pages set
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "selfportrait",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Line:
    """One line of a chart: step -> value, and step -> how far the band reaches each way."""

    label: str
    values: dict[int, float]
    spread: dict[int, float] = field(default_factory=dict)


def line_chart(
    name: str, lines: Sequence[Line], text: str, *, is_from_zero: bool = False, level: float | None = None
) -> Markup:
    """Lines over the steps, faint, with their moving average on top; `text` says it in words, `level` is dotted."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(340, 190)
        if level is not None:
            axes.axhline(level, color=MUTED, linewidth=1, linestyle=":")
        for line, color in zip(lines, cycle(LINES), strict=False):
            _draw_line(axes, line, color)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("step")
        axes.margins(x=0.02)
        if is_from_zero:
            axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
        if len(lines) > 1:
            _legend(axes)
        return _svg(figure, name, text)


def _draw_line(axes: Axes, line: Line, color: str) -> None:
    steps, values = list(line.values), list(line.values.values())
    window = max(1, len(values) // 10)
    axes.plot(
        steps, values, color=color, linewidth=1, alpha=0.35 if window > 1 else 1, marker="." if len(steps) == 1 else ""
    )
    if window > 1:
        axes.plot(steps, _moving_average(values, window), color=color, linewidth=2, label=line.label)
    else:
        axes.lines[-1].set_label(line.label)
    if line.spread:
        reach = [line.spread.get(step, 0.0) for step in steps]
        low = [value - each for value, each in zip(values, reach, strict=True)]
        high = [value + each for value, each in zip(values, reach, strict=True)]
        axes.fill_between(steps, low, high, color=color, alpha=0.1, linewidth=0)


def _moving_average(values: list[float], window: int) -> list[float]:
    """Centred mean over up to 2 * window + 1 values, fewer at the ends."""
    parts = [values[max(0, place - window) : place + window + 1] for place in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def accuracy_chart(rows: Sequence[dict[str, Any]], text: str, *, is_share: bool = True) -> Markup:
    """Accuracy, or the mean score, before and after with intervals, one line a category; rows as the table has them."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(380, 60 + 36 * len(rows))
        for when, color, offset, marker in (("before", BEFORE, -0.15, "o"), ("after", AFTER, 0.15, "D")):
            _draw_accuracies(axes, [row[when] for row in rows], color=color, offset=offset, marker=marker, label=when)
        _name_rows(axes, rows)
        if is_share:
            axes.set_xlim(0, 1)
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        else:
            axes.margins(x=0.08)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        _legend(axes)
        return _svg(figure, "accuracy", text)


def change_chart(rows: Sequence[dict[str, Any]], text: str, *, is_share: bool = True) -> Markup:
    """Difference with its interval, one line a category, around zero; of accuracy in percentage points."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(380, 60 + 36 * len(rows))
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, row in enumerate(rows):
            difference, low, high = (finite(row["change"].get(key)) for key in ("difference", "low", "high"))
            color = TONES[row["tone"]]
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=color, linewidth=2.5, solid_capstyle="round")
            if difference is not None:
                axes.plot(difference, place, marker="D", markersize=7, color=color, linestyle="none")
        _name_rows(axes, rows)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        if is_share:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value * 100, 0)))
        return _svg(figure, "change", text)


def course_chart(name: str, cells: Sequence[dict[str, Any]], text: str, *, is_share: bool = True) -> Markup:
    """Accuracy before and after each round, with intervals, and pass@4 above it; small, one of several in a row.

    A score, which is no share, is drawn in its own unit, and so close that its changes are seen.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(190, 150)
        for key, color, marker, dashes in (("pass_at_4", BEFORE, ".", "--"), ("accuracy", AFTER, "D", "-")):
            values = [(place, finite(cell.get(key))) for place, cell in enumerate(cells)]
            known = [(place, value) for place, value in values if value is not None]
            if known:
                axes.plot(
                    *zip(*known, strict=True), color=color, linestyle=dashes, linewidth=1.5, marker=marker, markersize=5
                )
        for place, cell in enumerate(cells):
            low, high = finite(cell.get("low")), finite(cell.get("high"))
            if low is not None and high is not None:
                axes.plot([place, place], [low, high], color=AFTER, linewidth=2, solid_capstyle="round", alpha=0.6)
        later = ["after"] if len(cells) == 2 else [str(place) for place in range(len(cells) - 1)]
        axes.set_xticks(range(len(cells)), ["before", *later])
        axes.set_xlim(-0.3, len(cells) - 0.7)
        if is_share:
            axes.set_ylim(-0.02, 1.05)
            axes.set_yticks([0, 0.5, 1])
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        else:
            axes.margins(y=0.2)
            axes.yaxis.set_major_locator(MaxNLocator(3))
        return _svg(figure, name, text)


def step_chart(name: str, points: Sequence[dict[str, Any]], text: str, *, is_share: bool = True) -> Markup:
    """Accuracy, or the mean score, at the steps at which it was measured, with the band of its intervals."""
    steps = [point["step"] for point in points]
    values, low, high = ([point[key] for point in points] for key in ("accuracy", "low", "high"))
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(340, 190)
        axes.fill_between(steps, low, high, color=AFTER, alpha=0.15, linewidth=0)
        axes.plot(steps, values, color=AFTER, linewidth=1.5, marker="D", markersize=4)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("step")
        if is_share:
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        return _svg(figure, name, text)


def margin_chart(name: str, lines: Sequence[tuple[str, Sequence[float]]], text: str) -> Markup:
    """How often each margin occurs, as a share of the pairs, one outline a round."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(420, 190)
        every = [0.0, *(value for _, values in lines for value in values)]
        for (label, values), color in zip(lines, cycle(LINES), strict=False):
            axes.stairs(*_shares(values, min(every), max(every) or 1.0), color=color, linewidth=1.8, label=label)
        axes.set_xlabel("margin")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        if len(lines) > 1:
            _legend(axes)
        return _svg(figure, name, text)


def _shares(values: Sequence[float], low: float, high: float, num_bins: int = 15) -> tuple[list[float], list[float]]:
    """The share of the values in each bin between low and high, and the edges of the bins."""
    width = (high - low) / num_bins
    places = [min(num_bins - 1, int((value - low) / width)) for value in values]
    edges = [low + width * edge for edge in range(num_bins + 1)]
    return [places.count(place) / len(values) for place in range(num_bins)], edges


def _name_rows(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    axes.set_yticks(range(len(rows)), [_short(plain(row["name"])) for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(INK)
        label.set_fontweight("bold" if row["is_trained"] else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _short(name: str) -> str:
    """A name that leaves room for the chart; the table has it whole."""
    return name if len(name) <= 22 else name[:21] + "…"


def _draw_accuracies(
    axes: Axes, cells: Sequence[dict[str, Any]], *, color: str, offset: float, marker: str, label: str
) -> None:
    for place, cell in enumerate(cells):
        accuracy, low, high = (finite(cell.get(key)) for key in ("accuracy", "low", "high"))
        if accuracy is None:
            continue
        if low is not None and high is not None:
            axes.plot([low, high], [place + offset] * 2, color=color, linewidth=2, solid_capstyle="round")
        axes.plot(accuracy, place + offset, marker=marker, markersize=7, color=color, linestyle="none", label=label)
        label = "_" + label.removeprefix("_")  # one entry in the legend


def _figure(width: int, height: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, figure.add_subplot()


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.2, handlelength=1.2)


def _svg(figure: Figure, name: str, text: str) -> Markup:
    """The figure as an <svg> element that fills its place, with its own ids, page colours and a text alternative."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    prefix = re.sub(r"\W+", "-", name.lower())
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(text)}"', 1))  # noqa: S704 - our own SVG
