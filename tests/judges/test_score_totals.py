"""Totals of a table of scores: against numpy on the whole, and refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from selfportrait import store
from selfportrait.cli import main
from selfportrait.commands import scores
from selfportrait.commands.scores import Totals, summarise
from selfportrait.types import Score


def write(folder: Path, index: int, judge: str, values: list[float | None]) -> None:
    rows = [
        {"candidate_id": str(row), "judge": judge, "value": value, "reason": None, "details": "{}"}
        for row, value in enumerate(values)
    ]
    store.write_table(folder, index, rows, store.SCORES)


def test_by_hand(tmp_path: Path) -> None:
    write(tmp_path, 0, "clip", [1.0, None, 3.0])
    write(tmp_path, 1, "clip", [8.0])
    write(tmp_path, 2, "ocr", [None, None])
    # 1, 3 and 8: mean 4, squares 9 + 1 + 16 = 26, and a third of them is the variance
    assert summarise(tmp_path) == {
        "clip": Totals(4, 1, pytest.approx(4.0), pytest.approx(math.sqrt(26 / 3)), 1.0, 8.0),
        "ocr": Totals(2, 2),
    }


def test_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(1e6, 1e-3, 1000)  # where a sum of squares would lose everything
    for part in range(4):
        write(tmp_path, part, "clip", values[250 * part : 250 * part + 250].tolist())
    monkeypatch.setattr(scores, "ROWS_AT_ONCE", 7)
    found = summarise(tmp_path)["clip"]
    assert found.mean == pytest.approx(values.mean(), abs=1e-8)
    assert found.std == pytest.approx(values.std(), rel=1e-6)
    assert (found.low, found.high) == (values.min(), values.max())


def test_judges_inside_a_weighted_one_have_totals_of_their_own(tmp_path: Path) -> None:
    details = [
        {"parts": {"a": {"score": 1.0}}, "watch": {"b": {"score": 5.0}}},
        {"parts": {"a": {"score": 3.0}}, "watch": {"b": {"score": None}}},
    ]
    rows = [
        {"candidate_id": "x", "judge": "Weighted", "value": 2.0, "reason": None, "details": json.dumps(one)}
        for one in details
    ]
    store.write_table(tmp_path, 0, rows, store.SCORES)
    assert summarise(tmp_path) == {
        "Weighted": Totals(2, 0, 2.0, 0.0, 2.0, 2.0),
        "Weighted, parts: a": Totals(2, 0, 2.0, 1.0, 1.0, 3.0),
        "Weighted, watch: b": Totals(2, 1, 5.0, 0.0, 5.0, 5.0),
    }


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "scores", 0, "clip", [0.25, None])
    assert main(["scores", str(tmp_path / "scores"), "--json"]) == 0
    expected = {"rows": 2, "missing": 1, "mean": 0.25, "std": 0.0, "low": 0.25, "high": 0.25}
    assert json.loads(capsys.readouterr().out) == {"clip": expected}
    assert main(["scores", str(tmp_path / "scores")]) == 0
    assert "0.2500" in capsys.readouterr().out


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scores", str(tmp_path)]) == 2
    assert "There is no table in" in capsys.readouterr().err
    write(tmp_path, 0, "clip", [1.0])
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["scores", str(tmp_path)]) == 2
    assert "is corrupt" in capsys.readouterr().err
    row = {name: None for name in store.PREFERENCES.names}
    store.write_table(tmp_path, 0, [row], store.PREFERENCES)
    assert main(["scores", str(tmp_path)]) == 2
    assert "no columns judge, value, details" in capsys.readouterr().err


def test_a_missing_score_is_no_zero() -> None:
    one = Totals().and_these(np.array([2.0]), 3)
    assert (one.mean, one.missing, one.rows) == (2.0, 3, 4)
    assert Score(None).value is None
