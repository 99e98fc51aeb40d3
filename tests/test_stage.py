"""Stages as commands: together they are a run, and each takes what a user brings or says what is wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from selfportrait import images, store
from selfportrait.cli import main
from selfportrait.models.janus import Janus
from selfportrait.stages import read_prompts

Capture = pytest.CaptureFixture[str]
SIDE = 32

SILMM: dict[str, Any] = {
    "recipe": {
        "name": "self_improve", "rounds": 1, "candidates_per_prompt": 3,
        "epochs": 1, "batch_size": 4, "prompts_per_part": 2,
    },
    "model": {"name": "janus", "lora_rank": 2, "guidance_scale": 2.0},
    "prompts": {"name": "micro", "categories": ["color"], "num_prompts": 5},
    "questions": {"name": "micro"},
    "judge": {"name": "self_vqa"},
    "selection": {"name": "best_worst"},
    "weights": {"name": "ones"},
    "loss": {"name": "dpo"},
    "optimizer": {"learning_rate": 1e-2},
    "benchmark": {"name": "micro", "categories": ["color"], "prompts_per_category": 2, "images_per_prompt": 1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, tiny_janus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with the config c.yaml."""
    settings = SILMM | {"model": {**SILMM["model"], "path": str(tiny_janus)}}
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stage(name: str, *arguments: str, run: str = "run") -> int:
    return main(["stage", name, "c.yaml", *arguments, "--run", run])


def table(name: str, run: str = "run", at: str = "round-0") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.read_table(Path(run, at, name)).to_pylist()
    return rows


def picture(seed: int, side: int = SIDE) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def put(name: str, seed: int, side: int = SIDE) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.to_png(picture(seed, side)))
    return name


def test_stage_by_stage_is_a_run(here: Path, capsys: Capture) -> None:
    assert main(["improve", "c.yaml", "--run", "whole"]) == 0
    for name in ("prompts", "draw", "judge", "pair", "train"):
        assert stage(name) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "run/model"
    for name in ("prompts", "candidates", "scores", "preferences"):
        ours, theirs = (store.parts(Path(run, "round-0", name)) for run in ("run", "whole"))
        assert [part.read_bytes() for part in ours] == [part.read_bytes() for part in theirs], name
    weights = [Path(run, "model", "adapter_model.safetensors").read_bytes() for run in ("run", "whole")]
    assert weights[0] == weights[1]
    assert main(["improve", "c.yaml", "--run", "run"]) == 0  # what is left: measuring and the report
    ours, theirs = (store.read_json(Path(run, "summary.json")) for run in ("run", "whole"))
    assert [ours[key] for key in ("before", "after")] == [theirs[key] for key in ("before", "after")]


def test_a_stage_needs_the_one_before_it(capsys: Capture) -> None:
    for name, needed in (("draw", "prompts"), ("judge", "draw"), ("pair", "judge"), ("train", "pair")):
        assert stage(name) == 2
        assert f"run selfportrait stage {needed} first" in capsys.readouterr().err
    assert stage("prompts", "--round", "1") == 2
    assert "round-0 is not trained" in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_later_round_goes_on_from_the_last_one() -> None:
    for index in ("0", "1"):
        for name in ("prompts", "draw", "judge", "pair", "train"):
            assert stage(name, "--round", index) == 0
    assert table("candidates")[0]["prompt"] == table("candidates", at="round-1")[0]["prompt"]
    assert [row["tokens"] for row in table("candidates")] != [
        row["tokens"] for row in table("candidates", at="round-1")
    ]
    first = store.read_jsonl(Path("run/round-1/training/metrics.jsonl"))[0]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-5)


def test_own_prompts_are_drawn_and_improve_goes_on_with_them() -> None:
    Path("mine.txt").write_text("a red circle\na blue star\na green ring\n")
    assert stage("draw", "--prompts", "mine.txt") == 0
    assert [prompt.text for prompt in read_prompts(Path("run/round-0/prompts"))] == [
        "a red circle", "a blue star", "a green ring"
    ]  # fmt: skip
    assert len(table("candidates")) == 9
    assert stage("draw", "--prompts", "mine.txt") == 0  # again, and nothing is left to do
    assert main(["improve", "c.yaml", "--run", "run"]) == 0
    assert {row["prompt"] for row in table("preferences")} <= {"a red circle", "a blue star", "a green ring"}


