"""Next steps of a sampler against a model whose steps are known: which are compared, which is chosen, what repeats."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from selfportrait.models.base import Transition
from selfportrait.stages import Sampler, levels, walk
from selfportrait.stages.sampler_steps import best_and_worst
from selfportrait.types import Prompt, Score

PROMPTS = [Prompt("a", "a star"), Prompt("b", "a ring"), Prompt("c", "a cross")]


class Texts(list[str]):
    def repeat(self, count: int) -> "Texts":
        return Texts(text for text in self for _ in range(count))


class Still:
    """The next step is where it is, with noise; a clean picture is as bright as its latent."""

    picture_size = 4

    def encode(self, prompts: Sequence[str]) -> Texts:
        return Texts(prompts)

    def latents(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return torch.zeros(len(images), 1, 2, 2)

    def transition(self, noisy, conditioning, sigma, to, guidance_scale):
        assert guidance_scale == 3.0
        return Transition(noisy, (sigma - to).sqrt())

    def step(self, noisy, conditioning, sigma, to):
        assert len(conditioning) == len(noisy)
        assert not to.any()
        return noisy

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        values = (latents.mean((1, 2, 3)) * 20 + 128).clamp(0, 255).round().byte()
        return [Image.new("L", (4, 4), int(value)).convert("RGB") for value in values]


def bright(prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
    return [Score(float(np.asarray(image).mean()) / 20) for image in images]


def sampler(**changes: float) -> Sampler:
    settings = {"levels": levels(6, 1.0), "guidance_scale": 3.0, "num_candidates": 4, "first_step": 2, "min_gap": 0.0}
    return Sampler(**{**settings, **changes})


def test_levels_go_from_noise_to_clean() -> None:
    assert levels(4, 1.0) == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert levels(2, 3.0) == pytest.approx([1, 0.75, 0])  # 3 * .5 / (1 + 2 * .5)


def test_the_brightest_next_step_is_chosen_at_the_steps_that_are_compared() -> None:
    found = walk(Still(), bright, PROMPTS, sampler(), seed=0)
    assert found.num_groups == len(found.pairs) == 3 * 3  # steps 2, 3 and 4 of 0 to 5; the last is never compared
    for pair in found.pairs:
        assert pair.chosen.mean() > pair.rejected.mean()
    assert [pair.sigma for pair in found.pairs[::3]] == pytest.approx([4 / 6, 3 / 6, 2 / 6])
    assert [pair.to for pair in found.pairs[::3]] == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert [pair.prompt for pair in found.pairs[:3]] == ["a star", "a ring", "a cross"]


def test_it_repeats_from_its_seed_whatever_stands_beside_a_prompt() -> None:
    whole = walk(Still(), bright, PROMPTS, sampler(), seed=0)
    alone = walk(Still(), bright, PROMPTS[1:2], sampler(), seed=0)
    assert all(torch.equal(one.noisy, other.noisy) for one, other in zip(whole.pairs[1::3], alone.pairs, strict=True))
    other = walk(Still(), bright, PROMPTS[1:2], sampler(), seed=1)
    assert not torch.equal(other.pairs[0].noisy, alone.pairs[0].noisy)


def test_a_wide_gap_leaves_fewer_pairs() -> None:
    few = walk(Still(), bright, PROMPTS, sampler(min_gap=0.1), seed=0)
    assert 0 < len(few.pairs) < 9


def test_missing_scores_are_counted_and_never_chosen() -> None:
    def failing(prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        scores = bright(prompts, images)
        return [Score(None, "unreadable") if place % 4 else one for place, one in enumerate(scores)]

    found = walk(Still(), failing, PROMPTS, sampler(), seed=0)
    assert (found.num_missing, found.pairs) == (3 * 9, [])


def test_best_and_worst_by_hand() -> None:
    # tanh((1 - -.3) / 2) = tanh(.65) = .5717, tanh((.2 - .05) / 2) = .0749
    scores = [Score(1.0), Score(0.1), Score(0.4), Score(-0.3)]
    assert best_and_worst(scores, 0.3) == (0, 3)
    assert best_and_worst(scores, 0.58) is None
    assert best_and_worst([Score(0.2), Score(0.1), Score(0.15), Score(0.05)], 0.3) is None
    assert best_and_worst([Score(None, "no"), Score(1.0)], 0.0) is None
