"""The graded counting judge of the micro world, on exact detections."""

from collections.abc import Sequence

from PIL import Image

from selfportrait.judges._micro import Finding, lacking, score_all
from selfportrait.types import Prompt, Score

__all__ = ["MicroCount"]


class MicroCount:
    """Score how near the counts are: the mean over named kinds of 1 - min(1, |detected - wanted| / wanted).

    Source: the counting reward of GPO (Chen et al., 2025, Table 1). Differs from the source: the paper prints the
    error ratio itself, of which 0 is the best; this is one minus it, cut at 0 so that one wild count does not rule
    a group's standard deviation.
    """

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score in [0, 1] a picture."""
        return score_all(prompts, images, _closeness)

    def lacks(self, prompt: Prompt) -> str | None:
        """Why no picture of a prompt can be judged; None where one can."""
        return lacking(prompt)


def _closeness(finding: Finding) -> float:
    closeness = []
    for phrase in finding.claim.phrases:
        wanted = {"shape": phrase.shape, "colour": phrase.colour, "size": phrase.size}
        count = sum(
            all(value is None or detection.attributes[key] == value for key, value in wanted.items())
            for detection in finding.detections
        )
        closeness.append(1 - min(1.0, abs(count - phrase.count) / phrase.count))
    return sum(closeness) / len(closeness)
