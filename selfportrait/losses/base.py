"""What every loss offers: log-likelihoods in, one loss a candidate of a group or one a pair out.

Read this before writing a loss: no model, device, logging, randomness or averaging belongs in one.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

from selfportrait.types import LossOutput

__all__ = ["GroupLoss", "PairLogps", "PairLoss", "Term", "needs_reference"]


class GroupLoss(Protocol):
    """Weigh the log-likelihood of each candidate by how it did in its group."""

    def __call__(self, policy: torch.Tensor, old: torch.Tensor | None, advantages: torch.Tensor) -> LossOutput:
        """Map log-likelihoods and advantages, both (..., G), to a loss (..., G).

        `policy` is the model in training, `old` the model that drew the candidates, at the same draw and without
        gradient; a recipe computes `old` only for a loss whose settings ask for it and hands None otherwise.
        """
        ...


class PairLogps(NamedTuple):
    """Log-likelihoods of B preference pairs under one model, every tensor (B,).

    A token model gives the weighted sum over tokens, sum_t w_t l_t, and as length the total weight, sum_t w_t. The
    log-likelihood of a diffusion or flow model is minus a mean already, so its length is 1. `unweighted` holds the
    same pairs with every weight 1, from the same forward; it may be left out where the weights are 1 anyway.
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_length: torch.Tensor
    rejected_length: torch.Tensor
    unweighted: "PairLogps | None" = None

    @property
    def plain(self) -> "PairLogps":
        """These pairs with every weight 1."""
        return self if self.unweighted is None else self.unweighted

    @classmethod
    def from_tokens(
        cls,
        chosen: torch.Tensor,
        rejected: torch.Tensor,
        chosen_weights: torch.Tensor | None = None,
        rejected_weights: torch.Tensor | None = None,
    ) -> "PairLogps":
        """Contract log-likelihoods of tokens (B, T) with weights (B, T), and with ones beside them, in float32."""
        plain = cls(*_sums(chosen, rejected), *_sums(torch.ones_like(chosen), torch.ones_like(rejected)))
        if chosen_weights is None and rejected_weights is None:
            return plain
        assert chosen_weights is not None, "weights for both candidates of a pair, or for neither"
        assert rejected_weights is not None, "weights for both candidates of a pair, or for neither"
        sums = _sums(chosen_weights * chosen, rejected_weights * rejected)
        return cls(*sums, *_sums(chosen_weights, rejected_weights), unweighted=plain)


def _sums(chosen: torch.Tensor, rejected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    dtype = torch.promote_types(chosen.dtype, torch.float32)
    return chosen.sum(-1, dtype=dtype), rejected.sum(-1, dtype=dtype)  # (B,), (B,)


class PairLoss(Protocol):
    """Prefer the chosen candidate of each pair to the rejected one."""

    def __call__(self, policy: PairLogps, reference: PairLogps | None) -> LossOutput:
        """Map the log-likelihoods of B pairs to a loss (B,).

        `policy` is the model in training, `reference` the model it is compared with, at the same draw and without
        gradient. A loss that looks at no reference declares `reference: None`, and a recipe then runs none.
        """
        ...


class Term(NamedTuple):
    """One loss of a sum, and how much it counts."""

    loss: PairLoss
    weight: float = 1.0


def needs_reference(loss: Callable[..., LossOutput]) -> bool:
    """Say whether a loss for pairs looks at the reference: unless it declares `reference: None`; a sum, if a term does.

    Takes a loss as a config builds it, with its settings bound.
    """
    terms: dict[str, Term] = getattr(loss, "keywords", {}).get("terms", {})
    if terms:
        return any(needs_reference(term.loss) for term in terms.values())
    return inspect.signature(loss).parameters["reference"].annotation is not None
