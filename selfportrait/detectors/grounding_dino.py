"""Grounding DINO (https://arxiv.org/abs/2303.05499) through transformers: any `GroundingDinoForObjectDetection`.

Read this to see which box of a name is kept, and which threshold counts.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from selfportrait.boxes import overlap
from selfportrait.types import Detection

__all__ = ["GroundingDino"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class GroundingDino:
    """Look for each name in its picture, and keep the most confident box above `threshold`.

    Each name is a query of its own, so that no box has to be told apart by fragments of several names; `batch_size`
    queries go through the network at a time. The confidence is the highest probability over the tokens of the name.
    `path` is a folder or a hub id; weights are read as safetensors, at first use.
    """

    def __init__(
        self,
        *,
        path: str = "IDEA-Research/grounding-dino-base",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.35,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self.path, self.threshold, self.dtype, self.batch_size = path, threshold, DTYPES[dtype], batch_size
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Of each name the best box; a name that is nowhere above the threshold finds nothing."""
        queries = [(index, name) for index, several in enumerate(names) for name in several]
        found: list[list[Detection]] = [[] for _ in pictures]
        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            detections = self._detect([pictures[index] for index, _ in batch], [name for _, name in batch])
            for (index, _), detection in zip(batch, detections, strict=True):
                found[index] += [detection] if detection else []
        return found

    @torch.inference_mode()
    def _detect(self, pictures: Sequence[Image.Image], names: Sequence[str]) -> list[Detection | None]:
        processor, model = self._loaded
        rgb = [picture.convert("RGB") for picture in pictures]
        inputs = processor(images=rgb, text=[_query(name) for name in names], padding=True, return_tensors="pt")
        outputs = model(**inputs.to(self.device, self.dtype))
        results = processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self.threshold,
            target_sizes=[(picture.height, picture.width) for picture in rgb],
        )
        return [_best(*triple) for triple in zip(names, rgb, results, strict=True)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        processor = AutoProcessor.from_pretrained(self.path)
        model = AutoModelForZeroShotObjectDetection.from_pretrained(self.path, dtype=self.dtype, use_safetensors=True)
        return processor, model.to(self.device).eval()


def _query(name: str) -> str:
    """A name as the network was trained to read it: lower case, one phrase, a full stop at its end."""
    return f"{name.lower().replace('.', ' ').strip()}."


def _best(name: str, picture: Image.Image, result: dict[str, Any]) -> Detection | None:
    """The most confident box, in whole pixels of the picture; None where there is none."""
    boxes = [_whole(box, picture) for box in result["boxes"].tolist()]
    scored = [(score, box) for score, box in zip(result["scores"].tolist(), boxes, strict=True) if box]
    if not scored:
        return None
    score, box = max(scored, key=lambda one: one[0])
    return Detection(name, score, box)


def _whole(box: Sequence[float], picture: Image.Image) -> tuple[int, int, int, int] | None:
    """The pixels that a box touches, cut at the picture's edges; None where nothing is left."""
    x0, y0, x1, y1 = box
    outwards = (math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))
    cut = overlap(outwards, (0, 0, picture.width, picture.height))
    return cut if cut[0] < cut[2] and cut[1] < cut[3] else None
