"""T2I-CompBench's rules: what a prompt asks for, and what detections, answers and a depth map are worth.

Read this to see each category's formula. Facts from https://github.com/Karine-Huang/T2I-CompBench (UniDet_eval/,
BLIPvqa_eval/, 3_in_1_eval/); boxes are in pixels of the picture, whose longer side stands for the 480 of the source.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfportrait.boxes import Box, area, overlap
from selfportrait.types import Detection

__all__ = [
    "MAX_CHUNKS",
    "attribute_score",
    "complex_kind",
    "complex_score",
    "deduplicated",
    "numeracy_objects",
    "numeracy_score",
    "place_2d",
    "place_3d",
    "plurals",
    "question",
    "relation_2d",
    "relation_3d",
    "spatial_pair",
    "spatial_score_2d",
    "spatial_score_3d",
    "words",
]

MAX_CHUNKS = 8
NEAR = 150 / 480  # of the picture's side
OVERLAP_2D, OVERLAP_3D, SAME = 0.1, 0.5, 0.9
CUT = 0.5
RELATIONS_2D = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
RELATIONS_3D = ("in front of", "behind", "hidden")
NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
}  # fmt: skip
ONE = ("a", "an", "one")
PEOPLE = ("girl", "boy", "man", "woman")
RENAMED = {
    **dict.fromkeys(PEOPLE, "person"),
    "ship": "boat",
    "telivision": "tv",
    "goldfish": "fish",
    "painting": "picture",
}
_ERASED = re.compile(r'[.!"()*#:;~]')
_PAIR = re.compile(
    r"(?:a|an|the) (.+?) (?:on side of|next to|near|on the (?:left|right|bottom|top) of|in front of|behind|hidden by) "
    r"(?:a|an|the) (.+?)\.?"
)


class Objects(NamedTuple):
    """The two things of a prompt, None where it does not name them."""

    first: str | None
    second: str | None


# Attributes


def question(chunk: str) -> str:
    """What BLIP is asked about a noun chunk: the chunk itself, in lower case and without some marks."""
    return _ERASED.sub("", f"{chunk}?".lower()).rstrip()


def attribute_score(p_yes: Sequence[float], *, official_quirks: bool = True) -> float:
    """Multiply P(yes) over the noun chunks, of which at most 8 count; the source rounds each and the product to 4."""
    if not official_quirks:
        return math.prod(p_yes[:MAX_CHUNKS])
    return round(math.prod(round(p, 4) for p in p_yes[:MAX_CHUNKS]), 4)


# Relations in the plane


def relation_2d(prompt: str) -> str | None:
    """The first relation of the list that the prompt holds, anywhere in it."""
    return next((relation for relation in RELATIONS_2D if relation in prompt), None)


def spatial_pair(prompt: str) -> Objects:
    """The two things of a prompt such as "a girl on the top of a frog"; people are one class."""
    match = _PAIR.fullmatch(prompt)
    return Objects(None, None) if match is None else Objects(*map(person, match.groups()))


def person(name: str) -> str:
    """A man, woman, boy or girl is a person."""
    return "person" if name in PEOPLE else name


def place_2d(relation: str | None, first: Box, second: Box, side: int) -> float:
    """How well the first box stands to the second, in [0, 1].

    Equation: near, next to, on side of: 1 where |dx| or |dy| is below D, else D / max(|dx|, |dy|), with D = 150 / 480
    of the picture's side. Left, right, top, bottom: 0 unless the centres lie that way and further along that axis
    than the other, then 1 where IoU < 0.1, else 0.1 / IoU. Anything else, "on top of" too: 0.
    """
    dx, dy = ((second[i] + second[i + 2] - first[i] - first[i + 2]) / 2 for i in (0, 1))
    if relation in ("next to", "on side of", "near"):
        limit = NEAR * side
        return 1.0 if abs(dx) < limit or abs(dy) < limit else limit / max(abs(dx), abs(dy))
    along = {
        "on the left of": (dx, dy),
        "on the right of": (-dx, dy),
        "on the top of": (dy, dx),
        "on the bottom of": (-dy, dx),
    }.get(relation or "")
    if along is None or along[0] <= 0 or along[0] <= abs(along[1]):
        return 0.0
    shared = iou(first, second)
    return 1.0 if shared < OVERLAP_2D else OVERLAP_2D / shared


def spatial_score_2d(
    objects: Objects, relation: str | None, detections: Sequence[Detection], side: int, *, official_quirks: bool = True
) -> float:
    """Score a picture: 0.25 (s1 + s2) + 0.5 place with both things, 0.25 s with one; the source cuts below 0.5 to 0.

    `detections` are the most confident first, and the first of each name counts.
    """
    found = [next((one for one in detections if one.name == name), None) for name in objects]
    score = 0.25 * sum(one.score for one in found if one is not None)
    first, second = found
    if first is not None and second is not None:
        score += place_2d(relation, first.box, second.box, side) / 2
    return 0.0 if official_quirks and score < CUT else score


# Relations in depth


def relation_3d(prompt: str) -> str | None:
    """In front of, behind or hidden."""
    return next((relation for relation in RELATIONS_3D if relation in prompt), None)


def place_3d(
    relation: str | None, first: Box, second: Box, depth: NDArray[np.float64], *, official_quirks: bool = True
) -> float:
    """How well the first box stands before or behind the second, by a depth map (H, W) that is larger where nearer.

    Equation: 0 unless the mean depths of the boxes are ordered as asked; then 1 where IoU > 0.5, IoU / 0.5 below it,
    and 0 at exactly 0.5, as in the source. The source reads depth[x0:x1, y0:y1], the map's other diagonal half, which
    `official_quirks` keeps; a box that this leaves empty has no depth, and the place is 0.
    """
    means = [_mean_depth(box, depth, official_quirks) for box in (first, second)]
    nearer = means[0] - means[1]
    if not (nearer > 0 if relation == "in front of" else nearer < 0 and relation is not None):
        return 0.0
    shared = iou(first, second)
    if shared == OVERLAP_3D:
        return 0.0 if official_quirks else 1.0
    return 1.0 if shared > OVERLAP_3D else shared / OVERLAP_3D


def _mean_depth(box: Box, depth: NDArray[np.float64], is_transposed: bool) -> float:
    x0, y0, x1, y1 = box
    part = depth[x0:x1, y0:y1] if is_transposed else depth[y0:y1, x0:x1]
    return float(part.mean()) if part.size else math.nan


def spatial_score_3d(
    objects: Objects,
    relation: str | None,
    detections: Sequence[Detection],
    depth: NDArray[np.float64],
    *,
    official_quirks: bool = True,
) -> float:
    """Score a picture as in the plane, without the cut.

    The source goes through all detections until it has both things, and of the one it had first keeps the last.
    """
    first, second = _last_until_both(objects, detections) if official_quirks else _best(objects, detections)
    score = 0.25 * sum(one.score for one in (first, second) if one is not None)
    if first is not None and second is not None:
        score += place_3d(relation, first.box, second.box, depth, official_quirks=official_quirks) / 2
    return score


def _best(objects: Objects, detections: Sequence[Detection]) -> list[Detection | None]:
    return [next((one for one in detections if one.name == name), None) for name in objects]


def _last_until_both(objects: Objects, detections: Sequence[Detection]) -> list[Detection | None]:
    if None in _best(objects, detections):
        return _best(objects, detections)
    found: list[Detection | None] = [None, None]
    for one in detections:
        found = [one if one.name == name else had for name, had in zip(objects, found, strict=True)]
        if None not in found:
            break
    return found


# Numbers


def plurals(lines: Sequence[str]) -> dict[str, str]:
    """Names by themselves and by their plurals, from lines such as "mouse - mice"; the first of a plural counts."""
    singular: dict[str, str] = {}
    for line in lines:
        one, _, several = (part.strip().lower() for part in line.partition(" - "))
        if not several:
            raise ValueError(f"{line!r} is not such as 'mouse - mice'")
        singular.setdefault(several, one)
        singular.setdefault(one, one)
    return singular


def words(text: str) -> list[str]:
    """Words and marks."""
    return re.findall(r"\w+(?:[-'’]\w+)*|[^\w\s]", text)


def numeracy_objects(prompt: str, singular: Mapping[str, str]) -> list[tuple[str, int]]:
    """The things that a prompt counts, in the singular, with their numbers; a name of two words before one of one."""
    tokens = words(prompt)
    found = []
    for place, token in enumerate(tokens):
        names = [" ".join(tokens[place + 1 : place + 1 + length]) for length in (2, 1)]
        name = next((name for name in names if name in singular), None) if token in NUMBERS else None
        if name is not None:
            found.append((singular[name], NUMBERS[token]))
    return found


def deduplicated(detections: Sequence[Detection]) -> list[Detection]:
    """Leave out what is nearly an earlier detection of its name: IoU, or the share of either inside, above 0.9."""
    kept: list[Detection] = []
    for one in detections:
        if not any(one.name == other.name and _is_same(one.box, other.box) for other in kept):
            kept.append(one)
    return kept


def _is_same(first: Box, second: Box) -> bool:
    shared = _inclusive(overlap(first, second))
    areas = _inclusive(first), _inclusive(second)
    return any(shared / whole > SAME for whole in (areas[0] + areas[1] - shared, *areas))


def _inclusive(box: Box) -> int:
    """The area with the last row and column, as the source counts."""
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)


def numeracy_score(objects: Sequence[tuple[str, int]], detections: Sequence[Detection]) -> float:
    """Of K things, 0.5 / K for each that is there and 0.5 / K for each whose number is exact."""
    counts = [sum(one.name == RENAMED.get(name, name) for one in deduplicated(detections)) for name, _ in objects]
    asked = [number for _, number in objects]
    points = sum((found > 0) + (found == number) for found, number in zip(counts, asked, strict=True))
    return 0.5 * points / len(objects)


# Three in one


def complex_kind(prompt: str, spatial: Sequence[str], action: Sequence[str]) -> str:
    """Which judges a complex prompt has: spatial, action or both, by the published lists."""
    key = _stem(prompt)
    if key in set(map(_stem, spatial)):
        return "spatial"
    return "action" if key in set(map(_stem, action)) else "both"


def _stem(prompt: str) -> str:
    return prompt.split(".")[0].lower()


def complex_score(kind: str, attribute: float, spatial: float | None, action: float | None) -> float | None:
    """The mean of attributes and place, of attributes and action (a CLIP cosine), or of all three; None without one."""
    needed = {"spatial": [attribute, spatial], "action": [attribute, action]}.get(kind, [attribute, spatial, action])
    known = [one for one in needed if one is not None]
    return sum(known) / len(known) if len(known) == len(needed) else None


def iou(first: Box, second: Box) -> float:
    """Intersection over union."""
    shared = area(overlap(first, second))
    return shared / (area(first) + area(second) - shared)
