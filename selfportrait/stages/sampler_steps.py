"""Pairs of a sampler's next steps: drawn from the same noisy latent, judged by the clean pictures that they predict.

Read this to see what step-wise preference optimisation compares, and which trajectory goes on.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from selfportrait.draws.forward_noise import shifted
from selfportrait.models.base import Conditioning, Denoises
from selfportrait.seeds import derive, noise
from selfportrait.stages.scores import Judge, score
from selfportrait.types import Prompt, Score

__all__ = ["Sampler", "StepPair", "Walked", "levels", "walk"]


class Sampler(NamedTuple):
    """The noise levels of the sampler, from 1 to 0, and how next steps are drawn and compared."""

    levels: list[float]
    guidance_scale: float
    num_candidates: int
    first_step: int
    min_gap: float


class StepPair(NamedTuple):
    """Two next steps from the same noisy latent, (C, H, W) each, with the levels they go from and to."""

    prompt: str
    noisy: Tensor
    chosen: Tensor
    rejected: Tensor
    sigma: float
    to: float


class Walked(NamedTuple):
    """The pairs of some trajectories, how many groups of next steps there were, and how many scores are missing."""

    pairs: list[StepPair]
    num_groups: int
    num_missing: int


def levels(num_steps: int, shift: float) -> list[float]:
    """The N + 1 noise levels from 1 to 0 of N steps, moved towards noise by a shift."""
    return shifted(1 - torch.arange(num_steps + 1) / num_steps, shift).tolist()


@torch.no_grad()
def walk(model: Denoises, judge: Judge, prompts: Sequence[Prompt], sampler: Sampler, seed: int) -> Walked:
    """Draw one trajectory a prompt and pair its next steps; every random number is keyed by prompt and step.

    From `first_step` on there are `num_candidates` next steps, of which one goes on by chance. The last step of all is
    deterministic, and is neither compared nor taken.
    """
    conditioning, shape = model.encode([prompt.text for prompt in prompts]), _shape(model)
    noisy = noise([derive(seed, prompt.id, "start") for prompt in prompts], shape)  # (P, C, H, W)
    pairs: list[StepPair] = []
    num_groups = num_missing = 0
    for index, (sigma, to) in enumerate(zip(sampler.levels[:-2], sampler.levels[1:-1], strict=True)):
        count = sampler.num_candidates if index >= sampler.first_step else 1
        seeds = [[derive(seed, prompt.id, index, k, "step") for k in range(count)] for prompt in prompts]
        candidates = _next_steps(model, conditioning, noisy, sigma, to, sampler.guidance_scale, seeds)
        if count > 1:
            scores = _judged(model, judge, prompts, conditioning, candidates, to)
            num_groups += len(prompts)
            num_missing += sum(one.value is None for group in scores for one in group)
            for row, group in enumerate(scores):
                if (found := best_and_worst(group, sampler.min_gap)) is not None:
                    best, worst = (candidates[row, place] for place in found)
                    pairs.append(StepPair(prompts[row].text, noisy[row], best, worst, sigma, to))
        goes_on = [random.Random(derive(seed, prompt.id, index, "goes on")).randrange(count) for prompt in prompts]
        noisy = candidates[torch.arange(len(prompts)), goes_on]
    return Walked(pairs, num_groups, num_missing)


def _shape(model: Denoises) -> torch.Size:
    side = model.picture_size
    return model.latents([Image.new("RGB", (side, side))]).shape[1:]


def _next_steps(
    model: Denoises,
    conditioning: Conditioning,
    noisy: Tensor,
    sigma: float,
    to: float,
    guidance_scale: float,
    seeds: Sequence[Sequence[int]],
) -> Tensor:
    """Draw next steps (P, k, C, H, W) of noisy latents (P, C, H, W)."""
    at, below = (torch.full((len(noisy),), level) for level in (sigma, to))
    mean, std = (part.cpu() for part in model.transition(noisy, conditioning, at, below, guidance_scale))
    drawn = noise([seed for group in seeds for seed in group], noisy.shape[1:]).unflatten(0, (len(noisy), -1))
    steps: Tensor = mean.unsqueeze(1) + std[:, None, None, None, None] * drawn
    return steps


def _judged(
    model: Denoises,
    judge: Judge,
    prompts: Sequence[Prompt],
    conditioning: Conditioning,
    candidates: Tensor,
    level: float,
) -> list[list[Score]]:
    """Judge the clean pictures that next steps (P, k, C, H, W) predict, without guidance."""
    count = candidates.shape[1]
    flat = candidates.flatten(0, 1)
    at, clean = (torch.full((len(flat),), value) for value in (level, 0.0))
    predicted = model.step(flat, conditioning.repeat(count), at, clean)
    scores = score(judge, [prompt for prompt in prompts for _ in range(count)], model.decode(predicted))
    return [list(scores[start : start + count]) for start in range(0, len(scores), count)]


def best_and_worst(scores: Sequence[Score], min_gap: float) -> tuple[int, int] | None:
    """The places of the highest and lowest score, None where tanh of half their difference is not above the gap."""
    present = {place: one.value for place, one in enumerate(scores) if one.value is not None}
    if len(present) < 2:
        return None
    best, worst = max(present, key=lambda place: present[place]), min(present, key=lambda place: present[place])
    return (best, worst) if math.tanh((present[best] - present[worst]) / 2) > min_gap else None
