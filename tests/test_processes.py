"""Several processes of one run: who does what, what they say to each other, and how an error in one ends all."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for several, whose work new processes find by its name
import several

from selfportrait import cli, console, processes, progress
from selfportrait.recipes.gpo import gpo


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Be a process of several: process(1, 3) is the second of three. They cannot talk."""

    def be(number: int, count: int) -> None:
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", str(count))

    return be


@pytest.mark.parametrize(("name", "value"), [("RANK", "x"), ("RANK", ""), ("WORLD_SIZE", "two"), ("LOCAL_RANK", "-1")])
def test_a_launcher_gives_numbers(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in ("RANK", name):
        monkeypatch.setenv(number, value if number == name else "0")
    assert console.run(cli.app, ["doctor"]) == 2
    assert f"the environment variable {name} is {value!r}" in capsys.readouterr().err


def test_a_worlds_size_without_a_rank_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    processes.check_environment()
    assert processes.count() == 1


def test_one_of_several_processes_ends_without_taking_the_interpreter_down() -> None:
    code = (
        "import atexit, runpy, sys; atexit.register(print, 'taken down'); sys.argv = ['selfportrait', '--version']; "
        "runpy.run_module('selfportrait', run_name='__main__')"
    )
    for launcher, expected in (({}, True), ({"RANK": "0", "WORLD_SIZE": "2"}, False)):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **launcher}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "selfportrait" in done.stdout
        assert ("taken down" in done.stdout) == expected


def test_one_process_does_everything_and_imports_nothing() -> None:
    code = "from selfportrait import processes; processes.wait(); import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    done: list[int] = []
    with processes.together():
        processes.by_main(lambda: done.append(processes.count()))
        assert processes.main_first(lambda: "x") == "x"
    numbers = torch.tensor([1.0, 2.0])
    processes.add_up(numbers)
    processes.copy_from(0, numbers)
    assert (processes.is_main(), done, numbers.tolist(), processes.gather(3)) == (True, [1], [1.0, 2.0], [3])
    assert (list(processes.own(3)), list(processes.turns("abc"))) == ([0, 1, 2], ["a", "b", "c"])


@pytest.mark.parametrize(("count", "total"), [(2, 5), (3, 7), (4, 2)])
def test_every_piece_of_work_is_one_processs(process: Any, count: int, total: int) -> None:
    owned, taken = [], []
    for number in range(count):
        process(number, count)
        owned += processes.own(total)
        taken.append(list(processes.turns(range(total))))
    assert sorted(owned) == list(range(total))
    in_turn = [item for turn in zip(*taken, strict=True) for item in turn]
    assert [item for item in in_turn if item is not None] == list(range(total))
    assert len(in_turn) - total < count


def test_only_the_main_process_speaks(process: Any, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for number in (0, 1):
        process(number, 2)
        console.say("to people")
        console.echo("a result")
        with progress.bar("working", total=2) as advance:
            advance(2)
        said.append(capsys.readouterr())
    assert ("to people" in said[0].err, said[0].out) == (True, "a result\n")
    assert said[1] == ("", "")


def test_what_several_processes_cannot_do_is_refused(
    process: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process(0, 2)
    with pytest.raises(ValueError, match="the recipe gpo runs in one process, and 2 were started"):
        gpo(*[None] * 10, steps=1)  # type: ignore[arg-type]
    assert cli.main(["doctor"]) == 2
    assert "error: selfportrait doctor runs in one process, and 2 were started" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 processes were started here and there are 1 GPUs"), processes.together():
        pass
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="told to use FSDP, and here every process holds the whole model"):
        processes.together().__enter__()


@pytest.mark.slow
def test_processes_talk(tmp_path: Path) -> None:
    found = several.run(several.talk, 3, tmp_path)
    everybody = "[{'number': 0}, {'number': 1}, {'number': 2}]"
    assert [one.code for one in found] == [0, 0, 0]
    assert found[0].result == f"{everybody} [1] [3.0, 3.0]\na result\n"  # by the main process alone, which it counts 1
    assert [one.result for one in found[1:]] == [f"{everybody} [] [3.0, 3.0]\n"] * 2
    assert [one.said for one in found] == ["to people\n", "", ""]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "who", "codes", "says"),
    [
        ("wrong", 0, (2, 2), "error: wrong 0"),
        ("wrong", 1, (2, 2), "error: process 1 of 2: wrong 1"),
        ("broken", 1, (2, 1), "error: process 1 of 2: broken 1"),  # a mistake of ours, of which it shows the traceback
        ("killed", 1, (2, 9), "error: the processes of the run lost each other, one may have been killed"),
        ("stopped", 1, (2, 130), "error: the processes of the run lost each other"),
        ("stopped", 0, (130, 2), "stopped; nothing finished is lost"),
    ],
)
def test_an_error_in_one_process_ends_all_with_one_sentence(
    tmp_path: Path, how: str, who: int, codes: tuple[int, int], says: str
) -> None:
    found = several.run(several.fail, 2, tmp_path, how, who)
    assert tuple(one.code for one in found) == codes
    assert found[0].said.startswith(says)
    assert found[0].said.count("\n") == 1
    assert ("Traceback" in found[1].said) == (how == "broken")
