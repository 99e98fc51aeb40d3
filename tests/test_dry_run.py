"""A dry run: every shipped config is planned offline, without weights or files, and refused where a run would be."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from selfportrait import components, config
from selfportrait.cli import main
from selfportrait.micro import checkpoints
from selfportrait.models.janus import Janus
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3
from selfportrait.planning import base

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, and models that cannot load."""

    def load(self: object) -> None:
        raise AssertionError("a dry run loads no weights")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(SD, "load", load)
    monkeypatch.setattr(SD3, "load", load)
    monkeypatch.setattr(Janus, "load", load)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", config.names())
def test_a_shipped_config_is_planned(name: str, tiny_janus: Path, empty: Path, capsys: Capture) -> None:
    path = config.load(name)["model"]["path"]
    is_here = "/" in path or path in checkpoints.names()  # one that is yet to be built is stood in for
    assert main(["improve", name, "--dry-run", *([] if is_here else [f"model.path={tiny_janus}"])]) == 0
    out, err = capsys.readouterr()
    for part in ("Components", "Model ", "in all", "learns", "Plan", "evaluate before", "Memory", "at once"):
        assert part in out, part
    needs_data = "preferences" in config.load(name)
    assert ("unknown" in out) == needs_data
    assert ("--repo-type dataset" in out) == needs_data
    assert err == ""
    assert list(empty.iterdir()) == []


def test_the_counts_are_those_of_the_settings(capsys: Capture) -> None:
    assert main(["improve", "gpo-micro-counting", "recipe.steps=3", "prompts.num_prompts=70", "--dry-run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for numbers in (
        "prompts prompts 70 ",
        "pictures 384 ",  # 3 steps x 4 prompts x 32 candidates
        "rows of the denoiser 7,680 ",  # twice for guidance, 10 sampling steps
        "optimizer steps 9 ",  # 3 updates a step
        "forwards and backwards 45 ",  # 5 draws an update
        "forwards without gradient 30 ",  # of the updates after the first, since the config has a guard
        "pictures 2,000 500 held-out prompts",
    ):
        assert numbers in out, out
    assert "steps=3, prompts_per_step=4, ema_decay=0.95" in out
    assert "128 rows x 35 tokens" in out


@pytest.mark.parametrize(
    "overrides",
    [
        ["recipe.steps=0"],
        ["judge.name=micro_cuont"],
        ["model.path=nowhere/at/all"],
        ["prompts.name=file", "prompts.path=missing.txt"],
        ["prompts.name=streams"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_a_run_refuses_is_refused(overrides: list[str], empty: Path, capsys: Capture) -> None:
    command = ["improve", "gpo-micro-counting", *overrides]
    assert main(command) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert main([*command, "--dry-run"]) == 2
    assert capsys.readouterr().err.splitlines() == [sentence]


def test_the_recipes_own_refusals_come_too(tiny_janus: Path, capsys: Capture) -> None:
    settings = config.load("gpo-micro-counting") | {"model": {"name": "janus", "path": str(tiny_janus)}}
    Path("tokens.yaml").write_text(json.dumps(settings), encoding="utf-8")
    assert main(["improve", "tokens.yaml", "--dry-run"]) == 2
    assert "draws tokens" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_here_has_no_sizes(capsys: Capture) -> None:
    assert main(["improve", "gpo-micro-counting", "model.path=someone/elsewhere", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "unknown" in out
    assert "optimizer steps" in out
    assert "Memory" not in out


@pytest.mark.parametrize("recipe", components.names("recipes"))
def test_every_recipe_has_a_plan(recipe: str) -> None:
    assert callable(base.find(recipe))


def test_memory_by_hand() -> None:
    """1,000 frozen and 100 trained numbers in bfloat16, a reference copy, 2 x 10 drawn places, 3 x 5 trained ones."""
    from selfportrait.models.base import Sizes
    from selfportrait.planning import memory

    sizes = Sizes(
        "hand", {"all": 1100}, 100, 25, "", 5, 2200, 200, cache_bytes=7, kept_bytes=11, once_bytes=2, decoding_bytes=40
    )
    plan = base.Plan(1, [], [base.Batch(2, 10), base.Batch(3, 2)], base.Batch(3, 5), num_copies=1)
    found = memory.needs(sizes, plan, "adamw")
    assert {need.what: need.bytes for need in found} == {
        "weights that stay": 2000,
        "weights that learn": 200,
        "copies of them": 200,
        "gradients": 200,
        "optimizer": 1600,  # two moments, a copy and its gradient, 4 bytes each
        "keys and values": 140,
        "decoding pictures": 40,
        "activations": 175,  # 15 x 11, and 5 x 2 for one row
    }
    assert memory.peak(found) == 4200 + 180
    assert memory.peak(memory.needs(sizes, plan, "adafactor")) == 4200 + 180 - 800 + 100  # 25 factors
    aside = memory.needs(
        dataclasses.replace(sizes, encoder_bytes=600), dataclasses.replace(plan, is_without_encoders=True), "adamw"
    )
    assert {need.what: (need.bytes, need.phase) for need in aside if need.bytes in (600, 1400)} == {
        "weights that stay": (1400, ""),
        "encoders": (600, "drawing"),
    }
    assert memory.peak(aside) == 3600 + 780  # drawing, which has the encoders, is now the larger
    assert memory.available(torch.device("cpu"))[0] > 2**28


def test_who_watches_is_listed_and_counted(capsys: Capture) -> None:
    overrides = ["watch.shapes.name=micro_questions", "watch.ocr.enlarge=4", "benchmark.categories=[numeracy, text]"]
    assert main(["improve", "gpo-micro-counting", *overrides, "--dry-run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "watch.shapes micro_questions" in out
    assert "watch.ocr ocr enlarge=4" in out
    # 2 categories of 100 prompts, 4 pictures each, by three judges, before and after
    counted = "judgements 2,400 watching: the run's own judge, shapes, ocr"
    assert out.count(counted) == 2


@pytest.mark.parametrize("how", [["--dry-run"], []])
def test_a_judge_with_nothing_to_read_is_refused_before_weights_load(
    how: list[str], empty: Path, capsys: Capture
) -> None:
    assert main(["improve", "gpo-micro-counting", "watch.ocr={}", *how]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: watch.ocr: it can judge a picture of none of the benchmark's 500 prompts, of")
    assert "no text in double quotes" in lines[-1]
    assert not [path for path in empty.rglob("*") if path.is_file()]
