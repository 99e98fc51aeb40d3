"""Encoded prompts are kept up to a number of bytes, and the one not asked for longest goes first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfportrait.models._texts import KeptTexts
from selfportrait.models.base import EncodedText
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3

ROW = 4 * (3 + 1)  # bytes


class Counted:
    """Encodes a letter into a row of `ROW` bytes, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> EncodedText:
        self.asked.append(text)
        return EncodedText(torch.full((3, 1), float(ord(text))), torch.full((1,), float(ord(text))))


def letters(rows: list[EncodedText]) -> str:
    return "".join(chr(int(row.pooled)) for row in rows)


def test_the_text_asked_for_longest_ago_goes_first() -> None:
    kept, encode = KeptTexts(2 * ROW), Counted()
    assert letters(kept.rows("aba", encode)) == "aba"
    kept.rows("a", encode)  # b is now the older one
    kept.rows("c", encode)
    assert (encode.asked, kept.bytes) == (["a", "b", "c"], 2 * ROW)
    assert letters(kept.rows("ac", encode)) == "ac"
    assert encode.asked == ["a", "b", "c"]
    kept.rows("b", encode)
    assert encode.asked == ["a", "b", "c", "b"]


def test_a_batch_keeps_its_own_rows_whatever_the_room() -> None:
    kept, encode = KeptTexts(2 * ROW), Counted()
    assert letters(kept.rows("abcdabcd", encode)) == "abcdabcd"
    assert encode.asked == ["a", "b", "c", "d"]
    assert kept.bytes == 2 * ROW
    assert letters(kept.rows("bcd", encode)) == "bcd"
    assert encode.asked == ["a", "b", "c", "d", "b"]


def test_nothing_is_kept_where_no_row_fits() -> None:
    encode, small = Counted(), KeptTexts(ROW - 1)
    for _ in range(2):
        assert letters(small.rows("aa", encode)) == "aa"
        assert small.bytes == 0
    assert encode.asked == ["a", "a"]


@pytest.mark.parametrize(("family", "name"), [(SD, "tiny_sd"), (SD, "tiny_sdxl"), (SD3, "tiny_sd3")])
def test_models_keep_no_more_and_encode_the_same(
    family: Callable[..., Any], name: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(name)
    model, bounded = (family(path=str(path)).load() for _ in range(2))
    texts = ["a star", "a ring", "a cross", "a star"]
    expected = model.encode(texts)
    bounded._encoded.most = model._encoded.bytes // 3
    for _ in range(2):
        assert all(torch.equal(*both) for both in zip(bounded.encode(texts), expected, strict=True))
        assert bounded._encoded.bytes == bounded._encoded.most
