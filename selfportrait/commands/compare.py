"""`selfportrait compare`: several configs on the same pairs and seeds, or runs that are there, in one table.

Read this to see what runs share, and over what an interval is: the held-out prompts, with the pictures of all seeds.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from selfportrait import config, store
from selfportrait.benchmarks.base import aggregate
from selfportrait.benchmarks.base import compare as changes
from selfportrait.commands import improve, targets
from selfportrait.report.form import duration
from selfportrait.report.units import Unit, judged_by, unit_of
from selfportrait.stages import verdicts

__all__ = ["Compared", "as_json", "compare", "numbers", "table", "target_table"]

_DRAWN = ("seed", "model", "prompts", "benchmark", "recipe.candidates_per_prompt")
_ENCODED = ("recipe.crop", "recipe.flip", "weights", "planner", "detector", "instance_judge", "vlm")
_PAIRED = (*_DRAWN, "judge", "selection", "preferences")
SHARED = {
    "evaluation/before": ("model", "benchmark"),  # whose pictures have seeds of their own
    "watch/before": ("model", "benchmark", "watch", "judge"),
    "prompts": _DRAWN,
    "candidates": _DRAWN,
    "scores": (*_DRAWN, "judge"),
    "preferences": _PAIRED,
    "instances": (*_PAIRED, *_ENCODED),
    "latents": (*_PAIRED, *_ENCODED),
    "texts": (*_PAIRED, "recipe.empty_prompts"),
}
"""Tables of the recipe offline that runs have in common, each with the settings that it depends on."""


class Compared(NamedTuple):
    """What came of a config or run, all seeds together; `against` is how it compares with the first."""

    name: str
    num_seeds: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    change: Mapping[str, Any]
    against: Mapping[str, Any] | None
    train_s: float
    scored_by: str
    curves: Sequence[targets.Curve]
    to_target: targets.Reached | None = None


def compare(
    items: Sequence[str],
    overrides: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    target: float | None = None,
) -> list[Compared]:
    """Run each config with each seed in a folder below `folder`, take runs as they are, and compare them.

    `target` is a gain in points, or in a score's unit. Raises ValueError before anything runs where a config or the
    target is wrong, and for runs that were not measured alike.
    """
    planned = {_name(item): list(_planned(item, overrides, seeds, folder)) for item in items}
    if len(planned) != len(items):
        raise ValueError(f"{', '.join(items)}: two of them have the same name; give each run or config once")
    targets.check(target, is_measured=any(_is_measured(run) for runs in planned.values() for run in runs))
    done: list[Path] = []
    for runs in planned.values():
        for run in runs:
            if run.config is not None:
                _share(run, done)
                improve.run(run.config, run.folder)
            done.append(run.folder)
    first: list[Mapping[str, Any]] | None = None
    found = []
    for name, runs in planned.items():
        after = _rows(runs, "after")
        found.append(_compared(name, runs, after, first))
        first = first or after
    return _with_target(found, target)


def _with_target(compared: list[Compared], target: float | None) -> list[Compared]:
    """The same with when each came to the target, by default half of the best gain at the end."""
    gain = max(one.after["accuracy"] - one.before["accuracy"] for one in compared) / 2
    if target is not None:
        gain = target if _unit(compared).is_score else target / 100
    if gain <= 0:
        return compared
    return [one._replace(to_target=targets.reached(one.curves, gain) if one.curves else None) for one in compared]


class _Run(NamedTuple):
    folder: Path
    config: config.Config | None


def _is_measured(run: _Run) -> bool:
    """Whether a run was, or will be, measured during training."""
    if run.config is None:
        return "by_step" in store.read_json(run.folder / "summary.json")
    return run.config.settings["recipe"].get("evaluate_every") is not None


def _name(item: str) -> str:
    return Path(item).stem if not Path(item).is_dir() else Path(item).name


def _planned(item: str, overrides: Sequence[str], seeds: Sequence[int], folder: Path) -> Iterator[_Run]:
    """The runs of a config, one a seed, or the run in a folder."""
    if Path(item).is_dir():
        if not (Path(item) / "summary.json").is_file():
            raise ValueError(f"{item} is no finished run: it has no summary.json; finish it with selfportrait improve")
        yield _Run(Path(item), None)
        return
    for seed in seeds:
        checked = config.bind(config.load(item, [*overrides, f"seed={seed}"]))
        yield _Run(folder / f"{_name(item)}-seed-{seed}", checked)


def _share(run: _Run, done: Sequence[Path]) -> None:
    """Link the tables that an earlier run made under the same settings into a new one: the same files, once on disk."""
    assert run.config is not None
    if run.folder.exists():
        return
    own = _flat(run.config.settings)
    with improve.opened(run.config, run.folder):
        for table, keys in SHARED.items():
            for other in done:
                theirs = _flat(store.read_json(other / "config.json")["settings"])
                if (other / "round-0" / table).is_dir() and _agree(own, theirs, keys):
                    _link(other / "round-0" / table, run.folder / "round-0" / table)
                    break


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sections, and the recipe's settings each by itself."""
    return {**settings, **{f"recipe.{name}": value for name, value in settings["recipe"].items()}}


