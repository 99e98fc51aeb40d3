"""Finds the instances of twelve micro pairs, and may kill itself at a call: python tiny_instances.py DIR CALLS.

Read this beside test_instances, which starts it.
"""

import os
import random
import signal
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

from selfportrait.detectors.micro import Micro as MicroDetector
from selfportrait.instance_judges.base import Comparison, Verdict
from selfportrait.instance_judges.micro import Micro as MicroJudge
from selfportrait.micro.language import parse
from selfportrait.micro.scenes import lay_out, prompts
from selfportrait.micro.world import render
from selfportrait.planners.micro import Micro as MicroPlanner
from selfportrait.stages import Finders, find_instances


class Mortal(MicroJudge):
    """The exact judge, for some calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        self.calls -= 1
        if self.calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(comparisons)


def picture(text: str, index: int) -> SimpleNamespace:
    image = render(lay_out(parse(text), random.Random(index)))
    return SimpleNamespace(read=lambda: image)


def pair(index: int, text: str, other: str) -> SimpleNamespace:
    """Right against wrong, or the other way round in every second pair."""
    texts = (text, other) if index % 2 else (other, text)
    chosen, rejected = (picture(one, 2 * index + side) for side, one in enumerate(texts))
    return SimpleNamespace(id=f"pair-{index}", prompt=text, chosen=chosen, rejected=rejected)


def main(folder: Path, calls: int) -> None:
    texts = [prompt.text for prompt in islice(prompts("color", held_out=False, seed=0), 24)]
    pairs = [pair(index, *texts[2 * index : 2 * index + 2]) for index in range(12)]
    finders = Finders(MicroPlanner(), MicroDetector(), Mortal(calls))
    find_instances(finders, pairs, folder / "instances", seed=5, pairs_per_part=3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
