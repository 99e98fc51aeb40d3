"""A model that is measured during training: it learns the same, and a run killed at any time ends the same."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_offline import settings_for, start_run
from test_only_scores import Darkness

from selfportrait import cli, config, store
from selfportrait.benchmarks.base import Row
from selfportrait.benchmarks.micro import Micro
from selfportrait.commands.improve import show_result
from selfportrait.planning import base
from selfportrait.report import write_report
from selfportrait.stages import evaluation
from selfportrait.types import Prompt

Differences = Callable[[Path, Path], list[str]]
RECIPE = {"ema_decay": 0.5, "checkpoint_every": 50}
WHAT_IS_LEARNT = ("round-0/training/metrics.jsonl", "model/pytorch_lora_weights.safetensors")


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PROMPTS_PER_PART", 2)


@pytest.fixture(scope="module")
def measured(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """A run of three steps that is measured after each, with averaged weights, left in peace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "PROMPTS_PER_PART", 2)
        return start_run(tmp_path_factory.mktemp("measured") / "run", settings(tiny_sd3))


def settings(model: Path, **recipe: Any) -> dict[str, Any]:
    return settings_for(model, recipe={**RECIPE, "evaluate_every": 1, **recipe})


def pictures(run: store.Run, when: str) -> list[dict[str, Any]]:
    return store.read_table(run.path("round-0", "evaluation", when)).to_pylist()


def test_it_learns_what_it_learns_without(measured: store.Run, tiny_sd3: Path, tmp_path: Path) -> None:
    plain = start_run(tmp_path / "plain", settings(tiny_sd3, evaluate_every=None))
    for name in WHAT_IS_LEARNT:
        assert measured.path(name).read_bytes() == plain.path(name).read_bytes()
    assert pictures(measured, "after") == pictures(plain, "after")
    assert "by_step" not in store.read_json(plain.path("summary.json"))
    assert "step-" not in " ".join(path.name for path in plain.path("round-0", "evaluation").iterdir())


def test_a_step_is_measured_as_a_training_that_ends_there(measured: store.Run, tiny_sd3: Path, tmp_path: Path) -> None:
    shorter = start_run(tmp_path / "shorter", settings(tiny_sd3, evaluate_every=None, steps=2))
    assert pictures(measured, "step-00002") == pictures(shorter, "after") != pictures(measured, "step-00001")
    assert not measured.path("round-0", "evaluation", "step-00003").exists()  # the last, which is "after"


def test_the_summary_has_every_measured_step(measured: store.Run) -> None:
    summary = store.read_json(measured.path("summary.json"))
    curve = summary["by_step"]
    assert [point["step"] for point in curve] == [0, 1, 2, 3]
    ends = [{key: value for key, value in curve[place].items() if key != "step"} for place in (0, -1)]
    assert ends == [summary[when]["overall"] for when in ("before", "after")]
    assert all(point["low"] <= point["accuracy"] <= point["high"] for point in curve)


def test_its_time_is_not_that_of_training(measured: store.Run) -> None:
    steps = store.read_jsonl(measured.path("round-0", "training", "timing.jsonl"))
    found = store.read_json(measured.path("summary.json"))["time_s"]
    assert found["evaluate during training"] > 0
    assert found["train"] == pytest.approx(sum(step["train_s"] for step in steps), abs=0.01)


class Stops(Micro):
    """A benchmark that is interrupted when it judges for the n-th time."""

    calls_left = 0

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise KeyboardInterrupt
        return super().measure(prompts, images)


@pytest.mark.parametrize("calls", [2, 3, 4, 6])
def test_killed_while_it_is_measured_it_ends_the_same(
    calls: int, measured: store.Run, tiny_sd3: Path, tmp_path: Path, differences: Differences
) -> None:
    """Two parts a measurement: after 2 calls none of step 1 is there, after 3 half of it, after 4 none of step 2."""
    stops = Stops(categories=("numeracy", "color"), prompts_per_category=2)
    stops.calls_left = calls
    with pytest.raises(KeyboardInterrupt):
        start_run(tmp_path / "run", settings(tiny_sd3), benchmark=stops)
    start_run(tmp_path / "run", settings(tiny_sd3))
    assert differences(measured.folder, tmp_path / "run") == []


