"""GenEval's rules, on detections: what is there, how often, in what colour and where.

Read this to see when a picture is right. Facts from https://github.com/djghosh13/geneval (evaluation/).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selfportrait.types import Box, Detection

__all__ = ["COLORS", "MAX_OBJECTS", "Colors", "Verdict", "dense_reward", "keep", "relations", "verdict"]

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
MAX_OBJECTS = 16
SLACK = 0.1  # of both sizes, by which two boxes have to be apart
AXIS = 0.5  # of the distance between the centres, that has to lie along a direction

Objects = Mapping[str, Sequence[Detection]]
Colors = Callable[[str, Sequence[Detection]], list[str]]
"""The colour of each detection of a class."""


class Verdict(NamedTuple):
    """Whether a picture is right, and what is wrong with it."""

    correct: bool
    reasons: list[str]


def keep(detections: Iterable[Detection], threshold: float) -> dict[str, list[Detection]]:
    """By class, the at most 16 detections above a threshold, the most confident first."""
    kept: dict[str, list[Detection]] = {}
    for one in sorted(detections, key=lambda detection: -detection.score):
        several = kept.setdefault(one.name, [])
        if one.score > threshold and len(several) < MAX_OBJECTS:
            several.append(one)
    return kept


def relations(box: Box, target: Box) -> set[str]:
    """Where a box is from a target: left of, right of, above, below, two of them or none.

    Equation: o = c - c_t,  o' = sign(o) max(|o| - 0.1 (size + size_t), 0),  d = o' / |o|; left of where d_x < -0.5,
    right of where d_x > 0.5, above where d_y < -0.5, below where d_y > 0.5; nothing where o' is 0.
    """
    first, second = (np.array(one, dtype=np.float64).reshape(2, 2) for one in (box, target))  # ((x0, y0), (x1, y1))
    offset = first.mean(axis=0) - second.mean(axis=0)
    size = (first[1] - first[0]) + (second[1] - second[0])
    apart = np.sign(offset) * np.maximum(np.abs(offset) - SLACK * size, 0)
    if (np.abs(apart) < 1e-3).all():
        return set()
    dx, dy = apart / np.linalg.norm(offset)
    named = {"left of": dx < -AXIS, "right of": dx > AXIS, "above": dy < -AXIS, "below": dy > AXIS}
    return {name for name, holds in named.items() if holds}


def verdict(spec: Mapping[str, Any], objects: Objects, colors: Colors) -> Verdict:
    """Judge a picture by what was found in it.

    Every clause of `include` needs at least `count` of its class, of which only the most confident `count` are looked
    at: all of them in its colour, and each of them in its place from each of an earlier clause. No clause of `exclude`
    may have `count` of its class or more.
    """
    reasons: list[str] = []
    groups: list[Sequence[Detection] | None] = []
    for clause in spec.get("include", []):
        found = list(objects.get(clause["class"], []))[: clause["count"]]
        problem = _problem(clause, found, groups, colors)
        reasons += [problem] if problem else []
        groups.append(None if problem else found)
    for clause in spec.get("exclude", []):
        number = len(objects.get(clause["class"], []))
        if number >= clause["count"]:
            reasons.append(f"expected fewer than {clause['count']} {clause['class']}, found {number}")
    return Verdict(not reasons, reasons)


def _problem(
    clause: Mapping[str, Any], found: list[Detection], groups: Sequence[Sequence[Detection] | None], colors: Colors
) -> str | None:
    name, count = clause["class"], clause["count"]
    if len(found) < count:
        return f"expected {count} {name}, found {len(found)}"
    if "color" in clause:
        seen = colors(name, found)
        if seen.count(clause["color"]) < count:
            return f"expected {count} {clause['color']} {name}, found {', '.join(seen)}"
    if "position" in clause:
        return _misplaced(name, clause["position"], found, groups)
    return None


def _misplaced(
    name: str, position: Sequence[Any], found: Sequence[Detection], groups: Sequence[Sequence[Detection] | None]
) -> str | None:
    relation, target = position
    others = groups[target]
    if others is None:
        return f"there is no target for {name} to be {relation}"
    for one in found:
        for other in others:
            seen = relations(one.box, other.box)
            if relation not in seen:
                return f"expected {name} {relation} its target, found {' and '.join(sorted(seen)) or 'nothing'}"
    return None


def dense_reward(spec: Mapping[str, Any], objects: Objects, colors: Colors, *, official_quirks: bool = False) -> float:
    """Reward a picture in parts, for training: the mean over counts, colours and places, in [0, 1].

    Equation: each clause of `include` has 1 - |n - n*| / n* for the number found, the same for the number in its
    colour, and 1 or 0 for its place; colour and place are 0 where the number is not exact, place also where its colour
    or target is wrong. Each term is clipped to [0, 1].
    Source: the reward server of Flow-GRPO, https://github.com/yifan123/reward-server. `official_quirks` takes its form
    as it is: terms below 0, no term for a place whose colour is wrong, and both 0 and 1 for a place that is missed.
    """
    terms: list[float] = []
    groups: list[Sequence[Detection] | None] = []
    for clause in spec.get("include", []):
        found = list(objects.get(clause["class"], []))
        parts, matched = _terms(clause, found, groups, colors, official_quirks)
        terms += parts
        groups.append(found if matched else None)
    if not terms:
        return 0.0
    return sum(terms if official_quirks else [min(max(term, 0.0), 1.0) for term in terms]) / len(terms)


def _terms(
    clause: Mapping[str, Any],
    found: list[Detection],
    groups: Sequence[Sequence[Detection] | None],
    colors: Colors,
    quirks: bool,
) -> tuple[list[float], bool]:
    """The terms of a clause, and whether all of it holds."""
    count = clause["count"]
    terms = [1 - abs(count - len(found)) / count]
    if len(found) != count:
        further = [name for name in ("color", "position") if name in clause]
        return terms + [0.0] * (min(len(further), 1) if quirks else len(further)), False
    holds = True
    if "color" in clause:
        right = colors(clause["class"], found).count(clause["color"])
        terms.append(1 - abs(count - right) / count)
        holds = right == count
    if "position" in clause and (holds or not quirks):
        target = groups[clause["position"][1]]
        in_place = holds and _misplaced(clause["class"], clause["position"], found, groups) is None
        terms += [0.0, 1.0] if quirks and not in_place and target is not None else [float(in_place)]
        holds = in_place
    return terms, holds
