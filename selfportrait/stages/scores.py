"""From candidates to scores: what a judge said of each picture, and why it said nothing of some.

Read this to see what a missing score is and when there are too many.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from selfportrait import images, store
from selfportrait.stages.parts import shared_out
from selfportrait.stages.prompts import read_prompts
from selfportrait.types import Prompt, Score

__all__ = ["Judge", "check_missing", "read_scores", "save_scores", "score", "score_candidates"]

Judge = Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]]


def score(judge: Judge, prompts: Sequence[Prompt], pictures: Sequence[Image.Image]) -> list[Score]:
    """Judge pictures, one prompt each; a number that is not finite is a missing score.

    Raises ValueError when the judge returned another number of scores than there are pictures.
    """
    scores = judge(prompts, pictures)
    if len(scores) != len(pictures):
        raise ValueError(
            f"the judge {type(judge).__name__} returned {len(scores)} scores for {len(pictures)} pictures; it must "
            "return one each, in order, with the value None for a picture that it cannot judge"
        )
    return [_finite(one) for one in scores]


def _finite(given: Score) -> Score:
    if given.value is None or math.isfinite(given.value):
        return given
    return replace(given, value=None, reason=given.reason or f"the judge returned {given.value}")


def save_scores(folder: Path, step: int, ids: Sequence[str], judge: str, scores: Sequence[Score]) -> None:
    """Write one part of scores/: a missing score is null, with its reason."""
    rows = [
        {
            "candidate_id": id_,
            "judge": judge,
            "value": score.value,
            "reason": score.reason,
            "details": json.dumps(dict(score.details), sort_keys=True),
        }
        for id_, score in zip(ids, scores, strict=True)
    ]
    store.write_table(folder, step, rows, store.SCORES)


def score_candidates(judge: Judge, prompts: Path, candidates: Path, folder: Path, *, max_missing: float) -> None:
    """Judge every part of candidates/ by the base prompts' questions into a part of scores/.

    Raises ValueError where more than `max_missing` of all judgements failed.
    """
    by_id = {prompt.id: prompt for prompt in read_prompts(prompts)}
    with shared_out("judging candidates", folder, [1] * len(store.parts(candidates))) as missing:
        for index in missing:
            rows = store.read_part(candidates, index, ["id", "prompt_id", "image"]).to_pylist()
            pictures = [images.from_bytes(row["image"]["bytes"]) for row in rows]
            scores = score(judge, [by_id[row["prompt_id"]] for row in rows], pictures) if rows else []
            save_scores(folder, index, [row["id"] for row in rows], type(judge).__name__, scores)
    check_missing([one for _, one in read_scores(folder)], max_missing, "the candidates")


def read_scores(folder: Path, index: int | None = None) -> list[tuple[str, Score]]:
    """The candidates' ids and scores of a table, or of one of its parts."""
    table = store.read_table(folder) if index is None else store.read_part(folder, index)
    return [
        (row["candidate_id"], Score(row["value"], row["reason"], json.loads(row["details"])))
        for row in table.to_pylist()
    ]


def check_missing(scores: Sequence[Score], max_missing: float, what: str) -> None:
    """Refuse to train on too many failed judgements of what was judged; raises ValueError with the first reason."""
    missing = [score.reason for score in scores if score.value is None]
    if len(missing) > max_missing * len(scores):
        raise ValueError(
            f"{what}: {len(missing)} of {len(scores)} judgements are missing, more than recipe.max_missing = "
            f"{max_missing:g} allows; the first says: {missing[0]}"
        )
