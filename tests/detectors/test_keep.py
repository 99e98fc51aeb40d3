"""Which of several boxes on a thing stays, with numbers by hand."""

from selfportrait.detectors._keep import deduplicate, every, nms
from selfportrait.types import Detection


def cat(score: float, *box: int, name: str = "cat") -> Detection:
    return Detection(name, score, box)  # type: ignore[arg-type]


def test_suppression_keeps_the_most_confident_of_overlapping_boxes() -> None:
    # IoU of the first two: 8 x 10 shared of 120: 2 / 3
    low, high, apart = cat(0.5, 0, 0, 10, 10), cat(0.8, 2, 0, 12, 10), cat(0.3, 50, 50, 60, 60)
    assert nms([low, high, apart], 0.6) == [high, apart]
    assert nms([low, high, apart], 0.7) == [high, low, apart]


def test_only_what_stays_suppresses() -> None:
    # each overlaps the next by 6 of 14 (0.43), the first and the third by 2 of 18: the middle one goes, the third stays
    row = [cat(0.9, 0, 0, 10, 1), cat(0.8, 4, 0, 14, 1), cat(0.7, 8, 0, 18, 1)]
    assert nms(row, 0.4) == [row[0], row[2]]


def test_names_do_not_take_each_other_out() -> None:
    both = [cat(0.5, 0, 0, 10, 10), cat(0.9, 0, 0, 10, 10, name="dog"), cat(0.6, 0, 0, 10, 10)]
    assert nms(both, 0.5) == [both[2], both[1]]  # in the order in which the names come
    assert deduplicate(both) == [both[2], both[1]]
    assert every(both) == [both[2], both[0], both[1]]


def test_duplicates_are_equal_boxes_and_boxes_inside_boxes() -> None:
    whole = cat(0.9, 0, 0, 100, 100)
    equal = cat(0.5, 0, 0, 100, 95)  # IoU 0.95
    inside = cat(0.4, 10, 10, 20, 20)
    nearly_inside = cat(0.4, 95, 0, 105, 10)  # half of it
    assert deduplicate([inside, whole, equal, nearly_inside]) == [whole, nearly_inside]
    around = cat(0.95, 0, 0, 10, 10)
    assert deduplicate([whole, around]) == [around]
