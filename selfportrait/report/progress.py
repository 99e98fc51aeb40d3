"""What happened while it trained: curves, health events, time and memory.

Read this to add a curve: a line in CURVES, or in PAIR_CURVES for a run that learns from pairs, is enough.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from selfportrait import store
from selfportrait.report.charts import Line, line_chart, step_chart
from selfportrait.report.form import finite, number, plain
from selfportrait.report.reading import RunRecord, round_name
from selfportrait.report.units import unit_of

__all__ = [
    "CURVES",
    "PAIR_CURVES",
    "Chart",
    "Costs",
    "Curve",
    "Stage",
    "costs",
    "events",
    "held_out_chart",
    "training_charts",
]


@dataclass(frozen=True)
class Curve:
    """A chart over the steps: metric keys with their labels, an optional spread, and how to read it.

    In how to read a curve of pairs, {each_round} becomes " every round", and nothing where only one is planned.
    """

    title: str
    keys: dict[str, str]
    reading: str
    spread: str | None = None
    is_from_zero: bool = False
    level: float | None = None


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

PAIR_CURVES = (
    Curve("Loss", {"loss": "loss"}, "Should fall. DPO starts{each_round} at log 2 = 0.693, where policy = reference."),
    Curve(
        "Reward margin",
        {"reward/margin": "margin"},
        "Implicit reward of the chosen minus that of the rejected. Should rise, in small steps.",
    ),
    Curve(
        "Reward accuracy",
        {"reward/accuracy": "accuracy"},
        "Share of pairs whose chosen has the higher implicit reward. Dotted is chance; close to 1 for long, the pairs "
        "are learnt by heart.",
        level=0.5,
    ),
    Curve(
        "Log-likelihood of the chosen",
        {"logp/chosen": "chosen"},
        "Mean of a picture token, or minus the denoising error. If it falls far, the model forgets what it should "
        "prefer: lower the learning rate, or add the loss sft.",
    ),
    Curve(
        "Log-likelihood of the rejected",
        {"logp/rejected": "rejected"},
        "Mean of a picture token, or minus the denoising error. Should fall below that of the chosen.",
    ),
    Curve("Gradient norm", {"grad_norm": "norm"}, "Before clipping. Should stay in one range; a climb is a warning."),
)

EVENTS = {
    "diversity_collapse": "Diversity collapse: the candidates of a group differ {value} times as much as in the first "
    "steps; the alarm is at {threshold}.",
    "error_runaway": "Error runaway: the denoising error of below-average candidates, relative to that of those above, "
    "is {value} times that of the first steps; the alarm is at {threshold}.",
}
PAIR_EVENTS = EVENTS | {
    "error_runaway": "Runaway: minus the log-likelihood of the rejected, relative to that of the chosen, is {value} "
    "times that of the first steps; the alarm is at {threshold}.",
    "chosen_forgotten": "Chosen forgotten: minus the log-likelihood of the chosen is {value} times that of the first "
    "steps; the alarm is at {threshold}.",
    "chosen_error_rising": "Chosen error rising: the denoising error of the chosen is above the reference's by a share "
    "of {value}; the alarm is at {threshold}.",
    "only_rejected_worse": "Only the rejected gets worse: its denoising error is above the reference's by a share of "
    "{value}, and that of the chosen is not below it; the alarm is at {threshold}.",
    "sigmoid_saturation": "Saturation: a share of {value} of the pairs has next to no gradient left; the alarm is at "
    "{threshold}.",
    "margin_runaway": "Margin runaway: the mean margin is {value}, so pairs are learnt by heart; the alarm is at "
    "{threshold}.",
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
    """Every curve of CURVES, or of PAIR_CURVES with a line a round; empty where no step was logged."""
    if not run.metrics:
        return []
    if not run.is_in_rounds:
        return [_chart(run, curve) for curve in CURVES]
    terms = sorted({key for row in run.metrics for key in row if key.startswith("loss/")})
    curves = [
        *PAIR_CURVES,
        *(Curve(f"Loss: {key[5:]}", {key: key[5:]}, "One term, without its weight.") for key in terms),
    ]
    return [_chart_of_rounds(run, curve) for curve in curves]


def held_out_chart(run: RunRecord) -> Chart | None:
    """How far the model was on the benchmark, measured step by measured step; None where it was at the ends only."""
    points = run.summary.get("by_step") or []
    if not points:
        return None
    unit = unit_of(*points)
    title = f"Held-out {unit.name}"
    said = ", ".join(f"{unit.value(point['accuracy'])} at step {point['step']}" for point in points)
    reading = (
        f"{unit.name.capitalize()} of all categories on the benchmark's held-out prompts, where it was measured; the "
        "band is the 95 % interval over prompts. Where it falls while the curves of the pairs still rise, train less."
    )
    svg = step_chart(title, points, f"{title} over the steps: {said}", is_share=not unit.is_score)
    return Chart(title, reading, svg, [])


def _chart_of_rounds(run: RunRecord, curve: Curve) -> Chart:
    key = next(iter(curve.keys))
    lines = [Line(one.name, values) for one in run.rounds if (values := _by_step(one.metrics, key))]
    reading = curve.reading.format(each_round=" every round" if run.plans_rounds else "")
    if not lines:
        return Chart(curve.title, reading, None, [key])
    text = f"{curve.title} over the steps: " + "; ".join(_in_words(line) for line in lines)
    return Chart(curve.title, reading, line_chart(curve.title, lines, text, level=curve.level), [])


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
    sentences = PAIR_EVENTS if run.is_in_rounds else EVENTS
    found = [
        _event(event, sentences, row.get("step"), one.name if run.plans_rounds else "")
        for one in run.rounds
        for row in one.metrics
        for event in row.get("events") or []
    ]
    texts = {event["text"] for event in found}
    for event in run.summary.get("health") or []:
        index = event.get("round") if isinstance(event, dict) else None
        told = _event(event, sentences, None, "" if index is None else round_name(index))
        found += [told] if index is not None or told["text"] not in texts else []
    return list({(event["step"], event["text"]): event for event in found}.values())


def _event(event: Any, sentences: dict[str, str], step: int | None = None, where: str = "") -> dict[str, str]:
    """An event as the monitor writes it: {"name", "step", "value", "threshold"}, or with a message of its own.

    Any other shape is shown as it is; `where` is its round.
    """
    if not isinstance(event, dict):
        return {"step": _when(step, where), "text": str(event)}
    sentence = sentences.get(str(event.get("name")))
    if sentence is not None:
        text = sentence.format(value=number(event.get("value")), threshold=number(event.get("threshold")))
    elif event.get("message"):
        text = str(event["message"])
    else:
        rest = {key: value for key, value in event.items() if key not in ("step", "round")}
        text = ", ".join(f"{plain(key)}: {value}" for key, value in rest.items())
    return {"step": _when(event.get("step", step), where), "text": text}


def _when(step: Any, where: str) -> str:
    """The step, and with several rounds which one's; nothing where neither is known."""
    if step is None:
        return where
    return f"{where}, step {step}" if where else str(step)


def costs(run: RunRecord) -> Costs:
    """Time by stage from the summary; of a run without one, what its steps, and in rounds its stages, took so far."""
    recorded = {name: finite(value) or 0.0 for name, value in run.summary.get("time_s", {}).items()}
    recorded.pop("total", None)
    parts = _step_parts(run)
    before = _stages_so_far(run) if run.is_in_rounds and not run.is_finished else {}
    seconds = recorded or before | {name: sum(values) for name, values in parts.items()}
    means = {name: sum(values) / len(values) for name, values in parts.items() if values}
    return Costs(
        stages=_stages(seconds),
        total=sum(seconds.values()),
        is_partial=not recorded,
        step=_stages(means),
        peak_memory_mb=finite(run.summary.get("peak_memory_mb")),
    )


def _stages_so_far(run: RunRecord) -> dict[str, float]:
    """The seconds of every stage that came to its end, all rounds together."""
    seconds: dict[str, float] = {}
    for row in store.read_jsonl(run.folder / "stages.jsonl"):
        seconds[row["stage"]] = seconds.get(row["stage"], 0.0) + row["seconds"]
    return seconds


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
