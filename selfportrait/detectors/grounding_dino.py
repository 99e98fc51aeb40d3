"""Grounding DINO (https://arxiv.org/abs/2303.05499) through transformers: any `GroundingDinoForObjectDetection`.

Read this to see which boxes of a name are kept, and which threshold counts.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from selfportrait import canvas
from selfportrait.canvas import Canvas
from selfportrait.detectors._keep import nms
from selfportrait.devices import device_of
from selfportrait.pretrained import loading
from selfportrait.types import Detection

__all__ = ["GroundingDino"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class GroundingDino:
    """Look for any name with Grounding DINO, and keep every box above `threshold`, without those on a better one.

    Each name is a query of its own, so that no box has to be told apart by fragments of several names; `batch_size`
    queries go through the network at a time. The confidence is the highest probability over the tokens of the name.
    Of boxes of one name with an IoU above `nms_iou` the most confident stays.
    `path` is a folder or a hub id; weights are read as safetensors, at first use.
    """

    def __init__(
        self,
        *,
        path: str = "IDEA-Research/grounding-dino-base",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.35,
        nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.7,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self.path, self.threshold, self.nms_iou = path, threshold, nms_iou
        self.dtype, self.batch_size = DTYPES[dtype], batch_size
        self.device = device_of(device)

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All boxes of each name; a name that is nowhere above the threshold finds nothing."""
        queries = [(index, name) for index, several in enumerate(names) for name in dict.fromkeys(several)]
        found: list[list[Detection]] = [[] for _ in pictures]
        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            shown = [canvas.fit(pictures[index]) for index, _ in batch]
            detections = self._detect(shown, [name for _, name in batch])
            for (index, _), several in zip(batch, detections, strict=True):
                found[index] += nms(several, self.nms_iou)
        return found

    @torch.inference_mode()
    def _detect(self, shown: Sequence[Canvas], names: Sequence[str]) -> list[list[Detection]]:
        processor, model = self._loaded
        rgb = [one.picture for one in shown]
        inputs = processor(images=rgb, text=[_query(name) for name in names], padding=True, return_tensors="pt")
        outputs = model(**inputs.to(self.device, self.dtype))
        results = processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self.threshold,
            target_sizes=[one.rows_and_columns for one in shown],
        )
        return [_all(*triple) for triple in zip(names, shown, results, strict=True)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        with loading("detectors/grounding_dino", self.path):
            processor = AutoProcessor.from_pretrained(self.path)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                self.path, dtype=self.dtype, use_safetensors=True
            )
        return processor, model.to(self.device).eval()


def _query(name: str) -> str:
    """A name as the network was trained to read it: lower case, one phrase, a full stop at its end."""
    return f"{name.lower().replace('.', ' ').strip()}."


def _all(name: str, shown: Canvas, result: dict[str, Any]) -> list[Detection]:
    """The boxes in whole pixels of the picture; one that lies beside it is left out."""
    boxes = [shown.back(box) for box in result["boxes"].tolist()]
    return [Detection(name, score, box) for score, box in zip(result["scores"].tolist(), boxes, strict=True) if box]
