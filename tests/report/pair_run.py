"""A run folder like the ones that `self_improve` writes: rounds of prompts, pictures, answers, pairs and training.

"silmm" has four candidates a prompt and no perturbed prompts; "ospo" has three pair slots a prompt, detailed prompts
and object masks.
"""

import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any, Literal

from gpo_run import CATEGORIES, COLORS, SHAPES, WORDS, changes, write_evaluation, write_json
from PIL import Image, ImageDraw

from selfportrait import store
from selfportrait.asking.roles import dense, perturbed
from selfportrait.stages import prompt_rows
from selfportrait.types import Prompt, Question

Kind = Literal["silmm", "ospo"]
Things = tuple[tuple[int, str, str], ...]  # how many, of which colour and shape
EDITS = ("replace", "swap", "drop")
GRID = 16  # tokens along a side
BACKGROUNDS = {"silmm": "#181820", "ospo": "#b0b4ba"}


def say(things: Things) -> str:
    return " and ".join(f"{WORDS[n - 1]} {color} {shape}{'s' if n > 1 else ''}" for n, color, shape in things)


def questions(things: Things) -> tuple[Question, ...]:
    asked = [Question(f"{'Are' if n > 1 else 'Is'} there {say(((n, color, shape),))}?") for n, color, shape in things]
    return (*asked, Question("Is there anything else in the picture?", answer=False))


def imagine(chance: random.Random) -> Things:
    colors, shapes = chance.sample(list(COLORS), 2), chance.sample(SHAPES, 2)
    return tuple((chance.randint(1, 3), color, shape) for color, shape in zip(colors, shapes, strict=True))


def edited(things: Things, edit: str, chance: random.Random) -> Things:
    (n, color, shape), (other_n, other_color, other_shape) = things
    if edit == "swap":
        return (n, other_color, shape), (other_n, color, other_shape)
    if edit == "drop":
        return ((n, color, shape),)
    fresh = chance.choice([name for name in COLORS if name not in (color, other_color)])
    return (n, fresh, shape), (other_n, other_color, other_shape)


def places(things: Things, seed: int) -> list[tuple[int, int]]:
    cells = random.Random(seed % 3).sample(range(9), sum(n for n, _, _ in things))
    return [(12 + cell % 3 * 20, 12 + cell // 3 * 20) for cell in cells]


@cache
def draw(things: Things, seed: int, background: str) -> Image.Image:
    """A 64x64 picture of some things."""
    image = Image.new("RGB", (64, 64), background)
    pen = ImageDraw.Draw(image)
    kinds = [(color, shape) for n, color, shape in things for _ in range(n)]
    for (x, y), (color, shape) in zip(places(things, seed), kinds, strict=True):
        corners = {"square": 4, "triangle": 3}
        if shape == "circle":
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), COLORS[color])
        else:
            pen.regular_polygon((x, y, 8), corners[shape], fill=COLORS[color])
    return image


def mask(things: Things, seed: int) -> list[float]:
    """Where the things are, soft at the edges, row by row."""
    spots = places(things, seed)
    cells = [(4 * column + 2, 4 * row + 2) for row in range(GRID) for column in range(GRID)]
    return [max(math.exp(-(max(0.0, math.dist(cell, spot) - 6) ** 2) / 12) for spot in spots) for cell in cells]


def judged(asked: Things, drawn: Things, chance: random.Random) -> tuple[float, dict[str, Any]]:
    """A score and its details: the judge is usually right, and never sure."""
    answers = []
    for question, thing in zip(questions(asked), [*asked, None], strict=True):
        is_yes = (thing in drawn) if thing else len(drawn) > len(asked)
        sure = min(0.98, max(0.02, chance.gauss(0.86 if is_yes else 0.2, 0.1)))
        p_yes, p_no = 0.97 * sure, 0.97 * (1 - sure)
        answers.append(
            {"text": question.text, "yes": p_yes > p_no, "expected": question.answer, "p_yes": p_yes, "p_no": p_no}
        )
    values = [(one["p_yes"] - one["p_no"]) * (1 if one["expected"] else -1) for one in answers]
    return sum(values) / len(values), {"exact": all(value > 0 for value in values), "questions": answers}


