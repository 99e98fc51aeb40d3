"""Bad input: one clear sentence on stderr, exit code 2, and nothing written or lost."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from selfportrait import config, store
from selfportrait.cli import main
from selfportrait.micro import autoencoder, denoisers, flow

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, with a model folder that looks right from outside."""
    folder = tmp_path / "here"
    put(folder / "model/model_index.json", json.dumps({"_class_name": "StableDiffusion3Pipeline"}))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline of the micro world."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    vae = autoencoder.new_autoencoder()
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    denoisers.save(flow.new_pipeline(vae, spells=False, seed=0), folder)
    return folder


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(capsys: Capture, *arguments: str) -> str:
    """Run a command that must be refused; returns its sentence. Nothing may be written, changed or deleted."""
    before = contents(Path.cwd())
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    notes = [line for line in err.splitlines() if not line.startswith(("starting", "going on"))]
    assert len(notes) == 1, err
    assert notes[0].startswith("error: ")
    assert "Traceback" not in err
    assert out == ""
    locks = {name for name in contents(Path.cwd()) if name.endswith(".lock")}
    assert {name: data for name, data in contents(Path.cwd()).items() if name not in locks} == {
        name: data for name, data in before.items() if name not in locks
    }
    return notes[0]


def test_gpo_refuses_a_model_that_draws_tokens(capsys: Capture, tiny_janus: Path) -> None:
    settings = config.load("gpo-micro-counting") | {"model": {"name": "janus", "path": str(tiny_janus)}}
    Path("tokens.yaml").write_text(json.dumps(settings), encoding="utf-8")
    sentence = refusal(capsys, "improve", "tokens.yaml", "--run", "run")
    assert "denoising errors" in sentence
    assert "sd3" in sentence


def improve(*overrides: str, run: str = "run") -> list[str]:
    return ["improve", "gpo-micro-counting", "model.path=model", *overrides, "--run", run]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["recipe.group_sise=8"], ["recipe.group_sise", "'group_size'"]),
        (["recipee.steps=3"], ["recipee", "'recipe'"]),
        (["judge.name=micro_cuont"], ["micro_cuont", "'micro_count'"]),
        (["recipe.steps=many"], ["recipe.steps", "many", "integer"]),
        (["recipe.steps=2.5"], ["recipe.steps", "2.5", "integer"]),
        (["model.train=half"], ["model.train", "half", "lora"]),
        (["recipe.group_size=1"], ["recipe.group_size", "1", "at least 2"]),
        (["recipe.timesteps_per_update=0"], ["recipe.timesteps_per_update", "0", "at least 1"]),
        (["recipe.updates_per_group=0"], ["recipe.updates_per_group", "at least 1"]),
        (["recipe.steps=0"], ["recipe.steps", "at least 1"]),
        (["optimizer.learning_rate=-1e-5"], ["optimizer.learning_rate", "greater than 0"]),
        (["optimizer.learning_rate=.nan"], ["optimizer.learning_rate"]),
        (["seed=-1"], ["seed", "-1"]),
        (["recipe.steps"], ["recipe.steps", "key=value"]),
        (["recipe.steps=[1"], ["recipe.steps=[1", "YAML"]),
        (["prompts.name=file"], ["prompts.path", "missing"]),
        (["optimizer=null"], ["optimizer", "missing"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_wrong_settings(overrides: list[str], says: list[str], capsys: Capture) -> None:
    sentence = refusal(capsys, *improve(*overrides))
    assert all(part in sentence for part in says), sentence


def test_unknown_config_offers_the_nearest(capsys: Capture) -> None:
    assert "did you mean 'gpo-micro-counting'?" in refusal(capsys, "improve", "gpo-micro-countin")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "not a file"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("recipe: {name: gpo", "YAML"),
        ("- 1", "sections"),
        ("", "sections"),
    ],
)
def test_config_files_that_cannot_be_read(content: Any, says: str, here: Path, capsys: Capture) -> None:
    if content is not None:
        put(here / "mine.yaml", content)
    assert says in refusal(capsys, "improve", "./mine.yaml")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"caf\xe9\n", "not UTF-8"),
        ("a red ring\n\na blue star\n", "line 2 is empty"),
    ],
    ids=["missing", "empty", "only newlines", "not UTF-8", "an empty line"],
)
def test_prompt_files(content: Any, says: str, here: Path, capsys: Capture) -> None:
    if content is not None:
        put(here / "prompts.txt", content)
    assert says in refusal(capsys, *improve("prompts.name=file", "prompts.path=prompts.txt"))
    assert says in refusal(capsys, "sample", "model", "--prompts", "prompts.txt")


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (None, ["there is no such folder"]),
        ("", ["model_index.json", "cannot be read"]),
        ("[]", ["model_index.json", "cannot be read"]),
        ('{"_class_name": "FluxPipeline"}', ["FluxPipeline", "StableDiffusion3Pipeline"]),
    ],
    ids=["missing", "empty", "no object", "another class"],
)
def test_model_folders(index: str | None, says: list[str], here: Path, capsys: Capture) -> None:
    if index is not None:
        put(here / "other/model_index.json", index)
    for command in (improve("model.path=./other"), ["sample", "./other", "a red ring"], ["evaluate", "./other"]):
        sentence = refusal(capsys, *command)
        assert all(part in sentence for part in says), sentence


