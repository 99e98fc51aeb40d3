"""Run folders like the ones that recipes write, as fixtures: of groups, and of pairs in three rounds or in one."""

import shutil
import sys
from pathlib import Path

import pytest

from selfportrait import store
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


@pytest.fixture(scope="session")
def only_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like the second, of one round."""
    return _in_rounds("ospo", tmp_path_factory, num_rounds=1)


@pytest.fixture(params=[{"name": "self_improve", "rounds": 1}, {"name": "offline"}, {"name": "spo"}])
def one_round(request: pytest.FixtureRequest, only_round: Path, tmp_path: Path) -> Path:
    """A copy of it by each recipe of pairs, which a test may damage; without the report."""
    run = _copy(only_round, tmp_path)
    config = store.read_json(run / "config.json")
    config["settings"]["recipe"] = request.param
    store.write_json(run / "config.json", config)
    return run


def _in_rounds(kind: str, factory: pytest.TempPathFactory, *, num_rounds: int = 3) -> Path:
    from pair_run import write_run

    run: Path = write_run(factory.mktemp(kind) / "run", kind, num_rounds=num_rounds)
    write_report(run)
    return run


def _copy(run: Path, folder: Path) -> Path:
    copy = Path(shutil.copytree(run, folder / "run"))
    (copy / "report.html").unlink(missing_ok=True)
    return copy
