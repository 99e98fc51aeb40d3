"""Pictures of odd modes and sizes: every judge gets RGB, and one that cannot be read spoils no other's score."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_judges import noise

from selfportrait import images
from selfportrait.judges._pictures import MEAN, STD, cropped, judge_readable, padded, pixel_hash, squared
from selfportrait.judges.clip_score import ClipScore
from selfportrait.types import Prompt, Score

PICTURE = noise(40, 30, 0)


def rgb_seen(picture: Image.Image) -> Image.Image | str | None:
    """What a judge is given of a picture, or why it is given nothing."""
    seen: list[Image.Image] = []

    def judge(texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        seen.extend(pictures)
        return [Score(1.0) for _ in texts]

    (score,) = judge_readable([Prompt("p", "x")], [picture], judge)
    return seen[0] if seen else score.reason


def test_alpha_is_dropped_and_not_laid_on_anything() -> None:
    transparent = PICTURE.convert("RGBA")
    transparent.putalpha(0)
    assert rgb_seen(transparent).tobytes() == PICTURE.tobytes()


def test_palettes_and_cmyk_are_what_they_show() -> None:
    palette = PICTURE.convert("P")
    assert rgb_seen(palette).tobytes() == palette.convert("RGB").tobytes()
    cyan = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    assert rgb_seen(cyan).getpixel((0, 0)) == (0, 255, 255)


def test_sixteen_bits_keep_their_high_byte() -> None:
    deep = Image.fromarray(np.array([[0, 256 * 7 + 3, 65535]], dtype=np.uint16))
    assert [rgb_seen(deep).getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (7, 7, 7), (255, 255, 255)]


def test_one_pixel_and_a_very_wide_picture_fill_the_frame() -> None:
    for picture in (Image.new("RGB", (1, 1), "red"), Image.new("RGB", (20_000, 1), "red")):
        for frame in (cropped, squared):
            assert frame(picture, 8).shape == (3, 8, 8)
            assert torch.allclose(frame(picture, 8), cropped(Image.new("RGB", (8, 8), "red"), 8))
    wide = padded(Image.new("RGB", (20_000, 1), "white"), 8)
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    assert torch.allclose(wide[:, 0], black[:, None])
    assert (wide[:, 3] > 1).all()  # the one row of white


def test_frames_are_those_of_the_librarys_processors() -> None:
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    clip = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    blip = BlipImageProcessorPil(size={"height": 24, "width": 24})
    for width, height in ((24, 24), (64, 48), (33, 65), (200, 30), (7, 9)):
        picture = noise(width, height, width)
        for processor, frame in ((clip, cropped), (blip, squared)):
            expected = processor(picture, return_tensors="pt")["pixel_values"][0]
            assert torch.allclose(frame(picture, 24), expected, atol=1e-5)


def test_what_is_cut_off_a_very_long_picture_is_not_seen_anyway() -> None:
    from selfportrait.judges import _pictures

    picture = noise(9 * 16 + 16, 16, 0)  # ten times as long as wide
    near = cropped(picture, 16)
    limit, _pictures.LONGEST = _pictures.LONGEST, 100
    try:
        assert torch.allclose(cropped(picture, 16), near)
    finally:
        _pictures.LONGEST = limit


def test_padding_by_hand() -> None:
    """A white 4x2 picture in a frame of 4: a row of black, two of white, a row of black."""
    unit = padded(Image.new("RGB", (4, 2), "white"), 4) * torch.tensor(STD)[:, None, None]
    rows = (unit + torch.tensor(MEAN)[:, None, None]).mean((0, 2))
    assert rows.tolist() == pytest.approx([0, 1, 1, 0], abs=1e-6)


def truncated(tmp_path: Path) -> Image.Image:
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG")
    path = tmp_path / "cut.png"
    path.write_bytes(buffer.getvalue()[:-900])
    return Image.open(path)


def bomb() -> Image.Image:
    """A picture that says it is larger than what is read, and is never decoded."""
    picture = Image.new("RGB", (1, 1))
    picture._size = (images.MAX_PIXELS, 2)
    return picture


def test_what_cannot_be_read_is_missing_and_the_others_are_judged(tmp_path: Path, clip_folder: Path) -> None:
    judge = ClipScore(path=str(clip_folder), device="cpu")
    prompts = [Prompt(str(index), "a red cat") for index in range(4)]
    scores = judge(prompts, [PICTURE, truncated(tmp_path), bomb(), PICTURE.convert("RGBA")])
    assert scores[0].value == scores[3].value is not None
    assert [score.value for score in scores[1:3]] == [None, None]
    assert "cannot be decoded" in (scores[1].reason or "")
    assert "more than the 67108864" in (scores[2].reason or "")


def test_nothing_loads_for_nothing(tmp_path: Path) -> None:
    judge = ClipScore(path="no/such-model", device="cpu")
    assert judge([], []) == []
    assert judge([Prompt("p", "x")], [bomb()])[0].value is None


def test_a_hash_is_of_the_pixels_and_their_shape() -> None:
    assert pixel_hash(PICTURE) == pixel_hash(PICTURE.copy())
    flat, tall = Image.new("RGB", (4, 1)), Image.new("RGB", (1, 4))
    assert pixel_hash(flat) != pixel_hash(tall)
