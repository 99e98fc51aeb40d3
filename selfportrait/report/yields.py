"""How much of what a round made was kept, and why the rest was dropped.

Read this to see where prompts and pictures are lost between the model's first words and a pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from selfportrait.report.form import finite, plain
from selfportrait.report.reading import RunRecord, read_object

__all__ = ["Diagnosis", "Reason", "Stage", "Yields", "yields"]

STAGES = {
    "prompts": "prompts",
    "perturbations": "perturbed prompts",
    "densifications": "detailed prompts",
    "questions": "prompts with questions",
    "candidates": "pictures drawn",
    "scores": "pictures scored",
    "preferences": "pairs",
    "masks": "pairs with object masks",
}


class Reason(NamedTuple):
    """Why something was dropped: how often in each round (None: the round has no such stage), and as a share."""

    text: str
    counts: list[int | None]
    shares: list[float]


@dataclass(frozen=True)
class Stage:
    """What one stage kept in each round, and what it dropped."""

    name: str
    kept: list[int | None]
    reasons: list[Reason]


class Diagnosis(NamedTuple):
    """Some pairs of one round as a share: `part` of `whole`, and None where there is nothing to divide by."""

    part: int
    whole: int

    @property
    def share(self) -> float | None:
        """The part of the whole."""
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True)
class Yields:
    """The stages over the rounds that have a yield.json, and OSPO's diagnosis of the pairs."""

    rounds: list[str]
    stages: list[Stage]
    min_margin: float | None  # below it a pair is ambiguous
    ambiguous: list[Diagnosis | None]
    false: list[Diagnosis | None]


def yields(run: RunRecord) -> Yields | None:
    """The yield of every round; None where no round has written one."""
    read = [(one.name, read_object(one.folder / "yield.json")) for one in run.rounds]
    found = [(name, one) for name, one in read if one]
    if not found:
        return None
    maps = [one for _, one in found]
    names = [name for name in dict.fromkeys([*STAGES, *(key for one in maps for key in one)]) if _any(maps, name)]
    pairs = [one.get("preferences") or {} for one in maps]
    return Yields(
        rounds=[name for name, _ in found],
        stages=[_stage(name, [one.get(name) for one in maps]) for name in names],
        min_margin=finite(run.settings.get("recipe", {}).get("min_margin")),
        ambiguous=[_diagnosis(one, "num_ambiguous", "kept") for one in pairs],
        false=[_diagnosis(one, "num_false", "num_checked") for one in pairs],
    )


def _any(maps: list[dict[str, Any]], name: str) -> bool:
    return any(isinstance(one.get(name), Mapping) and "kept" in one[name] for one in maps)


def _stage(name: str, rounds: list[Mapping[str, Any] | None]) -> Stage:
    kept = [_count(one, "kept") for one in rounds]
    dropped = [(one or {}).get("dropped") or {} for one in rounds]
    totals = [(here or 0) + sum(several.values()) for here, several in zip(kept, dropped, strict=True)]
    texts = dict.fromkeys(text for several in dropped for text in several)
    reasons = [Reason(text, *_reason(text, rounds, dropped, totals)) for text in texts]
    return Stage(
        STAGES.get(name, plain(name)), kept, sorted(reasons, key=lambda reason: -sum(n or 0 for n in reason.counts))
    )


def _reason(
    text: str, rounds: list[Mapping[str, Any] | None], dropped: list[Mapping[str, int]], totals: list[int]
) -> tuple[list[int | None], list[float]]:
    counts = [None if one is None else several.get(text, 0) for one, several in zip(rounds, dropped, strict=True)]
    return counts, [(count or 0) / (total or 1) for count, total in zip(counts, totals, strict=True)]


def _count(stage: Mapping[str, Any] | None, key: str) -> int | None:
    value = finite((stage or {}).get(key))
    return None if value is None else int(value)


def _diagnosis(pairs: Mapping[str, Any], part: str, whole: str) -> Diagnosis | None:
    counts = _count(pairs, part), _count(pairs, whole)
    return None if counts[0] is None or counts[1] is None else Diagnosis(counts[0], counts[1])
