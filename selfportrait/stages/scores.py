"""From candidates to scores: what a judge said of each picture, and why it said nothing of some.

Read this to see what a missing score is and when there are too many.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from selfportrait import store
from selfportrait.types import Prompt, Score

__all__ = ["Judge", "check_missing", "save_scores", "score"]

Judge = Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]]


def score(judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
    """Judge pictures, one prompt each; a number that is not finite is a missing score.

    Raises ValueError when the judge returned another number of scores than there are pictures.
    """
    scores = judge(prompts, images)
    if len(scores) != len(images):
        raise ValueError(
            f"the judge {type(judge).__name__} returned {len(scores)} scores for {len(images)} pictures; it must "
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


def check_missing(scores: Sequence[Score], max_missing: float, step: int) -> None:
    """Refuse to train on a batch with too many failed judgements; raises ValueError with the first reason."""
    missing = [score.reason for score in scores if score.value is None]
    if len(missing) > max_missing * len(scores):
        raise ValueError(
            f"step {step}: {len(missing)} of {len(scores)} judgements are missing, more than recipe.max_missing = "
            f"{max_missing:g} allows; the first says: {missing[0]}"
        )
