"""The commands: what they print, write and return."""

import errno
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from PIL import Image
from pydantic import Field
from rich.console import Console

from selfportrait import cli, components, config, console, images, store
from selfportrait.cli import main
from selfportrait.commands import describe, evaluate, improve, loading, pairs
from selfportrait.losses.base import Term
from selfportrait.micro import autoencoder, denoisers, flow
from selfportrait.micro.language import parse
from selfportrait.micro.world import Item, Scene, render

COMMANDS = ["improve", "recipes", "components", "sample", "judge", "scores", "evaluate", "report", "doctor"]
STAGES = ["prompts", "draw", "judge", "pair", "train"]
FAST = ("--steps", "1", "--guidance", "1")
ONE_PROMPT = ("prompts_per_category=1", 'categories=["color"]', "model.num_inference_steps=1", "model.guidance_scale=1")
TINY_RUN = (
    "recipe.steps=2", "recipe.group_size=4", "recipe.prompts_per_step=2", "recipe.timesteps_per_update=1",
    "recipe.updates_per_group=1", "recipe.checkpoint_every=1", "model.num_inference_steps=1", "model.guidance_scale=1",
    "judge.name=micro_questions", "benchmark.prompts_per_category=2",
)  # fmt: skip

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline of the micro world."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    vae = autoencoder.new_autoencoder()
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    denoisers.save(flow.new_pipeline(vae, spells=False, seed=0), folder)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*several: str) -> list[str]:
    return [argument for setting in several for argument in ("--set", setting)]


def put_scene(folder: Path, name: str = "a.png") -> Path:
    """Write a picture of one red circle."""
    path = folder / name
    path.write_bytes(images.to_png(render(Scene((Item("red", "circle", "medium", 24, 40),)))))
    return path


# Help and lists


@pytest.mark.parametrize(
    "command",
    [*([name] for name in COMMANDS), ["micro", "build"], ["micro", "show"], *(["stage", name] for name in STAGES)],
    ids=" ".join,
)
def test_help_has_examples(command: list[str], capsys: Capture) -> None:
    assert main([*command, "--help"]) == 0
    assert f"selfportrait {' '.join(command)} " in capsys.readouterr().out.partition("Examples")[2] + " "


def test_without_arguments_it_helps(capsys: Capture) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "selfportrait 0.1.0\n"


