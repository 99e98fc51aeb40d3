"""Pictures of any mode and size on a canvas, and boxes and masks back on the picture."""

import numpy as np
import pytest
from PIL import Image

from selfportrait.canvas import fit


def odd_pictures() -> dict[str, Image.Image]:
    ramp = np.arange(40 * 30, dtype=np.uint16).reshape(30, 40) * 50
    red = Image.new("RGB", (40, 30), "red")
    return {
        "RGBA": Image.new("RGBA", (40, 30), (255, 0, 0, 9)),
        "palette": red.quantize(4),
        "16 bits": Image.fromarray(ramp),
        "32 bits": Image.fromarray(ramp.astype(np.int32)),
        "float": Image.fromarray(ramp.astype(np.float32)),
        "CMYK": red.convert("CMYK"),
        "1 bit": red.convert("1"),
        "grey and alpha": red.convert("LA"),
        "1x1": Image.new("RGB", (1, 1), "red"),
        "wide": Image.new("RGB", (20000, 10), "red"),
        "tall": Image.new("L", (3, 20000), 200),
    }


@pytest.mark.parametrize("name", odd_pictures())
def test_every_canvas_is_rgb_of_a_usual_shape(name: str) -> None:
    shown = fit(odd_pictures()[name]).picture
    assert shown.mode == "RGB"
    assert 32 <= min(shown.size) <= max(shown.size) <= 2048
    assert max(shown.size) <= 4 * min(shown.size)


def test_a_usual_picture_is_its_own_canvas() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8))
    found = fit(picture)
    assert found.picture.tobytes() == picture.tobytes()
    assert found.back((1.5, 2, 70.1, 90)) == (1, 2, 71, 60)


def test_boxes_come_back_in_the_pixels_of_the_picture() -> None:
    # 20,000 x 10 becomes 2,048 x 1 on a canvas of 2,048 x 512: a pixel across stands for 9.765625 of the picture
    found = fit(Image.new("RGB", (20000, 10)))
    assert found.shown == (2048, 1)
    assert found.back((0, 0, 1024, 1)) == (0, 0, 10000, 10)
    assert found.back((1024, 0.5, 4000, 512)) == (10000, 5, 20000, 10)
    assert found.back((0, 1, 2048, 512)) is None  # below the picture
    assert found.back((float("nan"), 0, 1, 1)) is None
    # 1 x 1 on 32 x 32
    assert fit(Image.new("RGB", (1, 1))).back((0, 0, 32, 32)) == (0, 0, 1, 1)


def test_masks_come_back_without_what_lies_beside_the_picture() -> None:
    # 40 x 8 on 40 x 32: the picture is the upper quarter of the canvas, and the upper quarter of the mask's 8 rows
    found = fit(Image.new("RGB", (40, 8)))
    assert found.picture.size == (40, 32)
    mask = np.zeros((8, 4), dtype=bool)
    mask[1, 2:] = True  # the second row of two that the picture has, its right half
    mask[4] = True  # beside the picture
    back = found.mask_back(mask)
    assert back.shape == (8, 40)
    assert back[4:, 20:].all()
    assert back.sum() == 4 * 20
