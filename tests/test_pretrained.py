"""Weights that are not there, as one sentence."""

from pathlib import Path

import pytest
from PIL import Image

from selfportrait import components

PICTURE = Image.new("RGB", (32, 32))


@pytest.mark.parametrize("name", ["rt_detr", "d_fine", "yolos", "mask2former", "owlv2", "grounding_dino"])
@pytest.mark.parametrize("path", ["no/such-model", "/no/such/folder", "EMPTY"])
def test_a_detector_without_weights_says_which(name: str, path: str, tmp_path: Path) -> None:
    path = str(tmp_path) if path == "EMPTY" else path
    with pytest.raises(
        ValueError, match=rf"(?i)detector.*: the weights {path} cannot be loaded \(.*give the folder of"
    ):
        components.find("detectors", name)(path=path, device="cpu")([PICTURE], [["dog"]])


def test_a_model_without_weights_says_so() -> None:
    with pytest.raises(ValueError, match=r"vlms/local: the weights no/such-model cannot be loaded"):
        components.find("vlms", "local")(path="no/such-model", device="cpu")([("hello",)])
