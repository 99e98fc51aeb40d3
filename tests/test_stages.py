"""The stages between the tables: what they write, and where they go on."""

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from selfportrait import stages, store
from selfportrait.benchmarks.micro import Micro
from selfportrait.models.base import EncodedText, Samples
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Question, Score

PROMPTS = [Prompt("a", "one red circle", "numeracy", (Question("Is it?"),)), Prompt("b", "a blue ring", "color")]


class Blank:
    """A model that draws empty pictures and remembers for which texts and seeds."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.seeds: list[int] = []

    def encode(self, prompts: Sequence[str]) -> EncodedText:
        self.texts += prompts
        return EncodedText(torch.zeros(len(prompts), 2, 3), torch.arange(len(prompts)).float().unsqueeze(1))

    def sample(self, conditioning: EncodedText, seeds: Sequence[int]) -> Samples:
        assert len(conditioning.pooled) == len(seeds)
        self.seeds += seeds
        return Samples([Image.new("RGB", (64, 64))] * len(seeds), conditioning.pooled.view(-1, 1, 1, 1))


# Candidates


def test_the_token_ids_of_a_picture_are_kept_as_they_were_sampled(tmp_path: Path) -> None:
    samples = Samples([Image.new("RGB", (8, 8))] * 2, torch.tensor([[16383, 0, 7], [1, 2, 3]]))
    stages.save_candidates(tmp_path, 0, PROMPTS, [0, 0], samples, [5, 6])
    rows = store.read_table(tmp_path).to_pylist()
    assert [row["tokens"] for row in rows] == [[16383, 0, 7], [1, 2, 3]]
    assert [row["latent"] for row in rows] == [None, None]


def test_candidates_are_drawn_prompt_by_prompt_from_seeds_of_their_own() -> None:
    samples, seeds = stages.sample_candidates(Blank(), PROMPTS, seed=7, round_index=1, first=[0, 4], count=3)
    assert samples.content.flatten().tolist() == [0, 0, 0, 1, 1, 1]
    indices = [("a", 0), ("a", 1), ("a", 2), ("b", 4), ("b", 5), ("b", 6)]
    assert seeds == [derive(7, 1, prompt, index, "sample") for prompt, index in indices]
    _, alone = stages.sample_candidates(Blank(), PROMPTS[1:], seed=7, round_index=1, first=[4], count=3)
    assert alone == seeds[3:]


def test_candidates_and_scores_become_rows(tmp_path: Path) -> None:
    samples, seeds = stages.sample_candidates(Blank(), PROMPTS, seed=0, round_index=0, first=[0, 2], count=2)
    ids = stages.save_candidates(tmp_path / "candidates", 0, PROMPTS, [0, 2], samples, seeds)
    assert ids == ["a-0000", "a-0001", "b-0002", "b-0003"]
    rows = store.read_table(tmp_path / "candidates").to_pylist()
    assert [row["id"] for row in rows] == ids
    assert [row["seed"] for row in rows] == seeds
    assert [row["latent"] for row in rows] == [[0.0], [0.0], [1.0], [1.0]]
    assert [row["prompt"] for row in rows] == ["one red circle"] * 2 + ["a blue ring"] * 2
    assert [row["tokens"] for row in rows] == [None] * 4
    scores = [Score(0.5, None, {"exact": False}), Score(None, "no"), Score(1.0), Score(0.0)]
    stages.save_scores(tmp_path / "scores", 0, ids, "Judge", scores)
    rows = store.read_table(tmp_path / "scores").to_pylist()
    assert [row["value"] for row in rows] == [0.5, None, 1.0, 0.0]
    assert [row["reason"] for row in rows] == [None, "no", None, None]
    assert json.loads(rows[0]["details"]) == {"exact": False}


def test_prompts_and_preferences_become_rows(tmp_path: Path) -> None:
    store.write_table(tmp_path / "prompts", 0, stages.prompt_rows(PROMPTS), store.PROMPTS)
    rows = store.read_table(tmp_path / "prompts").to_pylist()
    assert rows[0]["questions"] == [{"text": "Is it?", "answer": True}]
    assert rows[1]["category"] == "color"
    rewards = torch.tensor([[1.0, 0.0], [math.nan, 0.5]])
    advantages, keep = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([True, False])
    ids = ["a-0000", "a-0001", "b-0000", "b-0001"]
    found = stages.preference_rows(ids, PROMPTS, 3, rewards, advantages, keep)
    store.write_table(tmp_path / "preferences", 0, found, store.PREFERENCES)
    assert [row["group_id"] for row in found] == ["a@3", "a@3", "b@3", "b@3"]
    assert [row["reward"] for row in found] == [1.0, 0.0, None, 0.5]
    assert [row["advantage"] for row in found] == [1.0, -1.0, 0.0, 0.0]
    assert [row["kept"] for row in found] == [True, True, False, False]


# Scores


def judging(*scores: Score):
    return lambda prompts, images: list(scores)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_missing(value: float) -> None:
    image = Image.new("RGB", (1, 1))
    found = stages.score(judging(Score(value, None, {"exact": True}), Score(0.5)), PROMPTS, [image] * 2)
    assert found == [Score(None, f"the judge returned {value}", {"exact": True}), Score(0.5)]
    assert stages.score(judging(Score(value, "why")), PROMPTS[:1], [image])[0].reason == "why"


def test_a_judge_that_loses_a_picture_is_told() -> None:
    with pytest.raises(ValueError, match="returned 1 scores for 2 pictures"):
        stages.score(judging(Score(1.0)), PROMPTS, [Image.new("RGB", (1, 1))] * 2)


@pytest.mark.parametrize(
    ("num_missing", "limit", "is_refused"), [(0, 0, False), (1, 0, True), (1, 0.1, False), (2, 0.1, True)]
)
def test_too_many_missing_scores_are_refused(num_missing: int, limit: float, is_refused: bool) -> None:
    scores = [Score(None, f"reason {index}") for index in range(num_missing)]
    scores += [Score(0.0)] * (10 - num_missing)  # a score of 0 is a score
    if is_refused:
        with pytest.raises(ValueError, match=f"step 4: {num_missing} of 10 judgements are missing.*: reason 0"):
            stages.check_missing(scores, limit, "step 4")
    else:
        stages.check_missing(scores, limit, "step 4")


# Evaluation


def benchmark_of(count: int) -> Micro:
    return Micro(categories=("numeracy",), prompts_per_category=count, images_per_prompt=2)


def test_an_evaluation_writes_its_parts_and_goes_on_at_the_first_missing_one(tmp_path: Path) -> None:
    benchmark, model = benchmark_of(30), Blank()  # 25 prompts a part
    whole = stages.evaluate(model, benchmark, tmp_path)
    prompts = benchmark.prompts()
    assert model.texts == [prompt.text for prompt in prompts]
    assert model.seeds == [seed for prompt in prompts for seed in benchmark.seeds(prompt)]
    rows = store.read_table(tmp_path).to_pylist()
    assert [row["seed"] for row in rows] == model.seeds
    assert [row["prompt"] for row in rows] == [prompt.text for prompt in prompts for _ in range(2)]
    assert whole["numeracy"]["n"] == 60
    assert whole["numeracy"]["accuracy"] == 0

    first, second = store.parts(tmp_path)
    kept = second.read_bytes()
    second.unlink()
    again = Blank()
    assert stages.evaluate(again, benchmark, tmp_path) == whole
    assert again.texts == [prompt.text for prompt in prompts[25:]]
    assert second.read_bytes() == kept
    finished = Blank()
    assert stages.evaluate(finished, benchmark, tmp_path) == whole
    assert finished.texts == []
    assert first.exists()


def test_a_corrupt_part_of_an_evaluation_is_named(tmp_path: Path) -> None:
    stages.evaluate(Blank(), benchmark_of(2), tmp_path)
    (part,) = store.parts(tmp_path)
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(ValueError, match="part-00000.parquet is corrupt"):
        stages.evaluate(Blank(), benchmark_of(2), tmp_path)


def test_a_component_that_waits_for_the_model_is_completed_and_others_come_back() -> None:
    class Judge:
        def __init__(self, policy: str, seed: int, *, score: str = "a") -> None:
            self.given = (policy, seed, score)

    def later(rewards: list[float], *, scale: float = 1.0) -> list[float]:
        return [scale * reward for reward in rewards]

    assert stages.hand_over(partial(Judge, score="b"), policy="p", seed=3).given == ("p", 3, "b")
    loss, built = partial(later, scale=2.0), Judge("q", 1)
    assert stages.hand_over(loss, policy="p", seed=3) is loss
    assert stages.hand_over(built, policy="p", seed=3) is built
