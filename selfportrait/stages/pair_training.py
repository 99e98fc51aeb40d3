"""From pairs of token pictures to a model that prefers the chosen.

Read this to see what a forward is made of and what is computed once a round; the loop around it is in updates.py.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selfportrait import processes, progress, store
from selfportrait.losses.base import PairLogps, PairLoss, needs_reference
from selfportrait.models.base import DrawsTokens
from selfportrait.stages.updates import Schedule, portions, run_updates
from selfportrait.training import health
from selfportrait.training.learner import start
from selfportrait.training.metrics import timed
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import LossOutput
from selfportrait.weights.base import Weights, from_masks, needs_maps

__all__ = ["Pairs", "read_pairs", "train_on_pairs"]


class Pairs(NamedTuple):
    """N pairs: the prompt that both are trained for, and (N, T) each: tokens, weights, the reference's log-likelihoods.

    Weights are None where all are 1, log-likelihoods where nobody asks for a reference.
    """

    prompts: list[str]
    chosen: Tensor
    rejected: Tensor
    chosen_weights: Tensor | None = None
    rejected_weights: Tensor | None = None
    chosen_reference: Tensor | None = None
    rejected_reference: Tensor | None = None

    def rows(self, index: Sequence[int]) -> "Pairs":
        """Some of the pairs."""
        tensors: list[Any] = [None if tensor is None else tensor[list(index)] for tensor in self[1:]]
        return Pairs([self.prompts[row] for row in index], *tensors)


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
    learner = start(model, optimizer, schedule.ema_decay)
    first = processes.main_first(lambda: learner.resume(folder / "checkpoints"))  # deletes what is half there
    seconds: dict[str, float] = {}
    if is_compared and first < len(batches):
        with timed(seconds, "reference_s"):
            pairs = _compared(model, pairs, sorted({row for batch in batches for row in batch}), schedule)
    run_updates(learner, batches, partial(_backward, model, pairs, loss, folder), folder, schedule, first, seconds)


def _compared(model: DrawsTokens, pairs: Pairs, rows: Sequence[int], schedule: Schedule) -> Pairs:
    """Pairs with the reference's log-likelihoods of the rows that are needed; they are exact, so once is enough."""
    forwards = portions(len(rows), schedule.pairs_per_forward)
    own = [forwards[number] for number in processes.own(len(forwards))]
    measured = torch.zeros(2, len(rows), pairs.chosen.shape[1])  # (2, M, T)
    with model.reference(), progress.bar("measuring the reference", total=sum(map(len, own))) as advance:
        for places in own:
            some = pairs.rows([rows[place] for place in places])
            measured[:, list(places)] = torch.stack(token_logps(model, some)).cpu()
            advance(len(places))
    processes.add_up(measured)  # each row is 0 but in the process that measured it
    chosen, rejected = (torch.full(tokens.shape, torch.nan) for tokens in (pairs.chosen, pairs.rejected))
    chosen[list(rows)], rejected[list(rows)] = measured
    return pairs._replace(chosen_reference=chosen, rejected_reference=rejected)


def token_logps(model: DrawsTokens, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The log-likelihoods of the tokens of chosen and rejected, (M, T) each, from one forward of both."""
    tokens = torch.cat([pairs.chosen, pairs.rejected])  # (2 M, T)
    chosen, rejected = model.token_log_likelihood(tokens, model.encode(pairs.prompts * 2)).chunk(2)
    return chosen, rejected


def _backward(
    model: DrawsTokens, pairs: Pairs, loss: PairLoss, folder: Path, rows: Sequence[int], size: int, step: int
) -> dict[str, Tensor]:
    """Bring the gradient of some pairs' part in the mean over `size`; returns their part in the mean metrics."""
    pairs = pairs.rows(rows)
    policy = token_logps(model, pairs)
    output = loss(_contracted(*policy, pairs), _reference(pairs, policy[0].device))
    _check_finite(output, policy, pairs, folder, step)
    (output.loss.sum() / size).backward()
    share = len(pairs.prompts) / size
    return {name: value * share for name, value in {"loss": output.loss.detach().mean(), **output.metrics}.items()}


def _contracted(chosen: Tensor, rejected: Tensor, pairs: Pairs) -> PairLogps:
    """Sum the log-likelihoods of tokens with the pairs' weights."""
    weights = (None if w is None else w.to(chosen.device) for w in (pairs.chosen_weights, pairs.rejected_weights))
    return PairLogps.from_tokens(chosen, rejected, *weights)


def _reference(pairs: Pairs, device: torch.device) -> PairLogps | None:
    """The same sums under the reference."""
    if pairs.chosen_reference is None or pairs.rejected_reference is None:
        return None
    return _contracted(pairs.chosen_reference.to(device), pairs.rejected_reference.to(device), pairs)


def _check_finite(output: LossOutput, policy: Sequence[Tensor], pairs: Pairs, folder: Path, step: int) -> None:
    chosen, rejected = policy
    health.check_finite(
        output.loss,
        folder if processes.is_main() else folder / f"process-{processes.index()}",  # two may fail at once
        step=step,
        batch={"chosen": pairs.chosen, "rejected": pairs.rejected, "logps_chosen": chosen, "logps_rejected": rejected},
        details={"prompts": pairs.prompts},
    )