def test_a_cut_off_run_reports_what_was_measured_whole(measured: store.Run, tiny_sd3: Path, tmp_path: Path) -> None:
    stops = Stops(categories=("numeracy", "color"), prompts_per_category=2)
    stops.calls_left = 5
    with pytest.raises(KeyboardInterrupt):
        start_run(tmp_path / "run", settings(tiny_sd3), benchmark=stops)
    html = write_report(tmp_path / "run").read_text("utf-8")
    assert "at step 0" in (chart := re.findall(r'aria-label="(Held-out[^"]*)"', html)[0])
    assert "at step 1" in chart
    assert "at step 2" not in chart


def test_terminal_and_page_show_it(measured: store.Run, capsys: pytest.CaptureFixture[str]) -> None:
    curve = store.read_json(measured.path("summary.json"))["by_step"]
    show_result(measured.folder)
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split() for line in lines[lines.index(next(line for line in lines if "after steps" in line)) + 1 :]]
    assert [row[:2] for row in shown[:4]] == [[str(point["step"]), f"{100 * point['accuracy']:.1f}"] for point in curve]
    html = measured.path("report.html").read_text("utf-8")
    assert html.count('aria-label="Held-out accuracy over the steps') == 1


def test_scores_are_shown_in_their_own_unit(tiny_sd3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = Darkness(categories=("numeracy", "color"), prompts_per_category=2)
    run = start_run(tmp_path / "run", settings(tiny_sd3), benchmark=benchmark)
    curve = store.read_json(run.path("summary.json"))["by_step"]
    assert [20 < point["accuracy"] < 21 for point in curve] == [True] * 4
    show_result(run.folder)
    out = capsys.readouterr().out
    assert f"{curve[1]['accuracy']:.2f} ({curve[1]['low']:.2f}–{curve[1]['high']:.2f})" in out
    assert not re.search("%,|, %|exact|points", out.lower())
    html = run.path("report.html").read_text("utf-8")
    (chart,) = re.findall(r'<svg role="img" aria-label="Held-out mean score over the steps.*?</svg>', html, re.DOTALL)
    assert "%" not in chart


def test_the_plan_counts_its_pictures(tiny_sd3: Path) -> None:
    def counted(**recipe: Any) -> base.Count:
        checked = config.bind(settings(tiny_sd3, **recipe))
        plan = base.plan("offline", checked.build(), checked.sections["recipe"].settings)
        return next(count for count in plan.counts if count.stage == "evaluate during training")

    once = 16
    assert counted().number == 2 * once
    assert counted(steps=100, evaluate_every=25).number == 3 * once
    assert counted(steps=101, evaluate_every=25).number == 4 * once
    passes = counted(steps=None, epochs=5)  # at most 4 pairs, 2 a step
    assert (passes.number, passes.qualifier) == (9 * once, "at most")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["evaluate_every=0"], "recipe.evaluate_every"),
        (["evaluate_every=often"], "recipe.evaluate_every"),
        (["evaluate_every=3"], "there is no step between the first and the last to measure at"),
        (
            ["evaluate_every=1", "checkpoint_every=2", "on_event=roll_back"],
            "give a multiple of recipe.checkpoint_every",
        ),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_bad_value_is_one_sentence(
    values: list[str],
    sentence: str,
    dry: list[str],
    tiny_sd3: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tiny.yaml").write_text(json.dumps(settings_for(tiny_sd3)))
    overrides = [f"recipe.{value}" for value in values]
    code = cli.main(["improve", str(tmp_path / "tiny.yaml"), "--run", str(tmp_path / "run"), *overrides, *dry])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(errors) == 1
    assert sentence in errors[0]
    assert not (tmp_path / "run").exists()


def test_a_roll_back_ends_with_the_same_weights(tiny_sd3: Path, tmp_path: Path) -> None:
    """Between two checkpoints of its own a training that goes back has no other to go back to."""
    recipe = {"on_event": "roll_back", "checkpoint_every": 1}
    runs = [start_run(tmp_path / str(every), settings(tiny_sd3, **recipe, evaluate_every=every)) for every in (None, 1)]
    for name in WHAT_IS_LEARNT:
        assert runs[0].path(name).read_bytes() == runs[1].path(name).read_bytes()
    assert math.isfinite(store.read_json(runs[1].path("summary.json"))["by_step"][-1]["accuracy"])
