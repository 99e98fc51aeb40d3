"""OWLv2 (https://arxiv.org/abs/2306.09683) through transformers: any `Owlv2ForObjectDetection`; any name can be asked.

Read this to see how a name is worded, and why names do not compete for a box.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoProcessor, Owlv2ForObjectDetection

from selfportrait import canvas
from selfportrait.canvas import Canvas
from selfportrait.detectors._keep import nms
from selfportrait.devices import device_of
from selfportrait.pretrained import loading
from selfportrait.types import Detection

__all__ = ["Owlv2"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
QUERY = "a photo of a {name}"
LONGEST = 1024  # px: the processor pads to a square before it resizes to 960


class Owlv2:
    """Look for any name with OWLv2, and keep every box above `threshold`, without those that overlap a better one.

    A name is asked as "a photo of a ...". Every patch of the picture has a confidence for each name, so that names do
    not compete ("apple" and "red apple" may both have a box). Its confidences are low: 0.1 to 0.3 is a usual threshold.
    Of boxes of one name with an IoU above `nms_iou` the most confident stays.
    `path` is a folder or a hub id; weights are read as safetensors, at first use.
    """

    def __init__(
        self,
        *,
        path: str = "google/owlv2-base-patch16-ensemble",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.5,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        self.path, self.threshold, self.nms_iou = path, threshold, nms_iou
        self.dtype, self.batch_size = DTYPES[dtype], batch_size
        self.device = device_of(device)

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All boxes of each name."""
        found: list[list[Detection]] = [[] for _ in pictures]
        asked = [index for index, several in enumerate(names) if several]
        for start in range(0, len(asked), self.batch_size):
            batch = asked[start : start + self.batch_size]
            several = [list(dict.fromkeys(names[index])) for index in batch]
            shown = [canvas.fit(pictures[index], longest=LONGEST) for index in batch]
            for index, detections in zip(batch, self._detect(shown, several), strict=True):
                found[index] = nms(detections, self.nms_iou)
        return found

    @torch.inference_mode()
    def _detect(self, shown: Sequence[Canvas], names: Sequence[list[str]]) -> list[list[Detection]]:
        processor, model = self._loaded
        texts = [[QUERY.format(name=name.strip().lower()) for name in several] for several in names]
        limit = model.config.text_config.max_position_embeddings
        inputs = processor(
            text=texts, images=[one.picture for one in shown], return_tensors="pt", padding="max_length",
            truncation=True, max_length=limit,
        )  # fmt: skip
        outputs = model(**inputs.to(self.device, self.dtype))
        confidences = outputs.logits.float().sigmoid()  # (B, patches, names)
        results = zip(names, confidences, outputs.pred_boxes.float(), shown, strict=True)
        return [_above(self.threshold, *result) for result in results]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        with loading("detectors/owlv2", self.path):
            processor = AutoProcessor.from_pretrained(self.path)
            model = Owlv2ForObjectDetection.from_pretrained(self.path, dtype=self.dtype, use_safetensors=True)
        return processor, model.to(self.device).eval()


def _above(
    threshold: float, names: Sequence[str], confidences: torch.Tensor, boxes: torch.Tensor, shown: Canvas
) -> list[Detection]:
    """The boxes (patches, 4), centre and size of the padded square, where the confidence (patches, names) is enough."""
    side = max(shown.picture.size)
    found = []
    for query, name in enumerate(names):
        for patch in (confidences[:, query] > threshold).nonzero().flatten().tolist():
            x, y, width, height = (side * value for value in boxes[patch].tolist())
            box = shown.back((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
            if box is not None:
                found.append(Detection(name, float(confidences[patch, query]), box))
    return found