def test_a_folder_that_is_no_model(here: Path, capsys: Capture) -> None:
    put(here / "other/picture.png", b"")
    assert "has no model_index.json" in refusal(capsys, *improve("model.path=other"))


@pytest.mark.parametrize("part", ["transformer/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_weights_that_cannot_be_read(part: str, tiny: Path, here: Path, capsys: Capture) -> None:
    for path in tiny.rglob("*"):
        if path.is_file():
            put(here / "broken" / path.relative_to(tiny), path.read_bytes())
    put(here / "broken" / part, (tiny / part).read_bytes()[:40])
    assert "broken" in refusal(capsys, *improve("model.path=broken"))
    assert not (here / "run").exists()


def test_a_run_folder_of_another_config(here: Path, capsys: Capture) -> None:
    store.Run.open(here / "run", resolved("seed=1")).close()
    sentence = refusal(capsys, *improve())
    assert "belongs to another config (seed = 1 there, 0 here)" in sentence


def test_a_run_folder_that_is_none(here: Path, capsys: Capture) -> None:
    put(here / "run/thesis.txt", "years of work")
    assert "no run folder" in refusal(capsys, *improve())
    put(here / "file", "x")
    assert "is a file" in refusal(capsys, *improve(run="file"))


def resolved(*overrides: str) -> dict[str, Any]:
    return config.bind(config.load("gpo-micro-counting", ["model.path=model", *overrides])).resolved()


def test_a_corrupt_part_is_named_and_kept(tiny: Path, here: Path, capsys: Capture) -> None:
    (here / "model/model_index.json").unlink()
    (here / "model").rmdir()
    (here / "model").symlink_to(tiny)
    settings = ["benchmark.prompts_per_category=1", 'benchmark.categories=["color"]']
    store.Run.open(here / "run", resolved(*settings)).close()
    put(here / "run/round-0/evaluation/before/part-00000.parquet", b"PAR1 cut off")
    sentence = refusal(capsys, *improve(*settings))
    assert "part-00000.parquet is corrupt" in sentence
    assert "delete it" in sentence


def test_a_model_whose_configuration_is_corrupt(here: Path, capsys: Capture) -> None:
    put(here / "broken/config.json", b"{")
    sentence = refusal(capsys, "sample", "broken", "a red circle")
    assert "config.json is corrupt" in sentence
    assert "put the file back from where the folder came" in sentence


def test_a_full_disk(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.os, "fsync", fail)
    sentence = refusal(capsys, *improve())
    assert "The disk is full" in sentence
    assert "run the same command again" in sentence


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "model"], "nothing to draw"),
        (["sample", "model", ""], "prompt is empty"),
        (["sample", "model", "a red ring", "--count", "0"], "--count"),
        (["sample", "model", "a red ring", "--steps", "0"], "--steps"),
        (["sample", "model", "a red ring", "--guidance", "0.5"], "guidance_scale"),
        (["sample", "model", "a red ring", "--set", "dtype"], "key=value"),
        (["sample", "model", "a red ring", "--set", "dtipe=float16"], "'dtype'"),
        (["sample", "model", "a red ring", "--out", "model"], "not empty"),
        (["judge", "--judge", "micro_count", "nowhere.png"], "no picture"),
        (["judge", "--judge", "micro_count", "model"], "metadata.jsonl"),
        (["judge", "--judge", "micro_count", "model/model_index.json"], "has no prompt"),
        (["judge", "--judge", "micro_count", "model/model_index.json", "--prompt", "a red ring"], "cannot be decoded"),
        (["judge", "--judge", "micro_cuont", "model"], "'micro_count'"),
        (["judge", "--judge", "micro_count", "--set", "x=1", "model"], "x"),
        (["evaluate", "model", "--benchmark", "mikro"], "'micro'"),
        (["evaluate", "model", "--set", "model.train=half"], "model.train"),
        (["report", "nowhere"], "nowhere"),
        (["report", "model"], "config.json"),
        (["components", "judge", "occr"], "'ocr'"),
        (["components", "jugdes"], "'judges'"),
        (["micro", "build", "sd4"], "sd4"),
        (["micro", "show", "--category", "numeracie"], "'numeracy'"),
        (["micro", "show", "--count", "0"], "--count"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_other_commands(arguments: list[str], says: str, capsys: Capture) -> None:
    assert says in refusal(capsys, *arguments)
