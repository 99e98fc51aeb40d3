"""From scores to preferences: groups with advantages, or pairs with margins.

Read this to see what a recipe trains on, which prompts it does not train on, and why.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from selfportrait import images, processes, store
from selfportrait.selection.base import Judged, PairSelection, pair_quality
from selfportrait.stages.candidates import is_hard_negative
from selfportrait.stages.parts import Yield, count, own_missing, read_counts, write_part
from selfportrait.stages.prompts import read_prompts
from selfportrait.stages.scores import read_scores
from selfportrait.types import Pair, Prompt, Score

__all__ = ["pair_rows", "preference_rows", "select_pairs"]

Check = Callable[[Sequence[Prompt], Sequence[Image.Image]], Sequence[Score]]


def select_pairs(
    selection: PairSelection,
    prompts: Path,
    candidates: Path,
    scores: Path,
    folder: Path,
    seed: int,
    min_margin: float,
    check: Check,
) -> Yield:
    """Choose pairs among the candidates of every part of scores/ into a part of preferences/; returns the counts.

    A pair with a margin below `min_margin` is counted as ambiguous, one whose chosen picture `check` calls wrong as
    false; both are trained on. All candidates of a prompt must be in one part.
    """
    by_id = {prompt.id: prompt for prompt in read_prompts(prompts)}
    for index in own_missing(folder, len(store.parts(scores))):
        rows = store.read_part(candidates, index, ["id", "prompt_id", "prompt", "index"]).to_pylist()
        drawn = {row["id"]: row for row in rows}
        judged = [_judged(drawn[id], score) for id, score in read_scores(scores, index)]
        selected = selection(judged, seed)
        is_right = _verdicts(selected.pairs, by_id, candidates, index, check)
        quality = pair_quality(selected.pairs, min_margin=min_margin, is_right=is_right)._asdict()
        counts = {**count(quality.pop("num_pairs"), selected.dropped), **quality}
        write_part(folder, index, pair_rows(selected.pairs, by_id, drawn), store.PAIRS, counts)
    processes.wait()
    return read_counts(folder)


def _judged(row: Mapping[str, Any], score: Score) -> Judged:
    answers = tuple(_answer(question) for question in score.details.get("questions", ()))
    return Judged(row["prompt_id"], row["id"], row["index"], score, is_hard_negative(row["id"]), answers)


def _answer(question: Mapping[str, Any]) -> float:
    """An answer in [-1, 1], above 0 where it is that of a faithful picture; a judge that is exact says yes or no."""
    towards_yes = question["p_yes"] - question["p_no"] if "p_yes" in question else 1.0 if question["yes"] else -1.0
    return towards_yes if question.get("expected", True) else -towards_yes


def _verdicts(
    pairs: Sequence[Pair], prompts: Mapping[str, Prompt], candidates: Path, index: int, check: Check
) -> dict[str, bool | None]:
    """What `check` says of each chosen picture: right, wrong, or nothing."""
    prompt_of = {pair.chosen_id: prompts[pair.prompt_id] for pair in pairs}
    rows = [row for row in store.read_part(candidates, index, ["id", "image"]).to_pylist() if row["id"] in prompt_of]
    pictures = [images.from_bytes(row["image"]["bytes"]) for row in rows]
    scores = check([prompt_of[row["id"]] for row in rows], pictures)
    return {row["id"]: _is_right(score) for row, score in zip(rows, scores, strict=True)}


def _is_right(score: Score) -> bool | None:
    """Nothing where nobody judged, or by a judge that knows no right and wrong."""
    exact: bool | None = score.details.get("exact")
    return None if score.value is None else exact


def pair_rows(
    pairs: Sequence[Pair], prompts: Mapping[str, Prompt], candidates: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Pairs as rows of preferences/."""
    return [
        {
            "prompt_id": pair.prompt_id,
            "prompt": prompts[pair.prompt_id].text,
            "rejected_prompt": candidates[pair.rejected_id]["prompt"] if is_hard_negative(pair.rejected_id) else None,
            "chosen_id": pair.chosen_id,
            "rejected_id": pair.rejected_id,
            "chosen_score": pair.chosen_score,
            "rejected_score": pair.rejected_score,
            "margin": pair.margin,
        }
        for pair in pairs
    ]


def preference_rows(
    ids: Sequence[str], prompts: Sequence[Prompt], step: int, rewards: Tensor, advantages: Tensor, keep: Tensor
) -> list[dict[str, Any]]:
    """Groups as rows of preferences/, one a candidate; a missing reward is null."""
    size = advantages.shape[1]
    return [
        {
            "candidate_id": id_,
            "group_id": f"{prompts[row // size].id}@{step}",
            "step": step,
            "reward": None if math.isnan(reward) else reward,
            "advantage": advantage,
            "kept": bool(keep[row // size]),
        }
        for row, (id_, reward, advantage) in enumerate(
            zip(ids, rewards.flatten().tolist(), advantages.flatten().tolist(), strict=True)
        )
    ]
