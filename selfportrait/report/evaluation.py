"""The page of an evaluation: each benchmark's numbers with who judged, and the pictures behind them.

Read this to see which pictures are shown: by rule, the first prompts of every category, with the first of their seeds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfportrait import measures, stages, store
from selfportrait.benchmarks.base import OVERALL
from selfportrait.evaluations import Evaluation, evaluations
from selfportrait.report.environment import environment
from selfportrait.report.reading import Picture, picture, read_table
from selfportrait.report.units import score

__all__ = ["Line", "Measured", "Seen", "write_evaluation"]

PROMPTS_SHOWN = 4  # of each category
SEEDS_SHOWN = 4  # of each prompt
LONGEST = 4000  # characters of details of one picture

Verdict = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One row of a benchmark's table, as text."""

    name: str
    value: str
    interval: str
    judged: str
    missing: int
    protocol: str
    is_overall: bool = False


@dataclass(frozen=True)
class Seen:
    """One picture with its verdict: exact is True, False or None, where there is only a score or none."""

    picture: Picture
    exact: bool | None
    verdict: str
    alt: str
    reason: str
    details: str


@dataclass(frozen=True)
class PromptSeen:
    """A prompt's first pictures."""

    prompt: str
    pictures: list[Seen]


@dataclass(frozen=True)
class Measured:
    """One benchmark on the page."""

    name: str
    metric: str
    is_approximate: bool
    lines: list[Line]
    further: list[tuple[str, str]]
    protocol: str
    categories: dict[str, list[PromptSeen]]
    settings: str


def write_evaluation(folder: Path) -> Path:
    """Write `report.html` into the folder of an evaluation, whole or not at all, and return its path.

    Only finished benchmarks are on it. Raises FileNotFoundError where there is none.
    """
    found = [one for one in evaluations(folder).values() if one.is_finished]
    if not found:
        raise FileNotFoundError(f"{folder} holds no finished evaluation: run the same selfportrait evaluate again")
    model = found[0].settings.get("model", {})
    name = str(model.get("images") or model.get("path") or model.get("name") or folder.name)
    text = (
        environment()
        .get_template("evaluation.html.j2")
        .render({"name": name, "benchmarks": [_measured(one) for one in found]})
    )
    path = folder / "report.html"
    store.write_bytes(path, text.encode())
    return path


def _measured(one: Evaluation) -> Measured:
    found = one.measured
    scale = found["scale"]
    lines = [_line(name, measure, scale) for name, measure in found["categories"].items()]
    if found["overall"] is not None:
        lines.append(_line(f"overall, {found['overall_is']}", found["overall"], scale, is_overall=True))
    return Measured(
        name=one.benchmark,
        metric=found["metric"] + ("" if scale == 1 else f", times {scale:g}"),
        is_approximate=any(line.protocol.startswith("approx") for line in lines),
        lines=lines,
        protocol=found["protocol"],
        further=[(name, score(value * scale)) for name, value in found["extra"].items()],
        categories=_pictures(one),
        settings=yaml.safe_dump(dict(one.settings), sort_keys=False, allow_unicode=True, width=100),
    )


def _line(name: str, one: measures.Measure, scale: float, *, is_overall: bool = False) -> Line:
    interval = "" if one["low"] is None else f"{_scaled(one['low'], scale)} to {_scaled(one['high'], scale)}"
    judged = f"{one['n']:,} of {one['expected']:,}"
    return Line(name, _scaled(one["value"], scale), interval, judged, one["missing"], one["protocol"], is_overall)


def _scaled(value: float | None, scale: float) -> str:
    return score(None if value is None else value * scale)


def _pictures(one: Evaluation) -> dict[str, list[PromptSeen]]:
    """The first prompts of every category of the table, read in one pass."""
    chosen: dict[str, dict[str, list[Verdict]]] = {}
    for row in stages.judged(one.table):
        prompts = chosen.setdefault(row["category"] or OVERALL, {})
        if row["prompt_id"] in prompts or len(prompts) < PROMPTS_SHOWN:
            prompts.setdefault(row["prompt_id"], []).append(row)
    ids = [prompt_id for prompts in chosen.values() for prompt_id in prompts]
    cells = read_table(one.table, ["prompt_id", "index", "image"], only=("prompt_id", ids))
    images = {(cell["prompt_id"], cell["index"]): cell["image"] for cell in cells if cell["index"] < SEEDS_SHOWN}
    return {
        category: [_prompt_seen(several, images) for several in prompts.values()]
        for category, prompts in chosen.items()
    }


def _prompt_seen(rows: Sequence[Verdict], images: Mapping[tuple[str, int], Any]) -> PromptSeen:
    shown = [row for row in rows if row["index"] < SEEDS_SHOWN]
    return PromptSeen(rows[0]["prompt"], [_seen(row, images.get((row["prompt_id"], row["index"]))) for row in shown])


def _seen(row: Verdict, cell: Any) -> Seen:
    verdict = _in_words(row)
    alt = f"Picture {row['index'] + 1}, {verdict}: {row['prompt']}"
    details = json.loads(row["details"] or "{}")
    text = yaml.safe_dump(details, sort_keys=False, allow_unicode=True, width=100) if details else ""
    return Seen(picture(cell), row["exact"], verdict, alt, row["reason"] or "", text[:LONGEST])


def _in_words(row: Verdict) -> str:
    if row["exact"] is not None:
        return "right" if row["exact"] else "wrong"
    return "not judged" if row["score"] is None else score(row["score"])
