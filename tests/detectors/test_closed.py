"""The detectors of COCO's classes: real networks with random weights, and hand-made outputs through real processors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from selfportrait import components
from selfportrait.boxes import problem
from selfportrait.detectors._coco import LABELS
from selfportrait.detectors.mask2former import Mask2Former
from selfportrait.detectors.rt_detr import RtDetr
from selfportrait.detectors.yolo11 import Yolo11
from selfportrait.detectors.yolos import Yolos
from selfportrait.types import Detection

CLOSED = ["rt_detr", "d_fine", "yolos", "mask2former"]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8))
PICTURES = [Image.new("RGB", (64, 48), "red"), NOISE, Image.new("L", (30, 40), 9)]


def odd_pictures() -> list[Image.Image]:
    wide, ramp = Image.new("RGB", (20000, 10), "red"), np.arange(1200, dtype=np.uint16).reshape(30, 40)
    modes = [NOISE.convert(mode) for mode in ("RGBA", "P", "CMYK", "1", "LA")]
    return [Image.new("RGB", (1, 1)), wide, wide.rotate(90, expand=True), Image.fromarray(ramp), *modes]


def detector(tiny, name: str, **settings):
    return components.find("detectors", name)(path=str(tiny(name)), device="cpu", **{"threshold": 0.0, **settings})


@pytest.mark.parametrize("name", CLOSED)
def test_boxes_have_the_asked_names_and_fit(tiny, name: str) -> None:
    names = [["sofa", *LABELS], [], list(LABELS)]
    found = detector(tiny, name)(PICTURES, names)
    assert [len(several) > 0 for several in found] == [True, False, True]
    for picture, several, asked in zip(PICTURES, found, names, strict=True):
        positions = [asked.index(one.name) for one in several]
        assert positions == sorted(positions)
        for one in several:
            assert problem(one.box, picture.size) is None
            assert 0 < one.score <= 1
            assert (one.mask is not None) == (name == "mask2former")
            if one.mask is not None:
                assert one.mask.shape == (picture.height, picture.width)
                rows, columns = one.mask.any(1).nonzero()[0], one.mask.any(0).nonzero()[0]
                assert one.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    for several in found:
        for label in LABELS:
            scores = [one.score for one in several if one.name == label]
            assert scores == sorted(scores, reverse=True)
    couches = [[(one.score, one.box) for one in found[0] if one.name == n] for n in ("sofa", "couch")]
    assert couches[0] == couches[1]


@pytest.mark.parametrize("name", CLOSED)
def test_a_batch_changes_nothing_but_rounding(tiny, name: str) -> None:
    same = [NOISE.resize((64, 64)), NOISE.rotate(180).resize((64, 64))]  # nothing is padded, none is of one colour
    alone, together = (detector(tiny, name, batch_size=size)(same, [LABELS] * 2) for size in (1, 2))
    for first, second in zip(alone, together, strict=True):
        assert first
        several = [sorted((one.name, one.box, one.score) for one in found) for found in (first, second)]
        assert [one[:2] for one in several[0]] == [one[:2] for one in several[1]]
        assert [one[2] for one in several[0]] == pytest.approx([one[2] for one in several[1]], abs=1e-4)


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_below_the_threshold_is_not_there(tiny, name: str) -> None:
    scores = sorted(one.score for one in detector(tiny, name)([NOISE], [LABELS])[0])
    middle = (scores[0] + scores[-1]) / 2
    kept = detector(tiny, name, threshold=middle)([NOISE], [LABELS])[0]
    assert len(kept) < len(scores)
    assert all(one.score > middle - 1e-6 for one in kept)


@pytest.mark.parametrize("name", [*CLOSED, "owlv2"])
def test_odd_pictures_do_not_crash_it(tiny, name: str) -> None:
    pictures = odd_pictures()
    found = detector(tiny, name, threshold=0.01)(pictures, [["dog", "computer mouse"]] * len(pictures))
    for picture, several in zip(pictures, found, strict=True):
        assert all(problem(one.box, picture.size) is None for one in several)


@pytest.mark.parametrize("name", [*CLOSED, "yolo11"])
def test_an_unknown_name_is_refused_before_anything_loads(name: str) -> None:
    one = components.find("detectors", name)(path="no/such-model")
    with pytest.raises(ValueError, match="cannot look for 'unicorn', it knows COCO's 80 classes"):
        one([NOISE], [["dog", "unicorn"]])
    assert one([NOISE], [[]]) == [[]]
    assert one.label("tv remote") == "remote"
    assert one.label("unicorn") is None


class Says:
    """A network that says what it is told."""

    def __init__(self, **outputs) -> None:
        self.outputs = outputs

    def __call__(self, **_):
        return SimpleNamespace(**self.outputs)


def logits(*said: tuple[int, float], classes: int = 80) -> torch.Tensor:
    """One query a (class, logit), every other class at -20: (1, queries, classes)."""
    found = torch.full((1, len(said), classes), -20.0)
    for query, (index, value) in enumerate(said):
        found[0, query, index] = value
    return found


def test_hand_made_boxes_of_rt_detr(tiny) -> None:
    one = detector(tiny, "rt_detr", threshold=0.5)
    processor, _, labels = one._network._loaded
    # centres and sizes in parts of a picture of 200 x 100; sofa is couch, class 57; sigmoid(1) = 0.731
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.1, 0.2], [0.5, 0.5, 0.2, 0.2], [0.25, 0.5, 0.5, 0.97]]])
    said = logits((57, 1.0), (57, 2.0), (57, -1.0), (57, 3.0))
    one._network.__dict__["_loaded"] = (processor, Says(logits=said, pred_boxes=boxes), labels)
    (found,) = one([Image.new("RGB", (200, 100))], [["sofa", "dog"]])
    # the third is below the threshold; the first is the fourth again
    assert [(d.name, d.box) for d in found] == [("sofa", (0, 1, 100, 99)), ("sofa", (140, 40, 160, 60))]
    assert [d.score for d in found] == pytest.approx([torch.sigmoid(torch.tensor(x)).item() for x in (3.0, 2.0)])


def test_hand_made_boxes_of_yolos_leave_nothing_seen_out(tiny) -> None:
    one: Yolos = detector(tiny, "yolos", threshold=0.5)
    processor, _, labels = one._network._loaded
    # class 1 is person, class 81 (the last) is "nothing": softmax over person 2, nothing 0 gives 0.881; -2 gives 0.119
    said = torch.full((1, 2, 82), -20.0)
    said[0, :, 81], said[0, 0, 1], said[0, 1, 1] = 0, 2, -2
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.1, 0.1]]])
    one._network.__dict__["_loaded"] = (processor, Says(logits=said, pred_boxes=boxes), labels)
    (found,) = one([Image.new("RGB", (80, 40))], [["woman"]])
    assert found == [Detection("woman", pytest.approx(0.8808, abs=1e-4), (20, 10, 60, 30))]


def mask2former(tiny, *said: tuple[int, float], masks: torch.Tensor) -> Mask2Former:
    one: Mask2Former = detector(tiny, "mask2former", threshold=0.5)
    processor, _, labels = one._network._loaded
    outputs = Says(class_queries_logits=logits(*said, classes=81), masks_queries_logits=masks)
    one._network.__dict__["_loaded"] = (processor, outputs, labels)
    return one


def test_hand_made_masks_of_mask2former(tiny) -> None:
    masks = torch.full((1, 3, 8, 8), -9.0)
    masks[0, 0, 2:6, 4:] = 9.0  # rows 2 to 6 and the right half
    masks[0, 1, :4, :2] = 9.0
    one = mask2former(tiny, (16, 20.0), (15, 20.0), (16, -20.0), masks=masks)
    (found,) = one([Image.new("RGB", (80, 160))], [["dog", "cat"]])
    dog, cat = found  # class 16 is a dog, 15 a cat; of the third query all classes are alike, far below the threshold
    assert (dog.name, cat.name) == ("dog", "cat")
    # a cell of the mask is 10 x 20 pixels; enlarging to 384 first moves an edge by less than half a cell
    assert dog.box == pytest.approx((40, 40, 80, 120), abs=1)
    assert cat.box == pytest.approx((0, 0, 20, 80), abs=1)
    assert dog.mask is not None
    assert dog.mask[60:100, 50:].all()
    assert not dog.mask[:, :38].any()


def test_masks_are_all_kept_also_one_inside_another(tiny) -> None:
    masks = torch.full((1, 2, 8, 8), -9.0)
    masks[0, 0, :, :] = 9.0
    masks[0, 1, 2:4, 2:4] = 9.0
    (found,) = mask2former(tiny, (0, 20.0), (0, 19.0), masks=masks)([Image.new("RGB", (80, 80))], [["child"]])
    assert len(found) == 2


def test_no_mask_above_the_threshold_is_no_instance(tiny) -> None:
    """Then the post-processing returns one map of (H, W) instead of a stack of masks."""
    one = mask2former(tiny, (16, -20.0), (15, -20.0), masks=torch.full((1, 2, 8, 8), 9.0))
    assert one([Image.new("RGB", (80, 160))], [["dog", "cat"]]) == [[]]


def test_bfloat16_is_computed(tiny) -> None:
    one = RtDetr(path=str(tiny("rt_detr")), dtype="bfloat16", device="cpu", threshold=0.0)
    assert one([NOISE], [LABELS])[0]


def test_yolo11_is_asked_for_by_name_and_says_its_licence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Yolo:
        def __init__(self, path: str) -> None:
            self.path = path

        def predict(self, pictures, *, conf: float, iou: float, device: str, verbose: bool):
            assert (conf, iou, device, verbose) == (0.25, 0.7, "cpu", False)
            boxes = SimpleNamespace(
                xyxy=torch.tensor([[1.0, 2, 30, 40], [5, 5, 9, 9]]), conf=torch.tensor([0.5, 0.6]),
                cls=torch.tensor([16.0, 0]),
            )  # fmt: skip
            return [SimpleNamespace(boxes=boxes, names={0: "person", 16: "dog"}) for _ in pictures]

    monkeypatch.setitem(__import__("sys").modules, "ultralytics", SimpleNamespace(YOLO=Yolo))
    (found,) = Yolo11(device="cpu")([NOISE], [["puppy"]])
    assert found == [Detection("puppy", 0.5, (1, 2, 30, 40))]
    assert "AGPL-3.0" in caplog.text


def test_without_its_package_yolo11_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ultralytics", None)
    with pytest.raises(ValueError, match="needs ultralytics.*AGPL-3.0 suits you, or take rt_detr or d_fine"):
        Yolo11()([NOISE], [["dog"]])