def test_lists_do_not_wait_for_torch() -> None:
    code = (
        "import sys; from selfportrait.cli import main\n"
        "for command in (['--help'], ['recipes'], ['components'], ['components', 'judges']):\n"
        "    assert main(command) == 0\n"
        "assert not {'torch', 'diffusers', 'transformers', 'pyarrow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_recipes_show_their_header_and_a_dash_where_it_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "a-run.yaml").write_text("# GPO on stars\n# command: selfportrait improve a-run\n# time: 8 minutes\n")
    monkeypatch.setattr(config, "_CONFIGS", tmp_path)
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["a-run", "  GPO on stars"]
    assert [line.split() for line in lines[2:5]] == [["hardware:", "-"], ["time:", "8", "minutes"], ["result:", "-"]]


def test_header_fields_go_on_over_lines() -> None:
    header = describe.header("Counting,\nin the micro world\ntime: 8 minutes\nresult: 40 to 55 %,\nthree seeds")
    assert header == ("Counting, in the micro world", {"time": "8 minutes", "result": "40 to 55 %, three seeds"})


def test_components_lists_slots_names_and_settings(capsys: Capture) -> None:
    assert main(["components"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(components.SLOTS)
    assert main(["components", "losses"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == components.names("losses")
    assert all(line.endswith(".") for line in lines)
    assert main(["components", "loss", "gpo"]) == 0
    out = capsys.readouterr().out
    assert "Equation:" in out
    assert "guard  number, greater than 0, or null; default null" in out
    assert main(["components", "optimizer"]) == 0
    assert "learning_rate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "integer"),
        (bool, "true or false"),
        (str | None, "text or null"),
        (Literal["a", "b"], "a or b"),
        (Annotated[int, Field(ge=2)] | None, "integer, at least 2, or null"),
        (Annotated[float, Field(gt=0, lt=1)], "number, greater than 0, less than 1"),
        (tuple[float, float], "list of number, number"),
        (tuple[str, ...], "list of text, any number"),
        (Path, "path"),
        (dict[str, Term], "losses by name, each with its settings and a weight"),
    ],
)
def test_a_type_in_words(hint: Any, words: str) -> None:
    assert describe.words(hint) == words


def test_a_default_keeps_its_type() -> None:
    def component(
        *, needed: int, one: int = 1, yes: bool = True, nothing: str | None = None, empty: str = ""
    ) -> None: ...

    said = {setting.name: setting.said for setting in describe.settings(component)}
    assert said["needed"] == "integer; has no default"
    assert said["one"] == "integer; default 1"
    assert said["yes"] == "true or false; default true"
    assert said["nothing"] == "text or null; default null"
    assert said["empty"] == 'text; default ""'


def test_pairs_are_read_as_yaml_and_parted() -> None:
    read = pairs.parse(["model.dtype=float16", "seed=3", "categories=[color]"])
    assert read == {"model.dtype": "float16", "seed": 3, "categories": ["color"]}
    assert pairs.split(read, "model") == ({"seed": 3, "categories": ["color"]}, {"dtype": "float16"})


# Errors and Ctrl-C


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines"), "error: two lines"),
        (OSError(errno.ENOSPC, "The disk is full"), "error: The disk is full"),
        (OSError(errno.EACCES, "Permission denied", "runs/x"), "error: runs/x: Permission denied"),
        (FileNotFoundError("There is no run x"), "error: There is no run x"),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "error: the package cv2 is not installed"),
    ],
)
def test_an_error_is_one_line(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail() -> list[str]:
        raise error

    monkeypatch.setattr(cli.config, "names", fail)
    assert main(["recipes"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert out == ""
    monkeypatch.setenv(console.TRACEBACK, "1")
    with pytest.raises(type(error)):
        main(["recipes"])


def test_an_accelerator_out_of_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail() -> list[str]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")

    monkeypatch.setattr(config, "names", fail)
    assert main(["recipes"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "CUDA out of memory" in line
    assert "model.batch_size" in line
    monkeypatch.setenv(console.TRACEBACK, "1")
    with pytest.raises(torch.OutOfMemoryError):
        main(["recipes"])


def test_a_whole_model_of_a_run_is_sampled_as_the_embedded_one_it_began_with(tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny, run / "model")
    model = {"name": "sd3", "path": "micro-sd3", "train": "full", "num_inference_steps": None, "guidance_scale": 2.0}
    store.write_json(run / "config.json", {"settings": {"model": model}})
    section = loading.resolve(str(run), {}).section
    assert (section.resolved["num_inference_steps"], section.resolved["guidance_scale"]) == (10, 2.0)


def test_a_folder_says_which_component_it_is(
    tiny: Path, tiny_janus: Path, tiny_sd: Path, tiny_sdxl: Path, tmp_path: Path
) -> None:
    for folder in (tiny_sd, tiny_sdxl):
        assert loading.resolve(str(folder), {}).section.resolved["name"] == "sd"
    assert loading.resolve(str(tiny), {}).section.resolved["name"] == "sd3"
    assert loading.resolve(str(tiny_janus), {}).section.resolved["name"] == "janus"
    run = tmp_path / "run"
    model = {"name": "janus", "path": str(tiny_janus), "train": "full", "guidance_scale": 2.0}
    store.write_json(run / "config.json", {"settings": {"model": model}})
    shutil.copytree(tiny_janus, run / "model")
    whole = loading.resolve(str(run), {})
    assert whole.adapter is None
    assert whole.section.resolved.items() >= {**model, "path": str(run / "model")}.items()
    shutil.rmtree(run / "model")
    (run / "model").mkdir()
    (run / "model/adapter_config.json").write_text("{}")
    adapted = loading.resolve(str(run), {})
    assert adapted.adapter == run / "model"
    assert adapted.section.resolved["path"] == str(tiny_janus)


@pytest.mark.parametrize("arguments", [["improve"], ["imrove"], ["sample", "x", "--cuont", "3"], ["micro"]])
def test_a_wrong_command_line_is_one_line_too(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.endswith("--help\n")
    assert err.count("\n") == 1
    assert out == ""


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_ctrl_c_says_how_to_resume(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(improve, "run", interrupt)
    assert main(["improve", "gpo-micro-counting"]) == 130
    assert "run the same command again to go on" in capsys.readouterr().err


def test_ctrl_c_elsewhere_just_stops(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(cli.config, "names", interrupt)
    assert main(["recipes"]) == 130
    assert capsys.readouterr().err == "stopped\n"


# Pictures and scores


def test_sample_writes_an_imagefolder(tiny: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "more.txt").write_text("a blue star\na red ring\n")
    command = ["sample", str(tiny), "a red ring", "--prompts", "more.txt", "--out", "p", "--count", "2", *FAST]
    assert main(command) == 0
    assert "6 pictures" not in capsys.readouterr().out  # a prompt that comes twice is drawn once
    rows = [json.loads(line) for line in (tmp_path / "p/metadata.jsonl").read_text().splitlines()]
    assert [(row["file_name"], row["text"]) for row in rows] == [
        ("00000-0.png", "a red ring"), ("00000-1.png", "a red ring"),
        ("00001-0.png", "a blue star"), ("00001-1.png", "a blue star"),
    ]  # fmt: skip
    assert len({row["seed"] for row in rows}) == 4
    assert {path.name for path in (tmp_path / "p").iterdir()} == {row["file_name"] for row in rows} | {
        "grid.png", "metadata.jsonl",
    }  # fmt: skip
    assert Image.open(tmp_path / "p/grid.png").size == (130, 130)
    # the pictures of a prompt do not depend on the other prompts
    assert main(["sample", str(tiny), "a blue star", "--out", "q", "--count", "2", *FAST]) == 0
    first, again = (
        json.loads((tmp_path / p / "metadata.jsonl").read_text().splitlines()[i]) for p, i in (("p", 2), ("q", 0))
    )
    assert first["seed"] == again["seed"]
    # nothing is overwritten
    assert main(["sample", str(tiny), "a blue star", "--out", "q", *FAST]) == 2
    assert "not empty" in capsys.readouterr().err


def test_judge_reads_a_folder_or_a_prompt(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = put_scene(folder)
    (folder / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a red circle"}\n')
    for arguments, value in (
        (["pictures"], 1.0),
        ([str(picture)], 1.0),
        ([str(picture), "--prompt", "a blue star"], 0.0),
    ):
        assert main(["judge", "--judge", "micro_count", "--json", *arguments]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["score"] == value
        assert row["reason"] is None
    assert main(["judge", "--judge", "micro_count", "pictures", "--prompt", "a green dog"]) == 0
    out = capsys.readouterr().out
    assert "missing: " in out
    assert "1 pictures, 1 missing" in out


def test_micro_show_writes_a_sheet(tmp_path: Path, capsys: Capture) -> None:
    assert main(["micro", "show", "--category", "numeracy", "--count", "5"]) == 0
    out = capsys.readouterr().out
    assert out.count("Is there exactly") + out.count("Are there exactly") >= 5
    assert Image.open(tmp_path / "micro.png").size == (4 * 192 + 3 * 6, 2 * 192 + 6)
    prompts = [
        line.split("  ")[2 if line.startswith(" ") else 1] for line in out.splitlines() if line.endswith("[numeracy]")
    ]
    assert all(parse(prompt.strip()).phrases for prompt in prompts)


# Models


def test_evaluate_prints_the_map_and_resumes(tiny: Path, tmp_path: Path, capsys: Capture) -> None:
    command = ["evaluate", str(tiny), "--json", "--run", "e", "--seed", "1", *settings(*ONE_PROMPT)]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() == {"color", "overall"}
    assert result["color"].keys() >= {"accuracy", "low", "high", "pass_at_4", "n"}
    parts = {path: path.stat().st_mtime_ns for path in store.parts(tmp_path / "e/evaluation")}
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert {path: path.stat().st_mtime_ns for path in store.parts(tmp_path / "e/evaluation")} == parts
    assert main([*command[:-4], "--seed", "2", "--run", "e"]) == 2
    assert "belongs to another config" in capsys.readouterr().err


def test_the_accuracy_table_shows_missing_pictures() -> None:
    row = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "pass_at_4": None, "n": 40, "missing": 3}
    table = evaluate.accuracy_table({"overall": row})
    cells = [list(column.cells)[0] for column in table.columns]
    assert cells == ["overall", "50.0 (40.0–60.0)", "–", "40", "3"]


def test_the_comparison_fits_a_terminal_and_ends_with_overall() -> None:
    row = {"accuracy": 0.412, "low": 0.379, "high": 0.446, "pass_at_4": 0.71, "n": 2000, "missing": 0}
    change = {"difference": 0.108, "low": 0.077, "high": 0.139}
    maps = {"overall": row, "numeracy": row, "spatial": row}
    screen = Console(file=io.StringIO(), width=80)
    screen.print(improve.comparison({"before": maps, "after": maps, "change": {"numeracy": change, "overall": change}}))
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["numeracy", "spatial", "overall"]
    assert "41.2 (37.9–44.6)" in lines[-3]
    assert "+10.8 (+7.7 to +13.9)" in lines[-3]
    assert "71.0 → 71.0" in lines[-3]
    assert "…" not in screen.file.getvalue()


def test_rounds_are_compared_with_the_one_before() -> None:
    accuracies = [0.4, 0.5, 0.48]
    maps = [{"overall": {"accuracy": a, "low": a - 0.03, "high": a + 0.03, "pass_at_4": None}} for a in accuracies]
    changes = [{"overall": {"difference": d, "low": d - 0.01, "high": d + 0.01}} for d in (0.1, -0.02)]
    table = improve.round_table({"before": maps[0], "rounds": maps[1:], "round_changes": changes})
    assert list(table.columns[0].cells) == ["no training", "round 0", "round 1"]
    assert "50.0" in list(table.columns[1].cells)[1]
    assert ["+10.0" in cell or "-2.0" in cell or "−2.0" in cell for cell in table.columns[2].cells] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("train", ["full", "lora"])
def test_improve_runs_shows_and_its_folder_is_a_model(train: str, tiny: Path, tmp_path: Path, capsys: Capture) -> None:
    command = ["improve", "gpo-micro-counting", *TINY_RUN, f"model.path={tiny}", f"model.train={train}", "--run", "r"]
    if train == "lora":
        command.append("recipe.ema_decay=null")
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "overall" in out
    assert "r/report.html" in out
    assert "r/model" in out
    assert "starting r" in err
    summary = json.loads((tmp_path / "r/summary.json").read_text())
    assert main(command) == 0
    assert "r is finished" in capsys.readouterr().err
    again = json.loads((tmp_path / "r/summary.json").read_text())
    assert [again[key] for key in ("before", "after")] == [summary[key] for key in ("before", "after")]
    assert main(["report", "r"]) == 0
    assert capsys.readouterr().out == "r/report.html\n"
    for model in ("r", "r/model"):
        source = loading.resolve(model, {"num_inference_steps": 3})
        assert source.section.resolved["num_inference_steps"] == 3
        assert source.section.resolved["guidance_scale"] == 1  # the run's own
        assert (source.adapter is None) == (train == "full")
    assert main(["sample", "r", "a red ring", "--out", "p", "--count", "1"]) == 0


def test_a_run_without_a_model_says_so(tmp_path: Path) -> None:
    store.write_json(tmp_path / "r/config.json", {"settings": {"model": {"name": "sd3", "path": "x/y"}}})
    with pytest.raises(FileNotFoundError, match="has no model yet"):
        loading.resolve("r", {})
