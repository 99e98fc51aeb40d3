"""Algorithm 1 on a tiny model: what it writes, how many passes it takes, and that it pushes the right way."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_run import (
    DRAWS,
    GROUP,
    INFERENCE_STEPS,
    PROMPTS,
    STEPS,
    UPDATES,
    Brightness,
    finished_settings,
    start_run,
)

from selfportrait import store
from selfportrait.draws.forward_noise import forward_noise
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3
from selfportrait.seeds import derive, generator
from selfportrait.types import Draw, Prompt, Score

Start = Callable[..., store.Run]
ROWS = STEPS * PROMPTS * GROUP
PICTURES = 2 * 2 * 4  # categories, prompts, pictures


def table(run: store.Run, *parts: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.read_table(run.path("round-0", *parts)).to_pylist()
    return rows


def metrics(run: store.Run) -> list[dict[str, Any]]:
    return store.read_jsonl(run.path("round-0", "training", "metrics.jsonl"))


def latents(run: store.Run, step: int) -> torch.Tensor:
    """The latents of a step's candidates, (P, G, C, H, W)."""
    rows = [row["latent"] for row in table(run, "candidates") if row["step"] == step]
    return torch.tensor(rows).view(-1, GROUP, 4, 16, 16)


class ByIndex:
    """Scores a candidate by its place in the group, whatever it shows; None is a judgement that failed."""

    def __init__(self, *values: float | None) -> None:
        self.values = values

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        values = [self.values[row % len(self.values)] for row in range(len(images))]
        return [Score(value, "cannot read it" if value is None else None) for value in values]


class Counting(SD3):
    """Counts the passes of the network: those that learn and all others."""

    def load(self) -> "Counting":
        super().load()
        self.passes = {"learning": 0, "other": 0}
        self.transformer.register_forward_pre_hook(self._count)
        return self

    def _count(self, *_: object) -> None:
        self.passes["learning" if torch.is_grad_enabled() else "other"] += 1


# What it writes


def test_the_tables_have_their_columns_and_rows(finished: store.Run) -> None:
    prompts, candidates, scores, preferences = (
        table(finished, name) for name in ("prompts", "candidates", "scores", "preferences")
    )
    assert set(prompts[0]) == {"id", "text", "category", "questions", "parent", "role"}
    assert set(candidates[0]) == {"id", "prompt_id", "prompt", "index", "seed", "step", "image", "latent", "tokens"}
    assert set(scores[0]) == {"candidate_id", "judge", "value", "reason", "details"}
    assert set(preferences[0]) == {"candidate_id", "group_id", "step", "reward", "advantage", "kept"}
    assert [len(rows) for rows in (prompts, candidates, scores, preferences)] == [3, ROWS, ROWS, ROWS]
    assert [row["candidate_id"] for row in scores] == [row["id"] for row in candidates]
    assert [row["candidate_id"] for row in preferences] == [row["id"] for row in candidates]
    assert len({row["id"] for row in candidates}) == ROWS, "a prompt that comes again gets new candidates"
    assert {row["judge"] for row in scores} == {"Brightness"}
    assert len(candidates[0]["latent"]) == 4 * 16 * 16
    for row in candidates:
        assert row["seed"] == derive(0, 0, row["prompt_id"], row["index"], "sample")
    for name in ("before", "after"):
        rows = table(finished, "evaluation", name)
        assert len(rows) == PICTURES
        assert set(rows[0]) == {
            *("prompt_id", "prompt", "category", "index", "seed", "image", "exact", "score", "reason", "details")
        }


def test_the_advantages_are_the_z_scores_of_the_rewards(finished: store.Run) -> None:
    scores = {row["candidate_id"]: row["value"] for row in table(finished, "scores")}
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table(finished, "preferences"):
        assert row["reward"] == pytest.approx(scores[row["candidate_id"]], abs=1e-6)
        groups.setdefault(row["group_id"], []).append(row)
    assert len(groups) == STEPS * PROMPTS
    for group, rows in groups.items():
        prompt_id, _, step = group.partition("@")
        assert all(row["candidate_id"].startswith(prompt_id) and row["step"] == int(step) for row in rows)
        rewards = [row["reward"] for row in rows]
        mean = sum(rewards) / GROUP
        std = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / GROUP)
        assert [row["advantage"] for row in rows] == pytest.approx([(r - mean) / std for r in rewards], abs=1e-3)


