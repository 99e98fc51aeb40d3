"""Scores that are kept: when they count, what a kill leaves, and what the command prints from them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_judges import noise

from selfportrait.cli import main
from selfportrait.commands import judge as command
from selfportrait.config import bind_section
from selfportrait.judges.micro_count import MicroCount
from selfportrait.micro.world import Item, Scene, render
from selfportrait.score_cache import Key, ScoreCache, file_hash, identity
from selfportrait.types import Score

Run = Callable[..., list[dict]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures with prompts, of which one prompt is outside the micro language."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = []
    for number in range(6):
        items = (Item(colour="red", shape="circle", size="large", x=16 + 6 * number, y=20),)
        render(Scene(items, "white")).save(pictures / f"{number}.png")
        text = "a green dog" if number == 4 else f"{('a', 'two')[number % 2]} red circle{'s' * (number % 2)}"
        lines.append(json.dumps({"file_name": f"{number}.png", "text": text}))
    (pictures / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return pictures


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the judge got."""
    calls: list[int] = []
    original = MicroCount.__call__

    def counting(self, prompts, images):
        calls.append(len(images))
        return original(self, prompts, images)

    monkeypatch.setattr(MicroCount, "__call__", counting)
    monkeypatch.setattr(command, "PICTURES_AT_ONCE", 2)
    return calls


