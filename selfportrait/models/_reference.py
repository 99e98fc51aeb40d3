"""What models share to be the model they were before training, for as long as a context lasts.

Read this to see where a reference's weights come from: under the adapters, or loaded again or copied, and swapped in.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["snapshot", "swapped", "without_adapters"]


def snapshot(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Copy weights as they are now."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@contextmanager
def without_adapters(network: Any) -> Iterator[None]:
    """Inside, a network with adapters by diffusers or transformers is the one under them, without gradient."""
    with torch.no_grad():
        network.disable_adapters()
        try:
            yield
        finally:
            network.enable_adapters()


@contextmanager
def swapped(parameters: Mapping[str, torch.nn.Parameter], base: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Inside, the parameters hold the weights of the same names, without gradient; after it the very ones before."""
    with torch.no_grad():
        policy = snapshot(parameters)
        _write(parameters, base)
        try:
            yield
        finally:
            _write(parameters, policy)


def _write(parameters: Mapping[str, torch.nn.Parameter], weights: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():  # the caller of a context may have switched gradients on again
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
