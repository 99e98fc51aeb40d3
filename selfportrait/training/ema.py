"""An exponential moving average of the weights, and the model looked at through it.

Read this when a run should sample, save or be measured with averaged weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["EMA"]


class EMA:
    """Average named weights in float32: average = decay * average + (1 - decay) * weight, from the first weights on.

    Hand it the weights the optimizer trains (its float32 masters where there are some), not their rounded copies.
    """

    def __init__(self, weights: Mapping[str, Tensor], *, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the EMA decay is {decay}, expected 0 <= decay < 1; 0 follows the weights exactly.")
        self.decay = decay
        self.average = {name: weight.detach().float().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Move the average one step towards the weights, which are those it was made from."""
        current = [weights[name].detach().float() for name in self.average]
        torch._foreach_lerp_(list(self.average.values()), current, 1 - self.decay)

    @contextmanager
    def swap(self, parameters: Mapping[str, Parameter]) -> Iterator[None]:
        """Put the average into the model for as long as the context lasts, then the very weights it held before."""
        kept = {name: parameters[name].detach().clone() for name in self.average}
        self.copy_to(parameters)
        try:
            yield
        finally:
            torch._foreach_copy_([parameters[name].data for name in kept], list(kept.values()))

    def copy_to(self, parameters: Mapping[str, Parameter]) -> None:
        """Put the average into the model, for good."""
        torch._foreach_copy_([parameters[name].data for name in self.average], list(self.average.values()))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average by name, on the EMA's own memory: save before updating."""
        return dict(self.average)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved average; raises ValueError when it belongs to other weights."""
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        expected = {name: tuple(tensor.shape) for name, tensor in self.average.items()}
        if shapes != expected:
            name = next(name for name in (shapes | expected) if shapes.get(name) != expected.get(name))
            raise ValueError(
                f"the saved EMA does not fit the model: {name} has shape {shapes.get(name, 'missing')}, expected "
                f"{expected.get(name, 'no such weight')}; resume with the model settings the run was started with."
            )
        torch._foreach_copy_(list(self.average.values()), [state[name] for name in self.average])
