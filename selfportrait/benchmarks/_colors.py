"""The colour of a thing in a picture, by CLIP, as GenEval asks for it.

Read this to see what CLIP is shown and told.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image

from selfportrait.benchmarks._geneval import COLORS
from selfportrait.devices import device_of
from selfportrait.types import Detection

__all__ = ["ClipColors", "crop"]

BACKGROUND = "#999"
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")


def crop(picture: Image.Image, detection: Detection) -> Image.Image:
    """The box of a detection, grey where its mask is not, if it has one."""
    rgb = picture.convert("RGB")
    if detection.mask is not None:
        mask = Image.fromarray((detection.mask * 255).astype("uint8"))
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, BACKGROUND), mask)
    return rgb.crop(detection.box)


class ClipColors:
    """Choose among ten colours by the cosine of each crop with the mean of three sentences a colour.

    `path` is a folder or a hub id of a `CLIPModel`; weights are read as safetensors, at first use.
    """

    def __init__(self, path: str, device: str = "auto") -> None:
        self.path = path
        self.device = device_of(device)
        self._sentences: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, crops: Sequence[Image.Image]) -> list[str]:
        """The colour of each crop of a class."""
        pictures = self._embedded_pictures(crops)  # (N, D)
        return [COLORS[index] for index in (pictures @ self._classifier(name).T).argmax(1).tolist()]

    @torch.inference_mode()
    def _embedded_pictures(self, crops: Sequence[Image.Image]) -> torch.Tensor:
        processor, _, model = self._loaded
        pixels = processor(images=list(crops), return_tensors="pt")["pixel_values"]
        return _unit(model.get_image_features(pixel_values=pixels.to(self.device)))

    @torch.inference_mode()
    def _classifier(self, name: str) -> torch.Tensor:
        """One direction a colour, (10, D): the mean of its sentences' unit vectors, of unit length again."""
        if name not in self._sentences:
            _, tokenizer, model = self._loaded
            texts = [template.format(color=color, name=name) for color in COLORS for template in TEMPLATES]
            inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
            unit = _unit(model.get_text_features(**inputs))  # (30, D)
            mean = unit.reshape(len(COLORS), len(TEMPLATES), -1).mean(1)
            self._sentences[name] = _unit(mean)
        return self._sentences[name]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        model = CLIPModel.from_pretrained(self.path, use_safetensors=True)
        processor, tokenizer = (kind.from_pretrained(self.path) for kind in (CLIPImageProcessor, AutoTokenizer))
        return processor, tokenizer, model.to(self.device).eval()


def _unit(found: Any) -> torch.Tensor:
    features: torch.Tensor = getattr(found, "pooler_output", found)
    unit: torch.Tensor = features / features.norm(dim=-1, keepdim=True)
    return unit
