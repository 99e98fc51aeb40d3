"""What a unified model can do in the micro world, held against the exact judge: seeing, answering, writing.

Read this to see what the card of the embedded token model says, and how it was measured. How well it draws is measured
by the benchmark.
"""

import random
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from PIL import Image

from selfportrait import progress
from selfportrait.asking import densify, questions
from selfportrait.asking.base import Decoding, Unreadable, write_all
from selfportrait.asking.captions import STREAMS
from selfportrait.asking.perturb import Edit, read
from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import checks, parse
from selfportrait.micro.rewriting import density_fault, perturbation_fault
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, lay_out, prompts
from selfportrait.micro.world import render
from selfportrait.micro.writing import Example, caption_fault, coverage, examples
from selfportrait.seeds import derive

__all__ = ["Right", "answering", "reconstruction", "writing"]

GREEDY = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=112, batch_size=64)
_STREAM_BRIEFS = {stream.brief: name for name, stream in STREAMS.items()}


class Right(NamedTuple):
    """How many of how many were right."""

    right: int
    asked: int

    @property
    def share(self) -> float:
        """The share of right ones, 0 where nothing was asked."""
        return self.right / self.asked if self.asked else 0.0


def reconstruction(model: Any, *, count: int = 100, seed: int = 0) -> dict[str, Right]:
    """Rendered truth by category: how much of it the exact judge still passes after encoding and decoding."""
    found = {}
    for category in SHAPE_CATEGORIES:
        rng = random.Random(f"reconstruction-{category}-{seed}")
        claims = [claim(category, rng) for _ in range(count)]
        images = model.decode(model.tokenize([render(lay_out(one, rng)) for one in claims]))
        right = sum(
            all(verify(check, detect(image), background_of(image)) for check in checks(one))
            for one, image in zip(claims, images, strict=True)
        )
        found[category] = Right(right, count)
    return found


def answering(model: Any, *, count: int = 100, seed: int = 0) -> dict[str, Right]:
    """Questions of held-out prompts about pictures that the model drew for them, answered as the exact judge does.

    By kind of question, and apart from that by the true answer: "of yes", "of no".
    """
    texts = [
        prompt.text
        for category in SHAPE_CATEGORIES
        for prompt in islice(prompts(category, held_out=True, seed=seed), count)
    ]
    images: list[Image.Image] = []
    with progress.bar("drawing pictures to ask about", total=len(texts)) as advance:
        for start in range(0, len(texts), 50):
            part = texts[start : start + 50]
            seeds = [derive(seed, text, "examination") for text in part]
            images += model.sample(model.encode(part), seeds).images
            advance(len(part))
    asked = [(image, check) for image, text in zip(images, texts, strict=True) for check in checks(parse(text))]
    truth = [verify(check, detect(image), background_of(image)) for image, check in asked]
    p_yes, p_no = model.answer([image for image, _ in asked], [check.text for _, check in asked])
    said = (p_yes > p_no).tolist()
    keys = [(check.kind, f"of {'yes' if is_yes else 'no'}") for (_, check), is_yes in zip(asked, truth, strict=True)]
    return _counted(keys, [one == other for one, other in zip(said, truth, strict=True)])


def _counted(keys: Sequence[Sequence[str]], right: Sequence[bool]) -> dict[str, Right]:
    found: dict[str, Right] = {}
    for several, is_right in zip(keys, right, strict=True):
        for key in (*several, "all"):
            before = found.get(key, Right(0, 0))
            found[key] = Right(before.right + is_right, before.asked + 1)
    return found


def writing(model: Any, *, count: int = 140, seed: int = 1) -> dict[str, Right]:
    """Texts of every task, sampled at temperature 1: how many are what was asked for, by exact checks."""
    found = {}
    for task, is_right in _CHECKS.items():
        asked = list(islice(examples(task, seed=seed), count))  # type: ignore[arg-type]
        seeds = [derive(seed, task, index, "examination") for index in range(count)]
        written = write_all(model, [example.conversation for example in asked], seeds, GREEDY, f"writing: {task}")
        right = [_is_right(is_right, example, text) for example, text in zip(asked, written, strict=True)]
        found[task] = Right(sum(right), count)
    return found


def _is_right(check: Callable[[Example, str], bool], example: Example, text: str) -> bool:
    try:
        return check(example, text)
    except (Unreadable, ValueError):  # not to be read, or not in the language
        return False


def _is_caption(example: Example, text: str) -> bool:
    brief = example.conversation[-1].text.removeprefix("Write one new caption: ").removesuffix(".")
    return caption_fault(text, _STREAM_BRIEFS[brief]) is None


def _is_perturbed(example: Example, text: str) -> bool:
    base, _, edit = example.conversation[-1].text.partition("\nEdit: ")
    kinds: dict[str, Edit] = {"<replace>": "replace", "<swap>": "swap", "<drop>": "drop"}
    return perturbation_fault(base, read(text, base), kinds[edit.strip()]) is None


def _is_dense(example: Example, text: str) -> bool:
    first, second, _ = example.conversation[-1].text.split("\n")
    base, perturbed = first.removeprefix("First: "), second.removeprefix("Second: ")
    return density_fault(base, perturbed, densify.read(text)) is None


def _covers(example: Example, text: str) -> bool:
    return not any(coverage(example.conversation[-1].text.removeprefix(f"{questions.LABEL} "), questions.read(text)))


_CHECKS: dict[str, Callable[[Example, str], bool]] = {
    "caption": _is_caption,
    "perturb": _is_perturbed,
    "densify": _is_dense,
    "questions": _covers,
}
