"""The embedded checkpoints: folders that diffusers or transformers loads as they are, with how each was made."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["MODEL", "PIPELINE", "Sampling", "embedded", "names", "sampling"]

_FOLDER = Path(__file__).parent


class Sampling(NamedTuple):
    """The sampler's settings that a checkpoint is measured with; a token model takes as many steps as it has tokens.

    Only a token model has a temperature.
    """

    num_inference_steps: int
    guidance_scale: float
    temperature: float = 1.0


_SAMPLING = {
    "micro-janus": Sampling(64, 2.0, temperature=0.7),
    "micro-sd": Sampling(10, 2.0),
    "micro-sd3": Sampling(10, 1.5),
    "micro-sd3-text": Sampling(10, 1.5),
}


PIPELINE, MODEL = "model_index.json", "config.json"  # what diffusers, what transformers begins with


def names(kind: str | None = None) -> list[str]:
    """The names that `model.path` may have besides folders and hub ids: all of them, pipelines, or models."""
    folders = [folder for folder in _FOLDER.iterdir() if (folder / "README.md").is_file()]
    return sorted(folder.name for folder in folders if kind is None or (folder / kind).is_file())


def embedded(path: str) -> str:
    """Turn the name of an embedded checkpoint into its folder; leave every other path alone."""
    return str(_FOLDER / path) if path in names() and not Path(path).exists() else path


def sampling(path: str) -> Sampling | None:
    """The settings an embedded checkpoint is made for; None for every other path."""
    return _SAMPLING.get(Path(path).name) if Path(path).parent == _FOLDER else None
