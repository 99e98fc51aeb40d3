"""Which of several boxes on one thing stays. Read this to see what a second box of a thing is taken for.

The most confident stays, and what overlaps it goes; boxes of different names never take each other out.
"""

from collections.abc import Callable, Sequence

from selfportrait.boxes import Box, containment, iou
from selfportrait.types import Detection

__all__ = ["deduplicate", "every", "nms"]


def every(detections: Sequence[Detection]) -> list[Detection]:
    """Leave out nothing."""
    return _thinned(detections, lambda *_: False)


def nms(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Class-wise non-maximum suppression: leave out what overlaps a more confident one (IoU above `threshold`)."""
    return _thinned(detections, lambda one, other: iou(one, other) > threshold)


def deduplicate(detections: Sequence[Detection], limit: float = 0.9) -> list[Detection]:
    """Leave out what is nearly a more confident box, or nearly inside it or around it (IoU or containment > `limit`).

    For networks that need no suppression (DETR's family), and now and then still see a thing twice; the rule is that
    of T2I-CompBench's numeracy (https://arxiv.org/abs/2307.06350).
    """
    return _thinned(detections, lambda one, other: iou(one, other) > limit or containment(one, other) > limit)


def _thinned(detections: Sequence[Detection], are_one: Callable[[Box, Box], bool]) -> list[Detection]:
    """The detections that stay, by name in the order in which the names come, the most confident first."""
    by_name: dict[str, list[Detection]] = {}
    for detection in detections:
        by_name.setdefault(detection.name, []).append(detection)
    kept: list[Detection] = []
    for several in by_name.values():
        stay: list[Detection] = []
        for one in sorted(several, key=lambda detection: -detection.score):
            if not any(are_one(one.box, other.box) for other in stay):
                stay.append(one)
        kept += stay
    return kept
