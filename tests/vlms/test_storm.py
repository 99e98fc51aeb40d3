"""A server that fails three times in ten: every judgement is made or named missing, none doubled, none 0 by it."""

import json
import random
import threading
from pathlib import Path

import pytest

pytest.importorskip("openai")

from a_server import Answer, server
from PIL import Image

from selfportrait.judges.vlm import Vlm
from selfportrait.types import Prompt
from selfportrait.vlms.endpoint import Endpoint

PICTURE = Image.new("RGB", (32, 32), "red")
BROKEN = json.dumps({"choices": [{"message": {"content": "Ye"}}]}).encode()[:-7]


class Storm:
    """Answers with a probability of yes that the prompt's number decides, or fails."""

    def __init__(self, seed: int) -> None:
        self.chance, self.lock, self.made = random.Random(seed), threading.Lock(), [0, 0]

    def __call__(self, _: int, body: dict) -> Answer:
        with self.lock:
            draw = self.chance.random()
            self.made[draw < 0.3] += 1
        if draw < 0.3:
            return [(500, b"oops"), (503, b""), (429, b"{}"), (200, BROKEN)][int(draw * 1000) % 4]
        number = int(body["messages"][0]["content"][1]["text"].split("number ")[1].split('"')[0])
        likeliest = [{"token": "Yes", "logprob": 0.0}, {"token": " No", "logprob": -(number % 7 + 1.0)}]
        choice = {"message": {"content": "Yes"}, "logprobs": {"content": [{"top_logprobs": likeliest}]}}
        return 200, json.dumps({"choices": [choice]}).encode()


def judged(count: int, folder: Path) -> None:
    prompts = [Prompt(str(index), f"number {index}") for index in range(count)]
    cache, storm = folder / "answers.jsonl", Storm(0)
    with server(storm, pause_ms=1) as (url, seen):
        judge = Vlm(vlm=Endpoint(url=url, model="looker", parallel=16, retries=3, cache=str(cache)))
        scores = judge(prompts, [PICTURE] * count)
        made = [score.value is not None for score in scores]
        assert len(scores) == count
        assert storm.made[1] > 0.2 * count  # it did fail
        assert 0.85 * count < sum(made) < count  # a broken answer is not tried again
        for index, score in enumerate(scores):
            if score.value is None:
                assert (score.reason or "").startswith("no reply: ")
            else:
                likely = 2.718281828459045 ** -(index % 7 + 1)
                assert score.value == pytest.approx(1 / (1 + likely))
        kept = [json.loads(line)["key"] for line in cache.read_text().splitlines()]
        assert len(kept) == len(set(kept)) == sum(made)
        before = len(seen)
        again = judge(prompts, [PICTURE] * count)
        assert [one.value for one, was in zip(again, made, strict=True) if was] == [
            one.value for one, was in zip(scores, made, strict=True) if was
        ]
        assert len(seen) - before <= 4 * (count - sum(made))  # only what failed is asked again


def test_200_judgements(tmp_path: Path) -> None:
    judged(200, tmp_path)


@pytest.mark.slow
def test_1000_judgements(tmp_path: Path) -> None:
    judged(1000, tmp_path)
