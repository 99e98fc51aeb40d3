"""What happened while it trained: curves, health events, time and memory.

Read this to add a curve: a line in CURVES is enough.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from selfportrait.report.charts import Line, line_chart
from selfportrait.report.form import finite, number, plain
from selfportrait.report.reading import RunRecord

__all__ = ["CURVES", "Chart", "Costs", "Curve", "Stage", "costs", "events", "training_charts"]


@dataclass(frozen=True)
class Curve:
    """A chart over the steps: metric keys with their labels, an optional spread, and how to read it."""

    title: str
    keys: dict[str, str]
    reading: str
    spread: str | None = None
    is_from_zero: bool = False


CURVES = (
    Curve(
        "Reward",
        {"reward/mean": "mean"},
        "Should rise. The band is one standard deviation each way.",
        spread="reward/std",
    ),
    Curve(
        "Denoising error",
        {"error/above": "above average", "error/below": "below average"},
        "Above-average candidates should get easier to predict. The error of those below has no ceiling: "
        "if it runs away, the model is collapsing.",
    ),
    Curve(
        "Diversity",
        {"diversity": "diversity"},
        "How different the candidates of a group are. A fall towards zero is collapse.",
        is_from_zero=True,
    ),
    Curve("Gradient norm", {"grad_norm": "norm"}, "Before clipping. Should stay in one range; a climb is a warning."),
    Curve(
        "Groups",
        {"groups/kept": "trained on", "groups/skipped": "skipped"},
        "A group whose candidates all score the same teaches nothing and is skipped.",
        is_from_zero=True,
    ),
    Curve("Loss", {"loss": "loss"}, "Weighted by advantages, so it has no floor and no target: judge by the reward."),
)

EVENTS = {
    "diversity_collapse": "Diversity collapse: the candidates of a group differ {value} times as much as in the first "
    "steps; the alarm is at {threshold}.",
    "error_runaway": "Error runaway: the denoising error of below-average candidates, relative to that of those above, "
    "is {value} times that of the first steps; the alarm is at {threshold}.",
}


@dataclass(frozen=True)
class Chart:
    """A curve as drawn; `svg` is None where none of its metrics was recorded."""

    title: str
    reading: str
    svg: Markup | None
    missing: list[str]


@dataclass(frozen=True)
class Stage:
    """A stage's share of the time."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Costs:
    """Time by stage, seconds in one step by part, and memory."""

    stages: list[Stage]
    total: float
    is_partial: bool
    step: list[Stage]
    peak_memory_mb: float | None


def training_charts(run: RunRecord) -> list[Chart]:
    """Every curve of CURVES; empty where no step was logged."""
    return [_chart(run, curve) for curve in CURVES] if run.metrics else []


def _chart(run: RunRecord, curve: Curve) -> Chart:
    series = {label: _by_step(run.metrics, key) for key, label in curve.keys.items()}
    spread = _by_step(run.metrics, curve.spread) if curve.spread else {}
    lines = [Line(label, values, spread) for label, values in series.items() if values]
    missing = [key for key, label in curve.keys.items() if not series[label]]
    if not lines:
        return Chart(curve.title, curve.reading, None, missing)
    text = f"{curve.title} over the steps: " + "; ".join(_in_words(line) for line in lines)
    return Chart(
        curve.title, curve.reading, line_chart(curve.title, lines, text, is_from_zero=curve.is_from_zero), missing
    )


def _by_step(metrics: list[dict[str, Any]], key: str) -> dict[int, float]:
    """Step -> value, averaged where a step logged several updates; what is not a finite number is left out."""
    values: dict[int, list[float]] = {}
    for row in metrics:
        value = finite(row.get(key))
        if value is not None and isinstance(row.get("step"), int):
            values.setdefault(row["step"], []).append(value)
    return {step: sum(numbers) / len(numbers) for step, numbers in sorted(values.items())}


def _in_words(line: Line) -> str:
    (first, start), (last, end) = next(iter(line.values.items())), next(reversed(line.values.items()))
    return f"{line.label} {number(start, 3)} at step {first}, {number(end, 3)} at step {last}"


def events(run: RunRecord) -> list[dict[str, str]]:
    """Health events of the steps and of the summary, each once, as {"step", "text"}."""
    found = [_event(event, row.get("step")) for row in run.metrics for event in row.get("events") or []]
    found += [_event(event, None) for event in run.summary.get("health") or []]
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for event in found:
        seen.setdefault((event["step"], event["text"]), event)
    texts_with_step = {event["text"] for event in seen.values() if event["step"]}
    return [event for event in seen.values() if event["step"] or event["text"] not in texts_with_step]


def _event(event: Any, step: int | None) -> dict[str, str]:
    """An event as the monitor writes it: {"name", "step", "value", "threshold"}; any other shape is shown as it is."""
    if not isinstance(event, dict):
        return {"step": "" if step is None else str(step), "text": str(event)}
    step = event.get("step", step)
    sentence = EVENTS.get(str(event.get("name")))
    if sentence is None:
        text = ", ".join(f"{plain(key)}: {value}" for key, value in event.items() if key != "step")
    else:
        text = sentence.format(value=number(event.get("value")), threshold=number(event.get("threshold")))
    return {"step": "" if step is None else str(step), "text": text}


def costs(run: RunRecord) -> Costs:
    """Time by stage from the summary; of a run without one, what its steps took so far."""
    recorded = {name: finite(value) or 0.0 for name, value in run.summary.get("time_s", {}).items()}
    recorded.pop("total", None)
    parts = _step_parts(run)
    seconds = recorded or {name: sum(values) for name, values in parts.items()}
    means = {name: sum(values) / len(values) for name, values in parts.items() if values}
    return Costs(
        stages=_stages(seconds),
        total=sum(seconds.values()),
        is_partial=not recorded,
        step=_stages(means),
        peak_memory_mb=finite(run.summary.get("peak_memory_mb")),
    )


def _step_parts(run: RunRecord) -> dict[str, list[float]]:
    parts: dict[str, list[float]] = {}
    for row in run.timing:
        for key, value in row.items():
            seconds = finite(value)
            if key.endswith("_s") and seconds is not None:
                parts.setdefault(key.removesuffix("_s"), []).append(seconds)
    return parts


def _stages(seconds: dict[str, float]) -> list[Stage]:
    total = sum(seconds.values()) or 1.0
    return [Stage(name, value, value / total) for name, value in seconds.items()]
