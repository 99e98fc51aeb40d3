"""COCO's 80 classes under other names: of prompts, of GenEval, of checkpoints."""

import pytest

from selfportrait.detectors._coco import LABELS, label_of, labels_by_id, require


def test_there_are_80_and_each_stands_for_itself() -> None:
    assert len(LABELS) == len(set(LABELS)) == 80
    assert [label_of(label) for label in LABELS] == list(LABELS)
    assert (LABELS[0], LABELS[24], LABELS[79]) == ("person", "backpack", "toothbrush")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("computer mouse", "mouse"), ("tv remote", "remote"), ("computer keyboard", "keyboard"),  # GenEval's three
        ("sofa", "couch"), ("Motorbike", "motorcycle"), ("tvmonitor", "tv"), ("aeroplane", "airplane"),
        ("a red apple", "apple"), ("hot dog", "hot dog"), ("hot_dog", "hot dog"), ("two dogs", "dog"),
        ("potted plants", "potted plant"), ("wine glasses", "wine glass"), ("benches", "bench"), ("buses", "bus"),
        ("skis", "skis"), ("scissors", "scissors"), ("old woman", "person"), ("the cat", "cat"),
        ("hair dryer", "hair drier"), ("doughnut", "donut"), ("toothbrushes", "toothbrush"), ("horses", "horse"),
        ("unicorn", None), ("", None), ("glass of beer", None), ("catalogue", None),
    ],
)  # fmt: skip
def test_a_name_stands_for_a_class(name: str, label: str | None) -> None:
    assert label_of(name) == label


def test_an_unknown_name_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"RtDetr cannot look for 'unicorn', it knows COCO's 80 classes.*owlv2"):
        require("unicorn", "RtDetr")
    with pytest.raises(ValueError, match="did you mean 'giraffe'"):
        require("girafe", "RtDetr")


def test_the_labels_of_a_checkpoint_are_read_by_meaning() -> None:
    found = labels_by_id({0: "N/A", 1: "person", 5: "sofa", 90: "tvmonitor", 3: "Motorbike"}, "x")
    assert found == {1: "person", 5: "couch", 90: "tv", 3: "motorcycle"}
    with pytest.raises(
        ValueError, match="some/model names none of COCO's classes .its labels are 'LABEL_0', 'LABEL_1'"
    ):
        labels_by_id({0: "LABEL_0", 1: "LABEL_1"}, "some/model")
