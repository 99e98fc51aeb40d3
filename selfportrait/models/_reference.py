"""What models share to be the model they were before training, for as long as a context lasts.

Read this to see where a reference's weights come from: under the adapters, or loaded again or copied, and swapped in.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

__all__ = ["adds_nothing", "snapshot", "swapped", "without_adapters"]


def snapshot(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Copy weights as they are now."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@contextmanager
def without_adapters(network: Any) -> Iterator[None]:
    """Inside, a network with adapters by peft is the one under them, without gradient.

    Only the switch is turned that each layer asks: `disable_adapters` of diffusers and transformers also freezes every
    adapter, and `enable_adapters` thaws it, which at every step of a small model takes longer than its loss.
    """
    layers = [module for module in network.modules() if isinstance(module, BaseTunerLayer)]
    before = [layer.disable_adapters for layer in layers]
    with torch.no_grad():
        _switch_off(layers, [True] * len(layers))
        try:
            yield
        finally:
            _switch_off(layers, before)


def _switch_off(layers: Sequence[BaseTunerLayer], values: Sequence[bool]) -> None:
    for layer, value in zip(layers, values, strict=True):
        layer._disable_adapters = value


def adds_nothing(adapters: Mapping[str, torch.nn.Parameter]) -> bool:
    """Whether LoRA leaves its network as it is, to the last bit: the second matrix of each pair is still zero."""
    return not any(bool(parameter.any()) for name, parameter in adapters.items() if "lora_B" in name)


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
