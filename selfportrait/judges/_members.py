"""One judge among several: what it weighs, and on which scale.

Read this before building a mixture in Python; a config writes it as a section.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from selfportrait.types import Score

__all__ = ["Member"]


class Member(NamedTuple):
    """A built judge with its weight; with a mean and a standard deviation its scores count as (score - mean) / std."""

    judge: Any
    weight: float = 1.0
    mean: float = 0.0
    std: float = 1.0

    def value(self, score: float) -> float:
        """What a score counts, before its weight."""
        return (score - self.mean) / self.std

    def details(self, score: Score) -> Mapping[str, Any]:
        """A score as JSON, as the judge gave it and as it counts."""
        counted = None if score.value is None else self.value(score.value)
        return {**score.details, "score": score.value, "counts": counted, "reason": score.reason}
