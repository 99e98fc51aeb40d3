"""The recipe offline on a tiny model: pairs that it draws itself and pairs that are given, killed and gone on with."""

import csv
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_run import Brightness

from selfportrait import config, store
from selfportrait.planning import base
from selfportrait.preferences.run import Run
from selfportrait.stages import Schedule, Visits, train_on_latents
from selfportrait.stages.latents import StoredLatents
from selfportrait.types import Prompt, Score

STEPS = 3
MASK = {"name": "instance_mask"}


def settings_for(path: Path, /, **changes: Any) -> dict[str, Any]:
    """The settings of the tiny run, with some sections changed, added or, with None, left out."""
    settings: dict[str, Any] = {
        "seed": 0,
        "recipe": {
            "name": "offline",
            "steps": STEPS,
            "batch_size": 2,
            "pairs_per_forward": 1,
            "candidates_per_prompt": 2,
            "checkpoint_every": 1,
        },
        "model": {"name": "sd3", "path": str(path), "train": "lora", "num_inference_steps": 2},
        "prompts": {"name": "micro", "categories": ["numeracy", "color"], "num_prompts": 4},
        "judge": {"name": "micro_count"},
        "selection": {"name": "best_worst"},
        "draw": {"name": "forward_noise"},
        "loss": {"name": "dpo", "beta": 100},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0},
        "benchmark": {"name": "micro", "categories": ["numeracy", "color"], "prompts_per_category": 2},
    }
    for section, values in changes.items():
        settings[section] = values if values is None or "name" in values else {**settings[section], **values}
    return settings


def start_run(folder: Path, settings: dict[str, Any], **replaced: Any) -> store.Run:
    checked = config.bind(settings)
    given = {} if settings.get("judge") is None else {"judge": Brightness()}
    with store.Run.open(folder, checked.resolved()) as run:
        checked.recipe(run=run, **{**checked.build(), **given, **replaced})
    return store.Run.read(folder)


