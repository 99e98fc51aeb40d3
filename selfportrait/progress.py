"""How far a long stage is: a bar with rate and time left on a terminal, a log line every tenth of the way elsewhere.

Read this to show progress from a stage: `with progress.bar("sampling", total=2200) as advance: advance(64)`.
Bars nest: an inner one shows below the outer one and disappears when it is done. Of several processes the main one
shows its own.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from selfportrait import processes

__all__ = ["Advance", "bar", "console", "duration"]

Advance = Callable[[int], None]

console = Console(stderr=True)  # the one that everything meant for people goes through, so that lines stay above bars
logger = logging.getLogger(__name__)

LINES = 10
SECONDS_BETWEEN_LINES = 2.0
_display: Progress | None = None
_depth = 0


@contextmanager
def bar(label: str, *, total: int, done: int = 0) -> Iterator[Advance]:
    """Show a bar while inside; call what it yields with the number of items just finished.

    `done` items were finished by an earlier run: they count in the bar, not in the rate.
    """
    global _depth
    if not processes.is_main():
        yield lambda _: None
        return
    _depth += 1
    try:
        with _terminal(label, total, done) if console.is_terminal else _lines(label, total, done) as advance:
            yield advance
    finally:
        _depth -= 1


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def _terminal(label: str, total: int, done: int) -> Iterator[Advance]:
    with _shared_display() as display:
        task = display.add_task(label, total=total, completed=done)
        try:
            yield lambda count: display.advance(task, count)
        finally:
            if _depth > 1:
                display.remove_task(task)


@contextmanager
def _shared_display() -> Iterator[Progress]:
    """The display of the outermost bar: a terminal holds one."""
    global _display
    if _display is not None:
        yield _display
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=4, speed_estimate_period=120) as display:
        _display = display
        try:
            yield display
        finally:
            _display = None


@contextmanager
def _lines(label: str, total: int, done: int) -> Iterator[Advance]:
    """Log at every tenth of the outermost bar, and nothing for what takes a moment; bars inside it are silent."""
    outermost, start, finished = _depth == 1, time.monotonic(), done
    last = start

    def advance(count: int) -> None:
        nonlocal finished, last
        tenth = finished * LINES // max(total, 1)
        finished += count
        now = time.monotonic()
        is_next = finished * LINES // max(total, 1) > tenth and now - last > SECONDS_BETWEEN_LINES
        is_end = finished == total and now - start > SECONDS_BETWEEN_LINES
        if outermost and (is_next or is_end):
            last = now
            logger.info("%s: %d of %d%s", label, finished, total, _pace(finished - done, total - finished, now - start))

    yield advance


class _Rate(ProgressColumn):
    """Items a second, or seconds an item where that is the larger number."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.finished_speed or task.speed or 0.0), style="progress.data.speed")


def _rate(speed: float) -> str:
    if speed <= 0:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


def _pace(count: int, remaining: int, seconds: float) -> str:
    if count <= 0 or seconds <= 0:
        return ""
    left = f", {duration(remaining * seconds / count)} left" if remaining > 0 else f", took {duration(seconds)}"
    return f", {_rate(count / seconds)}{left}"
