"""The alignment judge of the micro world: its questions, answered exactly."""

from collections.abc import Sequence

from PIL import Image

from selfportrait.judges._micro import Finding, lacking, score_all
from selfportrait.types import Prompt, Score

__all__ = ["MicroQuestions"]


class MicroQuestions:
    """Score the share of the prompt's yes/no questions that the picture answers with yes.

    Source: the alignment reward of GPO (Chen et al., 2025, Table 1), there with BLIP-VQA. `exact` in the details says
    whether every answer is yes.
    """

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score in [0, 1] a picture."""
        return score_all(prompts, images, _share_of_yes)

    def lacks(self, prompt: Prompt) -> str | None:
        """Why no picture of a prompt can be judged; None where one can."""
        return lacking(prompt)


def _share_of_yes(finding: Finding) -> float:
    return sum(answer for _, answer in finding.answers) / len(finding.answers)
