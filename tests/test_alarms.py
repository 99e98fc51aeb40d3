"""The alarms of a run in the terminal."""

from typing import Any

from selfportrait.commands.improve import _alarms
from selfportrait.training.pair_health import EVENTS


def raised(name: str, step: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "step": step, "value": 0.0512345, "threshold": 0.05, **more}


def test_an_alarm_that_was_raised_again_takes_one_line() -> None:
    events = [raised("chosen_error_rising", 10), raised("margin_runaway", 11), raised("chosen_error_rising", 20)]
    assert _alarms(events) == [
        "chosen_error_rising at step 10: 0.0512, threshold 0.05, and 1 more time",
        "margin_runaway at step 11: 0.0512, threshold 0.05",
    ]


def test_rounds_and_messages_stay_apart() -> None:
    events = [raised("margin_runaway", 1, round=0), raised("margin_runaway", 1, round=1, message="a sentence")]
    assert _alarms(events) == ["round 0: margin_runaway at step 1: 0.0512, threshold 0.05", "round 1: a sentence"]


def test_there_are_few_lines() -> None:
    assert len(_alarms([raised(name, 1, round=index) for name in EVENTS for index in range(3)])) == 5
