"""Tables from what a user brings: those before a stage are written as if the stages before it had made them.

Read this to see what a round remembers of a table that was given, and how one that was cut off is taken up.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfportrait import progress, store
from selfportrait.asking.base import Written
from selfportrait.models.base import Samples, Tokenizes
from selfportrait.stages.candidates import HARD_NEGATIVE, Drawing, candidate_id, candidate_rows
from selfportrait.stages.given import GivenPair, GivenPicture
from selfportrait.stages.parts import count, write_part
from selfportrait.stages.prompts import Writers, prompt_rows, read_prompts, write_prompts
from selfportrait.stages.rounds import TABLES, Round
from selfportrait.stages.scores import save_scores
from selfportrait.types import Picture, Prompt, Score

__all__ = ["give_pairs", "give_pictures", "give_scores", "giving"]


@contextmanager
def giving(at: Round, table: str, listing: Path, made_before: Sequence[str] = ()) -> Iterator[bool]:
    """Inside, a table of a round and those before it are written from what a file lists; False where that was done.

    `made_before` are tables of the round that the file refers to. Raises ValueError where the round has others.
    """
    mark = {"table": table, "from": str(listing), "sha256": hashlib.sha256(listing.read_bytes()).hexdigest()}
    found = store.read_json(at.given) if at.given.exists() else None
    if found == {**mark, "is_complete": True}:
        yield False
        return
    if found not in (None, {**mark, "is_complete": False}):
        raise ValueError(
            f"{at.folder} holds {found['table']} from {found['from']}, or from what it was before: give another --run "
            "or --round"
        )
    held = [name for name in TABLES if name not in made_before and store.parts(at.folder / name)]
    if held and found is None:
        raise ValueError(f"{at.folder} holds {held[-1]} of its own: give another --run or --round")
    store.write_json(at.given, {**mark, "is_complete": False})
    yield True
    store.write_json(at.given, {**mark, "is_complete": True})


def give_pictures(
    model: Tokenizes,
    at: Round,
    given: Sequence[GivenPicture],
    writers: Writers,
    is_held_out: Callable[[str], bool],
    fits: Callable[[str], bool],
    prompts_per_part: int,
) -> None:
    """Write prompts/ and candidates/ of pictures, with questions about the prompts, and scores/ where they have any."""
    by_prompt: dict[str, list[GivenPicture]] = {}
    for one in given:
        by_prompt.setdefault(one.prompt.id, []).append(one)
    prompts = Written([several[0].prompt for several in by_prompt.values()])
    write_prompts(prompts, at.prompts, Writers(writers.questions), is_held_out, fits, prompts_per_part)
    is_scored = any(one.score is not None for one in given)
    total = len(store.parts(at.prompts))
    with progress.bar("encoding pictures", total=total) as advance:
        for index in range(total):
            part = [one for prompt in read_prompts(at.prompts, index) for one in enumerate(by_prompt[prompt.id])]
            planned = [_drawing(one.prompt, number) for number, one in part]
            rows = _candidates(model, planned, [one.picture for _, one in part])
            store.write_table(at.candidates, index, rows, store.CANDIDATES)
            if is_scored:
                values = [one.score for _, one in part]
                _save_scores(at, index, dict(zip((drawing.id for drawing in planned), values, strict=True)))
            advance(1)


def give_scores(at: Round, scores: Mapping[str, float]) -> None:
    """Write scores/ of the candidates that are there; raises ValueError for a score of none of them."""
    total = len(store.parts(at.candidates))
    parts = [store.read_part(at.candidates, index, ["id"])["id"].to_pylist() for index in range(total)]
    unknown = scores.keys() - {id for part in parts for id in part}
    if unknown:
        raise ValueError(
            f"{len(unknown)} of {len(scores)} scores are of no candidate in {at.candidates}, that of {min(unknown)} "
            "among them; give the ids that the column id of candidates/ has"
        )
    for index, part in enumerate(parts):
        _save_scores(at, index, {id: scores.get(id) for id in part})


def _save_scores(at: Round, index: int, scores: Mapping[str, float | None]) -> None:
    save_scores(at.scores, index, list(scores), "given", [_score(value) for value in scores.values()])


def give_pairs(model: Tokenizes, at: Round, given: Sequence[GivenPair], pairs_per_part: int) -> None:
    """Write prompts/, candidates/ and preferences/ of pairs; every picture of a pair becomes a candidate of its own."""
    numbers: dict[str, int] = {}
    with progress.bar("encoding pictures", total=len(given)) as advance:
        for index, start in enumerate(range(0, len(given), pairs_per_part)):
            part = given[start : start + pairs_per_part]
            new = {one.prompt.id: one.prompt for one in part if one.prompt.id not in numbers}
            planned = [_of_pair(one, numbers) for one in part]
            pictures = [picture for one in part for picture in (one.chosen, one.rejected)]
            candidates = _candidates(model, [drawing for both in planned for drawing in both], pictures)
            rows = [_pair_row(one, *both) for one, both in zip(part, planned, strict=True)]
            counts = {"prompts": count(len(new))}
            write_part(at.prompts, index, prompt_rows(list(new.values())), store.PROMPTS, counts)
            store.write_table(at.candidates, index, candidates, store.CANDIDATES)
            write_part(at.preferences, index, rows, store.PAIRS, count(len(rows)))
            advance(len(part))


def _of_pair(pair: GivenPair, numbers: dict[str, int]) -> tuple[Drawing, Drawing]:
    """Both candidates of a pair; a hard negative has the number of its chosen one, as where a model draws it."""
    number = numbers.get(pair.prompt.id, 0)
    chosen = _drawing(pair.prompt, number)
    if pair.rejected_prompt is None:
        numbers[pair.prompt.id] = number + 2
        return chosen, _drawing(pair.prompt, number + 1)
    numbers[pair.prompt.id] = number + 1
    return chosen, replace(chosen, id=chosen.id + HARD_NEGATIVE, text=pair.rejected_prompt)


def _drawing(prompt: Prompt, number: int) -> Drawing:
    return Drawing(candidate_id(prompt, number), prompt.id, number, prompt.text, seed=None)


def _candidates(model: Tokenizes, planned: Sequence[Drawing], pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Pictures as rows of candidates/, with the tokens that the model encodes them into."""
    if not pictures:
        return []
    pixels = [picture.read() for picture in pictures]
    return candidate_rows(planned, Samples(pixels, model.tokenize(pixels)))


def _score(value: float | None) -> Score:
    return Score(value, "no score was given" if value is None else None)


def _pair_row(pair: GivenPair, chosen: Drawing, rejected: Drawing) -> dict[str, Any]:
    scores = (pair.chosen_score, pair.rejected_score)
    return {
        "prompt_id": pair.prompt.id,
        "prompt": pair.prompt.text,
        "rejected_prompt": pair.rejected_prompt,
        "chosen_id": chosen.id,
        "rejected_id": rejected.id,
        "chosen_score": scores[0],
        "rejected_score": scores[1],
        "margin": None if scores[0] is None or scores[1] is None else scores[0] - scores[1],
    }
