"""Prompts that count everyday things, such as "three cats and a dog on a beach, at sunset".

Read this to see which things and places there are, and which prompts are kept apart for measuring. The things are among
COCO's 80 classes, so that detectors know them; no place names one.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence

from selfportrait.types import Prompt

__all__ = ["is_held_out", "prompts"]

HELD_OUT = 0.3  # share of the prompts, as in GPO
_RANGES = {1: (2, 6), 2: (1, 4), 3: (1, 2)}  # of each kind, by the number of kinds
_KINDS = (0.6, 0.3, 0.1)  # how often a prompt names one, two and three kinds
_NUMBERS = ("", "", "two", "three", "four", "five", "six")
_PLURALS = {"sheep": "sheep", "knife": "knives", "bus": "buses", "bench": "benches", "wine glass": "wine glasses"}
_PLURALS |= {"couch": "couches", "toothbrush": "toothbrushes", "sandwich": "sandwiches"}
_SCENES = {
    ("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "bird"): (
        "in a green field",
        "on a beach",
        "beside a lake",
        "in the snow",
        "in front of a barn",
        "under a blue sky",
    ),
    ("car", "bus", "truck", "bicycle", "motorcycle", "bench", "fire hydrant", "stop sign"): (
        "on a quiet street",
        "in front of a brick wall",
        "in an empty square",
        "on a country road",
        "in light rain",
    ),
    (
        "bottle", "cup", "bowl", "apple", "orange", "banana", "carrot", "donut", "sandwich", "spoon", "fork", "knife",
        "wine glass", "book", "vase", "clock", "teddy bear", "cell phone", "toothbrush",
    ): (
        "on a wooden board",
        "on a white shelf",
        "on a kitchen counter",
        "on a windowsill",
        "on a plain cloth",
    ),
    ("chair", "couch", "umbrella", "suitcase", "backpack", "potted plant", "handbag", "laptop"): (
        "in an empty room",
        "in a bright hallway",
        "against a white wall",
        "on a grey carpet",
    ),
}  # fmt: skip
_LIGHTS = ("", ", in soft daylight", ", at sunset", ", in studio light", ", a close photograph", ", seen from above")


def is_held_out(text: str) -> bool:
    """Whether a prompt is kept apart for measuring, which its text alone decides."""
    digest = hashlib.sha256(f"counting {text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT * 2**32


def prompts(*, held_out: bool, seed: int) -> Iterator[Prompt]:
    """Distinct prompts without end, all held out or none, in an order of the seed's; their spec has the counts."""
    rng, seen = random.Random(f"counting-{seed}"), set()
    while True:
        counts, place = _imagine(rng)
        text = f"{_listed([_phrase(kind, count) for kind, count in counts.items()])} {place}"
        if text not in seen and is_held_out(text) == held_out:
            seen.add(text)
            id_ = hashlib.sha256(text.encode()).hexdigest()[:16]
            yield Prompt(f"counting-{id_}", text, "counting", spec={"counts": counts})


def _imagine(rng: random.Random) -> tuple[dict[str, int], str]:
    """How many of which things, and where in what light; one kind alone is never one thing."""
    things, places = rng.choice(list(_SCENES.items()))
    kinds = rng.sample(things, rng.choices((1, 2, 3), _KINDS)[0])
    least, most = _RANGES[len(kinds)]
    counts = {kind: rng.randint(least, most) for kind in kinds}
    return counts, rng.choice(places) + rng.choice(_LIGHTS)


def _listed(phrases: Sequence[str]) -> str:
    *others, last = phrases
    return f"{', '.join(others)} and {last}" if others else last


def _phrase(kind: str, count: int) -> str:
    if count == 1:
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    return f"{_NUMBERS[count]} {_PLURALS.get(kind, f'{kind}s')}"
