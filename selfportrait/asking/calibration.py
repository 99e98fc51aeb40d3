"""Whether a self-judge looks at the picture at all: what it answers where the right answer is known to be no.

Read this before believing a self-judge's scores. A model that says yes to everything gives every picture of a prompt
nearly the same score, and training on the rest is training on noise.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from selfportrait.asking.base import Answers
from selfportrait.asking.yes_no import Answer, answer_all
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Score

__all__ = ["Calibration", "calibrate"]

ALWAYS = 0.9  # share of yes about blank and wrong pictures from which a judge says yes whatever it sees
TWO_SIDED = 1.96  # standard errors that something must lie above chance to be told from it


@dataclass(frozen=True)
class Calibration:
    """What a self-judge answered about pictures that fit and pictures that do not; None where it was not asked.

    `yes_*` are shares of questions answered yes: about the prompt's own picture, a blank one, one whose pixels were
    shuffled, and another prompt's. `prefers_own` is the share of pictures whose own questions score higher than another
    prompt's, ties counting half. `ranks_exact` is the probability that a picture which an exact judge passes scores
    higher than one it fails, and `answers_exact` the mean of the shares answered right among the questions that the
    exact judge answers yes and among those it answers no. Chance is 0.5 for all three.
    """

    num_pictures: int
    num_missing: int
    yes_own: float | None
    yes_blank: float | None
    yes_shuffled: float | None
    yes_wrong: float | None
    prefers_own: float | None
    ranks_exact: float | None = None
    answers_exact: float | None = None
    ranks_error: float | None = None

    @property
    def warning(self) -> str | None:
        """Why the scores should not be believed, in sentences; None where nothing speaks against them."""
        return " ".join(self._warnings()) or None

    def as_json(self) -> dict[str, Any]:
        """Every number, and the warning."""
        return {**asdict(self), "warning": self.warning}

    def _warnings(self) -> list[str]:
        if self.yes_own is None or self.yes_blank is None or self.yes_wrong is None or self.prefers_own is None:
            return ["The self-judge gave no answer that can be read."]
        found = []
        if min(self.yes_blank, self.yes_wrong) >= ALWAYS:
            found.append(
                f"The self-judge says yes whatever it sees: to {self.yes_blank:.0%} of questions about a blank picture "
                f"and {self.yes_wrong:.0%} about another prompt's."
            )
        if self.yes_own <= 1 - ALWAYS:
            found.append(
                f"The self-judge says no to nearly everything: yes to {self.yes_own:.0%} about a prompt's picture."
            )
        if self.prefers_own <= 0.5 + TWO_SIDED * 0.5 / math.sqrt(self.num_pictures - self.num_missing):
            found.append(
                f"It cannot tell a prompt's own questions from another's: they score higher for {self.prefers_own:.0%} "
                f"of {self.num_pictures - self.num_missing} pictures, and chance is 50%."
            )
        if self.ranks_exact is not None and self.ranks_exact <= 0.5 + TWO_SIDED * (self.ranks_error or 0):
            found.append(
                "It is no better than chance at the pictures that the exact judge passes: one of them scores higher "
                f"than one that fails in {self.ranks_exact:.0%} of cases."
            )
        return found


def calibrate(
    policy: Answers,
    prompts: Sequence[Prompt],
    images: Sequence[Image.Image],
    *,
    seed: int,
    exact: Sequence[Score] | None = None,
    batch_size: int = 16,
) -> Calibration:
    """Ask each prompt's questions about its picture, a blank one, its shuffled pixels and another prompt's picture.

    `exact` are an exact judge's scores of the same pictures. Needs prompts of two texts at least, with questions;
    raises ValueError otherwise. A hundred pictures tell 60 % from chance.
    """
    if len({prompt.text for prompt in prompts}) < 2:
        raise ValueError("a calibration needs pictures of at least two different prompts")
    for prompt in prompts:
        if not prompt.questions:
            raise ValueError(f"a calibration needs questions: the prompt {prompt.text!r} has none")
    others = [_another(prompts, index, seed) for index in range(len(prompts))]
    own = answer_all(policy, prompts, images, batch_size)
    blank = answer_all(policy, prompts, [Image.new("RGB", image.size, "gray") for image in images], batch_size)
    shuffled = answer_all(policy, prompts, [_shuffled(image, seed) for image in images], batch_size)
    wrong = answer_all(policy, others, images, batch_size)
    scores, wrong_scores = [_mean(answers) for answers in own], [_mean(answers) for answers in wrong]
    both = [(a, b) for a, b in zip(scores, wrong_scores, strict=True) if a is not None and b is not None]
    ranks, error = _ranks(scores, exact) if exact is not None else (None, None)
    return Calibration(
        num_pictures=len(prompts),
        num_missing=len(prompts) - len(both),
        yes_own=_share_of_yes(own),
        yes_blank=_share_of_yes(blank),
        yes_shuffled=_share_of_yes(shuffled),
        yes_wrong=_share_of_yes(wrong),
        prefers_own=fmean(_wins(a, b) for a, b in both) if both else None,
        ranks_exact=ranks,
        answers_exact=_answers(own, exact) if exact is not None else None,
        ranks_error=error,
    )


def _another(prompts: Sequence[Prompt], index: int, seed: int) -> Prompt:
    others = [prompt for prompt in prompts if prompt.text != prompts[index].text]
    return random.Random(derive(seed, index, "another prompt")).choice(others)


def _shuffled(image: Image.Image, seed: int) -> Image.Image:
    """The same pixels in a random order: colours without shapes."""
    pixels = np.asarray(image.convert("RGB"))
    order = np.random.default_rng(derive(seed, "shuffle")).permutation(pixels.shape[0] * pixels.shape[1])
    return Image.fromarray(pixels.reshape(-1, 3)[order].reshape(pixels.shape))


def _mean(answers: Sequence[Answer]) -> float | None:
    return fmean(answer.difference for answer in answers) if all(answer.is_valid for answer in answers) else None


def _share_of_yes(answers: Sequence[Sequence[Answer]]) -> float | None:
    valid = [answer for several in answers for answer in several if answer.is_valid]
    return fmean(answer.p_yes > answer.p_no for answer in valid) if valid else None


def _wins(a: float, b: float) -> float:
    return 1.0 if a > b else 0.5 if a == b else 0.0


def _ranks(scores: Sequence[float | None], exact: Sequence[Score]) -> tuple[float | None, float | None]:
    """The probability that a passed picture outranks a failed one, and its standard error if the judge guessed."""
    judged = [
        (score, truth.details["exact"])
        for score, truth in zip(scores, exact, strict=True)
        if score is not None and truth.value is not None and "exact" in truth.details
    ]
    passed = [score for score, is_exact in judged if is_exact]
    failed = [score for score, is_exact in judged if not is_exact]
    if not passed or not failed:
        return None, None
    error = math.sqrt((len(judged) + 1) / (12 * len(passed) * len(failed)))
    return fmean(_wins(a, b) for a in passed for b in failed), error


def _answers(own: Sequence[Sequence[Answer]], exact: Sequence[Score]) -> float | None:
    """Balanced agreement on the questions that both ask in the same words; None without both a yes and a no."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for answers, truth in zip(own, exact, strict=True):
        known = {question["text"]: question["yes"] for question in truth.details.get("questions", ())}
        for answer in answers:
            if answer.is_valid and answer.question.text in known:
                is_yes = known[answer.question.text]
                right[is_yes].append((answer.p_yes > answer.p_no) == is_yes)
    return fmean(fmean(several) for several in right.values()) if all(right.values()) else None
