"""From probabilities of yes and no to a score, by hand."""

import pytest

from selfportrait.judges._yes_no import alignment, differences, share_of_yes


def test_by_hand() -> None:
    # .9 - .05, .6 - .3, .2 - .7; their mean is .65 / 3; two of three are yes.
    answers = differences([0.9, 0.6, 0.2], [0.05, 0.3, 0.7])
    assert answers == pytest.approx([0.85, 0.3, -0.5])
    assert alignment(answers) == pytest.approx(0.21666667)
    assert share_of_yes(answers) == pytest.approx(2 / 3)


def test_swapping_yes_and_no_turns_the_score_round() -> None:
    p_yes, p_no = [0.9, 0.6, 0.2], [0.05, 0.3, 0.7]
    assert alignment(differences(p_no, p_yes)) == -alignment(differences(p_yes, p_no))


def test_a_tie_is_no_yes() -> None:
    assert share_of_yes(differences([0.5, 0.4], [0.5, 0.3])) == 0.5


def test_probabilities_are_not_made_to_add_up() -> None:
    # .3 against .0 is .3; divided by their sum it would be 1
    assert differences([0.3], [0.0]) == [0.3]
