"""What the micro world's exact judges share: read the prompt, find the shapes, answer every check."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from PIL import Image

from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import Check, Claim, checks, parse
from selfportrait.types import Detection, Prompt, Score

__all__ = ["Finding", "lacking", "look", "score_all"]


class Finding(NamedTuple):
    """A picture against its prompt: what was claimed, what was found, and each check with its answer."""

    claim: Claim
    detections: list[Detection]
    answers: list[tuple[Check, bool]]

    def details(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {
            "exact": all(answer for _, answer in self.answers),
            "questions": [{"text": check.text, "yes": answer} for check, answer in self.answers],
            "detections": [
                {"name": d.name, "box": list(d.box), "score": round(d.score, 4), **d.attributes}
                for d in self.detections
            ],
        }


def look(prompt: str, image: Image.Image) -> Finding:
    """Answer every check of a prompt; raises ValueError for a prompt outside the micro language or about a word."""
    claim, found, background = parse(prompt), detect(image), background_of(image)
    return Finding(claim, found, [(check, verify(check, found, background)) for check in checks(claim)])


def lacking(prompt: Prompt) -> str | None:
    """Why no picture of a prompt can be judged; None where one can."""
    try:
        checks(parse(prompt.text))
    except ValueError as error:
        return str(error)
    return None


def score_all(
    prompts: Sequence[Prompt], images: Sequence[Image.Image], value: Callable[[Finding], float]
) -> list[Score]:
    """Score each picture by a function of its finding; a prompt that cannot be read is missing, with the reason."""
    scores = []
    for prompt, image in zip(prompts, images, strict=True):
        try:
            finding = look(prompt.text, image)
        except ValueError as error:
            scores.append(Score(None, str(error)))
            continue
        scores.append(Score(value(finding), None, finding.details()))
    return scores
