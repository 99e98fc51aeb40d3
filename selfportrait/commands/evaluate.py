"""`selfportrait evaluate`: measure a model with benchmarks, in folders that remember what was measured.

Read this to see what `--run` keeps, whose a setting is, and what the table shows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from selfportrait import components, config, measures, stages, store
from selfportrait.benchmarks.base import OVERALL, Benchmark, aggregate
from selfportrait.commands.given_pictures import Given, given_pictures
from selfportrait.commands.improve import accuracy_cell, accuracy_layout, pass_cell
from selfportrait.commands.loading import Source
from selfportrait.config import Section
from selfportrait.evaluations import FILE, is_published, mean_scores, summed
from selfportrait.stages.evaluation import PICTURES_PER_PART, PROMPTS_PER_PART, Pictures, Shown
from selfportrait.types import Prompt

__all__ = ["accuracy_table", "build", "digits", "evaluate_all", "measured_table", "sections", "value_cell"]

PREFIX = "benchmark"


# Settings


def sections(names: Sequence[str], settings: Mapping[str, Any], seed: int | None) -> dict[str, Section]:
    """Check the settings of each benchmark: `benchmark.NAME.KEY`, and `KEY` alone where there is one benchmark.

    Raises ValueError for an unknown benchmark or setting, and for one that is nobody's.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"--benchmark {','.join(names)}: name each benchmark once")
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in settings.items():
        name, rest = _owner(key, names)
        own[name][rest] = value
    for name in names if seed is not None else ():
        own[name]["seed"] = seed
    return {name: config.bind_section("benchmark", {"name": name, **own[name]}) for name in names}


def _owner(key: str, names: Sequence[str]) -> tuple[str, str]:
    head, _, rest = key.partition(".")
    name, _, setting = rest.partition(".")
    if head == PREFIX and name in names and setting:
        return name, setting
    if head == PREFIX and setting:
        raise ValueError(f"--set {key}: {name} is not measured: {components.nearest(name, names)}")
    if len(names) == 1:
        return names[0], rest if head == PREFIX and rest else key
    raise ValueError(f"--set {key}: say whose setting it is, such as {PREFIX}.{names[0]}.{key}")


# Measuring


def build(wanted: Mapping[str, Section]) -> dict[str, Any]:
    """Build each benchmark and what judges for it; what can be wrong with them is found here, before weights load."""
    built = {name: section.build() for name, section in wanted.items()}
    for benchmark in built.values():
        if isinstance(benchmark, measures.Published):
            benchmark.ready()
    return built


def evaluate_all(
    source: Source | Given, wanted: Mapping[str, Section], built: Mapping[str, Any], folder: Path
) -> dict[str, dict[str, Any]]:
    """Measure with each benchmark and return what came of it, by name.

    Every benchmark has a folder of its own below `folder`, so that others can join later; one benchmark of one's own
    has `folder` itself. A folder goes on where it was stopped, with the same model and settings only.
    """
    held: list[Any] = []  # the model, once a benchmark needs it

    def model() -> Any:
        if not held:
            assert isinstance(source, Source)
            held.append(source.load())
        return held[0]

    places = {name: folder if _is_alone(wanted) else folder / name for name in wanted}
    return {name: _measured(source, model, wanted[name], built[name], places[name]) for name in wanted}


def _is_alone(wanted: Mapping[str, Section]) -> bool:
    return len(wanted) == 1 and not any(is_published(section.component) for section in wanted.values())


def _measured(
    source: Source | Given, model: Callable[[], Any], section: Section, built: Any, folder: Path
) -> dict[str, Any]:
    settings = {"model": source.identity, "benchmark": section.resolved}
    name = section.resolved["name"]
    if isinstance(source, Given) and section.takes_policy:
        raise ValueError(f"{name} is judged by the model itself: name the model, and leave --images out")
    with store.Run.open(folder, {"settings": settings}) as run:
        benchmark = stages.hand_over(built, policy=model()) if section.takes_policy else built
        if isinstance(source, Given):
            pictures = given_pictures(source, section, benchmark)
        else:
            pictures = _drawn_later(model, benchmark)
        result = _judged(benchmark, pictures, run.path("evaluation"), name)
        store.write_json(run.path(FILE), result)
    return result


