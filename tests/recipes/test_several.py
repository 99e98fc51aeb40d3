"""Rounds in several processes end with the same bytes as in one, also where they were killed and fewer went on."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_rounds import settings_for

from selfportrait import store

sys.path.insert(0, str(Path(__file__).parents[1]))  # for several, whose work new processes find by its name
import several

pytestmark = pytest.mark.slow
Differences = Callable[[Path, Path], list[str]]
ROUNDS = {"silmm": 2, "ospo": 1}


def improve(tiny_janus: Path, folder: Path, method: str, count: int, start: Any = several.run) -> Any:
    """Start `selfportrait improve` in some processes, by default to the end."""
    config = folder / f"{method}.yaml"
    recipe = {"rounds": ROUNDS[method], "prompts_per_part": 2, "pairs_per_forward": 1}
    settings = settings_for(tiny_janus, method, recipe=recipe)
    config.write_text(json.dumps({**settings, "watch": {"micro_questions": {}}}))
    said = folder / f"said-{method}-{count}"
    return start(several.command, count, said, "improve", str(config), "--run", str(folder / f"{method}-{count}"))


@pytest.fixture(scope="module")
def alone(tiny_janus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in one process, SILMM's and OSPO's."""
    folder = tmp_path_factory.mktemp("alone")
    for method in ROUNDS:
        (ended,) = improve(tiny_janus, folder, method, 1)
        assert ended.code == 0, ended.said
    return folder


@pytest.mark.parametrize(("method", "count"), [("silmm", 2), ("ospo", 4)])
def test_several_processes_write_what_one_writes(
    method: str, count: int, alone: Path, tiny_janus: Path, tmp_path: Path, differences: Differences
) -> None:
    ended = improve(tiny_janus, tmp_path, method, count)  # three parts a table: of four processes one has none
    assert [one.code for one in ended] == [0] * count, ended
    assert [bool(one.said + one.result) for one in ended] == [True] + [False] * (count - 1)
    assert f"in {count} processes" in ended[0].said
    folders = alone / f"{method}-1", tmp_path / f"{method}-{count}"
    assert differences(*folders) == ["differs: config.json"]  # which says how many there were
    one, other = (store.read_json(folder / "config.json") for folder in folders)
    assert (one["hardware"].pop("processes"), other["hardware"].pop("processes")) == (1, count)
    assert one == other


def test_killed_in_two_processes_and_gone_on_in_one(
    alone: Path, tiny_janus: Path, tmp_path: Path, differences: Differences, progress: Callable[[Path], int]
) -> None:
    """The process that is left ends by itself, and leaves parts after one that is missing, or steps that are undone."""
    folder = tmp_path / "silmm-2"
    end = progress(alone / "silmm-1")
    for point, who in ((end // 5, 0), (end // 2, 1)):
        processes = improve(tiny_janus, tmp_path, "silmm", 2, several.start)
        while progress(folder) < point and all(one.is_alive() for one in processes):
            time.sleep(0.005)
        processes[who].kill()
        codes = [one.code for one in several.ended(processes, tmp_path / "said-silmm-2")]
        assert (codes.pop(who), codes) == (-9, [2])
    folder.rename(tmp_path / "silmm-1")
    (ended,) = improve(tiny_janus, tmp_path, "silmm", 1)
    assert ended.code == 0, ended.said
    assert differences(alone / "silmm-1", tmp_path / "silmm-1") == ["differs: config.json"]
