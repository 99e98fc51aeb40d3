"""Answers kept on disk: what is the same request, kills, threads, and nothing secret in the file."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from selfportrait.vlms._memory import Memory, key

RED = Image.new("RGB", (8, 8), "red")
MODEL = {"model": "looker", "max_tokens": 1}


def test_the_key_depends_on_model_settings_kind_words_and_pixels() -> None:
    first = key(MODEL, "reply", ("Is it red?", RED))
    assert first == key(dict(reversed(MODEL.items())), "reply", ["Is it red?", RED.copy()])
    assert first == key(MODEL, "reply", ("Is it red?", RED.convert("RGBA")))
    spotted = RED.copy()
    spotted.putpixel((3, 3), (254, 0, 0))
    others = [
        key({**MODEL, "max_tokens": 2}, "reply", ("Is it red?", RED)),
        key(MODEL, "yes or no", ("Is it red?", RED)),
        key(MODEL, "reply", ("Is it blue?", RED)),
        key(MODEL, "reply", (RED, "Is it red?")),
        key(MODEL, "reply", ("Is it red?", spotted)),
        key(MODEL, "reply", ("Is it red?", RED.resize((16, 4)))),  # the same bytes in another shape
    ]
    assert len({first, *others}) == 7


def test_answers_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    memory = Memory(path)
    memory.put("a", ["yes\nand “more”", None])
    memory.put("a", ["another", None])  # the first one stays
    memory.put("b", [0.25, 0.5, None])
    again = Memory(path)
    assert (again.get("a"), again.get("b"), again.get("c")) == (["yes\nand “more”", None], [0.25, 0.5, None], None)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 5, 20, 37])
def test_a_line_that_was_cut_off_is_ignored_and_harms_no_other(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "answers.jsonl"
    for name in "ab":
        Memory(path).put(name, [f"said {name}", None])
    path.write_bytes(path.read_bytes()[:-cut])
    memory = Memory(path)
    assert memory.get("a") == ["said a", None]
    memory.put("c", ["said c", None])
    again = Memory(path)
    assert (again.get("a"), again.get("c")) == (["said a", None], ["said c", None])
    assert again.get("b") == (["said b", None] if cut == 1 else None)  # only the line's end was cut


def test_rubbish_in_the_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'\xff\xfe\n{"key": 3}\n[]\n{"key": "a", "answer": "text"}\n{"key": "b", "answer": ["x", null]}\n')
    assert [Memory(path).get(name) for name in "ab"] == [None, ["x", None]]


def test_threads_write_each_answer_once(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "answers.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: memory.put(str(i % 100), ["y" * 500, None]), range(400)))
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["key"] for line in lines}) == 100


@pytest.mark.slow
def test_threads_and_processes_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    code = (
        "import sys; from pathlib import Path; from selfportrait.vlms._memory import Memory\n"
        "memory = Memory(Path(sys.argv[1]))\n"
        "for i in range(200): memory.put(f'other-{i}', ['x' * 500, None])\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)])
    memory = Memory(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: memory.put(f"own-{i % 200}", ["y" * 500, None]), range(400)))
    assert other.wait() == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == len({line["key"] for line in lines}) == 400


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path; from selfportrait.vlms._memory import Memory\n"
        "memory = Memory(Path(sys.argv[1]))\n"
        "for i in range(50): memory.put(str(i), [i, None])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    memory = Memory(path)
    assert [memory.get(str(i)) for i in range(50)] == [[i, None] for i in range(50)]
