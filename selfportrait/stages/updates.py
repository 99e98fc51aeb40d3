"""The optimisation loop of every loss for pairs: how many updates of which pairs, and what a killed run goes on with.

Read this to see what one update is made of and what several processes share. What a forward is, its caller says.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from selfportrait import processes, progress, store
from selfportrait.seeds import passes
from selfportrait.training import gradients
from selfportrait.training.learner import Learner
from selfportrait.training.metrics import Metrics, timed
from selfportrait.training.pair_health import EVENTS, OnEvent

__all__ = ["Backward", "Between", "Schedule", "portions", "run_updates"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class End:
    """How a training ends before its last step: after an event, with its weights or those of the last checkpoint."""

    path: Path
    on_event: OnEvent

    @property
    def goes_back(self) -> bool:
        """Whether the training ended, and the weights before the event are wanted."""
        return self.on_event == "roll_back" and self.path.is_file()

    def prepare(self, learner: Learner[Any], folder: Path, metrics: Metrics, first: int) -> None:
        """Forget the metrics of steps that are taken again; keep the weights at the start where they may be needed."""
        if not self.goes_back:
            metrics.truncate(first)
        if self.on_event == "roll_back" and first == 0:
            learner.save(folder / "checkpoints", 0)

    def last(self, first: int, num_steps: int) -> int:
        """Behind the last step to take: after a stop, that of the event again where its checkpoint is lost."""
        if not self.path.is_file():
            return num_steps
        return first if self.on_event == "roll_back" else int(store.read_json(self.path)["step"]) + 1

    def is_reached(self, events: Sequence[dict[str, Any]]) -> bool:
        """Whether an event is one that ends the training."""
        return self.on_event != "warn" and any(event["name"] in EVENTS for event in events)

    def keeps(self, is_over: bool) -> bool:
        """Whether the weights of a step may be kept."""
        return not is_over or self.on_event == "stop"

    def write(self, step: int, events: Sequence[dict[str, Any]]) -> None:
        """Say that the training is over; a run that is started again learns it from here."""
        store.write_json(self.path, {"step": step, "on_event": self.on_event, "events": list(events)})


Item = TypeVar("Item")
Backward = Callable[[Sequence[Item], int, int], dict[str, Tensor]]
"""From pairs, the number of pairs of the step and the step: bring the gradient of their part in the step's mean loss,
and return their part in its mean metrics."""
Between = Callable[[int], None]
"""What is done between two updates, such as measuring, from how many there were: it may use the model, and leaves it
as it was."""


@dataclass(frozen=True)
class Schedule:
    """How long and in what portions: a number of steps, or of passes over all pairs, `batch_size` pairs a step.

    `pairs_per_forward` bounds the memory: a step's gradient is the mean over its pairs whatever it is. It is also what
    several processes take in turn: for all to have some it is at most `batch_size` by their number.
    Every `evaluate_every` steps, but not at the last, the model is measured, with a checkpoint before it.
    Raises ValueError unless one of `steps` and `epochs` is given, and where nothing would be measured, or the
    checkpoints of measurements would change what a training that rolls back ends with.
    """

    steps: int | None
    epochs: int | None
    batch_size: int
    pairs_per_forward: int
    checkpoint_every: int
    ema_decay: float | None = None
    on_event: OnEvent = "warn"
    evaluate_every: int | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"recipe.steps = {self.steps} and recipe.epochs = {self.epochs}: give one of them, a number of "
                "optimizer steps a round or of passes over its pairs"
            )
        if self.evaluate_every is not None:
            self._check_measured(self.evaluate_every)

    def _check_measured(self, every: int) -> None:
        if self.steps is not None and every >= self.steps:
            raise ValueError(
                f"recipe.evaluate_every = {every} and recipe.steps = {self.steps}: there is no step between the first "
                "and the last to measure at; give a smaller number, or leave it out"
            )
        if self.on_event == "roll_back" and every % self.checkpoint_every:
            raise ValueError(
                f"recipe.evaluate_every = {every} and recipe.checkpoint_every = {self.checkpoint_every}: a measurement "
                "comes with a checkpoint, and recipe.on_event = roll_back goes back to the last one; give a multiple "
                "of recipe.checkpoint_every"
            )

    def is_measured(self, step: int) -> bool:
        """Whether the model is measured after so many updates, where more follow."""
        return self.evaluate_every is not None and step > 0 and step % self.evaluate_every == 0

    def is_kept(self, step: int) -> bool:
        """Whether a checkpoint is written after so many updates; after the last one there always is one."""
        return step % self.checkpoint_every == 0 or self.is_measured(step)

    def batches(self, num_pairs: int, seed: int) -> list[list[int]]:
        """The pairs of every step: all of them in a new random order each time they are through."""
        wanted = (self.epochs or 0) * num_pairs if self.steps is None else self.steps * self.batch_size
        order = passes(num_pairs, wanted, seed)
        return [order[first : first + self.batch_size] for first in range(0, wanted, self.batch_size)]


def run_updates(
    learner: Learner[Any],
    batches: Sequence[Sequence[Item]],
    backward: Backward[Item],
    folder: Path,
    schedule: Schedule,
    first: int,
    seconds: dict[str, float],
    between: Between | None = None,
) -> None:
    """Take the updates from `first` on, one a batch of pairs; the model goes out with the weights it ends with.

    Several processes share each step's forwards, and all end with the same weights; the main one writes metrics and
    checkpoints. `seconds` are what came before the first step, for timing.jsonl. An event of the pairs' health ends the
    training where the schedule says so, with ended.json beside the metrics. `between` finds the model with the weights
    that a training ends with, where the schedule has it measured; a run that was killed there begins with it.
    """
    _say_who_is_idle(schedule)
    metrics, end = Metrics(folder), End(folder / "ended.json", schedule.on_event)
    if processes.is_main():
        end.prepare(learner, folder, metrics, first)
    last = end.last(first, len(batches))
    with progress.bar("training", total=len(batches), done=first) as advance:
        for step in range(first, last):
            if between is not None and schedule.is_measured(step):
                with learner.averaged():
                    between(step)
            with timed(seconds, "train_s"):
                values = _learn(learner, batches[step], backward, schedule, step)
            is_over = end.is_reached(values["events"])
            if processes.is_main():
                metrics.write(step, values, seconds)
                if is_over:
                    end.write(step, values["events"])
                if end.keeps(is_over) and (is_over or schedule.is_kept(step + 1) or step + 1 == last):
                    metrics.sync()
                    learner.save(folder / "checkpoints", step + 1)
            if is_over:
                log.warning("the training ends at step %d, as recipe.on_event = %s says", step, schedule.on_event)
                break
            seconds = {}
            advance(1)
    metrics.close()
    if end.goes_back:
        processes.main_first(lambda: learner.resume(folder / "checkpoints"))
    learner.finish()


def _say_who_is_idle(schedule: Schedule) -> None:
    forwards, count = len(portions(schedule.batch_size, schedule.pairs_per_forward)), processes.count()
    if forwards < count:
        log.info("only %d of %d processes have a forward in each step: lower recipe.pairs_per_forward", forwards, count)


def portions(size: int, at_once: int) -> list[range]:
    """Cut `size` pairs into forwards of `at_once`."""
    return [range(first, min(first + at_once, size)) for first in range(0, size, at_once)]


def _learn(
    learner: Learner[Any], batch: Sequence[Item], backward: Backward[Item], schedule: Schedule, step: int
) -> dict[str, Any]:
    """Take one optimizer step on the mean loss of some pairs, a forward a process at a time; returns mean metrics."""
    size = len(batch)
    totals: dict[str, Any] = {"learning_rate": learner.optimizer.learning_rate, "pairs": size}
    learner.optimizer.zero_grad()
    for places in processes.turns(portions(size, schedule.pairs_per_forward)):
        some = None if places is None else partial(backward, [batch[place] for place in places], size, step)
        for values in gradients.accumulate(learner.model.trainable(), some):
            for name, value in values.items():
                totals[name] = totals.get(name, 0) + value
    totals["grad_norm"] = learner.step()
    return {**totals, "update": learner.optimizer.num_steps, "events": _events(learner, step, totals)}


def _events(learner: Learner[Any], step: int, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the health monitors say; the error of a picture is minus its mean log-likelihood.

    A denoising error is mostly that of the noise levels drawn, so from step to step it is compared with nothing.
    """
    above, below = (-float(values.get(name, torch.nan)) for name in ("logp/chosen", "logp/rejected"))
    chosen = above if learner.model.is_exact else None
    events = learner.monitor.observe(step, error_chosen=chosen, error_above=above, error_below=below)
    return events + learner.pairs.observe(step, values)
