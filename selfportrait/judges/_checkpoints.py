"""Weights of judges: where a file is, what is in it, and whether that is the network it should be.

Read this before loading a checkpoint that is no folder of transformers: safetensors, or `torch.load` of nothing but
tensors; a file that is another network is refused in one sentence.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from selfportrait.devices import device_of

__all__ = [
    "Origin",
    "Place",
    "State",
    "check_path",
    "is_weights_file",
    "load_exactly",
    "pretrained",
    "pretrained_network",
    "read_weights",
    "renamed",
]

State = dict[str, torch.Tensor]
Loaded = TypeVar("Loaded")
Network = TypeVar("Network", bound=torch.nn.Module)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
_HUB_FILE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)/(?P<file>[\w./+-]+)")
_FIRST = 3  # names in a sentence


class Origin(NamedTuple):
    """What a checkpoint is, where to get it, and under which licence."""

    what: str
    url: str
    licence: str

    @property
    def advice(self) -> str:
        """The end of a sentence about a checkpoint that is not there."""
        return f"get {self.what} from {self.url} ({self.licence}) and give its path"


class Place(NamedTuple):
    """Where a network computes, in what precision, and how many pictures or texts at a time."""

    device: torch.device
    dtype: torch.dtype
    batch_size: int

    @classmethod
    def of(cls, device: str, dtype: str, batch_size: int) -> "Place":
        """Read settings; the device `auto` is a GPU where there is one."""
        return cls(device_of(device), DTYPES[dtype], batch_size)


def is_weights_file(path: str) -> bool:
    """Whether a path names one file of weights, and not a folder or a hub id of transformers."""
    return path.endswith(_WEIGHTS)


def check_path(path: str, origin: Origin) -> None:
    """Refuse a path that can only be of this disk and is not there, before anything loads; raises FileNotFoundError."""
    is_file_here = is_weights_file(path) and not _HUB_FILE.fullmatch(path)
    is_local = is_file_here or path.startswith(("/", "./", "../", "~"))
    if is_local and not Path(path).exists():
        raise FileNotFoundError(f"There is no {path}: {origin.advice}")


def read_weights(path: str, origin: Origin) -> State:
    """The tensors of a file by name; `owner/repository/file` is one of the hub where there is no such path.

    Raises FileNotFoundError where it cannot be had, ValueError where it is no table of tensors.
    """
    file = _located(path, origin)
    found = _read(file)
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError(f"{file} holds {type(found).__name__}, expected tensors by name: {origin.advice}")
    return dict(found)


def _located(path: str, origin: Origin) -> Path:
    found = _HUB_FILE.fullmatch(path)
    if Path(path).is_file():
        return Path(path)
    if found is None or path.startswith((".", "/")):
        raise FileNotFoundError(f"There is no file {path}: {origin.advice}")
    try:
        return Path(hf_hub_download(found["repository"], found["file"]))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise FileNotFoundError(
            f"{path} is no file here, and the hub gave none ({_short(error)}): {origin.advice}"
        ) from error


def _read(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} holds more than tensors, or is no file of torch, and is not opened because that could run code: "
            "save its state_dict() as safetensors"
        ) from error
    except (SafetensorError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{file} is no checkpoint that can be read ({_short(error)}): download it again") from error


def renamed(state: State, rules: Mapping[str, str], dropped: str = r"(?!)") -> State:
    """Rename keys by regular expressions, each in turn where it matches; keys that match `dropped` are left out."""
    found: State = {}
    for key, value in state.items():
        if re.search(dropped, key):
            continue
        name = key
        for pattern, replacement in rules.items():
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def load_exactly(network: Network, state: State, path: str, origin: Origin) -> Network:
    """Fill a network with weights that must be all of its own and no others; raises ValueError that says what is not.

    Half precision is stored wide in a network of float32.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    problems = [
        f"{len(names)} {said} ({', '.join(names[:_FIRST])}{', ...' if len(names) > _FIRST else ''})"
        for said, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise ValueError(f"{path} is not {origin.what}: of its tensors {'; '.join(problems)}; {origin.advice}")
    network.load_state_dict(state)
    return network


def pretrained(load: Callable[..., Loaded], path: str, origin: Origin, **settings: Any) -> Loaded:
    """`from_pretrained` of a class of transformers; raises FileNotFoundError where it finds nothing."""
    try:
        return load(path, **settings)
    except OSError as error:
        raise FileNotFoundError(f"{path} cannot be loaded ({_short(error)}): {origin.advice}") from error


def pretrained_network(cls: Any, path: str, origin: Origin, dtype: torch.dtype) -> Any:
    """A network of transformers with all its weights; the library itself would draw what a checkpoint lacks at random.

    Raises FileNotFoundError as `pretrained` does, ValueError where a weight is missing or of another shape.
    """
    try:
        network, found = pretrained(cls.from_pretrained, path, origin, dtype=dtype, output_loading_info=True)
    except (RuntimeError, ValueError, AttributeError, KeyError, TypeError) as error:  # another model's config or shapes
        raise ValueError(f"{path} is not {origin.what} ({_short(error)}): {origin.advice}") from error
    missing = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if missing:
        names = f"{', '.join(missing[:_FIRST])}{', ...' if len(missing) > _FIRST else ''}"
        raise ValueError(f"{path} is not {origin.what}: {len(missing)} tensors missing ({names}); {origin.advice}")
    return network


def _short(error: Exception) -> str:
    """What went wrong, in a few words: libraries tell stories of many lines."""
    return f"{type(error).__name__}: {' '.join(str(error).split('. ')[0].split())[:160]}"
