"""A run folder like the ones a recipe writes: six categories, steps of 8 groups of 16 pictures of shapes."""

import io
import json
import math
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

COLORS = {"red": "#e04040", "green": "#40c060", "blue": "#4070f0", "yellow": "#f0d040", "cyan": "#40d0d0"}
SHAPES = ("circle", "square", "triangle")
CATEGORIES = {"color": 0.55, "shape": 0.6, "relation": 0.35, "numeracy": 0.42, "text": 0.5, "complex": 0.3}
WORDS = ("one", "two", "three", "four", "five", "six")
EVENT = {"name": "diversity_collapse", "step": 48, "value": 0.47, "threshold": 0.5}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
STEPS, GROUPS, SIZE, PROMPTS = 60, 8, 16, 12


@cache
def draw(color: str, shape: str, count: int, variant: int) -> bytes:
    """A 64x64 PNG with `count` shapes."""
    chance = random.Random(f"{color} {shape} {count} {variant}")
    image = Image.new("RGB", (64, 64), "#181820")
    pen = ImageDraw.Draw(image)
    for place in chance.sample(range(9), count):
        x, y = 12 + place % 3 * 20 + chance.randint(-2, 2), 12 + place // 3 * 20 + chance.randint(-2, 2)
        box = (x - 7, y - 7, x + 7, y + 7)
        if shape == "circle":
            pen.ellipse(box, COLORS[color])
        elif shape == "square":
            pen.rectangle(box, COLORS[color])
        else:
            pen.polygon([(x, y - 8), (x - 8, y + 7), (x + 8, y + 7)], COLORS[color])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def cell(color: str, shape: str, count: int, variant: int) -> dict[str, Any]:
    return {"bytes": draw(color, shape, count, variant % 4), "path": None}


def write_rows(folder: Path, part: int, rows: list[dict[str, Any]], types: dict[str, pa.DataType]) -> None:
    """One part of a table, with the types of the columns that Arrow would not guess."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, types.get(name) or pa.array([rows[0][name]]).type) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"part-{part:05d}.parquet")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), "utf-8")


def scene(chance: random.Random) -> tuple[str, str, int, str]:
    """A colour, a shape, a count and their prompt."""
    color, shape, count = chance.choice(list(COLORS)), chance.choice(SHAPES), chance.randint(1, 6)
    return color, shape, count, f"{WORDS[count - 1]} {color} {shape}{'s' if count > 1 else ''}"


def evaluation_rows(when: str, gains: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Four pictures of each held-out prompt, right more often by the gain of their category."""
    for category, rate in CATEGORIES.items():
        better = gains[category]
        for number in range(PROMPTS * (4 if category == "numeracy" else 1)):
            color, shape, count, prompt = scene(random.Random(f"{category} {number}"))
            for index in range(4):
                luck = random.Random(f"{category} {number} {index}").random()
                is_exact = luck + random.Random(f"{when} {category} {number} {index}").gauss(0, 0.1) < rate + better
                drawn = count if is_exact else count % 6 + 1
                yield {
                    "prompt_id": f"{category}-{number}",
                    "prompt": prompt,
                    "category": category,
                    "index": index,
                    "seed": 1000 + number * 4 + index,
                    "image": cell(color, shape, drawn, number + index),
                    "exact": is_exact,
                    "score": 1.0 if is_exact else 0.5,
                    "reason": None,
                    "details": "{}",
                }


def write_evaluation(folder: Path, when: str, gains: dict[str, float]) -> dict[str, dict[str, float]]:
    """The pictures of one evaluation and their map; returns the map."""
    rows = list(evaluation_rows(when, gains))
    write_rows(folder / when, 0, rows, {"image": IMAGE, "exact": pa.bool_(), "reason": pa.string()})
    accuracy = {}
    for category in CATEGORIES:
        exact = [row["exact"] for row in rows if row["category"] == category]
        share, error = sum(exact) / len(exact), 1.0 / math.sqrt(len(exact))
        pass_at_4 = sum(any(exact[place : place + 4]) for place in range(0, len(exact), 4)) / (len(exact) / 4)
        accuracy[category] = {
            "accuracy": share,
            "low": max(0.0, share - error),
            "high": min(1.0, share + error),
            "pass_at_4": pass_at_4,
            "n": len(exact),
        }
    mean = {
        key: sum(row[key] for row in accuracy.values()) / len(accuracy)
        for key in ("accuracy", "low", "high", "pass_at_4")
    }
    accuracy["overall"] = mean | {"n": len(rows)}
    write_json(folder / f"{when}.json", accuracy)
    return accuracy


