"""Each tripwire trips on what it is for and on nothing else; the monitor against numbers by hand."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from selfportrait.training.health import (
    Monitor,
    NonFiniteLoss,
    check_changed,
    check_finite,
    check_gradient,
    check_trainable,
    check_unchanged,
    diversity,
    fingerprint,
)


def parameters() -> dict[str, nn.Parameter]:
    return {"a": nn.Parameter(torch.ones(2)), "b": nn.Parameter(torch.ones(3))}


def test_trainable() -> None:
    check_trainable(parameters())
    with pytest.raises(ValueError, match="nothing can be trained: 0 of 0"):
        check_trainable({})
    frozen = parameters()
    frozen["b"].requires_grad_(False)
    with pytest.raises(ValueError, match=r"1 of 2 trainable parameters are frozen \(such as b\)"):
        check_trainable(frozen)


def test_gradient() -> None:
    found = parameters()
    with pytest.raises(ValueError, match="no gradient reached the policy"):
        check_gradient(found)
    found["a"].grad = torch.zeros(2)
    with pytest.raises(ValueError, match="the gradient is zero in all 1"):
        check_gradient(found)
    found["a"].grad[0] = 1e-20
    check_gradient(found)
    found["b"].grad = torch.tensor([0.0, float("nan"), 0.0])
    with pytest.raises(ValueError, match="the gradient of b is not finite"):
        check_gradient(found)


def test_fingerprint_sees_every_bit_name_type_and_shape() -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5).bfloat16(), "c": torch.tensor(2), "d": torch.zeros(0)}
    before = fingerprint(tensors)
    assert before == fingerprint(dict(reversed(tensors.items())))
    assert before == fingerprint({**tensors, "a": tensors["a"].t().contiguous().t()})
    changed = tensors["a"].clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(9.0))
    for other in (
        {**tensors, "a": changed},
        {**tensors, "a": tensors["a"].reshape(4, 3)},
        {**tensors, "c": torch.tensor(2, dtype=torch.int32)},
        {("x" if name == "c" else name): tensor for name, tensor in tensors.items()},
    ):
        assert fingerprint(other) != before


def test_changed_and_unchanged() -> None:
    tensors = {"a": torch.ones(2)}
    before = fingerprint(tensors)
    check_unchanged(before, tensors)
    with pytest.raises(ValueError, match="changed none of the 1 trained parameters"):
        check_changed(before, tensors)
    tensors["a"][0] = 2
    check_changed(before, tensors)
    with pytest.raises(ValueError, match="training changed the reference"):
        check_unchanged(before, tensors)


def test_finite_loss_saves_nothing(tmp_path: Path) -> None:
    check_finite(torch.ones(2), tmp_path, step=3, batch={}, details={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_loss_saves_the_batch_and_stops(tmp_path: Path, bad: float) -> None:
    latents = torch.randn(1, 2, 3).expand(4, 2, 3)
    with pytest.raises(NonFiniteLoss, match="the loss of step 3 is not finite in 1 of 2 terms"):
        check_finite(
            torch.tensor([1.0, bad]), tmp_path, step=3, batch={"latents": latents}, details={"prompts": ["a", "b"]}
        )
    folder = tmp_path / "non-finite-00003"
    assert torch.equal(load_file(folder / "batch.safetensors")["latents"], latents)
    record = json.loads((folder / "batch.json").read_text())
    assert record == {"step": 3, "loss": ["1.0", str(bad)], "prompts": ["a", "b"]}
    assert issubclass(NonFiniteLoss, ValueError)


def test_diversity_by_hand() -> None:
    # Group 1: points 0, 3, 0 along the first of four elements: pairs 3, 0, 3, mean 2. Group 2: alike, 0.
    # Mean over groups 1, over the root of four elements .5.
    latents = torch.zeros(2, 3, 1, 2, 2)
    latents[0, 1, 0, 0, 0] = 3.0
    assert diversity(latents).item() == pytest.approx(0.5)
    normal = torch.randn(2, 8, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert diversity(normal).item() == pytest.approx(2**0.5, abs=0.02)


def test_diversity_alarm_rises_once_and_again_after_recovery() -> None:
    monitor = Monitor(window=2, min_diversity=0.5)
    # Start 1. Means of the last two: after .5 and .4 .45, then .3, then .65 (back), then .6, then .25.
    values = [1.0, 1.0, 0.5, 0.4, 0.2, 1.1, 0.1, 0.4]
    events = [event for step, value in enumerate(values) for event in monitor.observe(step, diversity=value)]
    assert [(event["name"], event["step"]) for event in events] == [
        ("diversity_collapse", 3),
        ("diversity_collapse", 7),
    ]
    assert [event["value"] for event in events] == pytest.approx([0.45, 0.25])
    assert events[0]["threshold"] == 0.5


def test_error_alarm_is_about_the_ratio() -> None:
    monitor = Monitor(window=1, max_error_ratio=1.5)
    assert not monitor.observe(0, error_above=0.5, error_below=0.6)  # the start: 1.2
    assert not monitor.observe(1, error_above=5.0, error_below=6.0)  # a noisier draw
    assert not monitor.observe(2, error_above=0.5, error_below=0.88)
    (event,) = monitor.observe(3, error_above=0.5, error_below=0.96)  # 1.92 / 1.2
    assert event == {"name": "error_runaway", "step": 3, "value": pytest.approx(1.6), "threshold": 1.5}


def test_the_chosen_are_forgotten_when_their_error_grows() -> None:
    monitor = Monitor(window=2, max_chosen_error=1.2)
    errors = [5.0, 5.0, 5.5, 6.0, 6.6]  # the last two pairs of steps: 5.75 and 6.3 against 5
    events = [monitor.observe(step, error_chosen=error) for step, error in enumerate(errors)]
    assert [len(found) for found in events] == [0, 0, 0, 0, 1]
    assert events[-1][0] == {"name": "chosen_forgotten", "step": 4, "value": pytest.approx(1.26), "threshold": 1.2}


def test_a_step_that_measured_nothing_is_no_alarm() -> None:
    monitor = Monitor(window=1)
    for step in range(3):
        assert not monitor.observe(step, error_above=float("nan"), error_below=0.5)
        assert not monitor.observe(step, diversity=None, error_above=0.5)
        assert not monitor.observe(step, diversity=0.0)
    assert monitor.state()["error_runaway"]["first"] == []


def test_resumed_monitor_equals_uninterrupted() -> None:
    values = torch.rand(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    whole, events = Monitor(window=2, min_diversity=0.9), []
    for step, value in enumerate(values):
        events += whole.observe(step, diversity=value)
    resumed, found = Monitor(window=2, min_diversity=0.9), []
    for step, value in enumerate(values):
        state = json.loads(json.dumps(resumed.state()))
        resumed = Monitor(window=2, min_diversity=0.9)
        resumed.load_state(state)
        found += resumed.observe(step, diversity=value)
    assert len(events) > 1
    assert found == events
    assert resumed.state() == whole.state()