def _agree(own: Mapping[str, Any], theirs: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return own["recipe.name"] == theirs["recipe.name"] and all(own.get(key) == theirs.get(key) for key in keys)


def _link(source: Path, target: Path) -> None:
    """Files of a part before the part itself, whose being there says that all of it is."""
    for file in sorted(source.rglob("*"), key=lambda path: (path.suffix == ".parquet", path)):
        if file.is_file():
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target / file.relative_to(source))


def _rows(runs: Sequence[_Run], when: str) -> list[Mapping[str, Any]]:
    """The verdicts of all seeds; a prompt's pictures of each count together."""
    return [row for run in runs for row in verdicts(_evaluation(run.folder, when))]


def _evaluation(folder: Path, when: str) -> Path:
    """The pictures before the first round, or after the last."""
    rounds = sorted(folder.glob("round-*"), key=lambda path: int(path.name.removeprefix("round-")))
    return (rounds[0] if when == "before" else rounds[-1]) / "evaluation" / when


def _compared(
    name: str, runs: Sequence[_Run], after: list[Mapping[str, Any]], first: list[Mapping[str, Any]] | None
) -> Compared:
    before = _rows(runs, "before")
    summaries = [store.read_json(run.folder / "summary.json") for run in runs]
    seconds = [summary["time_s"].get("train", 0.0) for summary in summaries]
    curves = [summary.get("by_step", []) for summary in summaries]
    return Compared(
        name,
        len(runs),
        aggregate(before)["overall"],
        aggregate(after)["overall"],
        changes(before, after)["overall"]._asdict(),
        None if first is None else changes(first, after)["overall"]._asdict(),
        sum(seconds) / len(seconds),
        judged_by(store.read_json(runs[0].folder / "config.json").get("settings", {})),
        curves if all(curves) else [],
    )


def _unit(compared: Sequence[Compared]) -> Unit:
    return unit_of(*(one.after for one in compared))


def table(compared: Sequence[Compared]) -> Table:
    """A config or run a row: accuracy or mean score before and after, change, and the difference from the first row."""
    first, unit = compared[0], _unit(compared)
    title = f"{improve.measured_title(unit, first.after['n'], first.scored_by)}, with 95 % intervals over prompts"
    columns = (f"before{unit.of_value}", f"after{unit.of_value}", f"change{unit.of_change}", f"against {first.name}")
    found = improve.accuracy_layout(title, "seeds", *columns, "training")
    found.columns[0].header = ""
    for one in compared:
        found.add_row(
            one.name,
            str(one.num_seeds),
            unit.bare(one.before["accuracy"]),
            improve.accuracy_cell(one.after, unit),
            improve.change_text(one.change, unit),
            "" if one.against is None else improve.change_text(one.against, unit),
            duration(one.train_s),
        )
    return found


def target_table(compared: Sequence[Compared], *, is_given: bool) -> Table | None:
    """When each came to the target, a row each; None where none was measured during training."""
    lines = {one.name: one.to_target for one in compared}
    return targets.table(lines, _unit(compared), is_given=is_given) if any(lines.values()) else None


def as_json(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [one._asdict() | {"to_target": one.to_target and one.to_target._asdict()} for one in compared]


def numbers(text: str) -> list[int]:
    """Read seeds, such as 0,1,2; raises ValueError for anything else."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds {text}: expected whole numbers with commas between them, such as 0,1,2") from error
    if min(found) < 0 or len(set(found)) != len(found):
        raise ValueError(f"--seeds {text}: expected different numbers, 0 or larger")
    return found