def write_pictures(folder: str, **more: Any) -> list[dict[str, Any]]:
    rows = [
        {"file_name": f"{number}.png", "text": text, **more}
        for number, text in enumerate(["a red circle", "a red circle", "a blue star", "a blue star"])
    ]
    for number, row in enumerate(rows):
        put(f"{folder}/{row['file_name']}", number)
    Path(folder, "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_own_pictures_are_judged_paired_and_trained_on(tiny_janus: Path) -> None:
    write_pictures("mine")
    assert stage("judge", "--images", "mine") == 0
    found = table("candidates")
    assert [(row["prompt"], row["index"], row["seed"]) for row in found] == [
        ("a red circle", 0, None), ("a red circle", 1, None), ("a blue star", 0, None), ("a blue star", 1, None)
    ]  # fmt: skip
    model = Janus(path=str(tiny_janus), train="full").load()
    expected = model.tokenize([picture(number) for number in range(4)])
    assert torch.equal(torch.tensor([row["tokens"] for row in found]), expected)
    assert len(table("scores")) == 4
    assert stage("pair") == 0
    assert stage("train") == 0


def test_own_scores_of_the_runs_candidates() -> None:
    assert [stage("prompts"), stage("draw")] == [0, 0]
    ids = [row["id"] for row in table("candidates")]
    lines = [f"{id},{number}" for number, id in enumerate(ids[:-1])]
    Path("scores.csv").write_text("\n".join(["candidate_id,score", *lines]) + "\n")
    assert stage("pair", "recipe.max_missing=0.1", "--scores", "scores.csv") == 2  # other settings than the run's
    assert stage("pair", "--scores", "scores.csv") == 0
    best = {pair["rejected_id"]: pair["chosen_id"] for pair in table("preferences")}
    assert best == {ids[first]: ids[first + 2 if first < 12 else first + 1] for first in range(0, 15, 3)}
    assert table("scores")[-1]["reason"] == "no score was given"


def test_own_scores_of_own_pictures() -> None:
    rows = write_pictures("mine")
    lines = [json.dumps({"prompt": row["text"], "image": row["file_name"], "score": -n}) for n, row in enumerate(rows)]
    Path("scores.jsonl").write_text("\n".join(lines) + "\n")
    assert stage("pair", "--scores", "scores.jsonl", "--images", "mine") == 0
    found = {(pair["prompt"], pair["chosen_score"], pair["rejected_score"]) for pair in table("preferences")}
    assert found == {("a red circle", 0.0, -1.0), ("a blue star", -2.0, -3.0)}


PAIRS = [
    {"prompt": "a red circle", "chosen": "p/0.png", "rejected": "p/1.png"},
    {"prompt": "a blue star", "chosen": "p/2.png", "rejected": "p/3.png"},
    {"prompt": "a red circle", "chosen": "p/0.png", "rejected": "p/2.png"},
]


def write_csv(rows: list[dict[str, Any]]) -> str:
    lines = [",".join(rows[0]), *(",".join(str(cell) for cell in row.values()) for row in rows)]
    Path("pairs.csv").write_text("\n".join(lines) + "\n")
    return "pairs.csv"


def write_jsonl(rows: list[dict[str, Any]]) -> str:
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "pairs.jsonl"


def write_parquet(rows: list[dict[str, Any]]) -> str:
    """With pictures inside, as `datasets` stores them."""
    inside = [
        {**row, **{key: {"bytes": Path(row[key]).read_bytes(), "path": None} for key in ("chosen", "rejected")}}
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(inside), "pairs.parquet")
    return "pairs.parquet"


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_own_pairs_are_trained_on(write: Callable[[list[dict[str, Any]]], str], tiny_janus: Path) -> None:
    for number in range(4):
        put(f"p/{number}.png", number)
    assert stage("train", "recipe.epochs=2", "--pairs", write(PAIRS)) == 0
    expected = Janus(path=str(tiny_janus), train="full").load().tokenize([picture(number) for number in range(4)])
    tokens = {row["id"]: torch.tensor(row["tokens"]) for row in table("candidates")}
    found = [(row["prompt"], tokens[row["chosen_id"]], tokens[row["rejected_id"]]) for row in table("preferences")]
    for (prompt, chosen, rejected), row in zip(found, PAIRS, strict=True):
        assert prompt == row["prompt"]
        assert torch.equal(chosen, expected[int(row["chosen"][2])])
        assert torch.equal(rejected, expected[int(row["rejected"][2])])
    assert len(table("prompts")) == 2
    metrics = store.read_jsonl(Path("run/round-0/training/metrics.jsonl"))
    assert sum(line["pairs"] for line in metrics) == 6
    assert Path("run/model/adapter_model.safetensors").is_file()
    assert main(["improve", "c.yaml", "recipe.epochs=2", "--run", "run"]) == 0
    assert len(table("preferences")) == 3


def test_a_published_list_is_trained_on_with_hard_negatives_and_masks(tiny_janus: Path) -> None:
    for number in range(2):
        put(f"p/{number}.png", number)
    item = {
        "item_id": "0000000", "prompt": "a red circle", "question": ["Is there a red circle?"],
        "chosen": "/data/old/p/0.png", "rejected": "/data/old/p/1.png",
        "chosen_score": 0.9, "rejected_score": -0.2, "rejected_prompt": "a blue circle",
    }  # fmt: skip
    Path("train.json").write_text(json.dumps([item]))
    weighted = ("weights.name=object_mask", "loss.name=simpo")
    assert stage("train", *weighted, "--pairs", "train.json", "--moved-from", "/data/old") == 0
    (pair,) = table("preferences")
    assert (pair["rejected_prompt"], pair["margin"]) == ("a blue circle", pytest.approx(1.1))
    assert pair["rejected_id"] == pair["chosen_id"] + "-hard-negative"
    assert {row["prompt"] for row in table("candidates")} == {"a red circle", "a blue circle"}
    assert [row["objects"] for row in table("masks")] == [["circle"], ["circle"]]


def test_a_table_that_was_cut_off_is_given_again(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for number in range(4):
        put(f"p/{number}.png", number)
    pairs = write_csv(PAIRS)
    tokenize = Janus.tokenize
    calls: list[int] = []

    def stop(self: Janus, pictures: Any) -> torch.Tensor:
        calls.append(len(pictures))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return tokenize(self, pictures)

    monkeypatch.setattr(Janus, "tokenize", stop)
    assert stage("train", "--pairs", pairs) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert main(["improve", "c.yaml", "--run", "run"]) == 2
    assert "holds a part of preferences" in capsys.readouterr().err
    assert stage("train", "--pairs", pairs) == 0
    assert len(table("preferences")) == 3
    write_csv(PAIRS[:2])
    assert stage("train", "--pairs", pairs) == 2
    assert "give another --run or --round" in capsys.readouterr().err


# Bad input


@pytest.fixture
def unloadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Janus) -> Janus:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(Janus, "load", load)


@pytest.mark.usefixtures("unloadable")
@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"chosen": "p/none.png"}, ["line 2", "no picture p/none.png"]),
        ({"chosen": "p/corrupt.png"}, ["line 2", "p/corrupt.png", "cannot be decoded"]),
        ({"rejected": "p/large.png"}, ["line 2", "64x64", "32x32"]),
        ({"rejected": "p/0.png"}, ["line 2", "the same picture"]),
        ({"rejected": "p/copy.png"}, ["line 2", "the same picture"]),
        ({"prompt": "a red circle " * 200}, ["line 2", "tokens", "shorten the text"]),
        ({"prompt": ""}, ["line 2", "no prompt or text or caption"]),
        ({"chosen": ""}, ["line 2", "no chosen"]),
        ({"chosen_score": "much"}, ["line 2", "chosen_score", "expected a number"]),
        ({"chosen_score": "nan"}, ["line 2", "finite"]),
    ],
    ids=["missing", "corrupt", "size", "twice", "copy", "long", "no prompt", "no picture", "score", "nan"],
)
def test_bad_pairs(row: dict[str, str], says: list[str], here: Path, capsys: Capture) -> None:
    for name, seed, side in (("0", 0, SIDE), ("1", 1, SIDE), ("copy", 0, SIDE), ("large", 2, 64)):
        put(f"p/{name}.png", seed, side)
    Path("p/corrupt.png").write_bytes(Path("p/0.png").read_bytes()[:60])
    pairs = write_csv(
        [{"prompt": "a red circle", "chosen": "p/0.png", "rejected": "p/1.png", "chosen_score": "1", **row}]
    )
    assert stage("train", "--pairs", pairs) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(part in err for part in says), err
    assert out == ""
    assert not Path("run").exists()


