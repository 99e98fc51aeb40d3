"""The alarms of pair training: each is raised by what it is for, once, and goes on from a saved state."""

import pytest

from selfportrait.training.pair_health import EVENTS, PairMonitor

HEALTHY = {"error/chosen": -0.01, "error/rejected": 0.0, "reward/margin": 0.5, "reward/saturated": 0.0}
SICK = {
    "chosen_error_rising": {"error/chosen": 0.06},
    "only_rejected_worse": {"error/chosen": 0.001, "error/rejected": 0.02},
    "sigmoid_saturation": {"reward/saturated": 0.6},
    "margin_runaway": {"reward/margin": 11.0},
}


def names(monitor: PairMonitor, values: dict[str, float], count: int) -> list[str]:
    return [event["name"] for step in range(count) for event in monitor.observe(step, values)]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_raised_once_by_the_mean_over_the_window(name: str) -> None:
    monitor = PairMonitor(window=3)
    assert names(monitor, HEALTHY, 9) == []
    assert names(monitor, {**HEALTHY, **SICK[name]}, 9) == [name]
    assert names(monitor, HEALTHY, 3) == []
    assert names(monitor, {**HEALTHY, **SICK[name]}, 3) == [name]  # again, after it came back


def test_a_mean_needs_a_whole_window() -> None:
    assert names(PairMonitor(window=5), SICK["margin_runaway"], 4) == []


def test_the_rejected_alone_is_no_alarm_while_the_chosen_gets_likelier_or_no_margin_grows() -> None:
    worse = {**HEALTHY, "error/rejected": 0.04}
    assert names(PairMonitor(window=2), worse, 4) == []
    assert names(PairMonitor(window=2), {**worse, "error/chosen": 0.001, "reward/margin": -0.1}, 4) == []


def test_what_a_loss_does_not_measure_raises_nothing() -> None:
    assert names(PairMonitor(window=1), {"loss": 3.0}, 2) == []
    assert names(PairMonitor(window=1), {"error/chosen": float("nan")}, 2) == []


def test_it_goes_on_from_a_saved_state() -> None:
    values = [{**HEALTHY, "reward/margin": float(step)} for step in range(20)]
    whole, first, second = PairMonitor(window=4), PairMonitor(window=4), PairMonitor(window=4)
    expected = [whole.observe(step, one) for step, one in enumerate(values)]
    found = [first.observe(step, one) for step, one in enumerate(values[:9])]
    second.load_state(first.state())
    found += [second.observe(step, one) for step, one in enumerate(values[9:], start=9)]
    assert found == expected
    assert sum(map(len, found)) == 1
