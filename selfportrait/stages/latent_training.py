"""From pairs of clean latents to a diffusion or flow model that prefers the chosen.

Read this to see what a forward is made of: both pictures of a pair in one batch, at one draw, under the policy and then
under the reference. The loop around it is in updates.py.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from selfportrait import processes
from selfportrait.draws.base import GroupDraw, Inverts
from selfportrait.losses.base import PairLogps, PairLoss, needs_reference
from selfportrait.models.base import Conditioning, Draws
from selfportrait.seeds import derive, generator
from selfportrait.stages.updates import Between, Schedule, run_updates
from selfportrait.training import health
from selfportrait.training.learner import start
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import Draw

__all__ = ["LatentPairs", "Visits", "train_on_latents"]


class LatentPairs(NamedTuple):
    """P pairs: ids, prompts, clean latents (P, 2, C, H, W), the chosen first, and weights (P, 2, 1, H, W) or None."""

    ids: list[str]
    prompts: list[str]
    latents: Tensor
    weights: Tensor | None = None


class Stored(Protocol):
    """Pairs that lie somewhere, of which a batch at a time is fetched."""

    def __len__(self) -> int: ...

    def rows(self, index: Sequence[int]) -> LatentPairs:
        """Fetch some of the pairs, in this order."""
        ...


Encode = Callable[[Sequence[str]], Conditioning]
"""What a model makes of texts: its own `encode`, or what was kept of it."""


class Visit(NamedTuple):
    """A pair at the time it is trained on: its number, and how often it was before."""

    row: int
    number: int


@dataclass(frozen=True)
class Visits:
    """What is decided anew each time that a pair is trained on, keyed by its id.

    `empty_prompts` is the share of visits with an empty prompt, the same for both pictures and for the reference. With
    `fixed_draws` a pair has so many draws in all, in turn, so that the reference is asked once for each of them.
    """

    seed: int
    empty_prompts: float = 0.0
    fixed_draws: int | None = None

    def draw_number(self, visit: Visit) -> int:
        """Which draw of the pair it is."""
        return visit.number if self.fixed_draws is None else visit.number % self.fixed_draws

    def prompt(self, id: str, text: str, number: int) -> str:
        """The prompt, or nothing."""
        chance = random.Random(derive(self.seed, id, number, "empty prompt")).random()
        return "" if chance < self.empty_prompts else text


class Evaluated(NamedTuple):
    """Some pairs at their draws: content (2 P, C, H, W), conditioning, draw and weights of the rows, pair by pair."""

    content: Tensor
    conditioning: Conditioning
    draw: Draw
    weights: Tensor | None


class Reference(dict[tuple[int, int], tuple[float, float]]):
    """Log-likelihoods of chosen and rejected under the reference, by pair and draw, where those are fixed."""


def train_on_latents(
    model: Draws,
    pairs: Stored,
    encode: Encode,
    draw: GroupDraw,
    loss: PairLoss,
    optimizer: Optimizer,
    folder: Path,
    schedule: Schedule,
    visits: Visits,
    between: Between | None = None,
) -> None:
    """Train a model on pairs, with itself as it comes in as reference; it goes out with the weights it ends with.

    Goes on at the last checkpoint in the folder; where training is finished, it only takes up the weights.
    """
    batches = _visits(schedule.batches(len(pairs), visits.seed), len(pairs))
    is_compared = needs_reference(loss)
    if is_compared:
        model.renew_reference()
    learner = start(model, optimizer, schedule.ema_decay)
    first = processes.main_first(lambda: learner.resume(folder / "checkpoints"))
    task = Task(model, pairs, encode, draw, loss, visits, folder, is_compared)
    run_updates(learner, batches, partial(_backward, task, Reference()), folder, schedule, first, {}, between)


class Task(NamedTuple):
    """What every forward of a training needs."""

    model: Draws
    pairs: Stored
    encode: Encode
    draw: GroupDraw
    loss: PairLoss
    visits: Visits
    folder: Path
    is_compared: bool


def _visits(batches: Sequence[Sequence[int]], num_pairs: int) -> list[list[Visit]]:
    """The same batches with how often each pair was before: every `num_pairs` of them are one pass."""
    seen = 0
    found = []
    for batch in batches:
        found.append([Visit(row, (seen + place) // num_pairs) for place, row in enumerate(batch)])
        seen += len(batch)
    return found


def _backward(task: Task, known: Reference, some: Sequence[Visit], size: int, step: int) -> dict[str, Tensor]:
    """Bring the gradient of some pairs' part in the mean over `size`; returns their part in the mean metrics."""
    pairs = task.pairs.rows([visit.row for visit in some])
    numbers = [task.visits.draw_number(visit) for visit in some]
    at = _evaluated(task, pairs, numbers)
    reference = _reference(task, known, some, numbers, at) if task.is_compared else None
    policy = _logps(task.model, at)
    output = task.loss(policy, reference)
    health.check_finite(
        output.loss,
        task.folder if processes.is_main() else task.folder / f"process-{processes.index()}",
        step=step,
        batch={"latents": pairs.latents, "sigma": at.draw.sigma, "noise": at.draw.noise},
        details={"prompts": pairs.prompts, "pairs": pairs.ids},
    )
    (output.loss.sum() / size).backward()
    share = len(some) / size
    values = {"loss": output.loss.detach().mean(), **output.metrics, **_errors(policy, reference)}
    return {name: value * share for name, value in values.items()}


