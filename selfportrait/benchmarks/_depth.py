"""How near each pixel of a picture is, by any `DPTForDepthEstimation` of transformers.

Read this to see how the map is scaled.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from selfportrait.devices import device_of

__all__ = ["Depth"]


class Depth:
    """Estimate depth, larger where nearer, from 0 to 1 in each picture, at the picture's size.

    `path` is a folder or a hub id; weights are read as safetensors, at first use. The published map goes through 8 bits
    on its way; this one does not.
    """

    def __init__(self, path: str, device: str = "auto") -> None:
        self.path = path
        self.device = device_of(device)

    def __call__(self, pictures: Sequence[Image.Image]) -> list[NDArray[np.float64]]:
        """One map (H, W) a picture."""
        return [self._estimate(picture.convert("RGB")) for picture in pictures]

    @torch.inference_mode()
    def _estimate(self, picture: Image.Image) -> NDArray[np.float64]:
        processor, model = self._loaded
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"].to(self.device)
        raw = model(pixel_values=pixels).predicted_depth[None].float()  # (1, 1, h, w)
        size = (picture.height, picture.width)
        sized = torch.nn.functional.interpolate(raw, size=size, mode="bilinear", align_corners=True)[0, 0]
        span = float(sized.max() - sized.min())
        scaled = (sized - sized.min()) / span if span else torch.zeros_like(sized)
        return scaled.cpu().numpy().astype(np.float64)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import DPTForDepthEstimation, DPTImageProcessor

        model = DPTForDepthEstimation.from_pretrained(self.path, use_safetensors=True)
        return DPTImageProcessor.from_pretrained(self.path), model.to(self.device).eval()
