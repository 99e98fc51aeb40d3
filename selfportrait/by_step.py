"""How far a run is on its held-out prompts, step by step: what was measured before, during and after a training.

Read this to see which steps a curve has; a step between two of them was not measured and is not there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfportrait import store
from selfportrait.benchmarks.base import OVERALL, aggregate
from selfportrait.stages import Round, verdicts
from selfportrait.training import checkpoint

__all__ = ["read"]


def read(run: Path) -> list[dict[str, Any]]:
    """A line a measured step: {"step", "accuracy", "low", "high", ...} of all categories, from step 0 to the last.

    Empty where nothing was measured during training. What is not measured whole yet is left out.
    """
    at = Round(run / "round-0")
    during = {step: _rows(at.evaluation_at(step)) for step in at.evaluated_steps()}
    if not during:
        return []
    before, after = (_rows(at.evaluation(when)) for when in ("before", "after"))
    last = {checkpoint.last_step(at.training / "checkpoints"): after} if after else {}
    several = {0: before, **during, **last}
    return [{"step": step, **aggregate(rows)[OVERALL]} for step, rows in several.items() if len(rows) == len(before)]


def _rows(folder: Path) -> Sequence[Mapping[str, Any]]:
    return verdicts(folder) if store.parts(folder) else []
