"""Judge of text in pictures: real OCR (PP-OCRv4, inside the rapidocr_onnxruntime wheel) against the quoted text.

Read this to train on or measure prompts such as `the word "CAT" in red`; the target is what stands in double quotes.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image
from pydantic import Field
from rapidocr_onnxruntime import RapidOCR
from rapidocr_onnxruntime.utils.infer_engine import ONNXRuntimeError

from selfportrait import canvas
from selfportrait.types import Box, Prompt, Score

__all__ = ["Ocr"]

LONGEST, SHORTEST = 1536, 192  # px of the longer side that the networks are shown, about
_QUOTED = re.compile(r'["“”„]([^"“”„]*)["“”]')
_ENGINE = {
    "use_cls": False,  # upside-down text is not turned around before it is read
    "det_limit_side_len": 32,  # the detector sees the picture at the size we give it, not at 736 px at least
    "det_limit_type": "min",
    "rec_img_shape": [3, 48, 96],  # short words are not padded to 320 px; longer lines still get their width
    "intra_op_num_threads": 1,
    "inter_op_num_threads": 1,
}


class Line(NamedTuple):
    """One piece of text found in a picture: box is (x0, y0, x1, y1) in its pixels."""

    text: str
    confidence: float
    box: tuple[int, int, int, int]


class Ocr:
    """Reads a picture and compares it with the text in double quotes of its prompt, or with the target in its spec.

    `score` "iou" is the share of words that target and picture have in common, |O & T| / |O | T| (GPO). For a target
    of one word that is all or nothing; "edit" is graded: 1 - (edit distance to the target) / (length of the target),
    never below 0, spaces ignored. With `penalise_extra` off, a target that occurs anywhere in what was read scores 1 in
    "edit" and counts as `exact` in the details, as in Flow-GRPO; else `exact` says that the target and nothing more was
    read. Everything compares lower-case text without punctuation.
    A picture is enlarged `enlarge` times first; without that, so often that its longer side has about 192 px at least
    (3 times for 64 px, once from 256 px). Text read with less than `min_confidence` does not count. A picture
    without text scores 0; one on which the OCR fails has no score.
    """

    def __init__(
        self,
        *,
        enlarge: Annotated[int, Field(ge=1, le=16)] | None = None,
        score: Literal["iou", "edit"] = "iou",
        penalise_extra: bool = True,
        min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5,
    ) -> None:
        self.enlarge = enlarge
        self.score = score
        self.penalise_extra = penalise_extra
        self.min_confidence = min_confidence

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        return [self._judge(prompt, image) for prompt, image in zip(prompts, images, strict=True)]

    def lacks(self, prompt: Prompt) -> str | None:
        """Why no picture of a prompt can be judged; None where one can."""
        return None if _target(prompt) else f"no text in double quotes to look for in the prompt {prompt.text!r}"

    def _judge(self, prompt: Prompt, image: Image.Image) -> Score:
        target = _target(prompt)
        if not target:
            return Score(None, self.lacks(prompt))
        try:
            lines = self._read(image)
        except (ONNXRuntimeError, cv2.error) as error:
            return Score(None, f"OCR failed: {str(error).strip().splitlines()[-1]}")
        found = _words(" ".join(line.text for line in lines))
        read, looked_for = "".join(found), "".join(target)
        details = {
            "exact": read == looked_for if self.penalise_extra else looked_for in read,
            "contains": looked_for in read,
            "cer": window_distance(read, looked_for) / len(looked_for),
            "edit_distance": _edit_distance(read, looked_for),
            "iou": word_iou(found, target),
            "read": " ".join(line.text for line in lines),
            "confidence": sum(line.confidence for line in lines) / max(1, len(lines)),
            "boxes": [list(line.box) for line in lines],
        }
        return Score(self._value(found, target), None, details)

    def _value(self, found: list[str], target: list[str]) -> float:
        if self.score == "iou":
            return word_iou(found, target)
        return edit_score("".join(found), "".join(target), penalise_extra=self.penalise_extra)

    def _read(self, image: Image.Image) -> list[Line]:
        """Read every piece of text in a picture, as one reads; an empty list where there is none."""
        shown = canvas.fit(image, longest=LONGEST)
        factor = self.enlarge or max(1, round(SHORTEST / max(shown.picture.size)))
        size = (shown.picture.width * factor, shown.picture.height * factor)
        pixels = np.asarray(shown.picture.resize(size, Image.Resampling.BICUBIC))
        found, _ = self._engine(np.ascontiguousarray(pixels[:, :, ::-1]))  # arrays are read as BGR
        lines = []
        for corners, text, confidence in found or []:
            points = np.asarray(corners) / factor  # (4, 2)
            box = shown.back([*points.min(axis=0), *points.max(axis=0)])
            lines += [Line(text, float(confidence), box)] if box else []
        return in_order(lines)

    @cached_property
    def _engine(self) -> Any:
        """Load the networks at first use, so that checking a config stays cheap."""
        return RapidOCR(text_score=self.min_confidence, **_ENGINE)


def _target(prompt: Prompt) -> list[str]:
    spec = getattr(prompt, "spec", None) or {}
    return _words(str(spec.get("target") or quoted(prompt.text)))


def in_order(pieces: Sequence[Line]) -> list[Line]:
    """Order pieces as one reads them: rows from top to bottom, each from left to right.

    A piece belongs to the row of the last one above it where half of the lower of both heights overlaps: words of one
    row have tops that differ by their ascenders.
    """
    rows: list[list[Line]] = []
    for piece in sorted(pieces, key=lambda one: one.box[1] + one.box[3]):
        if rows and _is_beside(rows[-1][-1].box, piece.box):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [piece for row in rows for piece in sorted(row, key=lambda one: one.box[0])]


def _is_beside(first: Box, second: Box) -> bool:
    shared = min(first[3], second[3]) - max(first[1], second[1])
    return shared > 0.5 * min(first[3] - first[1], second[3] - second[1])


def quoted(text: str) -> str:
    """Return what stands between the first pair of double quotes, straight or curly; "" where there is none."""
    match = _QUOTED.search(text)
    return match.group(1) if match else ""


def word_iou(found: list[str], target: list[str]) -> float:
    """Return |O & T| / |O | T| of the two sets of words.

    OCR sets spaces between widely set letters, so neighbours that together spell a target word count as that word.
    """
    read, wanted = set(_rejoin(found, set(target))), set(target)
    return len(read & wanted) / len(read | wanted)


def edit_score(found: str, target: str, *, penalise_extra: bool) -> float:
    """Return 1 - d / len(target), d the edit distance, at most len(target)."""
    if not penalise_extra and target in found:
        return 1.0
    return 1 - min(_edit_distance(found, target), len(target)) / len(target)


def window_distance(found: str, target: str) -> int:
    """Return the edit distance of the target to that stretch of what was read which is nearest to it."""
    return min(_last_row(target, found, is_free=True))


def _words(text: str) -> list[str]:
    """Split into lower-case words after NFKC; apostrophes vanish, other punctuation parts words."""
    text = re.sub(r"['’`]", "", unicodedata.normalize("NFKC", text).lower())
    return "".join(" " if unicodedata.category(character)[0] == "P" else character for character in text).split()


def _rejoin(found: list[str], target: set[str]) -> list[str]:
    """Replace runs of words that together spell a target word by that word, longest run first."""
    joined: list[str] = []
    start = 0
    while start < len(found):
        ends = range(len(found), start + 1, -1)
        end = next((end for end in ends if "".join(found[start:end]) in target), start + 1)
        joined.append("".join(found[start:end]))
        start = end
    return joined


def _edit_distance(left: str, right: str) -> int:
    """Return the Levenshtein distance."""
    return _last_row(left, right, is_free=False)[-1]


def _last_row(left: str, right: str, *, is_free: bool) -> list[int]:
    """Return the distances of `left` to all beginnings of `right`, or if it is free, to what ends there.

    The Levenshtein recurrence; leaving out what stands before the stretch costs nothing (Sellers, 1980).
    """
    row = [0] * (len(right) + 1) if is_free else list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row
