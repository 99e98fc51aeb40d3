"""`selfportrait judge`: score picture files with any judge.

Read this to see how a missing score is shown: never as a number.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from rich import box
from rich.table import Table
from rich.text import Text

from selfportrait import progress
from selfportrait.commands import imagefolder
from selfportrait.types import Prompt, Score

__all__ = ["Verdict", "as_json", "judge", "score_table"]

PICTURES_AT_ONCE = 64


class Verdict(NamedTuple):
    """One picture file, its prompt and what the judge said."""

    path: Path
    prompt: str
    score: Score


def judge(
    scorer: Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]], paths: Sequence[Path], prompt: str | None
) -> list[Verdict]:
    """Score every picture; the prompts are read before the first one is judged."""
    pairs = imagefolder.described(paths, prompt)
    verdicts: list[Verdict] = []
    with progress.bar("judging", total=len(pairs)) as advance:
        for start in range(0, len(pairs), PICTURES_AT_ONCE):
            part = pairs[start : start + PICTURES_AT_ONCE]
            prompts = [Prompt(id=text, text=text) for _, text in part]
            scores = scorer(prompts, [imagefolder.read_picture(path) for path, _ in part])
            verdicts += [Verdict(path, text, score) for (path, text), score in zip(part, scores, strict=True)]
            advance(len(part))
    return verdicts


def as_json(verdicts: Sequence[Verdict]) -> str:
    """A JSON list with image, prompt, score (null where missing), reason and details."""
    rows = [
        {
            "image": str(path),
            "prompt": prompt,
            "score": score.value,
            "reason": score.reason,
            "details": dict(score.details),
        }
        for path, prompt, score in verdicts
    ]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def score_table(verdicts: Sequence[Verdict]) -> Table:
    """Lay out verdicts: a picture a row, the mean of the scores below."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    values = [verdict.score.value for verdict in verdicts if verdict.score.value is not None]
    mean = f"{sum(values) / len(values):.3f}" if values else "-"
    table.add_column(
        "image", footer=f"{len(verdicts)} pictures, {len(verdicts) - len(values)} missing", overflow="fold"
    )
    table.add_column("prompt", footer="mean")
    table.add_column("score", footer=mean)
    for path, prompt, score in verdicts:
        said = f"missing: {score.reason}" if score.value is None else f"{score.value:.3f}"
        table.add_row(Text(str(path)), Text(prompt), Text(said))
    return table
