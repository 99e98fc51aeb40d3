"""Best-of-N selection: the best candidate of a prompt against its worst.

Read this first among the selections of pairs.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from selfportrait.selection._pairs import Choice, preferred, ranked, select
from selfportrait.selection.base import Judged, Selected

__all__ = ["best_worst"]


def best_worst(judged: Sequence[Judged], seed: int, *, min_margin: Annotated[float, Field(ge=0)] = 0.0) -> Selected:
    """Pair the best candidate of each prompt with the worst, unless they tie or are closer than `min_margin`.

    Among equal scores the lowest index is the best and the highest the worst. Missing scores are left out; a prompt
    with fewer than two scores has no pair.

    Source: SILMM with SEED-LLaMA, the first against the last of 10, https://arxiv.org/abs/2412.05818.
    """

    def choose(group: list[Judged]) -> Choice:
        order = ranked(group)
        return preferred(order[:1], order[-1:], min_margin) if len(group) > 1 else "too few scores"

    return select(judged, choose)
