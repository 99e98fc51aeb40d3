"""The recipe spo on a tiny model: its loss begins at log 2, it repeats after a kill, and what it refuses."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_run import Brightness

from selfportrait import config, store
from selfportrait.planning import base

STEPS = 3


def settings_for(path: Path, name: str = "sd3", **recipe: Any) -> dict[str, Any]:
    return {
        "seed": 0,
        "recipe": {
            "name": "spo",
            "steps": STEPS,
            "prompts_per_step": 2,
            "candidates_per_step": 2,
            "sampling_steps": 4,
            "first_step": 1,
            "guidance_scale": 2.0,
            "min_gap": 0.0,
            "checkpoint_every": 1,
            **recipe,
        },
        "model": {"name": name, "path": str(path), "num_inference_steps": 2},
        "prompts": {"name": "micro", "num_prompts": 3},
        "judge": {"name": "micro_count"},
        "loss": {"name": "spo"},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0},
        "benchmark": {"name": "micro", "categories": ["numeracy"], "prompts_per_category": 2},
    }


def start_run(folder: Path, settings: dict[str, Any]) -> store.Run:
    checked = config.bind(settings)
    with store.Run.open(folder, checked.resolved()) as run:
        checked.recipe(run=run, **{**checked.build(), "judge": Brightness()})
    return store.Run.read(folder)


def metrics(run: store.Run) -> list[dict[str, Any]]:
    return store.read_jsonl(run.path("round-0", "training", "metrics.jsonl"))


@pytest.mark.parametrize("name", ["sd3", "sd"])
def test_it_trains_on_next_steps_and_ends_the_same_after_a_kill(
    name: str, tiny_sd3: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    settings = settings_for({"sd3": tiny_sd3, "sd": tiny_sd}[name], name)
    whole = start_run(tmp_path / "whole", settings)
    lines = metrics(whole)
    assert len(lines) == STEPS
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert lines[0]["steps/groups"] == lines[0]["steps/pairs"] == 2 * 2
    assert lines[-1]["loss"] != lines[0]["loss"]
    shutil.copytree(whole.folder, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed/model")
    shutil.rmtree(tmp_path / f"killed/round-0/training/checkpoints/step-{STEPS:05d}")
    again = start_run(tmp_path / "killed", settings)
    for file in ("model/pytorch_lora_weights.safetensors", "round-0/training/metrics.jsonl"):
        assert again.path(file).read_bytes() == whole.path(file).read_bytes()


def test_a_step_without_pairs_changes_nothing(tiny_sd3: Path, tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", settings_for(tiny_sd3, min_gap=0.999, steps=1))
    (line,) = metrics(run)
    assert line["steps/pairs"] == 0
    assert "loss" not in line


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"first_step": 3}, "give one below 3"), ({"model": {"name": "janus"}}, "give a model that removes noise")],
)
def test_what_cannot_work_is_refused_before_anything_loads(
    changes: dict[str, Any], sentence: str, tiny_sd3: Path
) -> None:
    settings = settings_for(tiny_sd3, **{key: value for key, value in changes.items() if key != "model"})
    checked = config.bind({**settings, **{key: value for key, value in changes.items() if key == "model"}})
    with pytest.raises(ValueError, match=sentence):
        base.plan("spo", checked.build(), checked.sections["recipe"].settings)
