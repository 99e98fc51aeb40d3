"""What training changes, and what a checkpoint of it holds: weights, optimizer, average, monitor.

Read this to see what a run that was killed goes on with, and what is checked at the first step.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from selfportrait.models.base import Draws
from selfportrait.training import checkpoint, health
from selfportrait.training.ema import EMA
from selfportrait.training.optimizer import ActiveOptimizer, Optimizer
from selfportrait.training.pair_health import PairMonitor

__all__ = ["Learner", "start"]


Model = TypeVar("Model", bound=Draws)


@dataclass
class Learner(Generic[Model]):
    """A model's weights with all that its updates need."""

    model: Model
    optimizer: ActiveOptimizer
    ema: EMA | None
    monitor: health.Monitor
    pairs: PairMonitor = field(default_factory=PairMonitor)

    def step(self) -> Tensor:
        """Update once by the gradients there are; returns their norm. The first step of all is checked."""
        weights = self.model.trainable()
        is_first = self.optimizer.num_steps == 0
        if is_first:
            health.check_gradient(weights)
            before = health.fingerprint(weights)
        norm = self.optimizer.step()
        if is_first:
            health.check_changed(before, weights)
        if self.ema is not None:
            self.ema.update(self.optimizer.weights)
        return norm

    def state(self) -> dict[str, Mapping[str, Tensor]]:
        """Everything as named tensors."""
        weights = {name: parameter.detach() for name, parameter in self.model.trainable().items()}
        state: dict[str, Mapping[str, Tensor]] = {"weights": weights, "optimizer": self.optimizer.state_dict()}
        return state if self.ema is None else {**state, "ema": self.ema.state_dict()}

    def save(self, folder: Path, step: int) -> None:
        """Write the checkpoint of a step."""
        checkpoint.save(folder, step, self.state(), {"monitor": self.monitor.state(), "pairs": self.pairs.state()})

    @torch.no_grad()
    def resume(self, folder: Path) -> int:
        """Go back to the last checkpoint, if there is one; returns the step to run next."""
        saved = checkpoint.latest(folder)
        if saved is None:
            return 0
        for name, parameter in self.model.trainable().items():
            parameter.copy_(saved.tensors["weights"][name])
        self.optimizer.load_state_dict(saved.tensors["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(saved.tensors["ema"])
        self.monitor.load_state(saved.meta["monitor"])
        self.pairs.load_state(saved.meta["pairs"])
        return saved.step

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has what training would end with here: the averaged weights where there are any."""
        return nullcontext() if self.ema is None else self.ema.swap(self.model.trainable())

    def finish(self) -> None:
        """Leave the model with what training ends with: the averaged weights where there are any."""
        if self.ema is not None:
            self.ema.copy_to(self.model.trainable())


def start(model: Model, optimizer: Optimizer, ema_decay: float | None) -> Learner[Model]:
    """Make a model learn; raises ValueError where nothing of it can be trained."""
    health.check_trainable(model.trainable())
    active = optimizer.start(model.trainable())
    return Learner(model, active, None if ema_decay is None else EMA(active.weights, decay=ema_decay), health.Monitor())
