"""What every selection offers: rewards in, advantages out; or judged candidates in, preference pairs out.

Read this before writing a selection; a recipe knows nothing more about it than this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from selfportrait.types import Pair, Score

__all__ = ["Groups", "Judged", "PairQuality", "PairSelection", "Selected", "Selection", "pair_quality"]


class Groups(NamedTuple):
    """Advantages (P, G), 0 for a missing reward and for a group left out; keep (P,) is False for a group left out."""

    advantages: torch.Tensor
    keep: torch.Tensor


class Selection(Protocol):
    """Turn the rewards of P prompts with G candidates each, NaN where a judgement is missing, into advantages."""

    def __call__(self, rewards: torch.Tensor) -> Groups:
        """Map rewards (P, G) to advantages (P, G) and keep (P,)."""
        ...


@dataclass(frozen=True)
class Judged:
    """A candidate with its score for a prompt, which is the base prompt also for a hard negative.

    `index` tells the candidates of a prompt apart; a candidate and the hard negative made beside it share theirs.
    `answers` holds one number for each of the prompt's questions, in [-1, 1] and above 0 for yes.
    """

    prompt_id: str
    candidate_id: str
    index: int
    score: Score
    is_hard_negative: bool = False
    answers: tuple[float, ...] = ()


class Selected(NamedTuple):
    """Pairs, in the order of their prompts; prompts without one, counted by reason; and candidates without a score."""

    pairs: list[Pair]
    dropped: dict[str, int]
    num_missing: int


class PairSelection(Protocol):
    """Choose preference pairs among the judged candidates of any number of prompts."""

    def __call__(self, judged: Sequence[Judged], seed: int) -> Selected:
        """Map judged candidates, in any order, to pairs; `seed` keys what is chosen at random, if anything is."""
        ...


class PairQuality(NamedTuple):
    """How many pairs there are, are ambiguous, could be checked by an exact judge, and are false by it."""

    num_pairs: int
    num_ambiguous: int
    num_checked: int
    num_false: int


def pair_quality(
    pairs: Sequence[Pair], *, min_margin: float, is_right: Mapping[str, bool | None] | None = None
) -> PairQuality:
    """Diagnose pairs: ambiguous with a margin below `min_margin` or none, false with a chosen that is wrong.

    `is_right` has the verdicts of an exact judge by candidate id; a candidate that is not in it, or is with None,
    could not be checked.
    """
    verdicts = [(is_right or {}).get(pair.chosen_id) for pair in pairs]
    return PairQuality(
        num_pairs=len(pairs),
        num_ambiguous=sum(pair.margin < min_margin or pair.margin <= 0 for pair in pairs),
        num_checked=sum(verdict is not None for verdict in verdicts),
        num_false=sum(verdict is False for verdict in verdicts),
    )
