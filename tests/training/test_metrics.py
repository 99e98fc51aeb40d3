"""What is written can be read, holds nothing of the clock, and is cut cleanly on resume."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from selfportrait.training.metrics import Metrics


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(metrics: Metrics, steps: range) -> None:
    for step in steps:
        metrics.write(step, {"loss": step / 3, "events": []}, {"sampling_s": 0.5})


def test_one_sorted_line_a_step(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.write(0, {"b": torch.tensor(0.1, dtype=torch.float64), "a": 0.1 + 0.2, "n": np.int64(3)}, {"step_s": 1.25})
    metrics.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"a": 0.30000000000000004, "b": 0.1, "n": 3, "step": 0}\n'
    assert (tmp_path / "timing.jsonl").read_text() == '{"step": 0, "step_s": 1.25}\n'


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.write(0, {"loss": torch.tensor(torch.nan), "events": [{"value": float("inf")}]})
    metrics.close()
    assert lines(tmp_path / "metrics.jsonl") == [{"events": [{"value": None}], "loss": None, "step": 0}]
    assert not (tmp_path / "timing.jsonl").exists()


def test_a_killed_process_loses_no_line(tmp_path: Path) -> None:
    write(Metrics(tmp_path), range(2))  # never closed
    assert len(lines(tmp_path / "metrics.jsonl")) == 2


def test_resumed_file_equals_uninterrupted(tmp_path: Path) -> None:
    whole = Metrics(tmp_path / "whole")
    write(whole, range(6))
    whole.close()
    killed = Metrics(tmp_path / "killed")
    write(killed, range(5))
    killed.close()
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"events": [], "lo')  # the line that was being written
    resumed = Metrics(tmp_path / "killed")
    resumed.truncate(3)
    assert [line["step"] for line in lines(tmp_path / "killed" / "metrics.jsonl")] == [0, 1, 2]
    assert [line["step"] for line in lines(tmp_path / "killed" / "timing.jsonl")] == [0, 1, 2]
    write(resumed, range(3, 6))
    resumed.close()
    for name in ("metrics.jsonl", "timing.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_truncate_before_anything_was_written(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.truncate(0)
    write(metrics, range(1))
    metrics.truncate(0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
    (tmp_path / "metrics.jsonl").write_bytes(b"\0\0\0")  # what a power cut can leave
    metrics.truncate(0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


@pytest.mark.parametrize("broken", [b"nonsense", b"[1]", b"{}"])
def test_a_broken_line_before_the_last_is_said(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 0}\n' + broken + b'\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl cannot be continued: line 2 is"):
        Metrics(tmp_path).truncate(3)


def test_numbers_reach_tensorboard_and_are_purged_on_resume(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    first = Metrics(tmp_path)
    write(first, range(4))
    first.close()
    second = Metrics(tmp_path)
    second.truncate(2)
    second.write(2, {"loss": 9.0})
    second.close()
    events = accumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 4)) for event in events.Scalars("loss")] == [
        (0, 0.0),
        (1, 0.3333),
        (2, 9.0),
    ]
    assert events.Tags()["scalars"] == ["loss"]
