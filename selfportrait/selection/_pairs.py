"""What the selections of pairs share: candidates by prompt, ranked, and prompts without a pair counted.

Read this to see how a tie is broken: by index, so that the order of the candidates' rows does not matter.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from selfportrait.selection._groups import MIN_SPREAD
from selfportrait.selection.base import Judged, Selected
from selfportrait.types import Pair

__all__ = ["make_pair", "preferred", "ranked", "select"]

Choice = list[Pair] | str
"""The pairs of one prompt, or why it has none."""


def select(judged: Sequence[Judged], choose: Callable[[list[Judged]], Choice]) -> Selected:
    """Choose among the candidates of each prompt that have a score, prompts in the order of their ids."""
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for _, group in groupby(sorted(judged, key=attrgetter("prompt_id")), key=attrgetter("prompt_id")):
        chosen = choose([one for one in group if one.score.value is not None])
        if isinstance(chosen, str):
            dropped[chosen] += 1
        else:
            pairs += chosen
    return Selected(pairs, dict(dropped), sum(one.score.value is None for one in judged))


def ranked(group: Sequence[Judged]) -> list[Judged]:
    """Sort the candidates of a prompt, best first; equal scores by index."""
    return sorted(group, key=lambda one: (-value(one), one.index, one.candidate_id))


def preferred(chosen: Iterable[Judged], rejected: Sequence[Judged], min_margin: float) -> Choice:
    """Pair every chosen with every rejected candidate that it beats by `min_margin`, and by more than rounding."""
    pairs = [make_pair(one, other) for one in chosen for other in rejected]
    clear = [pair for pair in pairs if pair.margin > MIN_SPREAD]
    wide = [pair for pair in clear if pair.margin >= min_margin]
    return wide or ("small margin" if clear else "tie")


def make_pair(chosen: Judged, rejected: Judged) -> Pair:
    """Record a preference."""
    return Pair(chosen.prompt_id, chosen.candidate_id, rejected.candidate_id, value(chosen), value(rejected))


def value(judged: Judged) -> float:
    """The score of a candidate that has one."""
    assert judged.score.value is not None, "candidates without a score are left out before"
    return judged.score.value
