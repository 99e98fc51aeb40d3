"""Mask2Former (https://arxiv.org/abs/2112.01527) through transformers: any checkpoint that was trained on COCO.

Read this to see where masks come from: instances of COCO's classes, each with a mask, a box being its mask's extent.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from transformers import Mask2FormerForUniversalSegmentation

from selfportrait.canvas import Canvas
from selfportrait.detectors._coco import label_of
from selfportrait.detectors._detr import Closed, Dtype, Seen, look
from selfportrait.detectors._keep import every
from selfportrait.types import Box, Detection

__all__ = ["Mask2Former"]


class Mask2Former:
    """Look for COCO's 80 classes with Mask2Former: of an asked name every instance, with its mask.

    The confidence is that of the class times the mean probability of the mask. Masks are computed at 384x384 and
    enlarged to the picture; a box is the extent of its mask. No instance is taken for another's duplicate, as in
    GenEval, which keeps what is above 0.3, and above 0.9 where it counts, with weights of another toolbox.
    `path` is a folder or a hub id; weights are read as safetensors, at first use.
    """

    def __init__(
        self,
        *,
        path: str = "facebook/mask2former-swin-small-coco-instance",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        dtype: Dtype = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        self._network = Closed(Mask2FormerForUniversalSegmentation, path, threshold, dtype, device)
        self.batch_size = batch_size

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All instances of each name; raises ValueError for a name that is none of COCO's 80 classes."""
        return look(self._see, type(self).__name__, pictures, names, self.batch_size, every)

    def label(self, name: str) -> str | None:
        """The class of COCO that a name stands for; None where it stands for none."""
        return label_of(name)

    def _see(self, canvases: Sequence[Canvas]) -> list[list[Seen]]:
        """Pictures of one size at a time: the masks of a padded batch would be those of pictures with their padding."""
        runs = groupby(canvases, key=lambda one: one.picture.size)
        return [seen for _, run in runs for seen in self._see_alike(list(run))]

    @torch.inference_mode()
    def _see_alike(self, canvases: Sequence[Canvas]) -> list[list[Seen]]:
        network = self._network
        processor, model, labels = network._loaded
        inputs = processor(images=[one.picture for one in canvases], return_tensors="pt")
        outputs = model(**inputs.to(network.device, network.dtype))
        outputs.class_queries_logits = outputs.class_queries_logits.float()
        outputs.masks_queries_logits = outputs.masks_queries_logits.float()
        results = processor.post_process_instance_segmentation(
            outputs, threshold=network.threshold, return_binary_maps=True
        )
        return [_seen(result, labels, one) for result, one in zip(results, canvases, strict=True)]


def _seen(result: dict[str, Any], labels: dict[int, str], shown: Canvas) -> list[Seen]:
    """The instances of a picture. Where there is none, `segmentation` is one map of (H, W) and no stack of masks."""
    found: list[Seen] = []
    for index, segment in enumerate(result["segments_info"]):
        label = labels.get(segment["label_id"])
        if label is None:
            continue
        mask = shown.mask_back(result["segmentation"][index].bool().cpu().numpy())
        box = _extent(mask)
        if box is not None:
            found.append(Seen(label, Detection(label, segment["score"], box, mask)))
    return found


def _extent(mask: np.ndarray) -> Box | None:
    """The smallest box around a mask (H, W); None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