@pytest.fixture(scope="module")
def finished(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    return start_run(tmp_path_factory.mktemp("offline") / "run", settings_for(tiny_sd3))


def metrics(run: store.Run) -> list[dict[str, Any]]:
    return store.read_jsonl(run.path("round-0", "training", "metrics.jsonl"))


def without(given: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Sections that make pairs, left out for pairs that are there."""
    return {**given, "prompts": None, "judge": None, "selection": None, **settings}


def test_it_draws_judges_pairs_trains_and_measures(finished: store.Run) -> None:
    assert store.read_table(finished.path("round-0", "candidates")).num_rows == 8
    assert store.read_table(finished.path("round-0", "preferences")).num_rows == 4
    lines = metrics(finished)
    assert len(lines) == STEPS
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert lines[0]["error/chosen"] == 0
    assert finished.path("summary.json").is_file()
    report = finished.path("report.html").read_text(encoding="utf-8")
    assert "learnt from pairs of its own pictures, which micro_count scored and best_worst paired" in report
    assert "Pairs it learned from" in report
    assert "group’s average" not in report
    assert "of None" not in report
    assert finished.path("model", "pytorch_lora_weights.safetensors").is_file()


def test_its_time_is_counted_once(finished: store.Run) -> None:
    steps = store.read_jsonl(finished.path("round-0", "training", "timing.jsonl"))
    found = store.read_json(finished.path("summary.json"))["time_s"]
    assert found["train"] == pytest.approx(sum(step["train_s"] for step in steps), abs=0.01)
    assert {"evaluate before", "sample", "judge", "pair", "encode", "evaluate after"} <= set(found)


def test_what_the_model_drew_is_not_encoded_again(finished: store.Run) -> None:
    pairs = {pair.id: pair for pair in Run(path=str(finished.folder))}
    stored = StoredLatents(finished.path("round-0", "latents"))
    assert sorted(stored.ids) == sorted(pairs)
    rows = stored.rows(range(len(stored)))
    for id, both in zip(rows.ids, rows.latents, strict=True):
        for picture, latent in zip((pairs[id].chosen, pairs[id].rejected), both, strict=True):
            assert torch.equal(picture.content, latent.flatten())


@pytest.mark.parametrize("stage", ["candidates", "scores", "preferences", "latents", "texts", "training"])
def test_a_run_killed_after_any_stage_ends_with_the_same_bytes(
    finished: store.Run, tiny_sd3: Path, tmp_path: Path, stage: str
) -> None:
    shutil.copytree(finished.folder, tmp_path / "again")
    round_0 = tmp_path / "again" / "round-0"
    order = ("candidates", "scores", "preferences", "latents", "texts", "training")
    for late in order[order.index(stage) :]:
        shutil.rmtree(round_0 / late)
    for name in ("model", "round-0/evaluation/after"):
        shutil.rmtree(tmp_path / "again" / name)
    again = start_run(tmp_path / "again", settings_for(tiny_sd3))
    for name in ("model/pytorch_lora_weights.safetensors", "round-0/training/metrics.jsonl"):
        assert again.path(name).read_bytes() == finished.path(name).read_bytes()


@pytest.mark.parametrize("model", ["sd3", "sd"])
@pytest.mark.parametrize("empty_prompts", [0.0, 0.5])
def test_training_on_encoded_prompts_is_training_on_the_models_own_bit_for_bit(
    model: str, empty_prompts: float, finished: store.Run, tiny_sd3: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    pairs, path = given_pairs(tmp_path / "pairs", finished.folder), {"sd3": tiny_sd3, "sd": tiny_sd}[model]
    settings = without(
        settings_for(
            path,
            model={"name": model, "path": str(path), "num_inference_steps": 2},
            recipe={"empty_prompts": empty_prompts},
        ),
        preferences={"name": "folder", "path": str(pairs)},
    )
    run = start_run(tmp_path / "run", settings)
    texts = store.read_table(run.path("round-0", "texts"))["text"].to_pylist()
    latents = StoredLatents(run.path("round-0", "latents"))
    assert texts == [*dict.fromkeys(latents.prompts)] + [""] * (empty_prompts > 0)

    built = config.bind(settings).build()
    built["model"].load()
    schedule = Schedule(STEPS, None, 2, 1, 1)
    names = ("draw", "loss", "optimizer")
    rest = (*(built[name] for name in names), tmp_path / "live", schedule, Visits(0, empty_prompts))
    train_on_latents(built["model"], latents, built["model"].encode, *rest)
    built["model"].save(tmp_path / "model")
    live = ((tmp_path / "live" / "metrics.jsonl"), (tmp_path / "model" / "pytorch_lora_weights.safetensors"))
    own = (run.path("round-0", "training", "metrics.jsonl"), run.path("model", "pytorch_lora_weights.safetensors"))
    assert [path.read_bytes() for path in live] == [path.read_bytes() for path in own]


def given_pairs(folder: Path, pictures: Path) -> Path:
    """A folder of pairs: the pictures of another run as files, and a list of them."""
    folder.mkdir()
    rows = []
    for number, pair in enumerate(Run(path=str(pictures))):
        for side, picture in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            picture.read().resize((96, 80)).save(folder / f"{number}-{side}.png")
        rows.append((pair.prompt, f"{number}-chosen.png", f"{number}-rejected.png"))
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("prompt", "chosen", "rejected"), *rows])
    return folder


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "dpo", "beta": 100},
        {"name": "kto", "beta": 100},
        {"name": "ipo"},
        {"name": "hinge", "beta": 100},
        {"name": "sft"},
    ],
)
def test_given_pairs_train_with_any_loss(finished: store.Run, tiny_sd3: Path, tmp_path: Path, loss: dict) -> None:
    pairs = given_pairs(tmp_path / "pairs", finished.folder)
    settings = without(settings_for(tiny_sd3), loss=loss, preferences={"name": "folder", "path": str(pairs)})
    run = start_run(tmp_path / "run", settings)
    assert len(metrics(run)) == STEPS
    assert not run.path("round-0", "candidates").exists()


@pytest.mark.parametrize("model", ["sd3", "sd"])
def test_inversion_finds_each_pictures_own_noise(
    model: str, finished: store.Run, tiny_sd3: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    pairs = given_pairs(tmp_path / "pairs", finished.folder)
    path = {"sd3": tiny_sd3, "sd": tiny_sd}[model]
    settings = without(
        settings_for(path, model={"name": model, "path": str(path), "num_inference_steps": 2}),
        preferences={"name": "folder", "path": str(pairs)},
        draw={"name": "inversion", "max_steps": 3},
    )
    lines = metrics(start_run(tmp_path / "run", settings))
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_instances_without_a_conflict_change_no_bit_and_conflicts_do(
    finished: store.Run, tiny_sd3: Path, tmp_path: Path
) -> None:
    pairs = given_pairs(tmp_path / "pairs", finished.folder)
    rows = list(csv.reader((pairs / "metadata.csv").read_text().splitlines()))
    plain = without(settings_for(tiny_sd3), preferences={"name": "folder", "path": str(pairs)})
    masked = {**plain, "weights": {"name": "instance_mask"}}

    def run(name: str, settings: dict[str, Any], *, is_conflict: bool) -> store.Run:
        one = {"name": "it", "chosen_box": [0, 0, 40, 40], "rejected_box": [8, 8, 60, 60], "is_conflict": is_conflict}
        with (pairs / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([[*rows[0], "instances"], *([*row, json.dumps([one])] for row in rows[1:])])
        return start_run(tmp_path / name, settings)

    ends = [run("plain", plain, is_conflict=True), run("agreeing", masked, is_conflict=False)]
    ends.append(run("conflicting", masked, is_conflict=True))
    weights = [end.path("model", "pytorch_lora_weights.safetensors").read_bytes() for end in ends]
    assert weights[0] == weights[1] != weights[2]
    examples = [end.path("round-0", "examples") for end in ends]
    kept = [store.read_table(folder).to_pylist() for folder in examples if folder.is_dir()]
    assert [{one["is_conflict"] for row in several for one in row["instances"]} for several in kept] == [
        {False},
        {True},
    ]
    assert [len(several) for several in kept] == [2, min(4, len(rows) - 1)]
    assert "#instances" in ends[2].path("report.html").read_text()
    assert "#instances" not in ends[0].path("report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": None}, "preferences: the section is missing; give pairs"),
        ({"preferences": {"name": "folder"}}, "leave out one or the other"),
        ({"weights": {"name": "instance_mask"}, "planner": {"name": "micro"}}, "detector: the section is missing"),
        ({"planner": {"name": "micro"}, "detector": {"name": "micro"}}, "instance_judge: the section is missing"),
        ({"weights": {"name": "instance_mask"}}, "nobody looks for them in the pictures that the model draws"),
        (
            {**dict.fromkeys(("prompts", "judge", "selection")), "preferences": {"name": "folder"}, "weights": MASK},
            "none of the first 2000 pairs of .* has any",
        ),
        ({"recipe": {"epochs": 2}}, "give one of them"),
        ({"model": {"name": "janus"}}, "draws tokens; give a model that removes noise"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    finished: store.Run, tiny_sd3: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    if "preferences" in changes:
        changes["preferences"]["path"] = str(given_pairs(tmp_path / "pairs", finished.folder))
    checked = config.bind(settings_for(tiny_sd3, **changes))
    with pytest.raises(ValueError, match=sentence):
        base.plan("offline", {**checked.build()}, checked.sections["recipe"].settings)


class Equal:
    """Finds no difference between pictures."""

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        return [Score(0.5, None, {"exact": False}) for _ in images]


def test_without_a_pair_it_stops_with_a_sentence(tiny_sd3: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pair"):
        start_run(tmp_path / "run", settings_for(tiny_sd3), judge=Equal())


def test_too_many_unreadable_pictures_stop_it(finished: store.Run, tiny_sd3: Path, tmp_path: Path) -> None:
    pairs = given_pairs(tmp_path / "pairs", finished.folder)
    (pairs / "0-chosen.png").write_bytes(b"no picture")
    settings = without(settings_for(tiny_sd3), preferences={"name": "folder", "path": str(pairs)})
    with pytest.raises(ValueError, match=r"1 of 4 pairs have a picture that cannot be read"):
        start_run(tmp_path / "run", settings)
    settings["recipe"]["max_missing"] = 0.25
    assert len(metrics(start_run(tmp_path / "lenient", settings))) == STEPS


def test_the_plan_counts(tiny_sd3: Path) -> None:
    checked = config.bind(settings_for(tiny_sd3, draw={"name": "inversion"}))
    plan = base.plan("offline", checked.build(), checked.sections["recipe"].settings)
    found = {(count.stage, count.what): count.number for count in plan.counts}
    assert found[("sample", "pictures")] == 8
    assert found[("pair", "pairs")] == 4
    assert found[("train", "optimizer steps")] == STEPS
    assert found[("train", "forwards and backwards")] == found[("train", "forwards without gradient")] == 2 * STEPS
    assert found[("train", "forwards of inversion")] == 20 * STEPS


def test_a_plan_of_pairs_that_are_not_here_knows_no_number(tiny_sd3: Path) -> None:
    given = without(settings_for(tiny_sd3), preferences={"name": "pick_a_pic", "path": "someone/elsewhere"})
    given["recipe"] = {**given["recipe"], "steps": None, "epochs": 2}
    checked = config.bind(given)
    plan = base.plan("offline", checked.build(), checked.sections["recipe"].settings)
    found = {(count.stage, count.what): count for count in plan.counts}
    assert found[("pairs", "pairs")].number is found[("train", "optimizer steps")].number is None
    assert "hf download someone/elsewhere" in found[("pairs", "pairs")].note
    with pytest.raises(FileNotFoundError, match="hf download"):
        checked.recipe(run=None, **checked.build())
