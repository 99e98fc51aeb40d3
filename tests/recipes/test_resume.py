"""A run that is killed with SIGKILL and started again ends with the same bytes as one that was left in peace.

The comparison is that of perf/kill_ten_times.py, which does the same with a real config; it lists what is left out.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from selfportrait import store

DRIVER = Path(__file__).with_name("tiny_run.py")


@pytest.mark.slow
def test_a_killed_run_ends_like_one_that_was_not(
    finished: store.Run,
    tiny_sd3: Path,
    tmp_path: Path,
    differences: Callable[[Path, Path], list[str]],
    run_with_kills: Callable[..., int],
    progress: Callable[[Path], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    command = [sys.executable, str(DRIVER), str(tiny_sd3)]
    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    subprocess.run([*command, str(peaceful)], check=True)
    assert run_with_kills([*command, str(killed)], killed, kills=3, end=progress(peaceful), jitter_s=0.3, seed=0) >= 2
    assert differences(peaceful, killed) == []
    assert differences(finished.folder, killed) == []  # nor does it matter which process it ran in


@pytest.mark.slow
@pytest.mark.parametrize("method", ["silmm", "ospo"])
def test_killed_rounds_end_like_rounds_that_were_not(
    method: str,
    tiny_janus: Path,
    tmp_path: Path,
    differences: Callable[[Path, Path], list[str]],
    run_with_kills: Callable[..., int],
    progress: Callable[[Path], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    command = [sys.executable, str(DRIVER.with_name("tiny_rounds.py")), str(tiny_janus)]
    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    subprocess.run([*command, str(peaceful), method], check=True)

    end = progress(peaceful)
    assert run_with_kills([*command, str(killed), method], killed, kills=4, end=end, jitter_s=0.3, seed=0) >= 3
    assert differences(peaceful, killed) == []


def test_the_comparison_sees_every_file_but_what_depends_on_the_clock(
    finished: store.Run, tmp_path: Path, differences: Callable[[Path, Path], list[str]]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished.folder, other)
    assert differences(finished.folder, other) == []
    (other / "round-0/training/timing.jsonl").write_text("{}\n")
    (other / "stages.jsonl").write_text("{}\n")
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps({**summary, "time_s": {}, "peak_memory_mb": 0}, sort_keys=True))
    assert differences(finished.folder, other) == []
    changed = [
        "model/transformer/diffusion_pytorch_model.safetensors",
        "round-0/candidates/part-00001.parquet",
        "round-0/evaluation/after.json",
        "round-0/training/metrics.jsonl",
        "summary.json",
    ]
    for name in changed[:-1]:
        content = (other / name).read_bytes()
        (other / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (other / "summary.json").write_text(json.dumps({**summary, "after": {}}))
    (other / "round-0/scores/part-00002.parquet").unlink()
    assert differences(finished.folder, other) == [
        "only in one of them: round-0/scores/part-00002.parquet",
        *(f"differs: {name}" for name in changed),
    ]
