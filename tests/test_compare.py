"""Several configs in one table: what runs share, what is refused, and what an interval is over."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from selfportrait import cli, store
from selfportrait.commands import targets
from selfportrait.commands.compare import numbers
from selfportrait.report.units import SCORE, SHARE

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
    for table in ("candidates", "scores", "preferences", "latents", "texts", "evaluation/before"):
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
        (["dpo-micro", "--target", "0", "--set", "recipe.evaluate_every=20"], "expected a gain over step 0"),
        (["dpo-micro", "--target", "inf", "--set", "recipe.evaluate_every=20"], "expected a gain over step 0"),
        (["dpo-micro", "--target", "2"], "nothing was measured between before and after"),
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


def curve(*accuracies: float, every: int = 10) -> targets.Curve:
    return [{"step": place * every, "accuracy": accuracy} for place, accuracy in enumerate(accuracies)]


def test_the_first_measured_step_at_the_target_counts() -> None:
    """0.46 is 4 points above 0.42 but for rounding; a step at the target counts though a later one is below."""
    found = targets.reached([curve(0.42, 0.44, 0.46, 0.45), curve(0.42, 0.43, 0.45, 0.459), curve(0.5, 0.6)], 0.04)
    assert found.steps == [20, None, 10]
    assert found.measured == [0, 10, 20, 30]


def test_the_table_says_never_and_where_it_was_measured() -> None:
    lines = {"dpo": targets.reached([curve(0.4, 0.41, 0.45), curve(0.4, 0.4, 0.4)], 0.02), "sft": None}
    shown = targets.table(lines, SHARE, is_given=False)
    assert shown.title == "Steps to +2.0 points over step 0 on held-out prompts, half of the best gain at the end"
    assert [list(column.cells) for column in shown.columns] == [
        ["dpo", "sft"],
        ["20, never", "–"],
        ["every 10 to 20", "before and after"],
    ]
    assert targets.table(lines, SCORE, is_given=True).title == "Steps to +0.0200 over step 0 on held-out prompts"


def test_steps_to_a_target_stand_in_a_second_table(
    configs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = ["--set", "recipe.steps=2", "--set", "recipe.evaluate_every=1"]
    command = ["compare", *configs, "--run", tmp_path / "runs", *measured, "--target", "90"]
    code, text = run(capsys, *command, "--json")
    assert code == 0, text
    found, _ = json.JSONDecoder().raw_decode(text)
    assert [one["to_target"] for one in found] == [{"gain": 0.9, "measured": [0, 1, 2], "steps": [None]}] * 2
    assert [point["step"] for point in found[0]["curves"][0]] == [0, 1, 2]

    code, text = run(capsys, *command)
    assert code == 0, text
    assert "Steps to +90.0 points over step 0" in " ".join(text.split())
    assert [line.split()[1:] for line in text.splitlines() if "never" in line] == [
        ["never", "every", "1", "to", "2"]
    ] * 2


def test_numbers() -> None:
    assert numbers("0,1,2") == [0, 1, 2]
