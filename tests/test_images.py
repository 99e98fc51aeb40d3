"""Pictures: exact round trips, equal bytes for equal pixels, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from selfportrait import canvas, images


def picture(width: int = 6, height: int = 4, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()


def test_png_round_trip_is_exact() -> None:
    assert same(images.from_bytes(images.to_png(picture())), picture())


def test_png_bytes_depend_on_pixels_alone() -> None:
    dressed = picture()
    dressed.info.update(dpi=(300, 300), icc_profile=b"profile", gamma=0.5)
    info = PngImagePlugin.PngInfo()
    info.add_text("made", "today")
    buffer = io.BytesIO()
    picture().save(buffer, "PNG", pnginfo=info)
    assert images.to_png(dressed) == images.to_png(picture())
    assert images.to_png(Image.open(io.BytesIO(buffer.getvalue()))) == images.to_png(picture())
    assert images.to_png(picture().convert("RGBA")) == images.to_png(picture())


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "GIF", "WEBP"])
def test_reads_common_formats_as_rgb(kind: str) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, kind)
    assert images.from_bytes(buffer.getvalue()).mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("F", "TIFF")],
)
def test_reads_odd_modes_as_rgb(mode: str, kind: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (3, 2)).save(buffer, kind)
    image = images.from_bytes(buffer.getvalue())
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_a_grey_picture_of_16_bits_keeps_its_greys() -> None:
    """65535 is white, 32768 = 128 * 256 is grey 128, and what is below 256 is black."""
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)).save(buffer, "PNG")
    assert np.array(images.from_bytes(buffer.getvalue()))[0, :, 1].tolist() == [0, 0, 1, 128, 255]


def test_refuses_every_truncation_and_garbage() -> None:
    data = images.to_png(picture())
    for end in range(len(data) - 12):  # the last 12 bytes are the empty end chunk
        with pytest.raises(ValueError, match="cannot be decoded"):
            images.from_bytes(data[:end])
    with pytest.raises(ValueError, match="cannot be decoded"):
        images.from_bytes(b"not a picture")


def test_refuses_a_flipped_bit_in_the_pixels() -> None:
    data = bytearray(images.to_png(picture()))
    data[data.index(b"IDAT") + 8] ^= 1
    with pytest.raises(ValueError, match="cannot be decoded"):
        images.from_bytes(bytes(data))


@pytest.mark.parametrize("side", [8193, 12000, 40000])
def test_refuses_enormous_pictures_before_decoding(side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match=f"{images.MAX_PIXELS} "):
        images.from_bytes(bomb)


def test_enlarging_by_nearest_repeats_pixels() -> None:
    large = np.array(images.enlarge(picture(), 3))
    assert (large == np.array(picture()).repeat(3, axis=0).repeat(3, axis=1)).all()
    assert images.enlarge(picture(), 4, method="bicubic").size == (24, 16)


def test_grid_places_pictures_row_by_row() -> None:
    reds = [Image.new("RGB", (2, 3), (index, 0, 0)) for index in range(5)]
    sheet = images.grid(reds, 2, gap=1)
    assert sheet.size == (2 * 3 - 1, 3 * 4 - 1)
    assert [sheet.getpixel((x, y)) for y in (0, 4, 8) for x in (0, 3)] == [
        *[(index, 0, 0) for index in range(5)],
        (255, 255, 255),
    ]
    assert images.grid(reds[:1], 9).size == (2, 3)


@pytest.mark.parametrize(("count", "columns"), [(0, 2), (3, 0)])
def test_an_empty_grid_is_refused(count: int, columns: int) -> None:
    with pytest.raises(ValueError, match="empty"):
        images.grid([picture()] * count, columns)


@pytest.mark.parametrize("signed", [True, False])
def test_tensor_round_trip_is_exact(signed: bool) -> None:
    tensor = images.to_tensor(picture(), signed=signed)
    assert tensor.shape == (3, 4, 6)
    assert float(tensor.min()) >= (-1 if signed else 0)
    assert same(images.from_tensor(tensor, signed=signed), picture())


def test_tensors_round_and_clip() -> None:
    # 0.5 * 255 = 127.5 rounds half to even, 128; -3 and 3 are clipped
    tensor = torch.tensor([[[0.0, -3.0, 3.0, -1.0]]])
    assert np.array(images.from_tensor(tensor))[0, :, 0].tolist() == [128, 0, 255, 0]


def test_tensors_become_the_pictures_diffusers_makes() -> None:
    from diffusers.image_processor import VaeImageProcessor

    tensor = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    theirs = VaeImageProcessor(vae_scale_factor=8).postprocess(tensor, output_type="pil")
    assert all(same(images.from_tensor(one), other) for one, other in zip(tensor, theirs, strict=True))


def test_half_precision_and_gradients_are_fine_but_nan_is_not() -> None:
    tensor = images.to_tensor(picture()).bfloat16().requires_grad_()
    assert images.from_tensor(tensor).size == (6, 4)
    with pytest.raises(ValueError, match="not finite"):
        images.from_tensor(torch.full((3, 2, 2), torch.nan))


def test_an_overlay_keeps_what_the_mask_keeps_and_draws_a_line_around_it() -> None:
    """A mask of one cell in 2x2 on a red 8x8 picture: inside red, outside grey, black and white where they meet."""
    mask = np.array([[1.0, 0.0], [0.0, 0.0]])
    shown = np.asarray(images.overlay(Image.new("RGB", (8, 8), (200, 0, 0)), mask))
    assert (shown[:3, :3] == (200, 0, 0)).all()
    assert (shown[5:, 5:] == round(0.75 * 128 + 0.25 * 200 / 3)).all()
    assert (shown[3, :4] == 255).all()
    assert (shown[4, :4] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_overlay_of_a_constant_mask_has_no_line(value: float) -> None:
    shown = np.asarray(images.overlay(Image.new("RGB", (6, 6), (200, 0, 0)), np.full((3, 3), value)))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 1


def test_an_overlay_fits_a_mask_of_another_shape() -> None:
    assert images.overlay(picture(7, 5), np.random.default_rng(0).random((3, 4))).size == (7, 5)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0, 255, 256, 32768, 65535], np.uint16, [0, 0, 1, 128, 255]),  # the high byte
        ([0, 255, 256, 32768, 65535], np.int32, [0, 0, 1, 128, 255]),
        ([0, 7, 200, 255, 255], np.int32, [0, 7, 200, 255, 255]),
        ([0, 0.5, 1, np.nan, -1], np.float32, [0, 127, 255, 0, 0]),
        ([0, 0.5, 100, 255, 3], np.float32, [0, 0, 100, 255, 3]),
    ],
)
def test_wide_channels_become_8_bits_by_one_rule(values, kind, expected) -> None:
    """A detector and a judge see the same pixels: there were two rules, one level apart."""
    found = images.to_rgb(Image.fromarray(np.array([values] * 40, dtype=kind)))
    assert np.asarray(found)[0, :, 0].tolist() == expected
    assert np.array_equal(np.asarray(canvas.fit(found).picture)[0, :5], np.asarray(found)[0])


def test_every_high_byte_is_its_own_grey() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(np.asarray(images.to_rgb(Image.fromarray(ramp)))[..., 0].ravel(), np.arange(256))
