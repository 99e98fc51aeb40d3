"""`selfportrait judge`: score picture files with any judge, each only once.

Read this to see how a missing score is shown, never as a number, and which scores are not asked for again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich import box
from rich.table import Table
from rich.text import Text

from selfportrait import progress, stages
from selfportrait.commands import imagefolder
from selfportrait.config import Section
from selfportrait.score_cache import Key, ScoreCache, file_hash, identity
from selfportrait.stages.scores import Judge
from selfportrait.types import Prompt, Score

__all__ = ["Verdict", "as_json", "judge", "score_table"]

PICTURES_AT_ONCE = 64

Described = tuple[Path, str]  # a picture file and its prompt
Item = TypeVar("Item")


class Verdict(NamedTuple):
    """One picture file, its prompt and what the judge said."""

    path: Path
    prompt: str
    score: Score


def judge(section: Section, paths: Sequence[Path], prompt: str | None, cache: Path | None) -> list[Verdict]:
    """Score every picture; the prompts are read before the first one is judged.

    Scores that are kept in the folder `cache` are taken from there, and new ones are kept batch by batch; without one
    every picture is judged.
    """
    scorer = section.build()
    pairs = imagefolder.described(paths, prompt)
    with progress.bar("judging", total=len(pairs)) as advance:
        if cache is None:
            return [
                Verdict(path, text, score)
                for part in _batches(pairs)
                for (path, text), score in zip(part, _scores(scorer, part, advance), strict=True)
            ]
        keys = [Key(file_hash(path), text) for path, text in pairs]
        found = _with_cache(scorer, lambda: _cache(section, cache), dict(zip(keys, pairs, strict=True)), advance)
    return [Verdict(path, text, found[key]) for (path, text), key in zip(pairs, keys, strict=True)]


def _with_cache(
    scorer: Judge, opened: Callable[[], ScoreCache], wanted: Mapping[Key, Described], advance: progress.Advance
) -> dict[Key, Score]:
    """The scores of pictures, kept or new; a picture that comes twice is judged once.

    Only after the first batch is it known which weights judge: a model of the hub may come in another version with it.
    """
    kept = opened().read()
    found: dict[Key, Score] = {}
    for part in _batches([key for key in wanted if key not in kept][:PICTURES_AT_ONCE]):
        found = dict(zip(part, _scores(scorer, [wanted[key] for key in part], advance), strict=True))
        opened().add(found.items())
    cache = opened()
    kept = cache.read()
    known = {key: kept[key] for key in wanted if key in kept and key not in found}
    advance(len(known))
    found |= known
    for part in _batches([key for key in wanted if key not in found]):
        new = dict(zip(part, _scores(scorer, [wanted[key] for key in part], advance), strict=True))
        cache.add(new.items())
        found |= new
    return found


def _scores(scorer: Judge, pairs: Sequence[Described], advance: progress.Advance) -> list[Score]:
    prompts = [Prompt(id=text, text=text) for _, text in pairs]
    scores = stages.score(scorer, prompts, [imagefolder.read_picture(path) for path, _ in pairs])
    advance(len(pairs))
    return scores


def _batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + PICTURES_AT_ONCE] for start in range(0, len(items), PICTURES_AT_ONCE)]


def _cache(section: Section, folder: Path) -> ScoreCache:
    return ScoreCache(folder, section.resolved["name"], identity(section))


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
