"""What the detectors of COCO's classes in transformers share: pictures in, boxes of the asked classes out.

Read this beside `rt_detr`, `d_fine` or `yolos`, which only choose the class of the network and its defaults.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image
from transformers import AutoImageProcessor

from selfportrait import canvas
from selfportrait.canvas import Canvas
from selfportrait.detectors._coco import labels_by_id, require
from selfportrait.detectors._keep import deduplicate
from selfportrait.devices import device_of
from selfportrait.pretrained import loading
from selfportrait.types import Detection

__all__ = ["Closed", "Dtype", "Seen", "look"]

Dtype = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Seen(NamedTuple):
    """One thing that a network saw in a picture, by COCO's class."""

    label: str
    detection: Detection


def look(
    see: Callable[[Sequence[Canvas]], list[list[Seen]]],
    detector: str,
    pictures: Sequence[Image.Image],
    names: Sequence[Sequence[str]],
    batch_size: int,
    keep: Callable[[Sequence[Detection]], list[Detection]] = deduplicate,
) -> list[list[Detection]]:
    """Show each picture that is asked about once, and give every name the detections of its class.

    Raises ValueError for a name that is no class, before anything is shown.
    """
    wanted = [{name: require(name, detector) for name in several} for several in names]
    asked = [index for index, several in enumerate(wanted) if several]
    found: list[list[Detection]] = [[] for _ in pictures]
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        shown = see([canvas.fit(pictures[index]) for index in batch])
        for index, several in zip(batch, shown, strict=True):
            found[index] = keep(
                [_named(one.detection, name) for name, label in wanted[index].items() for one in several
                 if one.label == label]
            )  # fmt: skip
    return found


def _named(detection: Detection, name: str) -> Detection:
    return Detection(name, detection.score, detection.box, detection.mask)


class Closed:
    """A network with COCO's classes that gives boxes; `architecture` is its class in transformers."""

    def __init__(self, architecture: Any, path: str, threshold: float, dtype: Dtype, device: str) -> None:
        self.architecture, self.path, self.threshold = architecture, path, threshold
        self.dtype, self.device = _DTYPES[dtype], device_of(device)

    @torch.inference_mode()
    def see(self, canvases: Sequence[Canvas]) -> list[list[Seen]]:
        """Everything above the threshold, one list a picture."""
        processor, model, labels = self._loaded
        inputs = processor(images=[one.picture for one in canvases], return_tensors="pt").to(self.device, self.dtype)
        outputs = model(**inputs)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        results = processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=[one.rows_and_columns for one in canvases]
        )
        return [_seen(result, labels, one) for result, one in zip(results, canvases, strict=True)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, dict[int, str]]:
        with loading(f"a detector, {self.architecture.__name__}", self.path):
            processor = AutoImageProcessor.from_pretrained(self.path)
            model = self.architecture.from_pretrained(self.path, dtype=self.dtype, use_safetensors=True)
        return processor, model.to(self.device).eval(), labels_by_id(model.config.id2label, self.path)


def _seen(result: dict[str, torch.Tensor], labels: dict[int, str], shown: Canvas) -> list[Seen]:
    found = []
    for score, index, corners in zip(*(result[key].tolist() for key in ("scores", "labels", "boxes")), strict=True):
        box, label = shown.back(corners), labels.get(index)
        if box is not None and label is not None:
            found.append(Seen(label, Detection(label, score, box)))
    return found
