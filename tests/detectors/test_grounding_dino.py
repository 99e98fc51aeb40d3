"""Grounding DINO on a tiny random checkpoint of the real class: batches, thresholds, boxes inside the picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from selfportrait.boxes import problem
from selfportrait.detectors.grounding_dino import GroundingDino, _best, _query, _whole

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


def test_each_name_gets_at_most_one_box_that_fits_its_picture(checkpoint: Path) -> None:
    found = detector(checkpoint, threshold=0.0)(PICTURES, NAMES)
    assert [[one.name for one in several] for several in found] == NAMES
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


def test_the_most_confident_box_is_kept_in_whole_pixels() -> None:
    picture = Image.new("RGB", (20, 10))
    boxes = torch.tensor([[1.2, 2.0, 3.0, 4.1], [-3.0, 1.0, 5.5, 30.0], [25.0, 1.0, 30.0, 3.0]])
    found = _best("dog", picture, {"boxes": boxes, "scores": torch.tensor([0.5, 0.7, 0.9])})
    # the third is the most confident and lies outside; the second is cut at the edges
    assert found is not None
    assert (found.box, found.score) == ((0, 1, 6, 10), pytest.approx(0.7))
    assert _best("dog", picture, {"boxes": torch.empty(0, 4), "scores": torch.empty(0)}) is None


def test_a_box_takes_the_pixels_it_touches() -> None:
    assert _whole([1.2, 2.0, 3.0, 4.1], Image.new("RGB", (20, 10))) == (1, 2, 3, 5)


def test_a_name_is_one_phrase() -> None:
    assert [_query(name) for name in ("Red Cat", "st. bernard", "dog.")] == ["red cat.", "st  bernard.", "dog."]
