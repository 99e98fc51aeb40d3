"""Grounding DINO on a tiny random checkpoint of the real class: batches, thresholds, boxes inside the picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from selfportrait import canvas
from selfportrait.boxes import problem
from selfportrait.detectors.grounding_dino import GroundingDino, _all, _query
from selfportrait.types import Detection

PICTURES = [Image.new("RGB", (64, 48), "red"), Image.new("RGB", (40, 80), "blue"), Image.new("L", (30, 30), 9)]
NAMES = [["red cat", "dog"], [], ["a Dog.", "fox", "owl"]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `GroundingDinoForObjectDetection` with random weights, letters for a vocabulary, and its processor."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *letters, *(f"##{letter}" for letter in letters)]
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=64,
        ).to_dict(),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5, num_feature_levels=4, max_text_len=16,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-grounding-dino"
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    sizes = GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160})
    GroundingDinoProcessor(sizes, tokenizer).save_pretrained(folder)
    return folder


def detector(folder: Path, **settings) -> GroundingDino:
    return GroundingDino(path=str(folder), device="cpu", **settings)


def test_each_name_gets_boxes_that_fit_its_picture_in_the_order_of_the_names(checkpoint: Path) -> None:
    found = detector(checkpoint, threshold=0.0, nms_iou=1.0)(PICTURES, NAMES)
    assert [list(dict.fromkeys(one.name for one in several)) for several in found] == NAMES
    assert max(len(several) for several in found) > 3  # several of a name
    for picture, several in zip(PICTURES, found, strict=True):
        for one in several:
            assert problem(one.box, picture.size) is None
            assert 0 < one.score <= 1


def test_batches_change_nothing_but_rounding(checkpoint: Path) -> None:
    alone, together = (detector(checkpoint, threshold=0.0, batch_size=size) for size in (1, 2))
    same = [PICTURES[0].resize((64, 64)), PICTURES[1].resize((64, 64))]  # nothing is padded
    names = [["cat", "dog"], ["fox", "owl"]]
    for first, second in zip(alone(same, names), together(same, names), strict=True):
        assert [one.name for one in first] == [one.name for one in second]
        assert [one.score for one in first] == pytest.approx([one.score for one in second], abs=1e-4)


def test_what_is_below_the_threshold_is_not_there(checkpoint: Path) -> None:
    everything = detector(checkpoint, threshold=0.0)(PICTURES, NAMES)
    scores = sorted(one.score for several in everything for one in several)
    middle = (scores[1] + scores[2]) / 2
    kept = detector(checkpoint, threshold=middle)(PICTURES, NAMES)
    assert sorted(one.score for several in kept for one in several) == pytest.approx(scores[2:], abs=1e-4)


def test_nothing_to_look_for_loads_nothing() -> None:
    assert GroundingDino(path="no/such-model")(PICTURES, [[], [], []]) == [[], [], []]


def test_boxes_are_in_whole_pixels_and_cut_at_the_edges() -> None:
    shown = canvas.fit(Image.new("RGB", (40, 32)))
    boxes = torch.tensor([[1.2, 2.0, 3.0, 4.1], [-3.0, 1.0, 5.5, 60.0], [45.0, 1.0, 50.0, 3.0]])
    found = _all("dog", shown, {"boxes": boxes, "scores": torch.tensor([0.5, 0.75, 0.9])})
    assert found == [Detection("dog", 0.5, (1, 2, 3, 5)), Detection("dog", 0.75, (0, 1, 6, 32))]  # one lies outside
    assert _all("dog", shown, {"boxes": torch.empty(0, 4), "scores": torch.empty(0)}) == []


def test_of_boxes_on_one_thing_one_stays(checkpoint: Path) -> None:
    found = detector(checkpoint, threshold=0.0, nms_iou=0.25)
    box = [[2.0, 2.0, 12.0, 12.0], [4.0, 2.0, 14.0, 12.0], [30.0, 2.0, 40.0, 12.0]]  # IoU of the first two: 80 / 120
    processor, _ = found._loaded
    found.__dict__["_loaded"] = processor, lambda **_: None
    processor.post_process_grounded_object_detection = lambda *_, **__: [
        {"boxes": torch.tensor(box), "scores": torch.tensor([0.5, 0.75, 0.25])}
    ]
    (several,) = found([Image.new("RGB", (50, 40))], [["cat"]])
    assert several == [Detection("cat", 0.75, (4, 2, 14, 12)), Detection("cat", 0.25, (30, 2, 40, 12))]


@pytest.mark.parametrize(
    "picture", [Image.new("RGBA", (1, 1)), Image.new("RGB", (20000, 10)), Image.new("P", (30, 30)),
                Image.new("CMYK", (30, 30)), Image.new("I;16", (30, 30))], ids=["1x1", "wide", "P", "CMYK", "I;16"],
)  # fmt: skip
def test_odd_pictures_do_not_crash_it(checkpoint: Path, picture: Image.Image) -> None:
    (found,) = detector(checkpoint, threshold=0.0)([picture], [["cat"]])
    assert all(problem(one.box, picture.size) is None for one in found)


def test_a_name_is_one_phrase() -> None:
    assert [_query(name) for name in ("Red Cat", "st. bernard", "dog.")] == ["red cat.", "st  bernard.", "dog."]
