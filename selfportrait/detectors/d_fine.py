"""D-FINE (https://arxiv.org/abs/2410.13842) through transformers: any `DFineForObjectDetection`.

Read this for its defaults; how boxes become detections is in `_detr.py`, which names it knows in `_coco.py`.
"""

from collections.abc import Sequence
from typing import Annotated

from PIL import Image
from pydantic import Field
from transformers import DFineForObjectDetection

from selfportrait.detectors._coco import label_of
from selfportrait.detectors._detr import Closed, Dtype, look
from selfportrait.types import Detection

__all__ = ["DFineDetr"]


class DFineDetr:
    """Look for COCO's 80 classes with D-FINE, and keep every box of an asked name.

    `path` is a folder or a hub id; weights are read as safetensors, at first use. A box counts above `threshold`.
    A name stands for a class by our own table of synonyms, and is refused where it stands for none.
    """

    def __init__(
        self,
        *,
        path: str = "ustc-community/dfine-xlarge-obj2coco",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        dtype: Dtype = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self._network = Closed(DFineForObjectDetection, path, threshold, dtype, device)
        self.batch_size = batch_size

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All boxes of each name; raises ValueError for a name that is none of COCO's 80 classes."""
        return look(self._network.see, type(self).__name__, pictures, names, self.batch_size)

    def label(self, name: str) -> str | None:
        """The class of COCO that a name stands for; None where it stands for none."""
        return label_of(name)
