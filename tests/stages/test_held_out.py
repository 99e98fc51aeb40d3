"""Prompts that a benchmark measures with are not trained on."""

import pytest

from selfportrait.stages import not_held_out
from selfportrait.types import Prompt

PROMPTS = [Prompt(text, text) for text in ("a cat", "a dog", "an elk")]


def test_what_is_held_out_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert not_held_out(PROMPTS, lambda text: text == "a dog") == [PROMPTS[0], PROMPTS[2]]
    assert "1 of 3 prompts are left out" in caplog.text


def test_nothing_is_said_where_nothing_is_held_out(caplog: pytest.LogCaptureFixture) -> None:
    assert not_held_out(PROMPTS, lambda _: False) == PROMPTS
    assert not caplog.text


def test_only_held_out_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="all 3 of them are held out by the benchmark"):
        not_held_out(PROMPTS, lambda _: True)