def test_the_summary_has_its_keys(finished: store.Run) -> None:
    summary = store.read_json(finished.path("summary.json"))
    assert {"before", "after", "time_s", "peak_memory_mb"} <= set(summary)
    for name in ("before", "after"):
        assert set(summary[name]) == {"color", "numeracy", "overall"}
        for values in summary[name].values():
            assert {"accuracy", "low", "high", "pass_at_4", "n"} <= set(values)
        assert summary[name]["overall"]["n"] == PICTURES
        assert summary[name] == store.read_json(finished.path("round-0", "evaluation", f"{name}.json"))
    assert set(summary["time_s"]) == {"evaluate before", "evaluate after", "sample", "judge", "train"}
    assert all(seconds >= 0 for seconds in summary["time_s"].values())
    assert 50 < summary["peak_memory_mb"] < 8000


def test_before_and_after_are_the_same_prompts_at_the_same_seeds(finished: store.Run) -> None:
    before, after = (table(finished, "evaluation", name) for name in ("before", "after"))
    same = ("prompt_id", "prompt", "category", "index", "seed")
    assert [[row[key] for key in same] for row in before] == [[row[key] for key in same] for row in after]
    assert [row["image"] for row in before] != [row["image"] for row in after]


def test_the_metrics_tell_the_step_and_nothing_of_the_clock(finished: store.Run) -> None:
    lines = metrics(finished)
    assert [line["step"] for line in lines] == list(range(STEPS))
    assert [line["update"] for line in lines] == [UPDATES * (step + 1) for step in range(STEPS)]
    for line in lines:
        assert line["groups/kept"] + line["groups/skipped"] == PROMPTS
        assert line["loss"] is not None
        assert line["grad_norm"] > 0
        assert line["diversity"] > 0
        assert not [name for name in line if name.endswith("_s") or "time" in name]
    timing = store.read_jsonl(finished.path("round-0", "training", "timing.jsonl"))
    assert [set(line) for line in timing] == [{"step", "sample_s", "judge_s", "train_s"}] * STEPS


def test_the_model_that_is_saved_is_the_averaged_one_that_was_measured(finished: store.Run) -> None:
    measured = table(finished, "evaluation", "after")[:4]
    model = SD3(path=str(finished.path("model")), train="full", num_inference_steps=INFERENCE_STEPS).load()
    conditioning = model.encode([row["prompt"] for row in measured])
    drawn = model.sample(conditioning, [row["seed"] for row in measured]).images
    for image, row in zip(drawn, measured, strict=True):
        difference = torch.tensor(list(image.tobytes())) - torch.tensor(list(_pixels(row)))
        assert difference.abs().max() <= 1
    checkpoint = sorted(finished.path("round-0", "training", "checkpoints").glob("step-*"))[-1]
    assert not torch.equal(*(_bias(load_file(checkpoint / f"{name}.safetensors")) for name in ("weights", "ema")))
    assert torch.equal(
        _bias(dict(model.transformer.named_parameters())), _bias(load_file(checkpoint / "ema.safetensors"))
    )


def _pixels(row: dict[str, Any]) -> bytes:
    from selfportrait.images import from_bytes

    return from_bytes(row["image"]["bytes"]).tobytes()


def _bias(weights: Any) -> torch.Tensor:
    bias: torch.Tensor = weights["proj_out.bias"].detach()
    return bias


def test_a_finished_run_stays_as_it_is(
    finished: store.Run, tiny_sd3: Path, tmp_path: Path, differences: Callable[[Path, Path], list[str]]
) -> None:
    again = tmp_path / "again"
    shutil.copytree(finished.folder, again)
    start_run(again, finished_settings(tiny_sd3))
    assert differences(finished.folder, again) == []


# How much it computes