@pytest.mark.usefixtures("unloadable")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--pairs", "none.csv"], "There is no file none.csv"),
        (["train", "--pairs", "pairs.txt"], "no known kind"),
        (["train", "--pairs", "empty.csv"], "is empty"),
        (["train", "--pairs", "empty.json"], "is not JSON"),
        (["judge", "--images", "none"], "There is no picture or folder none"),
        (["judge", "--images", "p"], "metadata.jsonl"),
        (["pair", "--scores", "twice.csv"], "comes again"),
        (["draw", "--prompts", "none.txt"], "does not exist"),
        (["draw", "--prompts", "long.txt"], "shorten the text"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_files(arguments: list[str], says: str, capsys: Capture) -> None:
    put("p/0.png", 0)
    for name, text in {
        "pairs.txt": "x", "empty.csv": "", "empty.json": "", "long.txt": "a red circle " * 200,
        "twice.csv": "candidate_id,score\na,1\na,2\n",
    }.items():  # fmt: skip
        Path(name).write_text(text)
    assert stage(*arguments) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.count("\n") == 1
    assert not Path("run").exists()


def test_scores_of_nobody(capsys: Capture) -> None:
    assert stage("prompts") == 0
    assert stage("draw") == 0
    Path("scores.csv").write_text("candidate_id,score\nnobody,1\n")
    assert stage("pair", "--scores", "scores.csv") == 2
    assert "of no candidate" in capsys.readouterr().err


def test_only_rounds_have_stages(tiny_sd3: Path, capsys: Capture) -> None:
    assert main(["stage", "prompts", "gpo-micro-counting", f"model.path={tiny_sd3}", "--run", "run"]) == 2
    assert "use selfportrait improve" in capsys.readouterr().err
    shutil.rmtree("run", ignore_errors=True)
