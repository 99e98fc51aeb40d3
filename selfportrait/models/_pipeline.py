"""A pipeline of diffusers on disk: what is checked before its weights load, how they load, and how large it draws.

Read this to see why a folder was refused.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from diffusers import AutoencoderKL, ConfigMixin
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError

from selfportrait.micro.checkpoints import PIPELINE as INDEX
from selfportrait.micro.checkpoints import embedded, names

__all__ = [
    "Fits",
    "check_folder",
    "class_name",
    "explained",
    "known_folder",
    "picture_size",
    "read_json",
    "reset_tokenizers",
]

PUBLISHED = Path(__file__).with_name("published")
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")  # any of them


class Fits(NamedTuple):
    """Which classes of pipeline a component fits, by their names, and a hub id of one."""

    component: str
    classes: tuple[str, ...]
    example: str

    def __str__(self) -> str:
        return " or ".join(self.classes)

    def check(self, path: str, class_name: object) -> None:
        """Refuse a pipeline of another class."""
        if class_name not in self.classes:
            raise ValueError(
                f"model.path = {path} holds a {class_name}; the model '{self.component}' fits a {self} only"
            )


def check_folder(path: str, fits: Fits, unused: Sequence[str] = ()) -> None:
    """Refuse a folder that holds no pipeline, one of another class, or not all of its used parts."""
    folder = Path(path)
    if not folder.is_dir():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise FileNotFoundError(f"model.path = {path}: there is no such folder; give {_choices(fits)}")
        return
    if not (folder / INDEX).is_file():
        raise FileNotFoundError(
            f"model.path = {path}: the folder has no {INDEX}; give a folder that "
            f"{fits.classes[0]}.save_pretrained wrote"
        )
    parts = read_json(folder, INDEX)
    fits.check(path, parts.get("_class_name"))
    for name, part in parts.items():  # transformers would stand an empty tokenizer in for a missing one
        needed = VOCABULARIES if name.startswith("tokenizer") else ("*",)
        is_used = isinstance(part, list) and all(part) and name not in unused
        if is_used and not any(any((folder / name).glob(file)) for file in needed):
            raise FileNotFoundError(
                f"model.path = {path}: {name} is missing or incomplete, and {INDEX} names it; give a complete folder"
            )


def read_json(folder: Path, file: str) -> dict[str, Any]:
    """One of a pipeline's configurations."""
    try:
        found = json.loads((folder / file).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"it holds {found!r:.40}, no object")
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"model.path = {folder}: {file} cannot be read ({error}); download it again") from error
    return found


def class_name(folder: Path) -> str | None:
    """The class of the pipeline in a folder, by its name."""
    return read_json(folder, INDEX).get("_class_name")


def _choices(fits: Fits) -> str:
    fitting = [name for name in names(INDEX) if class_name(Path(embedded(name))) in fits.classes]
    found = f"the folder of a {fits} with {INDEX}"
    if not fitting:
        return f"{found} or a hub id such as {fits.example}"
    return f"{found}, a hub id such as {fits.example}, or {' or '.join(fitting)}"


def known_folder(path: str, part: str) -> tuple[Path, str] | None:
    """The folder that holds a pipeline's configurations and what to call it; None where nothing is known of it.

    It is its own, or the hub cache's, or one of those that are kept here of well-known models, without their weights.
    `part` is one that must be there: what learns.
    """
    if Path(path).is_dir():
        return Path(path), f"the configurations in {path}"
    index = try_to_load_from_cache(path, INDEX)
    folder = Path(index).parent if isinstance(index, str) else None
    if folder is not None and (folder / part / "config.json").is_file():
        return folder, f"the configurations of {path} in the hub's cache"
    kept = PUBLISHED / path.replace("/", "--")
    return (kept, f"the published sizes of {path}") if (kept / part / "config.json").is_file() else None


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what diffusers raises about a pipeline's files into one sentence."""
    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"model.path = {path}: neither a folder nor a hub id ({error})") from error
    except (HfHubHTTPError, OSError, SafetensorError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model.path = {path}: the weights cannot be loaded ({reason}); give a complete folder of safetensors, "
            "or check the hub id and the network"
        ) from error


def picture_size(path: str, denoiser: type[ConfigMixin], part: str) -> int:
    """Pixels of a picture's side, by the configurations of the denoiser and the autoencoder."""
    known = known_folder(path, part)
    folder = path if known is None else known[0]
    with explained(path):
        side = denoiser.load_config(folder, subfolder=part).get("sample_size")
        widths = AutoencoderKL.load_config(folder, subfolder="vae")["block_out_channels"]
    if not isinstance(side, int):
        raise ValueError(
            f"model.path = {path}: {part}/config.json has sample_size = {side}, expected the side of a square; "
            "write it there"
        )
    return side * int(2 ** (len(widths) - 1))


def reset_tokenizers(pipeline: Any) -> None:
    """Forget the padding of the last call, which a tokenizer would save: equal models make equal files."""
    for name, part in pipeline.components.items():
        if name.startswith("tokenizer") and part is not None:
            part.backend_tokenizer.no_padding()
            part.backend_tokenizer.no_truncation()
