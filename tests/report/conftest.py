"""Run folders like the ones that recipes write, as fixtures: one of groups, two of pairs in rounds."""

import shutil
import sys
from pathlib import Path

import pytest

from selfportrait.report import write_report

sys.path.insert(0, str(Path(__file__).parent))  # for gpo_run and pair_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run that no test changes, with its report."""
    from gpo_run import write_run

    run = write_run(tmp_path_factory.mktemp("report") / "run", steps=3)
    write_report(run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; without the report."""
    return _copy(finished, tmp_path)


@pytest.fixture(scope="session", params=["silmm", "ospo"])
def in_rounds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run in rounds that no test changes, with its report: without and with perturbed prompts."""
    from pair_run import write_run

    run = write_run(tmp_path_factory.mktemp(request.param) / "run", request.param)
    write_report(run)
    return run


@pytest.fixture(scope="session")
def ospo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with perturbed prompts and masks, without a report."""
    from pair_run import write_run

    return write_run(tmp_path_factory.mktemp("ospo") / "run", "ospo")


@pytest.fixture
def rounds_run(ospo: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return _copy(ospo, tmp_path)


def _copy(run: Path, folder: Path) -> Path:
    copy = Path(shutil.copytree(run, folder / "run"))
    (copy / "report.html").unlink(missing_ok=True)
    return copy
