"""Progress: lines where there is no terminal, one display where there is one."""

import io
import logging

import pytest
from rich.console import Console

from selfportrait import progress


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged, with no pause wanted between lines."""
    logged: list[str] = []
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO()))
    monkeypatch.setattr(progress.logger, "info", lambda text, *values: logged.append(text % values))
    return logged


def test_a_line_every_tenth(lines: list[str]) -> None:
    with progress.bar("drawing", total=40) as advance:
        for _ in range(40):
            advance(1)
    assert [line.split(",")[0] for line in lines] == [f"drawing: {count} of 40" for count in range(4, 41, 4)]


def test_inner_bars_are_silent(lines: list[str]) -> None:
    with progress.bar("steps", total=2) as outer:
        for _ in range(2):
            with progress.bar("drawing", total=3) as inner:
                inner(3)
            outer(1)
    assert [line.split(":")[0] for line in lines] == ["steps", "steps"]


def test_what_was_done_before_counts_in_the_bar_not_in_the_rate() -> None:
    assert progress._pace(10, 30, 5.0) == ", 2.0/s, 15 s left"
    assert progress._pace(0, 30, 5.0) == ""
    assert progress._pace(10, 0, 50.0) == ", 5.0 s each, took 50 s"


def test_what_takes_a_moment_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "selfportrait"), progress.bar("drawing", total=2) as advance:
        advance(2)
    assert caplog.messages == []


def test_a_terminal_has_one_display_and_inner_bars_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=True, width=100))
    with progress.bar("steps", total=2) as outer:
        display = progress._display
        assert display is not None
        with progress.bar("drawing", total=3) as inner:
            assert progress._display is display
            inner(1)
            assert [task.description for task in display.tasks] == ["steps", "drawing"]
        assert [task.description for task in display.tasks] == ["steps"]
        outer(2)
    assert progress._display is None
    assert "steps" in screen.getvalue()


def test_an_error_inside_ends_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO(), force_terminal=True))
    with pytest.raises(KeyboardInterrupt), progress.bar("steps", total=2):
        raise KeyboardInterrupt
    assert progress._display is None
    assert progress._depth == 0