def _drawn_later(model: Callable[[], Any], benchmark: Benchmark) -> Pictures:
    """Pictures of a model that is loaded when the first is drawn: a finished evaluation needs none."""

    def draw(prompts: Sequence[Prompt]) -> list[list[Shown]]:
        return stages.drawn_by(model(), benchmark)(prompts)

    return draw


def _judged(benchmark: Benchmark, pictures: Pictures, folder: Path, name: str) -> dict[str, Any]:
    if not isinstance(benchmark, measures.Published):
        stages.judge_pictures(pictures, benchmark, folder, PROMPTS_PER_PART)
        rows = stages.verdicts(folder)
        if any(row["exact"] is None and row["score"] is not None for row in rows):  # a judge of more and less
            return {**mean_scores(rows)}
        return dict(aggregate(rows))
    prompts = benchmark.prompts()
    per_part = max(1, min(PROMPTS_PER_PART, PICTURES_PER_PART // max(1, len(benchmark.seeds(prompts[0])))))
    stages.judge_pictures(pictures, benchmark, folder, per_part, label=name)
    return {**measures.summarise(benchmark, stages.judged(folder), benchmark.protocol)}


# Tables


def accuracy_table(result: dict[str, Any]) -> Table:
    """Lay out accuracies: a category a row."""
    table = accuracy_layout("Pictures that are exactly right", "accuracy, %", "pass@4, %", "pictures", "missing")
    for name in sorted(result, key=lambda name: (name == "overall", name)):
        row = result[name]
        cells = (accuracy_cell(row), pass_cell(row), str(row["n"]), str(row.get("missing", 0)))
        table.add_row(name, *cells, style="bold" if name == "overall" else "")
    return table


def measured_table(benchmark: str, result: Mapping[str, Any]) -> Table:
    """Lay out a published benchmark: a category a row, the overall number last if there is one, each with its judge."""
    found = summed(benchmark, result)
    title = f"{benchmark}: {found['metric']}" + (f", times {found['scale']:g}" if found["scale"] != 1 else "")
    has_passes = any("4" in one["pass_at"] for _, one in _rows(found))
    table = accuracy_layout(title, "value", *(["pass@4, %"] if has_passes else []), "judged", "missing")
    table.add_column("protocol")
    for name, one in _rows(found):
        label = f"{name}, {found['overall_is']}" if name == OVERALL else name
        passed = [pass_cell({"pass_at_4": one["pass_at"].get("4")})] if has_passes else []
        judged = f"{one['n']} of {one['expected']}"
        cells = (value_cell(one, found["scale"]), *passed, judged, str(one["missing"]), one["protocol"])
        table.add_row(label, *cells, style="bold" if name == OVERALL else "")
    for name, value in found["extra"].items():
        blank = [""] * (len(table.columns) - 3)
        table.add_row(name, digits(value * found["scale"]), *blank, found["protocol"])
    return table


def _rows(found: measures.Measured) -> Iterator[tuple[str, measures.Measure]]:
    yield from found["categories"].items()
    if found["overall"] is not None:
        yield OVERALL, found["overall"]


def value_cell(one: Mapping[str, Any], scale: float) -> str:
    """A value with its interval: 0.412 (0.379–0.446); a dash where nothing was judged."""
    if one["value"] is None:
        return "–"
    return f"{digits(one['value'] * scale)} ({digits(one['low'] * scale)}–{digits(one['high'] * scale)})"


def digits(value: float) -> str:
    """Four digits that say something: 0.4123, 21.95, 63.18."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
