"""Judges that look at an evaluation: who is asked, once each, what is missing, and whose scores are kept."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfportrait import config, stages, store
from selfportrait.benchmarks.micro import Micro
from selfportrait.stages import OWN, Watcher, watchers
from selfportrait.types import Prompt, Score

BENCHMARK = Micro(categories=("numeracy",), prompts_per_category=3, images_per_prompt=2)


class Counts:
    """Scores brightness, remembers what it was asked, and fails at pictures that are brighter than it likes."""

    def __init__(self, most: float = 255) -> None:
        self.most = most
        self.asked: list[tuple[str, int]] = []

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        values = [int(np.asarray(image).mean()) for image in images]
        self.asked += list(zip([prompt.text for prompt in prompts], values, strict=True))
        return [Score(float(one)) if one <= self.most else Score(None, "too bright") for one in values]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Six pictures, each brighter than the one before it, in two parts."""
    folder = tmp_path / "round-0" / "evaluation" / "before"
    drawn = [(prompt, index) for prompt in BENCHMARK.prompts() for index in range(2)]
    rows = [
        {
            "prompt_id": prompt.id,
            "prompt": prompt.text,
            "category": prompt.category,
            "index": index,
            "seed": place,
            "image": Image.new("RGB", (4, 4), (10 * place,) * 3),
            "exact": True,
            "score": 1.0,
            "reason": None,
            "details": "{}",
        }
        for place, (prompt, index) in enumerate(drawn)
    ]
    store.write_table(folder, 0, rows[:4], store.EVALUATION)
    store.write_table(folder, 1, rows[4:], store.EVALUATION)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFPORTRAIT_SCORES", str(tmp_path / "scores"))
    return tmp_path / "scores"


def look(evaluation: Path, name: str = "watch", **judges: Watcher) -> list[dict[str, Any]]:
    folder = evaluation.parents[1] / name
    stages.watch(judges, BENCHMARK, evaluation, folder)
    return store.read_table(folder).to_pylist()


def test_every_picture_is_judged_once_by_each_with_its_own_prompt(evaluation: Path) -> None:
    one, other = Counts(), Counts(most=35)
    rows = look(evaluation, one=Watcher(one), other=Watcher(other))
    texts = [prompt.text for prompt in BENCHMARK.prompts() for _ in range(2)]
    assert one.asked == other.asked == list(zip(texts, [0, 10, 20, 30, 40, 50], strict=True))
    said = {(row["judge"], row["seed"]): (row["value"], row["reason"]) for row in rows}
    assert len(said) == len(rows) == 12
    assert [said["one", seed] for seed in range(6)] == [(10.0 * seed, None) for seed in range(6)]
    assert [said["other", seed][0] for seed in range(6)] == [0, 10, 20, 30, None, None]  # missing, and never 0
    assert said["other", 5] == (None, "too bright")
    look(evaluation, one=Watcher(one), other=Watcher(other))
    assert len(one.asked) == 6


def test_only_the_part_that_is_missing_is_judged_again_to_the_same_bytes(evaluation: Path) -> None:
    look(evaluation, eye=Watcher(Counts()))
    lost = evaluation.parents[1] / "watch" / "part-00001.parquet"
    whole = lost.read_bytes()
    lost.unlink()
    again = Counts()
    look(evaluation, eye=Watcher(again))
    assert [value for _, value in again.asked] == [40, 50]
    assert lost.read_bytes() == whole


def test_scores_that_a_local_judge_gave_are_kept(evaluation: Path, cache: Path) -> None:
    section = config.bind_section("judge", {"name": "micro_count"})
    first, second, others = Counts(), Counts(), Counts()
    look(evaluation, eye=Watcher(first, section))
    assert look(evaluation, "again", eye=Watcher(second, section)) == look(evaluation, eye=Watcher(first, section))
    assert (len(first.asked), len(second.asked)) == (6, 0)
    look(evaluation, "other", eye=Watcher(others, config.bind_section("judge", {"name": "micro_questions"})))
    assert len(others.asked) == 6
    lines = sum(len(file.read_text().splitlines()) for file in cache.glob("*/scores.jsonl"))
    assert lines == 12


def test_missing_scores_are_asked_for_again_with_their_part(evaluation: Path) -> None:
    section = config.bind_section("judge", {"name": "micro_count"})
    look(evaluation, eye=Watcher(Counts(most=45), section))
    again = Counts()
    rows = look(evaluation, "again", eye=Watcher(again, section))
    assert [value for _, value in again.asked] == [40, 50]
    assert [row["value"] for row in rows] == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("is_served", [True, False])
def test_nothing_is_kept_of_who_cannot_be_told(is_served: bool, evaluation: Path, cache: Path) -> None:
    served = {"name": "vlm", "vlm": {"name": "endpoint", "url": "http://localhost:8000/v1", "model": "any"}}
    section = config.bind_section("judge", served) if is_served else None
    look(evaluation, eye=Watcher(Counts(), section))
    again = Counts()
    look(evaluation, "again", eye=Watcher(again, section))
    assert len(again.asked) == 6
    assert not cache.exists()


def test_a_question_of_the_benchmark_is_part_of_what_is_known(evaluation: Path, cache: Path) -> None:
    look(evaluation, eye=Watcher(Counts(), config.bind_section("judge", {"name": "micro_count"})))
    (file,) = cache.glob("*/scores.jsonl")
    prompt = json.loads(json.loads(file.read_text().splitlines()[0])["prompt"])
    own = BENCHMARK.prompts()[0]
    assert (prompt["text"], prompt["category"]) == (own.text, "numeracy")
    assert prompt["questions"] == [[one.text, one.answer] for one in own.questions]


def test_the_runs_own_judge_looks_beside_those_that_watch() -> None:
    own, eye = Counts(), Watcher(Counts(), config.bind_section("judge", {"name": "micro_count"}))
    assert watchers({"eye": eye}, own, BENCHMARK) == {OWN: Watcher(own), "eye": eye}
    assert watchers({"eye": eye}, None, BENCHMARK) == {"eye": eye}
    assert watchers(None, own, BENCHMARK) == watchers({}, own, BENCHMARK) == {}
    own.policy = object()  # the model itself, which changes with what it judges
    assert watchers({"eye": eye}, own, BENCHMARK) == {"eye": eye}
    assert watchers({"eye": eye}, partial(Counts), BENCHMARK) == {"eye": eye}


class Needs(Counts):
    """Lacks something in prompts that do not hold a word."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def lacks(self, prompt: Prompt) -> str | None:
        return None if self.word in prompt.text else f"{prompt.text!r} has no {self.word}"


def test_a_judge_that_no_prompt_tells_anything_is_refused() -> None:
    first = BENCHMARK.prompts()[0].text
    with pytest.raises(
        ValueError, match="watch.eye: it can judge a picture of none of the benchmark's 3 prompts"
    ) as said:
        watchers({"eye": Watcher(Needs("castle"))}, None, BENCHMARK)
    assert f"{first!r} has no castle" in str(said.value)
    some = first.split()[1]
    assert list(watchers({"eye": Watcher(Needs(some))}, None, BENCHMARK)) == ["eye"]
