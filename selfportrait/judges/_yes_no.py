"""What judges that ask yes/no questions share: from probabilities to a score.

Read this to see what a score of 0.6 means. Probabilities are of the whole vocabulary, each the largest among the ways
to write the word, and do not add up to 1: dividing them by their sum would change what 0.6 means.
"""

from collections.abc import Sequence

__all__ = ["alignment", "differences", "share_of_yes"]


def differences(p_yes: Sequence[float], p_no: Sequence[float]) -> list[float]:
    """Subtract the probability of no from that of yes, a number in [-1, 1] a question: above 0 is yes, 0 a tie."""
    return [yes - no for yes, no in zip(p_yes, p_no, strict=True)]


def alignment(answers: Sequence[float]) -> float:
    """Average the differences over a picture's questions (Eq. 1 of https://arxiv.org/abs/2412.05818)."""
    return sum(answers) / len(answers)


def share_of_yes(answers: Sequence[float]) -> float:
    """The share of questions answered yes, a coarser score: in SILMM's ablation clearly worse."""
    return sum(answer > 0 for answer in answers) / len(answers)
