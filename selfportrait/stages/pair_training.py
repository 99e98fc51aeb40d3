"""From pairs to a model that prefers the chosen: the optimisation loop of every loss for pairs of token pictures.

Read this to see what one update is made of, what is computed once a round, and what a killed run goes on with.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selfportrait import progress, store
from selfportrait.losses.base import PairLogps, PairLoss, needs_reference
from selfportrait.models.base import DrawsTokens
from selfportrait.seeds import derive
from selfportrait.training import health
from selfportrait.training.learner import Learner, start
from selfportrait.training.metrics import Metrics, timed
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import LossOutput
from selfportrait.weights.base import Weights, from_masks, needs_maps

__all__ = ["Pairs", "Schedule", "read_pairs", "train_on_pairs"]


@dataclass(frozen=True)
class Schedule:
    """How long and in what portions: a number of steps, or of passes over all pairs, `batch_size` pairs a step.

    `pairs_per_forward` bounds the memory: a step's gradient is the mean over its pairs whatever it is.
    Raises ValueError unless one of `steps` and `epochs` is given.
    """

    steps: int | None
    epochs: int | None
    batch_size: int
    pairs_per_forward: int
    checkpoint_every: int
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"recipe.steps = {self.steps} and recipe.epochs = {self.epochs}: give one of them, a number of "
                "optimizer steps a round or of passes over its pairs"
            )

    def batches(self, num_pairs: int, seed: int) -> list[list[int]]:
        """The pairs of every step: all of them in a new random order each time they are through."""
        wanted = (self.epochs or 0) * num_pairs if self.steps is None else self.steps * self.batch_size
        order: list[int] = []
        while len(order) < wanted:
            again = list(range(num_pairs))
            random.Random(derive(seed, "order", len(order) // num_pairs)).shuffle(again)
            order += again
        return [order[first : min(first + self.batch_size, wanted)] for first in range(0, wanted, self.batch_size)]


class Pairs(NamedTuple):
    """N pairs: the prompt that both are trained for, tokens (N, T) each, and weights (N, T) each or None for ones."""

    prompts: list[str]
    chosen: Tensor
    rejected: Tensor
    chosen_weights: Tensor | None = None
    rejected_weights: Tensor | None = None

    def rows(self, index: Sequence[int]) -> "Pairs":
        """Some of the pairs."""
        weights = (None if side is None else side[list(index)] for side in (self.chosen_weights, self.rejected_weights))
        prompts = [self.prompts[row] for row in index]
        return Pairs(prompts, self.chosen[list(index)], self.rejected[list(index)], *weights)


def read_pairs(preferences: Path, candidates: Path, masks: Path, weights: Weights) -> Pairs:
    """Read pairs with their tokens, and with weights where a weighting needs masks; pairs without masks are left out.

    Their order does not depend on the parts that they stand in.
    """
    is_weighted = needs_maps(weights)
    rows = sorted(store.read_table(preferences).to_pylist(), key=lambda row: (row["chosen_id"], row["rejected_id"]))
    mask_of = dict(_column(masks, "candidate_id", "mask")) if is_weighted else {}
    if is_weighted:
        rows = [row for row in rows if row["chosen_id"] in mask_of]
    needed = {row[key] for row in rows for key in ("chosen_id", "rejected_id")}
    tokens_of = {id: tokens for id, tokens in _column(candidates, "id", "tokens") if id in needed}
    chosen, rejected = (torch.tensor([tokens_of[row[key]] for row in rows]) for key in ("chosen_id", "rejected_id"))
    prompts = [row["prompt"] for row in rows]
    if not is_weighted:
        return Pairs(prompts, chosen, rejected)
    both = [torch.tensor([mask_of[row[key]] for row in rows]) for key in ("chosen_id", "rejected_id")]
    return Pairs(prompts, chosen, rejected, *(from_masks(weights, several) for several in both))


def _column(folder: Path, key: str, column: str) -> Iterator[tuple[str, list[Any]]]:
    """One column of a table by another, a part at a time: pictures stay on the disk."""
    for index in range(len(store.parts(folder))):
        table = store.read_part(folder, index, [key, column])
        yield from zip(table[key].to_pylist(), table[column].to_pylist(), strict=True)


def train_on_pairs(
    model: DrawsTokens,
    pairs: Pairs,
    loss: PairLoss,
    optimizer: Optimizer,
    folder: Path,
    schedule: Schedule,
    seed: int,
) -> None:
    """Train a model on pairs, with itself as it comes in as reference; it goes out with the weights it ends with.

    Goes on at the last checkpoint in the folder; where training is finished, it only takes up the weights.
    """
    batches = schedule.batches(len(pairs.prompts), seed)
    is_compared = needs_reference(loss)
    if is_compared:
        model.renew_reference()
    learner, metrics = start(model, optimizer, schedule.ema_decay), Metrics(folder)
    first = learner.resume(folder / "checkpoints")
    metrics.truncate(first)
    seconds: dict[str, float] = {}
    reference = None
    if is_compared and first < len(batches):
        with timed(seconds, "reference_s"):
            reference = _Reference(model, pairs, sorted({row for batch in batches for row in batch}), schedule)
    with progress.bar("training", total=len(batches), done=first) as advance:
        for step, batch in enumerate(batches[first:], start=first):
            with timed(seconds, "train_s"):
                values = _learn(
                    learner,
                    pairs.rows(batch),
                    loss,
                    None if reference is None else reference.rows(batch),
                    schedule,
                    folder,
                    step,
                )
            metrics.write(step, values, seconds)
            seconds = {}
            if (step + 1) % schedule.checkpoint_every == 0 or step + 1 == len(batches):
                metrics.sync()
                learner.save(folder / "checkpoints", step + 1)
            advance(1)
    metrics.close()
    learner.finish()


class _Reference:
    """The reference's log-likelihoods of some pairs, token by token, computed once: they are exact and know no draw."""

    def __init__(self, model: DrawsTokens, pairs: Pairs, rows: Sequence[int], schedule: Schedule) -> None:
        self.place = {row: place for place, row in enumerate(rows)}
        parts = []
        with model.reference(), progress.bar("measuring the reference", total=len(rows)) as advance:
            for first in range(0, len(rows), schedule.pairs_per_forward):
                some = pairs.rows(rows[first : first + schedule.pairs_per_forward])
                parts.append(token_logps(model, some))
                advance(len(some.prompts))
        self.chosen, self.rejected = (torch.cat(side) for side in zip(*parts, strict=True))  # (n, T)

    def rows(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Those of some pairs: (M, T) each."""
        places = [self.place[row] for row in index]
        return self.chosen[places], self.rejected[places]


def token_logps(model: DrawsTokens, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The log-likelihoods of the tokens of chosen and rejected, (M, T) each, from one forward of both."""
    tokens = torch.cat([pairs.chosen, pairs.rejected])  # (2 M, T)
    chosen, rejected = model.token_log_likelihood(tokens, model.encode(pairs.prompts * 2)).chunk(2)
    return chosen, rejected


def _learn(
    learner: Learner[DrawsTokens],
    pairs: Pairs,
    loss: PairLoss,
    reference: tuple[Tensor, Tensor] | None,
    schedule: Schedule,
    folder: Path,
    step: int,
) -> dict[str, Any]:
    """Take one optimizer step on the mean loss of some pairs; returns mean metrics."""
    size = len(pairs.prompts)
    totals: dict[str, Any] = {"learning_rate": learner.optimizer.learning_rate, "pairs": size}
    learner.optimizer.zero_grad()
    for first in range(0, size, schedule.pairs_per_forward):
        rows = list(range(first, min(first + schedule.pairs_per_forward, size)))
        some = pairs.rows(rows)
        policy = token_logps(learner.model, some)
        output = loss(
            weighted(policy, some), None if reference is None else weighted([r[rows] for r in reference], some)
        )
        _check_finite(output, policy, some, folder, step)
        (output.loss.sum() / size).backward()
        for name, value in {"loss": output.loss.detach().mean(), **output.metrics}.items():
            totals[name] = totals.get(name, 0) + value * (len(rows) / size)
    totals["grad_norm"] = learner.step()
    return {**totals, "update": learner.optimizer.num_steps, "events": _events(learner, step, totals)}


def weighted(logps: Sequence[Tensor], pairs: Pairs) -> PairLogps:
    """Contract the log-likelihoods of tokens with the pairs' weights."""
    chosen, rejected = logps
    weights = (
        None if given is None else given.to(chosen.device) for given in (pairs.chosen_weights, pairs.rejected_weights)
    )
    return PairLogps.from_tokens(chosen, rejected, *weights)


def _check_finite(output: LossOutput, policy: Sequence[Tensor], pairs: Pairs, folder: Path, step: int) -> None:
    chosen, rejected = policy
    health.check_finite(
        output.loss,
        folder,
        step=step,
        batch={"chosen": pairs.chosen, "rejected": pairs.rejected, "logps_chosen": chosen, "logps_rejected": rejected},
        details={"prompts": pairs.prompts},
    )


def _events(learner: Learner[DrawsTokens], step: int, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the health monitor says; the error of a picture is minus the mean log-likelihood of its tokens."""
    above, below = (-float(values[name]) for name in ("logp/chosen", "logp/rejected"))
    return learner.monitor.observe(step, error_chosen=above, error_above=above, error_below=below)