def changes(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What the summary says about two maps."""
    return {
        name: {
            "difference": after[name]["accuracy"] - row["accuracy"],
            "low": after[name]["accuracy"] - row["accuracy"] - 0.05,
            "high": after[name]["accuracy"] - row["accuracy"] + 0.05,
            "pass_at_4_difference": after[name]["pass_at_4"] - row["pass_at_4"],
        }
        for name, row in before.items()
    }


def write_step(folder: Path, step: int) -> dict[str, Any]:
    """Candidates, scores and preferences of one step; returns its metrics."""
    candidates, scores, preferences = [], [], []
    kept = 0
    for group in range(GROUPS):
        chance = random.Random(f"step {step} group {group}")
        color, shape, count, prompt = scene(chance)
        rate = 0.45 + 0.25 * step / STEPS if group != 3 else 1.0
        counts = [count if chance.random() < rate else (count + chance.choice((0, 1, 4))) % 6 + 1 for _ in range(SIZE)]
        rewards = [1 - min(1.0, abs(drawn - count) / count) for drawn in counts]
        mean = sum(rewards) / SIZE
        std = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / SIZE)
        kept += std > 0
        for index, (drawn, reward) in enumerate(zip(counts, rewards, strict=True)):
            name = f"{step}-{group}-{index}"
            is_missing = (step, group, index) == (1, 0, 5)
            candidates.append(
                {
                    "id": name,
                    "prompt_id": f"train-{group}",
                    "prompt": prompt,
                    "index": index,
                    "seed": step * 10**6 + index,
                    "step": step,
                    "image": cell(color, shape, drawn, index),
                    "latent": [0.0] * 8,
                    "tokens": None,
                }
            )
            scores.append(
                {
                    "candidate_id": name,
                    "judge": "micro_count",
                    "value": None if is_missing else reward,
                    "reason": "no component was found" if is_missing else None,
                    "details": "{}",
                }
            )
            preferences.append(
                {
                    "candidate_id": name,
                    "group_id": f"train-{group}@{step}",
                    "step": step,
                    "reward": None if is_missing else reward,
                    "advantage": 0.0 if is_missing or std == 0 else (reward - mean) / std,
                    "kept": std > 0,
                }
            )
    write_rows(folder / "candidates", step - 1, candidates, {"image": IMAGE, "step": pa.int32()})
    write_rows(folder / "scores", step - 1, scores, {"value": pa.float64(), "reason": pa.string()})
    write_rows(folder / "preferences", step - 1, preferences, {"reward": pa.float64()})
    chance = random.Random(f"metrics {step}")
    return {
        "step": step,
        "loss": chance.gauss(0.0, 0.02),
        "reward/mean": 0.58 + 0.12 * step / STEPS + chance.gauss(0, 0.03),
        "reward/std": 0.3 - 0.05 * step / STEPS,
        "groups/kept": kept,
        "groups/skipped": GROUPS - kept,
        "error/above": 0.162 - 0.01 * step / STEPS + chance.gauss(0, 0.002),
        "error/below": 0.165 + 0.012 * (step / STEPS) ** 2 + chance.gauss(0, 0.002),
        "grad_norm": 0.4 + chance.expovariate(8),
        "diversity": 0.31 - 0.03 * step / STEPS + chance.gauss(0, 0.004),
        "learning_rate": 1e-5,
        "update": step * 3,
        "events": [EVENT] if step == 48 else [],
    }


def write_run(folder: Path, *, steps: int = STEPS) -> Path:
    """A finished run."""
    recipe = {
        "name": "gpo",
        "steps": steps,
        "group_size": SIZE,
        "prompts_per_step": GROUPS,
        "timesteps_per_update": 5,
        "updates_per_group": 3,
    }
    settings = {
        "seed": 7,
        "recipe": recipe,
        "model": {"name": "sd3", "path": "micro-sd3", "train": "full"},
        "prompts": {"name": "micro", "categories": ["numeracy"]},
        "judge": {"name": "micro_count"},
        "selection": {"name": "standardize"},
        "draw": {"name": "forward_noise", "shift": 3.0},
        "loss": {"name": "gpo", "guard": None},
        "optimizer": {"learning_rate": 1e-5},
        "benchmark": {"name": "micro"},
    }
    versions = {"selfportrait": "0.1.0", "torch": "2.13.0", "diffusers": "0.42.1"}
    hardware = {"device": "cpu", "cores": 2, "memory_gb": 8}
    config = {"settings": settings, "versions": versions, "hardware": hardware}
    write_json(folder / "config.json", config)
    none = dict.fromkeys(CATEGORIES, 0.0)
    gains = dict.fromkeys(CATEGORIES, 0.01) | {"numeracy": 0.16, "relation": -0.03}
    before = write_evaluation(folder / "round-0" / "evaluation", "before", none)
    after = write_evaluation(folder / "round-0" / "evaluation", "after", gains)
    metrics = [write_step(folder / "round-0", step) for step in range(1, steps + 1)]
    timing = [{"step": step, "sample_s": 2.1, "judge_s": 0.25, "train_s": 3.2} for step in range(1, steps + 1)]
    training = folder / "round-0" / "training"
    training.mkdir()
    for name, rows in (("metrics", metrics), ("timing", timing)):
        (training / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    time_s = {"evaluate before": 74.0, "sample": 126.0, "judge": 15.0, "train": 192.0, "evaluate after": 73.0}
    health = [EVENT] if steps >= 48 else []
    summary = {
        "before": before,
        "after": after,
        "change": changes(before, after),
        "time_s": time_s,
        "peak_memory_mb": 1834.0,
        "health": health,
    }
    write_json(folder / "summary.json", summary)
    return folder
