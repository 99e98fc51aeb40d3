"""Alarms for what goes wrong when a model learns from pairs, each with a name, and what a run does about them.

Read this to see what an event in the metrics of a pair training means.
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from selfportrait.training.health import is_measured

__all__ = ["EVENTS", "OnEvent", "PairMonitor"]

log = logging.getLogger(__name__)

OnEvent = Literal["warn", "stop", "roll_back"]
"""What follows an event: a line in the log; the end of the training; or that, with the last checkpoint before it."""


class Alarm(NamedTuple):
    """When a mean over the last steps is too high, and what that means."""

    metric: str
    threshold: float
    meaning: str


ALARMS = {
    "chosen_error_rising": Alarm("error/chosen", 0.05, "the chosen became less likely than the reference finds them"),
    "margin_runaway": Alarm("reward/margin", 10.0, "pairs are learnt by heart"),
    "sigmoid_saturation": Alarm("reward/saturated", 0.5, "most pairs have next to no gradient left"),
}
ONLY_REJECTED = "only_rejected_worse"
EVENTS = (*ALARMS, ONLY_REJECTED)
MIN_FALL = 0.01  # of the rejected's likelihood, against the reference


class PairMonitor:
    """Watch the means of a training's metrics over `window` steps.

    - `chosen_error_rising`: the denoising error of the chosen is more than 5 % above the reference's at the same draws.
    - `only_rejected_worse`: the margin grows, but only because the rejected got worse: the chosen's error is not below
      the reference's, the rejected's is more than 1 % above it.
    - `sigmoid_saturation`: more than half of the pairs have a margin beyond 4, where a sigmoid has 2 % of its slope.
    - `margin_runaway`: the mean margin is above 10.

    An event is raised when a limit is crossed, and again only after the value came back.
    """

    def __init__(self, *, window: int = 10) -> None:
        assert window >= 1
        self.window = window
        self.recent: dict[str, list[float]] = {}
        self.raised: list[str] = []

    def observe(self, step: int, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Take one step's metrics in; return its events, each a dict of name, step, value and threshold."""
        names = ("error/rejected", *(alarm.metric for alarm in ALARMS.values()))
        for name in names:
            value = float(values[name]) if name in values else None
            if is_measured(value):
                self.recent[name] = [*self.recent.get(name, []), value][-self.window :]
        events = []
        for name, alarm in ALARMS.items():
            value = self._mean(alarm.metric)
            events += self._event(name, step, value, alarm.threshold, value is not None and value > alarm.threshold)
        return events + self._only_rejected(step)

    def _only_rejected(self, step: int) -> list[dict[str, Any]]:
        chosen, rejected, margin = (self._mean(name) for name in ("error/chosen", "error/rejected", "reward/margin"))
        if chosen is None or rejected is None or margin is None:
            return []
        return self._event(ONLY_REJECTED, step, rejected, MIN_FALL, margin > 0 and chosen >= 0 and rejected > MIN_FALL)

    def _mean(self, name: str) -> float | None:
        values = self.recent.get(name, [])
        return sum(values) / len(values) if len(values) == self.window else None

    def _event(
        self, name: str, step: int, value: float | None, threshold: float, is_crossed: bool
    ) -> list[dict[str, Any]]:
        was_raised = name in self.raised
        self.raised = [other for other in self.raised if other != name] + [name] * is_crossed
        if was_raised or not is_crossed:
            return []
        meaning = ALARMS[name].meaning if name in ALARMS else "the margin grows, but the chosen did not become likelier"
        log.warning("%s at step %d: %.3g, threshold %.3g: %s", name, step, value, threshold, meaning)
        return [{"name": name, "step": step, "value": value, "threshold": threshold}]

    def state(self) -> dict[str, Any]:
        """Return what it has seen as JSON, exact to the last bit, for the checkpoint."""
        return {"recent": self.recent, "raised": sorted(self.raised)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.recent, self.raised = dict(state["recent"]), list(state["raised"])
