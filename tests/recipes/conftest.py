"""The tiny run of the GPO recipe as fixtures."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfportrait import store

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_run, which is also a script

Start = Callable[..., store.Run]


@pytest.fixture
def start(tiny_sd3: Path, tmp_path: Path) -> Start:
    """Start the tiny run in a new folder: start(recipe={...}, loss={...}, replaced={"judge": MyJudge()})."""
    from tiny_run import settings_for, start_run

    def call(name: str = "run", *, replaced: dict[str, Any] | None = None, **changes: dict[str, Any]) -> store.Run:
        return start_run(tmp_path / name, settings_for(tiny_sd3, **changes), **(replaced or {}))

    return call


@pytest.fixture(scope="package")
def finished(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """The tiny run, finished without interruption."""
    from tiny_run import finished_settings, start_run

    return start_run(tmp_path_factory.mktemp("runs") / "finished", finished_settings(tiny_sd3))


@pytest.fixture(scope="session")
def differences() -> Callable[[Path, Path], list[str]]:
    """What differs between two run folders, other than time and memory."""
    return _killing()["differences"]


@pytest.fixture(scope="session")
def run_with_kills() -> Callable[..., int]:
    """Run a command again and again, killing it at random points of its progress."""
    return _killing()["run_with_kills"]


@pytest.fixture(scope="session")
def progress() -> Callable[[Path], int]:
    """How far a run is, as a number of files."""
    return _killing()["progress"]


def _killing() -> dict[str, Any]:
    import runpy

    return runpy.run_path(str(Path(__file__).parents[2] / "perf" / "kill_ten_times.py"))