def _evaluated(task: Task, pairs: LatentPairs, numbers: Sequence[int]) -> Evaluated:
    """Take encoded prompts and draw noise levels and noises, each keyed by its pair: the same whatever is beside it."""
    seed = task.visits.seed
    texts = [task.visits.prompt(*pair) for pair in zip(pairs.ids, pairs.prompts, numbers, strict=True)]
    conditioning = task.encode(texts).repeat(2)
    drawn = [
        task.draw(pairs.latents[place : place + 1], generator(seed, id, number, "draw"))
        for place, (id, number) in enumerate(zip(pairs.ids, numbers, strict=True))
    ]
    sigma, noise = (torch.cat([one[part] for one in drawn]).flatten(0, 1) for part in (0, 1))
    device = next(iter(task.model.trainable().values())).device
    content, sigma, noise = (values.to(device) for values in (pairs.latents.flatten(0, 1), sigma, noise))  # (2 P, ...)
    if isinstance(task.draw, Inverts):
        noise = task.draw.invert(content, conditioning, sigma)
    return Evaluated(
        content, conditioning, Draw(sigma, noise), None if pairs.weights is None else pairs.weights.flatten(0, 1)
    )


def _logps(model: Draws, at: Evaluated) -> PairLogps:
    logps = model.log_likelihood(*at)
    chosen, rejected = logps.view(-1, 2).unbind(1)
    return PairLogps(chosen, rejected, torch.ones_like(chosen), torch.ones_like(rejected))


@torch.no_grad()
def _reference(task: Task, known: Reference, some: Sequence[Visit], numbers: Sequence[int], at: Evaluated) -> PairLogps:
    """The log-likelihoods under the reference, of those draws that it was not asked for before."""
    keys = [(visit.row, number) for visit, number in zip(some, numbers, strict=True)]
    if task.visits.fixed_draws is None or any(key not in known for key in keys):
        with task.model.reference():
            found = _logps(task.model, at)
        if task.visits.fixed_draws is not None:
            known.update(zip(keys, zip(found.chosen.tolist(), found.rejected.tolist(), strict=True), strict=True))
        return found
    chosen, rejected = torch.tensor([known[key] for key in keys], device=at.content.device).unbind(1)
    return PairLogps(chosen, rejected, torch.ones_like(chosen), torch.ones_like(rejected))


def _errors(policy: PairLogps, reference: PairLogps | None) -> dict[str, Tensor]:
    """How the denoising errors compare with the reference's at the same draws: .05 is five percent more."""
    if reference is None:
        return {}
    sides = {"chosen": (policy.chosen, reference.chosen), "rejected": (policy.rejected, reference.rejected)}
    return {f"error/{name}": (ours.detach().mean() / theirs.mean()) - 1 for name, (ours, theirs) in sides.items()}
