"""SILMM's selection for many candidates: several of the best of a prompt against several of the worst.

Read this beside best_worst, which it is with one of each.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from selfportrait.selection._pairs import Choice, preferred, ranked, select, value
from selfportrait.selection.base import Judged, Selected

__all__ = ["ranked_pairs"]


def ranked_pairs(
    judged: Sequence[Judged],
    seed: int,
    *,
    num_chosen: Annotated[int, Field(ge=1)] = 10,
    num_rejected: Annotated[int, Field(ge=1)] = 10,
    skip_worst: Annotated[int, Field(ge=0)] = 0,
    min_margin: Annotated[float, Field(ge=0)] = 0.0,
    min_score: Annotated[float, Field(ge=-1, le=1)] = -1.0,
) -> Selected:
    """Pair each of the best candidates of a prompt with each of the worst that it beats.

    Of n candidates with a score, rank 0 the best, the chosen have the ranks 0 to num_chosen - 1, the rejected the last
    num_rejected ranks before the skip_worst worst. A candidate may be on both sides, but a pair is only made where the
    chosen has the higher score, by `min_margin` if there is one. None is chosen whose score is below `min_score`: the
    best of a hard prompt may be wrong too.

    Source: SILMM with DreamLLM, https://arxiv.org/abs/2412.05818, 10 x 10 pairs of 30 candidates; its hardest range of
    the rejected, ranks 14 to 24, is skip_worst 6. Equal scores are ranked by index.
    """

    def choose(group: list[Judged]) -> Choice:
        order = ranked(group)
        end = len(order) - skip_worst
        chosen, rejected = order[:num_chosen], order[max(0, end - num_rejected) : max(0, end)]
        if len(group) < 2 or not rejected:
            return "too few scores"
        right = [one for one in chosen if value(one) >= min_score]
        return preferred(right, rejected, min_margin) if right else "no candidate is right"

    return select(judged, choose)
