"""Several configs in one table: what runs share, what is refused, and what an interval is over."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from selfportrait import cli, store
from selfportrait.commands.compare import numbers

sys.path.insert(0, str(Path(__file__).parent / "recipes"))
from test_offline import settings_for


def written(folder: Path, name: str, settings: dict[str, Any]) -> str:
    settings = {**settings, "selection": {"name": "best_worst"}, "judge": {"name": "micro_questions"}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.fixture
def configs(tiny_sd3: Path, tmp_path: Path) -> list[str]:
    recipe = {"name": "offline", "steps": 1, "batch_size": 1, "candidates_per_prompt": 8}
    prompts = {"name": "micro", "categories": ["numeracy", "color"], "num_prompts": 8}
    losses = {"first": {"name": "dpo", "beta": 100}, "second": {"name": "kto", "beta": 100}}
    return [
        written(tmp_path, name, settings_for(tiny_sd3, recipe=recipe, prompts=prompts, loss=loss))
        for name, loss in losses.items()
    ]


def test_configs_run_on_the_same_pairs_and_stand_in_one_table(
    configs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run(capsys, "compare", *configs, "--seeds", "0,1", "--run", tmp_path / "runs", "--json")
    assert code == 0, text
    found, _ = json.JSONDecoder().raw_decode(text)
    assert [(one["name"], one["num_seeds"]) for one in found] == [("first", 2), ("second", 2)]
    assert [one["after"]["n"] for one in found] == [32, 32]
    assert found[0]["against"] is None
    assert set(found[1]["against"]) == {"difference", "low", "high"}
    for table in ("candidates", "scores", "preferences", "latents", "evaluation/before"):
        parts = [tmp_path / f"runs/{name}-seed-1/round-0/{table}/part-00000.parquet" for name in ("first", "second")]
        assert os.path.samefile(*parts), table
    losses = [
        store.read_jsonl(tmp_path / f"runs/{name}-seed-0/round-0/training/metrics.jsonl")[0]["loss"]
        for name in ("first", "second")
    ]
    assert losses == [pytest.approx(0.6931, abs=1e-3), pytest.approx(0.5, abs=1e-3)]

    code, text = run(capsys, "compare", tmp_path / "runs/first-seed-0", tmp_path / "runs/second-seed-0")
    assert code == 0, text
    assert "second-seed-0" in text
    assert "Exactly right of 16 held-out pictures" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "Unknown config 'nothing'"),
        (["dpo-micro", "dpo-micro"], "two of them have the same name"),
        (["dpo-micro", "--seeds", "0,x"], "expected whole numbers with commas between them"),
        (["dpo-micro", "--seeds", "1,1"], "expected different numbers"),
        (["dpo-micro", "--set", "loss.bta=1"], "Unknown setting loss.bta"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run(capsys, "compare", *arguments, "--run", tmp_path / "runs")
    assert code == 2
    assert sentence in " ".join(text.split())
    assert not (tmp_path / "runs").exists()


def test_an_unfinished_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "half").mkdir()
    code, text = run(capsys, "compare", tmp_path / "half")
    assert code == 2
    assert "is no finished run" in " ".join(text.split())


def test_numbers() -> None:
    assert numbers("0,1,2") == [0, 1, 2]
