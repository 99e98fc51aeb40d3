"""YOLO11 through ultralytics, which is under AGPL-3.0: an extra that nothing here installs, imports or chooses unasked.

Read this before you use it: the licence covers its code and its weights, and what is offered over a network with them.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

from PIL import Image
from pydantic import Field

from selfportrait.canvas import Canvas
from selfportrait.detectors._coco import label_of, labels_by_id
from selfportrait.detectors._detr import Seen, look
from selfportrait.devices import device_of
from selfportrait.types import Detection

__all__ = ["Yolo11"]

_LICENCE = (
    "YOLO11 and its weights are under AGPL-3.0 unless you have a licence from Ultralytics: what you distribute or "
    "offer over a network with them falls under it. rt_detr and d_fine find the same classes under Apache-2.0."
)
_log = logging.getLogger(__name__)


class Yolo11:
    """Look for COCO's 80 classes with YOLO11, and keep every box of an asked name; under AGPL-3.0, as are its weights.

    `path` is the file of the weights, `yolo11x.pt` or one that was trained since; ultralytics downloads its own by
    name, and reads them as a pickle, so take no file of a stranger. A box counts above `threshold`; of boxes with an
    IoU above `nms_iou` the most confident stays. GPO counts with 0.25 and 0.7.
    """

    def __init__(
        self,
        *,
        path: str = "yolo11x.pt",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.25,
        nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.7,
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self.path, self.threshold, self.nms_iou, self.batch_size = path, threshold, nms_iou, batch_size
        self.device = device_of(device)

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All boxes of each name; raises ValueError for a name that is none of COCO's 80 classes."""
        return look(self._see, type(self).__name__, pictures, names, self.batch_size)

    def label(self, name: str) -> str | None:
        """The class of COCO that a name stands for; None where it stands for none."""
        return label_of(name)

    def _see(self, canvases: Sequence[Canvas]) -> list[list[Seen]]:
        results = self._model.predict(
            [one.picture for one in canvases], conf=self.threshold, iou=self.nms_iou, device=str(self.device),
            verbose=False,
        )  # fmt: skip
        return [_seen(result, self.path, one) for result, one in zip(results, canvases, strict=True)]

    @cached_property
    def _model(self) -> Any:
        try:
            from ultralytics import YOLO  # here: nobody who does not ask for it gets near its licence
        except ImportError as error:
            raise ValueError(
                f"detectors/yolo11 needs ultralytics, which cannot be imported ({error}): pip install ultralytics, if "
                "its licence AGPL-3.0 suits you, or take rt_detr or d_fine"
            ) from error
        _log.warning(_LICENCE)
        return YOLO(self.path)


def _seen(result: Any, path: str, shown: Canvas) -> list[Seen]:
    labels = labels_by_id(result.names, path)
    found = []
    for corners, score, index in zip(
        *(column.tolist() for column in (result.boxes.xyxy, result.boxes.conf, result.boxes.cls)), strict=True
    ):
        box, label = shown.back(corners), labels.get(int(index))
        if box is not None and label is not None:
            found.append(Seen(label, Detection(label, score, box)))
    return found
