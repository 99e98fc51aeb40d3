"""Runs with judges that watch: every recipe shows them, a killed run ends the same, and a fooled judge is told on."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_rounds
from PIL import Image
from test_offline import settings_for as offline_settings
from test_spo import settings_for as spo_settings
from tiny_run import WATCH, Brightness, settings_for, start_run

from selfportrait import config, processes, store
from selfportrait.commands.improve import show_result
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.stages import Watcher
from selfportrait.types import Prompt, Score

Capture = pytest.CaptureFixture[str]
Differences = Callable[[Path, Path], list[str]]


@pytest.fixture(scope="module")
def watched(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """A run of GPO in which two judges watch, one of them under another name, finished without interruption."""
    return start_run(tmp_path_factory.mktemp("runs") / "watched", with_watch(settings_for(tiny_sd3)))


def with_watch(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "watch": WATCH}


def values(run: store.Run, when: str, judge: str, index: int = 0) -> list[float]:
    rows = store.read_table(run.path(f"round-{index}", "watch", when)).to_pylist()
    return [row["value"] for row in rows if row["judge"] == judge]


def notes(run: store.Run, index: int = 0) -> list[dict[str, Any]]:
    lines = store.read_jsonl(run.path(f"round-{index}", "training", "metrics.jsonl"))
    return [line for line in lines if "watch/shapes" in line]


def test_the_table_holds_what_each_judge_says_of_each_picture(watched: store.Run) -> None:
    for when in ("before", "after"):
        pictures = store.read_table(watched.path("round-0", "evaluation", when)).to_pylist()
        rows = store.read_table(watched.path("round-0", "watch", when)).to_pylist()
        by = {(row["judge"], row["prompt_id"], row["index"], row["seed"]): row["value"] for row in rows}
        assert len(by) == len(rows) == 3 * len(pictures)
        images = [store.images.from_bytes(row["image"]["bytes"]) for row in pictures]
        prompts = [Prompt(row["prompt_id"], row["prompt"]) for row in pictures]
        for name, judge in (("shapes", MicroQuestions()), ("judge", Brightness())):
            for row, score in zip(pictures, judge(prompts, images), strict=True):
                assert by[name, row["prompt_id"], row["index"], row["seed"]] == score.value


def test_the_summary_has_means_with_paired_intervals(watched: store.Run) -> None:
    found = store.read_json(watched.path("summary.json"))["watch"]
    assert {name: one["is_trained"] for name, one in found.items()} == {
        "judge": True,
        "shapes": False,
        "both": False,
    }
    for name, one in found.items():
        before, after = (values(watched, when, name) for when in ("before", "after"))
        assert one["before"]["mean"] == pytest.approx(sum(before) / len(before))
        assert one["after"]["mean"] == pytest.approx(sum(after) / len(after))
        change = one["change"]
        assert change["difference"] == pytest.approx(one["after"]["mean"] - one["before"]["mean"])
        assert change["low"] <= change["difference"] <= change["high"]
        assert (one["after"]["n"], one["after"]["missing"]) == (16, 0)
    (note,) = notes(watched)
    assert note["step"] == 3
    assert note["watch/shapes"] == found["shapes"]["after"]["mean"]
    assert note["watch/judge/difference"] == found["judge"]["change"]["difference"]


def test_terminal_and_page_show_them(watched: store.Run, capsys: Capture) -> None:
    found = store.read_json(watched.path("summary.json"))["watch"]
    show_result(watched.folder)
    out = capsys.readouterr().out
    html = watched.path("report.html").read_text("utf-8")
    page = " ".join(re.sub(r"<[^>]*>", " ", html[html.index('<section id="watch"') :].split("</section>")[0]).split())
    for text in (out, page):
        assert text.index("run’s own judge" if text is page else "the run's own") < text.index("shapes")
        for one in found.values():
            assert f"{one['before']['mean']:.4f}" in text
            assert f"{one['after']['mean']:.4f}" in text
    assert "0 → 0" in page
    assert html.index('<section id="result"') < html.index('<section id="watch"') < html.index('<section id="pictures"')
    assert 'href="#watch"' in html
    assert "<dt>steps</dt><dd>3</dd>" in html  # the note is no step


def test_watching_changes_nothing_that_is_trained(
    watched: store.Run, tiny_sd3: Path, tmp_path: Path, differences: Differences
) -> None:
    plain = start_run(tmp_path / "plain", settings_for(tiny_sd3))
    assert not plain.path("round-0", "watch").exists()
    assert "watch" not in store.read_json(plain.path("summary.json"))
    assert "watch" not in store.read_json(plain.path("config.json"))["settings"]
    only = "only in one of them: round-0/watch/"
    others = [line for line in differences(plain.folder, watched.folder) if not line.startswith(only)]
    assert others == [f"differs: {name}" for name in ("config.json", "round-0/training/metrics.jsonl", "summary.json")]


LOST = [
    ["round-0/watch/before"],
    ["round-0/watch/after", "summary.json", "model"],
    ["round-0/watch", "round-0/evaluation/after", "round-0/training/checkpoints/step-00003", "summary.json"],
]


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost[0])
@pytest.mark.parametrize("has_scores", [True, False])
def test_a_run_that_was_cut_off_ends_with_the_same_bytes(
    lost: list[str],
    has_scores: bool,
    watched: store.Run,
    tiny_sd3: Path,
    tmp_path: Path,
    differences: Differences,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_scores:
        monkeypatch.setenv("SELFPORTRAIT_SCORES", str(tmp_path / "none"))
    cut = shutil.copytree(watched.folder, tmp_path / "cut")
    for name in lost:
        shutil.rmtree(cut / name) if (cut / name).is_dir() else (cut / name).unlink()
    metrics = cut / "round-0/training/metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-40])  # while the note was written
    start_run(cut, with_watch(settings_for(tiny_sd3)))
    assert differences(watched.folder, cut) == []


@pytest.mark.slow
def test_a_killed_run_ends_like_one_that_was_not(
    tiny_sd3: Path,
    tmp_path: Path,
    differences: Differences,
    run_with_kills: Callable[..., int],
    progress: Callable[[Path], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    command = [sys.executable, str(Path(__file__).with_name("tiny_run.py")), str(tiny_sd3)]
    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    one, other = ({**os.environ, "SELFPORTRAIT_SCORES": str(tmp_path / name)} for name in ("one", "other"))
    subprocess.run([*command, str(peaceful), "watch"], check=True, env=one)
    monkeypatch.setenv("SELFPORTRAIT_SCORES", other["SELFPORTRAIT_SCORES"])
    kills = run_with_kills(
        [*command, str(killed), "watch"], killed, kills=4, end=progress(peaceful), jitter_s=0.3, seed=1
    )
    assert kills >= 2
    assert differences(peaceful, killed) == []


class Ever:
    """Gives every picture another score than the one before: always more, or always less."""

    def __init__(self, by: float) -> None:
        self.by, self.last = by, 0.0

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        return [Score(value, None, {"exact": False}) for value in self._next(len(images))]

    def _next(self, count: int) -> Iterator[float]:
        for _ in range(count):
            self.last += self.by
            yield self.last


class Fails:
    """Judges no picture."""

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        return [Score(None, "it is dark") for _ in images]


def test_a_fooled_judge_is_told_on(tiny_sd3: Path, tmp_path: Path, capsys: Capture) -> None:
    watch = {"strict": Watcher(Ever(-0.01)), "kind": Watcher(Ever(0.01)), "blind": Watcher(Fails())}
    run = start_run(tmp_path / "run", with_watch(settings_for(tiny_sd3)), judge=Ever(0.01), watch=watch)
    summary = store.read_json(run.path("summary.json"))
    told = [event for event in summary["health"] if event["name"] == "reward_hacking"]
    assert [event["judge"] for event in told] == ["strict"]
    assert told[0]["value"] == pytest.approx(summary["watch"]["strict"]["change"]["difference"])
    assert summary["watch"]["blind"]["after"] == {"mean": None, "low": None, "high": None, "n": 0, "missing": 16}
    assert summary["watch"]["blind"]["change"] is None
    (line,) = [line for line in store.read_jsonl(run.path("round-0/training/metrics.jsonl")) if line["step"] == 3]
    assert line["events"] == told
    assert line["watch/blind"] is None
    message = told[0]["message"]
    assert message.startswith("reward_hacking: the run's own judge rose by +")
    capsys.readouterr()
    show_result(run.folder)
    out = capsys.readouterr().out
    assert f"health  {message}" in out
    assert "16 → 16" in out
    html = run.path("report.html").read_text("utf-8").replace("&#39;", "'")
    result, health = (
        html[html.index(f'<section id="{name}"') :].split("</section>")[0] for name in ("result", "health")
    )
    assert f'<p class="warning" role="note">{message}.' in result
    assert message in health


# Every recipe that measures


def test_spo_is_watched(tiny_sd3: Path, tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", with_watch(spo_settings(tiny_sd3, steps=1)))
    assert sorted(store.read_json(run.path("summary.json"))["watch"]) == ["both", "judge", "shapes"]
    assert [note["step"] for note in notes(run)] == [1]


def test_offline_is_watched(tiny_sd3: Path, tmp_path: Path) -> None:
    recipe = {"name": "offline", "steps": 1, "batch_size": 1, "candidates_per_prompt": 8}
    run = start_run(tmp_path / "run", with_watch(offline_settings(tiny_sd3, recipe=recipe)))
    assert sorted(store.read_json(run.path("summary.json"))["watch"]) == ["both", "judge", "shapes"]
    assert [note["step"] for note in notes(run)] == [1]
    assert processes.count() == 1


def test_every_round_is_watched_and_compared_with_the_start(tiny_janus: Path, tmp_path: Path) -> None:
    """The judge of these rounds is the model itself, which is nobody to compare with."""
    settings = with_watch(tiny_rounds.settings_for(tiny_janus, "silmm"))
    run = tiny_rounds.start_run(tmp_path / "run", settings)
    found = store.read_json(run.path("summary.json"))["watch"]
    assert sorted(found) == ["both", "shapes"]
    before = values(run, "before", "shapes")
    for index, one in enumerate(found["shapes"]["rounds"]):
        after = values(run, "after", "shapes", index)
        assert one["mean"] == pytest.approx(sum(after) / len(after))
        assert one["change"]["difference"] == pytest.approx((sum(after) - sum(before)) / len(after))
        (note,) = notes(run, index)
        assert note["watch/shapes"] == one["mean"]
    assert len(found["shapes"]["rounds"]) == tiny_rounds.ROUNDS
    html = run.path("report.html").read_text("utf-8")
    assert '<th scope="col">round 1</th><th scope="col">change</th>' in html


# What is refused


@pytest.mark.parametrize(
    ("watch", "sentence"),
    [
        ([{"name": "ocr"}], "should be judges by name, such as watch: {clip_score: {}}"),
        ({}, "should be judges by name"),
        ({"micro_cuont": {}}, "did you mean 'micro_count'?"),
        ({"eye": {"name": 3}}, "watch.eye.name = 3: should be text"),
        ({"micro_questions": {"sharp": 1}}, "Unknown setting watch.micro_questions.sharp"),
        ({"micro_questions": 3}, "watch.micro_questions = 3: should be a section of settings"),
        ({"judge": {"name": "micro_questions"}}, "give it another name"),
        ({"self_vqa": {}}, "is the model in training, which changes with what it judges"),
        ({"again": {"name": "micro_count"}}, "watch.again: the run trains on this very judge"),
        ({"vlm": {"ask": "questions", "vlm": {"name": "endpoint"}}}, "watch.vlm.vlm.url is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)
def test_bad_settings_are_one_sentence(watch: Any, sentence: str, tiny_sd3: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        config.bind({**settings_for(tiny_sd3), "watch": watch})


def test_a_part_of_a_weighted_judge_is_trained_on_and_one_that_watches_is_not(tiny_sd3: Path) -> None:
    judge = {"name": "weighted", "parts": {"micro_count": {"weight": 2}}, "watch": {"micro_questions": {}}}
    settings = {**settings_for(tiny_sd3, judge=judge), "watch": {"micro_questions": {}}}
    assert list(config.bind(settings).build()["watch"]) == ["micro_questions"]
    with pytest.raises(ValueError, match="watch.micro_count: the run trains on this very judge"):
        config.bind({**settings, "watch": {"micro_count": {}}})