@pytest.mark.parametrize("guard", [None, 0.1])
def test_the_network_is_passed_k_times_an_update_and_the_reference_only_for_the_guard(
    start: Start, tiny_sd3: Path, guard: float | None
) -> None:
    model = Counting(path=str(tiny_sd3), train="full", num_inference_steps=INFERENCE_STEPS)
    run = start(replaced={"model": model}, loss={"name": "gpo", "guard": guard})
    assert sum(line["groups/kept"] for line in metrics(run)) == STEPS * PROMPTS
    assert model.passes["learning"] == STEPS * UPDATES * DRAWS
    sampling = (STEPS + 2) * INFERENCE_STEPS  # a batch a step, and one for each measurement
    old = 0 if guard is None else STEPS * (UPDATES - 1) * DRAWS  # the first update's are the policy's own
    assert model.passes["other"] == sampling + old


# Where it pushes


@pytest.mark.parametrize("train", ["full", "lora"])
@pytest.mark.parametrize("loss", ["gpo", "group_dpo"])
@pytest.mark.parametrize(("family", "name"), [(SD3, "tiny_sd3"), (SD, "tiny_sd"), (SD, "tiny_sd_v")])
def test_an_update_raises_the_good_candidate_and_lowers_the_bad_one(
    start: Start, request: pytest.FixtureRequest, family: Callable[..., Any], name: str, loss: str, train: str
) -> None:
    once = {"steps": 1, "prompts_per_step": 1, "timesteps_per_update": 1, "updates_per_group": 1}
    settings = {
        "path": str(request.getfixturevalue(name)),
        "train": train,
        "num_inference_steps": INFERENCE_STEPS,
        "guidance_scale": 4.5,
    }
    model = family(**settings)
    run = start(
        recipe=once,
        loss={"name": loss},
        model={"name": family.__name__.lower(), **settings},
        optimizer={"learning_rate": 1e-4 if train == "full" else 1e-3},
        replaced={"judge": ByIndex(1.0, 0.5, 0.5, 0.0), "model": model},
    )
    rows = [row for row in table(run, "candidates") if row["step"] == 0]
    drawn = forward_noise(latents(run, 0), generator(0, 0, rows[0]["prompt_id"], 0, 0, 0, "draw"))
    at = Draw(drawn.sigma.flatten(), drawn.noise.flatten(0, 1))
    conditioning = model.encode([row["prompt"] for row in rows])
    with torch.no_grad():
        after = model.log_likelihood(latents(run, 0)[0], conditioning, at)
        with model.reference():
            before = model.log_likelihood(latents(run, 0)[0], conditioning, at)
    change = after - before
    assert change[0] > 0
    assert change[3] < 0
    assert change[0] > change[1:3].mean() > change[3]


@pytest.mark.parametrize(("online", "is_base"), [(True, False), (False, True)])
def test_offline_groups_are_drawn_from_the_base_model(
    start: Start, tiny_sd3: Path, online: bool, is_base: bool
) -> None:
    run = start(recipe={"steps": 2, "online": online}, optimizer={"learning_rate": 1e-3})
    rows = [row for row in table(run, "candidates") if row["step"] == 1]
    base = SD3(path=str(tiny_sd3), train="full", num_inference_steps=INFERENCE_STEPS).load()
    drawn = base.sample(base.encode([row["prompt"] for row in rows]), [row["seed"] for row in rows]).content
    difference = (drawn - latents(run, 1).flatten(0, 1)).abs().max()
    assert (difference < 1e-4) == is_base


def test_the_sign_selection_knows_only_above_and_below(start: Start) -> None:
    run = start(recipe={"steps": 1}, selection={"name": "sign"}, replaced={"judge": ByIndex(0.9, 0.5, 0.1, 0.1)})
    # the mean is 0.4
    assert [row["advantage"] for row in table(run, "preferences")] == [1.0, 1.0, -1.0, -1.0] * PROMPTS


# What is left out


def test_groups_without_spread_are_skipped_and_counted(start: Start) -> None:
    flat_first = ByIndex(*[0.5] * GROUP, *[1.0, 0.0, 0.0, 0.0])
    run = start(recipe={"steps": 1}, replaced={"judge": flat_first})
    (line,) = metrics(run)
    assert (line["groups/kept"], line["groups/skipped"]) == (1, 1)
    rows = table(run, "preferences")
    assert [row["kept"] for row in rows] == [False] * GROUP + [True] * GROUP
    assert [row["advantage"] for row in rows[:GROUP]] == [0.0] * GROUP


