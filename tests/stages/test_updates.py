"""How a training ends: after its steps, or at an event, with the weights as they are or as they were."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from selfportrait import store
from selfportrait.stages.updates import Between, Schedule, portions, run_updates
from selfportrait.training.learner import start
from selfportrait.training.optimizer import Optimizer
from selfportrait.training.pair_health import PairMonitor

STEPS, SICK = 9, 5


class Number:
    """A model of one weight."""

    is_exact = True

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"weight": self.weight}


def train(
    folder: Path, on_event: str, *, stop_before: int | None = None, between: Between | None = None, every: int = 2
) -> float:
    """Train, the margin running away from step SICK on; returns the weight."""
    model = Number()
    learner = start(model, Optimizer(learning_rate=0.1, warmup_steps=0), None)
    learner.pairs = PairMonitor(window=1)
    first = learner.resume(folder / "checkpoints")

    def backward(rows: Sequence[int], size: int, step: int) -> dict[str, torch.Tensor]:
        if step == stop_before:
            raise KeyboardInterrupt
        model.weight.sum().backward()
        return {"reward/margin": torch.tensor(11.0 if step >= SICK else 1.0)}

    schedule = Schedule(STEPS, None, 1, 1, checkpoint_every=2, on_event=on_event, evaluate_every=every)
    run_updates(learner, schedule.batches(4, 0), backward, folder, schedule, first, {}, between)
    return model.weight.item()


def steps_of(folder: Path) -> int:
    return len(store.read_jsonl(folder / "metrics.jsonl"))


def weight_after(steps: int) -> pytest.approx:
    return pytest.approx(-0.1 * steps, rel=1e-4)  # Adam's steps on a constant gradient


def test_a_warning_ends_nothing(tmp_path: Path) -> None:
    assert train(tmp_path, "warn") == weight_after(STEPS)
    assert steps_of(tmp_path) == STEPS
    assert not (tmp_path / "ended.json").exists()


def test_a_stop_keeps_the_weights_of_the_event(tmp_path: Path) -> None:
    assert train(tmp_path, "stop") == weight_after(SICK + 1)
    assert steps_of(tmp_path) == SICK + 1
    ended = store.read_json(tmp_path / "ended.json")
    assert (ended["step"], [event["name"] for event in ended["events"]]) == (SICK, ["margin_runaway"])


def test_a_roll_back_takes_the_last_checkpoint_before_it(tmp_path: Path) -> None:
    assert train(tmp_path, "roll_back") == weight_after(4)
    assert steps_of(tmp_path) == SICK + 1


@pytest.mark.parametrize("on_event", ["stop", "roll_back"])
def test_run_again_it_ends_the_same(tmp_path: Path, on_event: str) -> None:
    first = train(tmp_path, on_event)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.json*") if path.name != "timing.jsonl"}
    assert train(tmp_path, on_event) == first
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("on_event", ["warn", "stop", "roll_back"])
def test_killed_before_the_event_it_ends_the_same(tmp_path: Path, on_event: str) -> None:
    whole = train(tmp_path / "whole", on_event)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", on_event, stop_before=SICK)
    assert train(tmp_path / "killed", on_event) == whole
    files = [folder / "metrics.jsonl" for folder in (tmp_path / "whole", tmp_path / "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_killed_between_the_word_and_the_checkpoint_a_stop_is_made_up_for(tmp_path: Path) -> None:
    whole = train(tmp_path, "stop")
    for checkpoint in sorted((tmp_path / "checkpoints").iterdir())[-1:]:
        assert load_file(checkpoint / "weights.safetensors")["weight"].item() == whole
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    assert train(tmp_path, "stop") == whole


@pytest.mark.parametrize(("on_event", "expected"), [("warn", [2, 4, 6, 8]), ("stop", [2, 4]), ("roll_back", [2, 4])])
def test_what_is_done_between_is_not_done_where_a_training_ends(
    tmp_path: Path, on_event: str, expected: list[int]
) -> None:
    """A stop at step SICK, with SICK + 1 = 6 updates, is an end; run again it begins with nothing."""
    done: list[int] = []
    train(tmp_path, on_event, between=done.append)
    assert done == expected
    train(tmp_path, on_event, between=done.append)
    assert done == expected


def test_a_run_killed_between_begins_with_it(tmp_path: Path) -> None:
    done: list[int] = []

    def between(step: int) -> None:
        done.append(step)
        if done == [3]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, "warn", between=between, every=3)
    assert train(tmp_path, "warn", between=between, every=3) == weight_after(STEPS)
    assert done == [3, 3, 6]


def test_portions() -> None:
    assert portions(5, 2) == [range(0, 2), range(2, 4), range(4, 5)]
