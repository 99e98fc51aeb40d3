"""The micro benchmark: fixed prompts and seeds, exact verdicts, words by OCR."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from selfportrait.benchmarks.base import aggregate
from selfportrait.benchmarks.micro import Micro
from selfportrait.benchmarks.prompts import Prompts
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.micro.language import parse
from selfportrait.micro.scenes import CATEGORIES, SHAPE_CATEGORIES, is_held_out, lay_out
from selfportrait.micro.words import draw_word
from selfportrait.micro.world import render
from selfportrait.prompts.micro import Micro as TrainingPrompts
from selfportrait.types import Prompt


def truth(prompt: Prompt) -> Image.Image:
    claimed = parse(prompt.text)
    if claimed.word is not None:
        return draw_word(64, claimed.word)
    return render(lay_out(claimed, random.Random(0)))


def test_the_prompts_are_held_out_and_the_same_every_time() -> None:
    benchmark = Micro(prompts_per_category=20)
    found = benchmark.prompts()
    assert found == Micro(prompts_per_category=20).prompts()
    assert [prompt.category for prompt in found] == [name for name in SHAPE_CATEGORIES for _ in range(20)]
    assert all(is_held_out(prompt.text) for prompt in found)
    training = TrainingPrompts(categories=CATEGORIES, num_prompts=3000)()
    assert not {prompt.text for prompt in found} & {prompt.text for prompt in training}


def test_the_default_has_at_least_400_pictures_a_category() -> None:
    benchmark = Micro()
    prompts = benchmark.prompts()
    for category in SHAPE_CATEGORIES:
        of_category = [prompt for prompt in prompts if prompt.category == category]
        assert sum(len(benchmark.seeds(prompt)) for prompt in of_category) >= 400


def test_the_seeds_belong_to_prompt_and_benchmark_alone() -> None:
    prompt, other = Micro(prompts_per_category=1).prompts()[:2]
    seeds = Micro().seeds(prompt)
    assert seeds == Micro(prompts_per_category=3, categories=("text",)).seeds(prompt)
    assert len(set(seeds)) == 4
    assert not set(seeds) & set(Micro().seeds(other))
    assert not set(seeds) & set(Micro(seed=1).seeds(prompt))
    assert Micro(images_per_prompt=6).seeds(prompt)[:4] == seeds


def test_rendered_truth_is_right_in_every_category() -> None:
    benchmark = Micro(categories=CATEGORIES, prompts_per_category=6, images_per_prompt=2)
    prompts = benchmark.prompts()
    blank = Image.new("RGB", (64, 64))
    rows = benchmark.measure(prompts, [[truth(prompt), blank] for prompt in prompts])
    assert [(row["prompt_id"], row["index"]) for row in rows] == [(p.id, i) for p in prompts for i in (0, 1)]
    assert [row["exact"] for row in rows] == [True, False] * len(prompts)
    assert all(row["score"] == 1.0 and row["reason"] is None for row in rows[::2])
    summary = aggregate(rows)
    assert set(summary) == {*CATEGORIES, "overall"}
    assert summary["overall"]["accuracy"] == pytest.approx(0.5)
    assert summary["overall"]["pass_at_4"] is None  # there are only two pictures a prompt
    assert summary["overall"]["n"] == 2 * len(prompts)


def test_pass_at_4_counts_a_prompt_with_one_right_picture() -> None:
    benchmark = Micro(categories=("numeracy",), prompts_per_category=2)
    prompts = benchmark.prompts()
    blank = Image.new("RGB", (64, 64))
    rows = benchmark.measure(prompts, [[blank, truth(prompts[0]), blank, blank], [blank] * 4])
    assert aggregate(rows)["numeracy"]["accuracy"] == pytest.approx(1 / 8)
    assert aggregate(rows)["numeracy"]["pass_at_4"] == pytest.approx(1 / 2)


def test_what_is_held_out_and_what_a_picture_shows_can_be_told_of_any_prompt() -> None:
    benchmark = Micro(prompts_per_category=1)
    prompt, free = benchmark.prompts()[0], TrainingPrompts(categories=("color",))()[0]
    assert benchmark.is_held_out(prompt.text)
    assert benchmark.is_held_out(f" {prompt.text.capitalize()}.")
    assert not benchmark.is_held_out(free.text)
    blank = Image.new("RGB", (64, 64))
    others = [replace(free, category="attribute1_color"), free, Prompt("x", "a lighthouse in a storm")]
    scores = benchmark.check(others, [truth(free), blank, blank])
    assert [score.details.get("exact") for score in scores] == [True, False, None]
    assert scores[2].value is None
    assert "lighthouse" in (scores[2].reason or "")


def test_a_file_of_prompts_is_held_out_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one red circle\ntwo blue stars\n")
    benchmark = Prompts(path=str(tmp_path / "p.txt"), judge=MicroQuestions())
    assert benchmark.is_held_out("Two  blue stars.")
    assert not benchmark.is_held_out("three blue stars")
    (prompt, _) = benchmark.prompts()
    assert [score.value for score in benchmark.check([prompt], [truth(prompt)])] == [1.0]