def test_a_step_without_any_spread_changes_nothing(start: Start, tiny_sd3: Path) -> None:
    run = start(recipe={"steps": 2}, replaced={"judge": ByIndex(0.5)})
    assert [line["groups/skipped"] for line in metrics(run)] == [PROMPTS, PROMPTS]
    assert [line["update"] for line in metrics(run)] == [0, 0]
    before, after = (table(run, "evaluation", name) for name in ("before", "after"))
    assert before == after


def test_the_tripwires_look_at_the_first_update_whenever_it_comes(start: Start) -> None:
    class FlatAtFirst:
        calls = 0

        def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
            self.calls += 1
            return ByIndex(*([0.5] if self.calls == 1 else [0.0, 1.0]))(prompts, images)

    with pytest.raises(ValueError, match="the optimizer step changed none"):
        start(
            model={"train": "lora"},  # whose weights are exact zeros and normal numbers: 1e-60 cannot turn a sign of 0
            optimizer={"learning_rate": 1e-60},
            replaced={"judge": FlatAtFirst()},
        )


def test_missing_judgements_are_left_out_and_kept_with_their_reason(start: Start) -> None:
    run = start(recipe={"steps": 1, "max_missing": 0.25}, replaced={"judge": ByIndex(None, 1.0, 0.0, 0.5)})
    assert [row["value"] for row in table(run, "scores")] == [None, 1.0, 0.0, 0.5] * PROMPTS
    assert table(run, "scores")[0]["reason"] == "cannot read it"
    rows = table(run, "preferences")
    assert rows[0]["reward"] is None
    assert rows[0]["advantage"] == 0.0
    assert rows[1]["advantage"] == pytest.approx(math.sqrt(1.5), abs=1e-5)  # of 1, 0, 0.5: mean 0.5, std sqrt(1/6)


def test_too_many_missing_judgements_stop_the_run_with_a_sentence(start: Start) -> None:
    with pytest.raises(ValueError, match=r"step 0: 2 of 8 judgements are missing.*max_missing = 0\.1") as caught:
        start(recipe={"max_missing": 0.1}, replaced={"judge": ByIndex(None, 1.0, 0.0, 0.5)})
    assert str(caught.value).endswith("the first says: cannot read it")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_missing(start: Start, value: float) -> None:
    with pytest.raises(ValueError, match="2 of 8 judgements are missing") as caught:
        start("strict", replaced={"judge": ByIndex(value, 1.0, 0.0, 0.5)})
    assert str(value) in str(caught.value)
    run = start("lenient", recipe={"steps": 1, "max_missing": 0.5}, replaced={"judge": ByIndex(value, 1.0, 0.0, 0.5)})
    first = table(run, "scores")[0]
    assert first["value"] is None
    assert str(value) in first["reason"]


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_batch(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the loss of step 0 is not finite"):
        start(optimizer={"learning_rate": 1e30})  # the second update meets weights of 1e30
    saved = tmp_path / "run/round-0/training/non-finite-00000"
    batch = load_file(saved / "batch.safetensors")
    assert batch["latents"].shape == (PROMPTS * GROUP, 4, 16, 16)
    assert batch["noise"].shape == (PROMPTS, GROUP, 4, 16, 16)
    record = json.loads((saved / "batch.json").read_text())
    assert len(record["prompts"]) == PROMPTS
    assert "nan" in record["loss"] or "inf" in record["loss"]


# Going on


class StoppedError(BaseException):
    """The process is gone: nothing catches it."""


class Stopping(Brightness):
    """Judges as `Brightness` until a call at which the run is stopped."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        self.calls -= 1
        if self.calls < 0:
            raise StoppedError
        return super().__call__(prompts, images)


Stopping.__name__ = "Brightness"  # the tables name the judge


def test_a_run_stopped_twice_ends_like_one_that_was_not(
    finished: store.Run, tiny_sd3: Path, tmp_path: Path, differences: Callable[[Path, Path], list[str]]
) -> None:
    for calls in (1, 1):
        with pytest.raises(StoppedError):
            start_run(tmp_path / "run", finished_settings(tiny_sd3), judge=Stopping(calls))
    start_run(tmp_path / "run", finished_settings(tiny_sd3))
    assert differences(finished.folder, tmp_path / "run") == []
