"""Networks that are not asked for a while, out of the memory of their device until then.

Read this to see where text encoders and autoencoder are while a model trains, and how they come back bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

__all__ = ["away", "is_away"]


@contextmanager
def away(modules: Sequence[Any], dtype: torch.dtype) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Inside, frozen networks take no memory of their device; after it they hold what they held before.

    Those of a GPU wait in the machine's memory. Those of a CPU are released, and read in `dtype` from where they were
    loaded; raises ValueError where they are not there any more. It gives a context inside which they are back.
    """
    devices = [_device(module) for module in modules]

    @contextmanager
    def back() -> Iterator[None]:
        _bring_back(modules, devices, dtype)
        yield
        _put_away(modules)

    _put_away(modules)
    try:
        yield back
    except BaseException:
        with suppress(ValueError):  # the first error is the one to tell
            _bring_back(modules, devices, dtype)
        raise
    _bring_back(modules, devices, dtype)


def is_away(module: Any, device: torch.device) -> bool:
    """Whether a network of this device is put away."""
    first = next(module.parameters())
    return first.device != device or not first.numel()


def _device(module: Any) -> torch.device:
    device: torch.device = next(module.parameters()).device
    return device


def _put_away(modules: Sequence[Any]) -> None:
    for module in modules:
        if _device(module).type != "cpu":
            module.to("cpu")
            continue
        for parameter in module.parameters():
            parameter.data = parameter.data.new_empty(0)


def _bring_back(modules: Sequence[Any], devices: Sequence[torch.device], dtype: torch.dtype) -> None:
    for module, device in zip(modules, devices, strict=True):
        if device.type == "cpu":
            _read_again(module, dtype)
        else:
            module.to(device)


def _read_again(module: Any, dtype: torch.dtype) -> None:
    """Give parameters the weights on the disk; they stay the same objects, those that share weights too."""
    folder = module.config._name_or_path  # of a hub id the very snapshot, in the cache
    try:
        if not Path(folder).is_dir():
            raise FileNotFoundError("there is no such folder")
        setting = "dtype" if isinstance(module, PreTrainedModel) else "torch_dtype"
        again = type(module).from_pretrained(folder, use_safetensors=True, **{setting: dtype})
        own, found = dict(module.named_parameters()), dict(again.named_parameters())
        if found.keys() != own.keys():
            raise ValueError("the weights have other names")
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(
            f"{folder}: the weights that were out of memory while the model trained cannot be read again ({reason}); "
            "put them back as they were and run the same command again"
        ) from error
    for name, parameter in own.items():
        parameter.data = found[name].data.to(parameter.dtype)