@pytest.fixture
def run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def judged(*arguments: str) -> list[dict]:
        arguments = arguments or (str(folder),)
        cache = ["--cache", str(tmp_path / "kept")]
        assert main(["judge", "--judge", "micro_count", "--json", *cache, *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return judged


def kept(tmp_path: Path) -> bytes:
    (file,) = (tmp_path / "kept").glob("micro_count-*/scores.jsonl")
    return file.read_bytes()


def test_a_second_run_judges_only_what_was_missing_and_prints_the_same(run: Run, asked, tmp_path: Path) -> None:
    first = run()
    assert asked == [2, 2, 2]
    assert [row["score"] for row in first] == [1, 0.5, 1, 0.5, None, 0.5]
    before = kept(tmp_path)
    asked.clear()
    assert run() == first
    assert asked == [1]  # the one that had no score
    assert kept(tmp_path) == before
    assert len(before.splitlines()) == 5


def test_without_a_cache_everything_is_judged(folder: Path, asked, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SELFPORTRAIT_SCORES", str(tmp_path / "default"))
    for _ in range(2):
        assert main(["judge", "--judge", "micro_count", "--no-cache", "--json", str(folder)]) == 0
    assert asked == [2] * 6
    assert not (tmp_path / "default").exists()
    assert main(["judge", "--judge", "micro_count", "--json", str(folder)]) == 0
    assert (tmp_path / "default").is_dir()


def test_a_kill_anywhere_leaves_the_bytes_of_a_run_that_was_not_killed(run: Run, asked, tmp_path: Path) -> None:
    printed = run()
    whole = kept(tmp_path)
    (file,) = (tmp_path / "kept").glob("micro_count-*/scores.jsonl")
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        file.write_bytes(whole[:length])
        assert run() == printed
        assert file.read_bytes() == whole


def test_the_same_picture_and_prompt_are_judged_once(run: Run, folder: Path, asked) -> None:
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    files = [str(folder / name) for name in ("0.png", "copy.png", "0.png")]
    rows = run(*files, "--prompt", "a red circle")
    assert asked == [1]
    assert [row["image"] for row in rows] == files
    assert [row["score"] for row in rows] == [1, 1, 1]


def test_another_prompt_or_picture_is_another_score(run: Run, folder: Path, asked) -> None:
    run(str(folder / "0.png"))
    run(str(folder / "0.png"), "--prompt", "two red circles")
    noise(64, 64, 0).save(folder / "0.png")
    run(str(folder / "0.png"))
    assert asked == [1, 1, 1]


def test_a_corrupt_line_is_named(run: Run, tmp_path: Path, folder: Path, capsys) -> None:
    run()
    (file,) = (tmp_path / "kept").glob("micro_count-*/scores.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"not JSON\n" + lines[2])
    assert main(["judge", "--judge", "micro_count", "--cache", str(tmp_path / "kept"), str(folder)]) == 2
    assert "corrupt at line 2" in capsys.readouterr().err


def test_an_unreadable_picture_is_refused_by_name(folder: Path, tmp_path: Path, capsys) -> None:
    (folder / "3.png").write_bytes(b"no picture")
    assert main(["judge", "--judge", "micro_count", "--cache", str(tmp_path / "kept"), str(folder)]) == 2
    assert "3.png" in capsys.readouterr().err


# What scores depend on


def section(**settings):
    return bind_section("judge", {"name": "clip_score", **settings})


def test_settings_and_files_make_an_identity_but_batch_and_device_do_not(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"one")
    path = str(model)
    same = identity(section(path=path))
    assert same == identity(section(path=path, batch_size=3, device="cpu"))
    assert same != identity(section(path=path, form="percent"))
    assert same != identity(section(path=path, dtype="bfloat16"))
    assert path in same["files"]
    (model / "weights").write_bytes(b"two")
    os.utime(model / "weights", ns=(1, 1))
    assert same != identity(section(path=path))


def test_what_a_judge_takes_is_part_of_its_identity(folder: Path, tmp_path: Path, capsys) -> None:
    counting = bind_section("judge", {"name": "count", "detector": "micro"})
    asking = bind_section("judge", {"name": "weighted", "parts": {"a": {"name": "vlm", "ask": "prompt"}}})
    assert sorted(identity(counting)["code"]) == ["detectors.micro", "judges.count"]
    assert sorted(identity(asking)["code"]) == ["judges.vlm", "judges.weighted", "vlms.local"]
    assert main(["judge", "--judge", "count", "--set", "detector=micro", "--cache", str(tmp_path), str(folder)]) == 0
    assert len(list(tmp_path.glob("count-*/scores.jsonl"))) == 1
    kept = bind_section("judge", {"name": "vlm", "vlm": {"name": "local", "cache": str(folder / "metadata.jsonl")}})
    assert identity(kept) == identity(bind_section("judge", {"name": "vlm"}))


def test_a_model_of_the_hub_is_told_by_its_commit(tmp_path: Path, monkeypatch) -> None:
    def commits(repository: str, file: str) -> str:
        return f"{tmp_path}/models--x/snapshots/{commit}/{file}"

    monkeypatch.setattr("selfportrait.score_cache.try_to_load_from_cache", commits)
    commit = "abc"
    first = identity(section(path="owner/name"))
    assert first["files"] == {"owner/name": "abc"}
    commit = "def"
    assert identity(section(path="owner/name")) != first


def test_the_first_batch_says_which_weights_judge(folder: Path, asked, tmp_path: Path, monkeypatch) -> None:
    """A hub's model that arrives with the first batch: no score of the version before it is used."""
    version = {"version": "before"}

    def build(*_):
        original = MicroCount.__call__

        def arriving(self, prompts, images):
            version["version"] = "after"
            return original(self, prompts, images)

        monkeypatch.setattr(MicroCount, "__call__", arriving)

    monkeypatch.setattr(command, "identity", lambda _: dict(version))
    judge = bind_section("judge", {"name": "micro_count"})
    pictures = sorted(folder.glob("*.png"))
    old = ScoreCache(tmp_path / "kept", "micro_count", {"version": "before"})
    stale = Key(file_hash(pictures[0]), "a red circle")
    old.add([(stale, Score(-7.0))])
    build()
    found = command.judge(judge, pictures, "a red circle", tmp_path / "kept")
    assert all(verdict.score.value == 1 for verdict in found)
    assert old.read() == {stale: Score(-7.0)}


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    first, second = (ScoreCache(tmp_path, "x", {"a": 1}) for _ in range(2))
    for number in range(3):
        first.add([(Key(str(number), "p"), Score(float(number), None, {"b": [1]}))])
        second.add([(Key(str(number + 10), "p"), Score(0.1))])
    assert {key.picture for key in first.read()} == {"0", "1", "2", "10", "11", "12"}
    assert first.read()[Key("2", "p")] == Score(2.0, None, {"b": [1]})


def test_missing_scores_are_not_kept(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "x", {})
    cache.add([(Key("1", "p"), Score(None, "the server was away"))])
    assert not cache.path.exists()


def test_ten_thousand_scores_are_one_read(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "x", {})
    cache.add((Key(f"{number:064x}", f"prompt {number}"), Score(number / 7)) for number in range(10_000))
    found = cache.read()
    assert len(found) == 10_000
    assert found[Key(f"{9_999:064x}", "prompt 9999")] == Score(9_999 / 7)


def test_a_judges_own_picture_formats_do_not_matter(folder: Path, tmp_path: Path, run: Run) -> None:
    Image.open(folder / "0.png").convert("RGBA").save(folder / "0.png")
    assert run(str(folder / "0.png"))[0]["score"] == 1
