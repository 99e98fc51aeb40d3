"""The exact instance judge of the micro world: two shapes against the phrase of the prompt that names them."""

from collections.abc import Sequence

from selfportrait.boxes import Geometry, area, overlap, place
from selfportrait.instance_judges.base import TIE, Comparison, Seen, Verdict
from selfportrait.micro.detect import detect
from selfportrait.micro.instances import covers, phrase_of, stated
from selfportrait.micro.language import Phrase, parse
from selfportrait.micro.world import SIDE

__all__ = ["Micro"]


class Micro:
    """Say which picture's shape is nearer to what the prompt claims of it.

    First by how many of the colour, shape and size that the prompt states are right, then by how far the number of
    such shapes in the picture is from the prompt's. Equal in both is a tie; what the prompt leaves open does not count.
    """

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict a comparison."""
        return [_compare(one) for one in comparisons]


def _compare(one: Comparison) -> Verdict:
    try:
        phrase = phrase_of(one.name, parse(one.prompt).phrases)
    except ValueError:
        return Verdict(None, "the prompt is not of the micro language")
    if phrase is None:
        return Verdict(None, "the name stands for no phrase of the prompt")
    a, b = (_nearness(phrase, seen) for seen in (one.a, one.b))
    if a is None or b is None:
        return Verdict(None, "there is no shape in a box")
    raw = f"A {a[0]} right, {-a[1]} off in number; B {b[0]} right, {-b[1]} off in number"
    return Verdict(None, TIE, raw) if a == b else Verdict("A" if a > b else "B", None, raw)


def _nearness(phrase: Phrase, seen: Seen) -> tuple[int, int] | None:
    """How many stated attributes are right, and minus the error of the number; None without a shape in the box."""
    box = place(seen.box, Geometry.resizing(seen.picture.size, (SIDE, SIDE)))
    assert box is not None, "nothing was cropped away"
    detections = detect(seen.picture)
    best = max(detections, key=lambda detection: area(overlap(detection.box, box)), default=None)
    if best is None or area(overlap(best.box, box)) == 0:
        return None
    kind = stated(phrase)
    right = sum(best.attributes[key] == value for key, value in kind.items())
    return right, -abs(sum(covers(kind, detection) for detection in detections) - phrase.count)
