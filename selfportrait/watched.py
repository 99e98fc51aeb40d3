"""What the judges that watch a run say of it: their means before and after, and whether the run fools its own judge.

Read this to see when a run is said to hack its reward.
"""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfportrait import store
from selfportrait.benchmarks.base import OVERALL, aggregate, bootstrap_interval, compare, paired_interval
from selfportrait.stages import OWN, Round, verdicts
from selfportrait.training.metrics import Metrics

__all__ = ["EVENT", "Gain", "events", "is_note", "note", "read"]

EVENT = "reward_hacking"
By = dict[str, dict[str, list[float | None]]]  # judge -> prompt -> scores of its pictures
log = logging.getLogger(__name__)


def read(run: Path, rounds: int) -> dict[str, Any]:
    """By judge: its mean before and after each round with an interval, and the change since before training.

    A mean is over prompts, of each prompt's mean; changes are paired by prompt and bounded by resampling prompts. What
    is missing is left out and counted. Empty where nobody watched; a round that is not looked through yet is left out.
    """
    before = _scores(run, 0, "before")
    afters = [_scores(run, index, "after") for index in range(rounds)]
    count = next((index for index, one in enumerate(afters) if _size(one) != _size(before)), rounds)
    return {} if not count else {name: _course(name, before, afters[:count]) for name in before}


def _scores(run: Path, index: int, when: str) -> By:
    folder = Round(run / f"round-{index}").watch(when)
    rows = store.read_table(folder, ["prompt_id", "judge", "value"]).to_pylist() if store.parts(folder) else []
    found: By = {}
    for row in rows:
        found.setdefault(row["judge"], {}).setdefault(row["prompt_id"], []).append(row["value"])
    return found


def _size(by: By) -> int:
    return sum(len(values) for prompts in by.values() for values in prompts.values())


def _course(name: str, before: By, afters: list[By]) -> dict[str, Any]:
    start = _means(before[name])
    rounds = [_measured(after[name]) | {"change": _change(start, _means(after[name]))} for after in afters]
    return {
        "is_trained": name == OWN,
        "before": _measured(before[name]),
        "after": {key: value for key, value in rounds[-1].items() if key != "change"},
        "change": rounds[-1]["change"],
        "rounds": rounds,
    }


def _means(prompts: Mapping[str, list[float | None]]) -> dict[str, float]:
    """The mean of each prompt, NaN where none of its pictures was judged, in an order that no row decides."""
    kept = {prompt: [value for value in values if value is not None] for prompt, values in sorted(prompts.items())}
    return {prompt: sum(values) / len(values) if values else math.nan for prompt, values in kept.items()}


def _measured(prompts: Mapping[str, list[float | None]]) -> dict[str, Any]:
    values = [value for several in prompts.values() for value in several]
    means = np.array(list(_means(prompts).values()))
    n = sum(value is not None for value in values)
    low, high = bootstrap_interval(means) if n else (None, None)
    mean = float(np.nanmean(means)) if n else None
    return {"mean": mean, "low": low, "high": high, "n": n, "missing": len(values) - n}


def _change(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float] | None:
    """The paired change; None where no prompt was judged both times."""
    both = [(before[prompt], after.get(prompt, math.nan)) for prompt in before]
    sides = np.array(both).T  # (2, N)
    return None if np.isnan(sides).any(axis=0).all() else paired_interval(*sides)._asdict()


# Reward hacking


def note(run: Path, index: int) -> None:
    """Write what the judges say after a round into its metrics.jsonl, as a line behind its last step, and warn."""
    found = read(run, index + 1)
    folder = Round(run / f"round-{index}").training
    steps = [line["step"] for line in store.read_jsonl(folder / "metrics.jsonl") if not is_note(line)]
    step = max(steps, default=-1) + 1
    told = events(found, _benchmark(run, index), index, step)
    for event in told:
        log.warning("%s", event["message"])
    for name, one in found.items():
        if name != OWN and not one["rounds"][index]["n"]:
            log.warning("watch.%s judged none of the pictures: the table watch/after says why of each", name)
    metrics = Metrics(folder)
    metrics.truncate(step)  # a run that was killed here, or went on, writes the line anew
    metrics.write(step, {**_numbers(found, index), "events": told})
    metrics.close()


def is_note(line: Mapping[str, Any]) -> bool:
    """Whether a line of metrics.jsonl says what the judges that watch said, and is no step."""
    return any(key.startswith("watch/") for key in line)


def _numbers(found: Mapping[str, Any], index: int) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name, one in found.items():
        after = one["rounds"][index]
        numbers |= {f"watch/{name}": after["mean"], f"watch/{name}/before": one["before"]["mean"]}
        numbers |= {f"watch/{name}/{key}": value for key, value in (after["change"] or {}).items()}
        numbers |= {f"watch/{name}/missing": after["missing"], f"watch/{name}/missing_before": one["before"]["missing"]}
    return numbers


class Gain(NamedTuple):
    """How much a benchmark's overall number rose since before training; a share, or a score in its own unit."""

    difference: float
    is_score: bool = False

    def __str__(self) -> str:
        return _said(self.difference) if self.is_score else f"{self.difference * 100:+.1f} points"


def _benchmark(run: Path, index: int) -> Gain:
    folders = Round(run / "round-0").evaluation("before"), Round(run / f"round-{index}").evaluation("after")
    before, after = (verdicts(folder) for folder in folders)
    return Gain(compare(before, after)[OVERALL].difference, aggregate(after)[OVERALL]["is_score"])


def events(found: Mapping[str, Any], benchmark: Gain, index: int, step: int) -> list[dict[str, Any]]:
    """An event for each judge that fell, its whole interval below 0, while what the run is rewarded by rose.

    That is the mean of the judge that trains the model, on the same pictures; or what it is measured by, the benchmark.
    """
    own = found[OWN]["rounds"][index]["change"] if OWN in found else None
    rose = [f"the run's own judge rose by {_said(own['difference'])}"] if own and own["difference"] > 0 else []
    rose += [f"the benchmark rose by {benchmark}"] if benchmark.difference > 0 else []
    changes = {name: one["rounds"][index]["change"] for name, one in found.items() if name != OWN}
    fallen = {name: change for name, change in changes.items() if change is not None and change["high"] < 0}
    return [_event(name, change, rose, step) for name, change in fallen.items()] if rose else []


def _event(name: str, change: Mapping[str, float], rose: list[str], step: int) -> dict[str, Any]:
    message = (
        f"{EVENT}: {' and '.join(rose)}, but {name}, which trains nothing, fell by {-change['difference']:.4g} (95 % "
        f"interval of its change {_said(change['low'])} to {_said(change['high'])}) on the same held-out pictures; "
        "look at them before you believe the gain"
    )
    return {
        "name": EVENT,
        "step": step,
        "judge": name,
        "value": change["difference"],
        "threshold": 0.0,
        "message": message,
    }


def _said(difference: float) -> str:
    return f"{difference:+.4g}"
