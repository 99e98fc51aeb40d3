"""Training on pairs of latents with the smallest denoiser there is: it predicts a multiple of what it sees as noise."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from selfportrait import store
from selfportrait.draws.forward_noise import forward_noise
from selfportrait.losses.base import PairLoss
from selfportrait.losses.dpo import dpo
from selfportrait.losses.sft import sft
from selfportrait.stages import Schedule, Visits, train_on_latents
from selfportrait.stages.latent_training import LatentPairs
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import Draw

PAIRS = 6
draw = partial(forward_noise, shift=1.0)


class Texts(list[str]):
    """Prompts as the model was given them."""

    def repeat(self, count: int) -> "Texts":
        return Texts(text for text in self for _ in range(count))

    def rows(self, index: torch.Tensor) -> "Texts":
        return Texts(self[row] for row in index.tolist())


class Scale:
    """Predicts noise = weight * x_t; the reference is a copy of the weight."""

    is_exact = False

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.tensor([0.3]))
        self.copy = self.weight.detach().clone()
        self.forwards: list[tuple[Texts, Draw, bool]] = []

    def encode(self, prompts: Sequence[str]) -> Texts:
        return Texts(prompts)

    def log_likelihood(
        self, content: torch.Tensor, conditioning: Texts, draw: Draw, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert len(conditioning) == len(content)
        self.forwards.append((conditioning, draw, torch.is_grad_enabled()))
        noisy = torch.lerp(content, draw.noise, draw.sigma[:, None, None, None])
        error = (self.weight * noisy - draw.noise).square()
        return -(error if weights is None else weights * error).mean((1, 2, 3))

    @contextmanager
    def reference(self) -> Iterator[None]:
        policy = self.weight.detach().clone()
        with torch.no_grad():
            self.weight.copy_(self.copy)
            yield
            self.weight.copy_(policy)

    def renew_reference(self) -> None:
        self.copy = self.weight.detach().clone()

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"weight": self.weight}


class Memory:
    """Pairs in memory; the chosen are small, so that a larger weight finds their noise and no other's."""

    def __init__(self, weights: torch.Tensor | None = None) -> None:
        self.latents = torch.randn(PAIRS, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        self.latents[:, 0] *= 0.1
        self.weights = weights

    def __len__(self) -> int:
        return PAIRS

    def rows(self, index: Sequence[int]) -> LatentPairs:
        weights = None if self.weights is None else self.weights[list(index)]
        return LatentPairs(
            [f"pair-{row}" for row in index], ["a star"] * len(index), self.latents[list(index)], weights
        )


def train(
    folder: Path,
    *,
    loss: PairLoss = partial(dpo, beta=5.0),  # noqa: B008
    pairs: Memory | None = None,
    per_forward: int = 4,
    steps: int = 5,
    **visits: float | None,
) -> Scale:
    model = Scale()
    schedule = Schedule(steps, None, 4, per_forward, checkpoint_every=2)
    optimizer = Optimizer(learning_rate=0.01, warmup_steps=0)
    pairs, visits_ = pairs or Memory(), Visits(0, **visits)
    train_on_latents(model, pairs, model.encode, draw, loss, optimizer, folder, schedule, visits_)
    return model


def test_the_loss_begins_at_log_2_and_falls(tmp_path: Path) -> None:
    train(tmp_path, steps=30)
    losses = [line["loss"] for line in store.read_jsonl(tmp_path / "metrics.jsonl")]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert sum(losses[-5:]) < sum(losses[:5])


def test_policy_and_reference_see_the_same_draw_and_both_pictures_of_a_pair_too(tmp_path: Path) -> None:
    model = train(tmp_path, steps=1)
    (texts, reference, has_gradient), (_, policy, _) = model.forwards
    assert not has_gradient
    assert len(texts) == 8
    for part in range(2):
        assert torch.equal(reference[part], policy[part])
        chosen, rejected = policy[part].unflatten(0, (-1, 2)).unbind(1)
        assert torch.equal(chosen, rejected)
    assert len(policy.sigma.unique()) == 4


def test_what_a_pair_draws_does_not_depend_on_the_forward_it_is_in(tmp_path: Path) -> None:
    whole, parts = train(tmp_path / "a", per_forward=4), train(tmp_path / "b", per_forward=1)
    assert torch.allclose(whole.weight, parts.weight, atol=1e-6)
    together = {float(level) for _, at, is_policy in whole.forwards if is_policy for level in at.sigma}
    alone = {float(level) for _, at, is_policy in parts.forwards if is_policy for level in at.sigma}
    assert together == alone


def test_a_loss_without_reference_runs_none(tmp_path: Path) -> None:
    model = train(tmp_path, loss=sft)
    assert all(has_gradient for _, _, has_gradient in model.forwards)


def test_fixed_draws_ask_the_reference_once_each(tmp_path: Path) -> None:
    model = train(tmp_path, steps=12, per_forward=1, fixed_draws=2)  # 48 visits, 8 of each pair
    asked = [at for _, at, has_gradient in model.forwards if not has_gradient]
    learnt = {float(at.sigma[0]) for _, at, has_gradient in model.forwards if has_gradient}
    assert len(asked) == len(learnt) == 2 * PAIRS


def test_fixed_draws_are_exact(tmp_path: Path) -> None:
    """A reference that is remembered gives what one that is asked again gives."""

    class Forgetful(dict):
        def update(self, *_: object) -> None:
            """Remember nothing."""

    kept = train(tmp_path / "a", steps=12, per_forward=2, fixed_draws=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("selfportrait.stages.latent_training.Reference", Forgetful)
        asked = train(tmp_path / "b", steps=12, per_forward=2, fixed_draws=1)
    assert len(kept.forwards) < len(asked.forwards)
    assert torch.equal(kept.weight, asked.weight)


def test_empty_prompts_come_in_their_share_for_both_pictures(tmp_path: Path) -> None:
    model = train(tmp_path, steps=100, empty_prompts=0.25)
    texts = [texts for texts, _, has_gradient in model.forwards if has_gradient]
    assert all(one[::2] == one[1::2] for one in texts)
    empty = sum(text == "" for one in texts for text in one) / 800
    assert empty == pytest.approx(0.25, abs=0.06)
    assert all("" not in texts for texts, _, _ in train(tmp_path / "none").forwards)


def test_weights_of_one_change_nothing_and_others_do(tmp_path: Path) -> None:
    ones = torch.ones(PAIRS, 2, 1, 4, 4)
    half = torch.cat([2 * ones[..., :2], 0 * ones[..., :2]], dim=-1)
    plain = train(tmp_path / "plain").weight
    assert torch.equal(train(tmp_path / "ones", pairs=Memory(ones)).weight, plain)
    assert not torch.equal(train(tmp_path / "half", pairs=Memory(half)).weight, plain)


def test_the_error_against_the_reference_is_measured(tmp_path: Path) -> None:
    train(tmp_path, steps=20)
    lines = store.read_jsonl(tmp_path / "metrics.jsonl")
    assert lines[0]["error/chosen"] == lines[0]["error/rejected"] == 0
    assert lines[-1]["error/chosen"] < lines[-1]["error/rejected"]


def test_a_stopped_training_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", steps=5)
    train(tmp_path / "stopped", steps=3)
    again = train(tmp_path / "stopped", steps=5)
    assert torch.equal(again.weight, whole.weight)
    files = [tmp_path / name / "metrics.jsonl" for name in ("whole", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_loss_that_is_not_finite_keeps_the_batch(tmp_path: Path) -> None:
    pairs = Memory()
    pairs.latents[2, 0] = torch.nan
    with pytest.raises(ValueError, match="the batch is saved in"):
        train(tmp_path, pairs=pairs, steps=3)
