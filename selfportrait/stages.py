"""The stages that recipes and commands share: draw candidates, score them, measure a model.

Each goes from one table to the next and writes nothing else, so it can be run again, inspected or replaced.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from selfportrait import progress, store
from selfportrait.benchmarks.base import Benchmark, Summary, aggregate
from selfportrait.models.base import Draws, Samples
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Score

__all__ = [
    "candidate_id",
    "check_missing",
    "evaluate",
    "hand_over",
    "preference_rows",
    "prompt_rows",
    "sample_candidates",
    "save_candidates",
    "save_scores",
    "score",
    "verdicts",
]

Judge = Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]]
PROMPTS_PER_PART = 25


def hand_over(component: Any, **given: Any) -> Any:
    """Give a component what it waits for, by the names of its positional parameters, such as `policy` and `seed`.

    A config builds what it can, and leaves a component that takes the policy as a partial of it; a recipe completes it
    with `hand_over(judge, policy=model, seed=seed)`. One that is built already, or is a function for later, comes back
    as it is.
    """
    if not isinstance(component, partial):
        return component
    parameters = inspect.signature(component.func).parameters.values()
    asked = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    return component(**{name: given[name] for name in asked}) if set(asked) <= given.keys() else component


def candidate_id(prompt: Prompt, index: int) -> str:
    """The id of a prompt's candidate."""
    return f"{prompt.id}-{index:04d}"


def sample_candidates(
    model: Draws, prompts: Sequence[Prompt], *, seed: int, round_index: int, first: Sequence[int], count: int
) -> tuple[Samples, list[int]]:
    """Draw `count` candidates a prompt, prompt by prompt; `first` is the index of each prompt's first candidate.

    Returns pictures and their content (P * count, ...) with their seeds, which prompt and index alone decide.
    """
    seeds = [
        derive(seed, round_index, prompt.id, start + offset, "sample")
        for prompt, start in zip(prompts, first, strict=True)
        for offset in range(count)
    ]
    conditioning = model.encode([prompt.text for prompt in prompts]).repeat(count)
    return model.sample(conditioning, seeds), seeds


def save_candidates(
    folder: Path,
    step: int,
    prompts: Sequence[Prompt],
    first: Sequence[int],
    samples: Samples,
    seeds: Sequence[int],
) -> list[str]:
    """Write one part of candidates/; returns the candidates' ids."""
    count = len(seeds) // len(prompts)
    content = _content(samples.content)
    rows = []
    for row, (image, seed) in enumerate(zip(samples.images, seeds, strict=True)):
        prompt, index = prompts[row // count], first[row // count] + row % count
        rows.append(
            {
                "id": candidate_id(prompt, index),
                "prompt_id": prompt.id,
                "prompt": prompt.text,
                "index": index,
                "seed": seed,
                "step": step,
                "image": image,
                **content[row],
            }
        )
    store.write_table(folder, step, rows, store.CANDIDATES)
    return [row["id"] for row in rows]


def _content(content: Tensor) -> list[dict[str, Any]]:
    """A row's content in its column of candidates/: token ids in `tokens`, anything else in `latent`."""
    if content.is_floating_point():
        return [{"latent": row, "tokens": None} for row in content.float().flatten(1).cpu().numpy().tolist()]
    return [{"latent": None, "tokens": row} for row in content.flatten(1).tolist()]


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


def evaluate(model: Draws, benchmark: Benchmark, folder: Path, *, label: str = "evaluating") -> dict[str, Summary]:
    """Measure a model: draw the benchmark's prompts at its seeds, judge, write evaluation parts, aggregate.

    Goes on at the first part that is missing. The benchmark owns the pictures' seeds.
    """
    prompts = benchmark.prompts()
    chunks = [prompts[start : start + PROMPTS_PER_PART] for start in range(0, len(prompts), PROMPTS_PER_PART)]
    done = len(store.parts(folder))
    with progress.bar(label, total=len(prompts), done=sum(len(chunk) for chunk in chunks[:done])) as advance:
        for index, chunk in enumerate(chunks[done:], start=done):
            store.write_table(folder, index, _measure(model, benchmark, chunk), store.EVALUATION)
            advance(len(chunk))
    return aggregate(verdicts(folder))


def _measure(model: Draws, benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    seeds = [benchmark.seeds(prompt) for prompt in prompts]
    count = len(seeds[0])
    conditioning = model.encode([prompt.text for prompt in prompts]).repeat(count)
    flat = [seed for several in seeds for seed in several]
    images = model.sample(conditioning, flat).images
    groups = [images[start : start + count] for start in range(0, len(images), count)]
    texts = {prompt.id: prompt.text for prompt in prompts}
    rows = benchmark.measure(prompts, groups)
    return [
        {
            **row,
            "prompt": texts[row["prompt_id"]],
            "seed": seed,
            "image": image,
            "details": json.dumps(dict(row["details"]), sort_keys=True),
        }
        for row, seed, image in zip(rows, flat, images, strict=True)
    ]


def verdicts(folder: Path) -> list[Mapping[str, Any]]:
    """The verdicts of an evaluation's pictures, without the pictures."""
    columns = ["prompt_id", "category", "index", "exact"]
    rows: list[Mapping[str, Any]] = store.read_table(folder, columns).to_pylist()
    return rows


def prompt_rows(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Prompts as rows of prompts/."""
    return [
        {
            "id": prompt.id,
            "text": prompt.text,
            "category": prompt.category,
            "questions": [{"text": question.text, "answer": question.answer} for question in prompt.questions],
            "parent": prompt.parent,
            "role": prompt.role,
        }
        for prompt in prompts
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


def check_missing(scores: Sequence[Score], max_missing: float, step: int) -> None:
    """Refuse to train on a batch with too many failed judgements; raises ValueError with the first reason."""
    missing = [score.reason for score in scores if score.value is None]
    if len(missing) > max_missing * len(scores):
        raise ValueError(
            f"step {step}: {len(missing)} of {len(scores)} judgements are missing, more than recipe.max_missing = "
            f"{max_missing:g} allows; the first says: {missing[0]}"
        )
