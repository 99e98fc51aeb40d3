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


@pytest.fixture(scope="session")
def silmm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run in rounds that no test changes, with its report: no perturbed prompts, no masks."""
    return _in_rounds("silmm", tmp_path_factory)


@pytest.fixture(scope="session")
def ospo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another with perturbed and detailed prompts and with masks."""
    return _in_rounds("ospo", tmp_path_factory)


@pytest.fixture(params=["silmm", "ospo"])
def in_rounds(request: pytest.FixtureRequest) -> Path:
    """Each of the two."""
    run: Path = request.getfixturevalue(request.param)
    return run


@pytest.fixture
def rounds_run(ospo: Path, tmp_path: Path) -> Path:
    """A copy of the second that a test may damage; without the report."""
    return _copy(ospo, tmp_path)


def _in_rounds(kind: str, factory: pytest.TempPathFactory) -> Path:
    from pair_run import write_run

    run: Path = write_run(factory.mktemp(kind) / "run", kind)
    write_report(run)
    return run


def _copy(run: Path, folder: Path) -> Path:
    copy = Path(shutil.copytree(run, folder / "run"))
    (copy / "report.html").unlink(missing_ok=True)
    return copy