class Round:
    """The rows of one round's tables, filled prompt by prompt."""

    def __init__(self, kind: Kind, index: int) -> None:
        self.kind, self.index = kind, index
        self.prompts: list[Prompt] = []
        self.candidates: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self.pairs: list[dict[str, Any]] = []
        self.masks: list[dict[str, Any]] = []

    def add(self, number: int) -> None:
        """One base prompt with all that is made of it."""
        chance = random.Random(f"{self.kind} {self.index} {number}")
        things = imagine(chance)
        category = ("attribute2", "layout3", "complex")[number % 3]
        base = Prompt(f"p{number:04d}", say(things), category, questions(things))
        self.prompts.append(base)
        if self.kind == "silmm":
            found = [self.candidate(base, base.text, things, slot, chance) for slot in range(4)]
            found.sort(key=lambda one: -one[1])
            if found[0][1] - found[-1][1] > 0.02:
                self.pair(base, None, found[0], found[-1])
            return
        slots = []
        for slot, edit in enumerate(EDITS):
            other = edited(things, edit, chance)
            short = perturbed(base, slot, edit, say(other))
            room = "on a plain grey ground, evenly lit, nothing else in sight"
            long = [dense(base, slot, edit, f"{say(things)} {room}"), dense(short, slot, edit, f"{say(other)} {room}")]
            self.prompts += [short, *long]
            chosen = self.candidate(base, long[0].text, things, slot, chance)
            rejected = self.candidate(base, long[1].text, things, slot, chance, drawn=other)
            slots.append((chosen, rejected, long[1].text))
        chosen, rejected, text = max(slots, key=lambda one: one[0][1])
        if chosen[1] >= 0.4:
            self.pair(base, text, chosen, rejected)
            for one, seen in ((chosen, things), (rejected, things)):
                row = {"candidate_id": one[0], "height": GRID, "width": GRID, "mask": mask(seen, one[2])}
                self.masks.append(row | {"objects": [shape for _, _, shape in things]})

    def candidate(
        self, base: Prompt, text: str, asked: Things, slot: int, chance: random.Random, drawn: Things | None = None
    ) -> tuple[str, float, int]:
        """Draw and judge one picture; returns its id, score and seed."""
        seed = chance.randrange(2**31)
        if drawn is None:
            drawn = asked if chance.random() < 0.4 + 0.15 * self.index else edited(asked, chance.choice(EDITS), chance)
            id_ = f"{base.id}-{slot:04d}"
        else:
            id_ = f"{base.id}-{slot:04d}-negative"
        value, details = judged(asked, drawn, chance)
        self.candidates.append(
            {"id": id_, "prompt_id": base.id, "prompt": text, "index": slot, "seed": seed, "step": 0}
            | {"image": draw(drawn, seed, BACKGROUNDS[self.kind]), "latent": None, "tokens": [1, 2, 3]}
        )
        self.scores.append(
            {"candidate_id": id_, "judge": "SelfVqa", "value": value, "reason": None, "details": json.dumps(details)}
        )
        return id_, value, seed

    def pair(self, base: Prompt, text: str | None, chosen: tuple[Any, ...], rejected: tuple[Any, ...]) -> None:
        row = {"prompt_id": base.id, "prompt": base.text, "rejected_prompt": text}
        row |= {"chosen_id": chosen[0], "rejected_id": rejected[0]}
        row |= {"chosen_score": chosen[1], "rejected_score": rejected[1], "margin": chosen[1] - rejected[1]}
        self.pairs.append(row)

    def write(self, folder: Path, num_prompts: int, steps: int) -> None:
        """Every file of the round but its evaluation."""
        store.write_table(folder / "prompts", 0, prompt_rows(self.prompts), store.PROMPTS)
        store.write_table(folder / "candidates", 0, self.candidates, store.CANDIDATES)
        store.write_table(folder / "scores", 0, self.scores, store.SCORES)
        store.write_table(folder / "preferences", 0, self.pairs, store.PAIRS)
        if self.masks:
            store.write_table(folder / "masks", 0, self.masks, store.MASKS)
        write_json(folder / "yield.json", self.yields(num_prompts))
        write_json(folder / "calibration.json", self.calibration())
        for step in range(1, steps + 1):
            store.append_jsonl(folder / "training" / "metrics.jsonl", self.metrics(step, steps))
            store.append_jsonl(folder / "training" / "timing.jsonl", {"step": step, "train_s": 1.4})

    def yields(self, num_prompts: int) -> dict[str, Any]:
        lost = num_prompts - len(self.pairs)
        found = {
            "prompts": {"kept": num_prompts, "dropped": {"not three fields": 7 + self.index, "written before": 31}},
            "questions": {"kept": num_prompts, "dropped": {"no question": 2}},
            "candidates": {"kept": len(self.candidates), "dropped": {}},
            "scores": {"kept": len(self.scores), "dropped": {}},
            "preferences": {
                "kept": len(self.pairs),
                "dropped": {"tie" if self.kind == "silmm" else "no candidate is right": lost} if lost else {},
                "num_ambiguous": sum(pair["margin"] < 0.2 for pair in self.pairs),
                "num_checked": len(self.pairs),
                "num_false": len(self.pairs) // 9,
            },
        }
        if self.kind == "ospo":
            found["perturbations"] = {"kept": 3 * num_prompts, "dropped": {"nothing to swap": 11, "no result": 5}}
            found["densifications"] = {"kept": 3 * num_prompts, "dropped": {"a label is missing": 9}}
        return found

    def calibration(self) -> dict[str, Any]:
        looks = self.kind == "ospo" or self.index < 2
        yes = {"yes_own": 0.81, "yes_blank": 0.04 if looks else 0.93, "yes_shuffled": 0.09, "yes_wrong": 0.22}
        rest = {"prefers_own": 0.93, "ranks_exact": 0.88, "answers_exact": 0.9, "ranks_error": 0.05}
        warning = (
            None if looks else "The self-judge says yes whatever it sees: to 93% of questions about a blank picture."
        )
        return {"num_pictures": 96, "num_missing": self.index, "warning": warning, **yes, **rest}

    def metrics(self, step: int, steps: int) -> dict[str, Any]:
        chance, way = random.Random(f"{self.kind} {self.index} {step}"), step / steps
        found = {
            "step": step,
            "loss": 0.69 - 0.2 * way / (self.index + 1) + chance.gauss(0, 0.02),
            "reward/margin": 0.8 * way / (self.index + 1) + chance.gauss(0, 0.05),
            "reward/accuracy": 0.5 + 0.35 * way / (self.index + 1) + chance.gauss(0, 0.03),
            "logp/chosen": -4.2 + 0.1 * self.index + 0.15 * way + chance.gauss(0, 0.02),
            "logp/rejected": -4.2 + 0.1 * self.index - 0.2 * way + chance.gauss(0, 0.02),
            "grad_norm": 0.4 + chance.expovariate(8),
            "events": [],
        }
        return found | ({"loss/simpo": 2.5 - way, "loss/sft": 4.2 - 0.1 * way} if self.kind == "ospo" else {})


def write_run(folder: Path, kind: Kind, *, num_rounds: int = 3, num_prompts: int = 12, steps: int = 12) -> Path:
    """A finished run."""
    write_json(folder / "config.json", config(kind, num_rounds, num_prompts))
    gains, maps = dict.fromkeys(CATEGORIES, 0.0), []
    maps.append(write_evaluation(folder / "round-0" / "evaluation", "before", gains))
    for index in range(num_rounds):
        one, place = Round(kind, index), folder / f"round-{index}"
        for number in range(num_prompts):
            one.add(number)
        one.write(place, num_prompts, steps)
        gains = {name: gain + (0.14, 0.05, 0.0, -0.01)[min(index, 3)] for name, gain in gains.items()}
        maps.append(write_evaluation(place / "evaluation", "after", gains))
    summary = {
        "before": maps[0],
        "after": maps[-1],
        "rounds": maps[1:],
        "change": changes(maps[0], maps[-1]),
        "round_changes": [changes(*two) for two in zip(maps, maps[1:], strict=False)],
        "time_s": {"prompts": 31.0, "candidates": 240.0, "scores": 62.0, "training": 180.0, "evaluation": 95.0},
        "peak_memory_mb": 1420.0,
        "health": [],
    }
    write_json(folder / "summary.json", summary)
    return folder


def config(kind: Kind, num_rounds: int, num_prompts: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "seed": 7,
        "recipe": {"name": "self_improve", "rounds": num_rounds, "candidates_per_prompt": 4},
        "model": {"name": "janus", "path": "micro-janus", "train": "full"},
        "prompts": {"name": "templates" if kind == "silmm" else "streams"},
        "questions": {"name": "self_written"},
        "judge": {"name": "self_vqa"},
        "selection": {"name": "best_worst" if kind == "silmm" else "perturbed_pairs"},
        "weights": {"name": "ones" if kind == "silmm" else "object_mask"},
        "loss": {"name": "dpo", "beta": 0.2} if kind == "silmm" else {"name": "sum", "terms": {"simpo": {}, "sft": {}}},
        "optimizer": {"learning_rate": 1e-5},
        "benchmark": {"name": "micro"},
    }
    if kind == "ospo":
        settings |= {"perturbation": {"name": "self_written"}, "densification": {"name": "self_written"}}
    return {"settings": settings, "versions": {"selfportrait": "0.1.0"}, "hardware": {"device": "cpu", "cores": 2}}
