"""What answers are worth: probabilities out of tokens, words, grades; what cannot be read is never a number."""

import math

import pytest

from selfportrait.asking.verdicts import NEITHER, YesNo, grade, of_text, of_tokens


def logs(**chances: float) -> list[tuple[str, float]]:
    return [(token, math.log(chance)) for token, chance in chances.items()]


def test_the_surface_forms_add_up() -> None:
    tokens = [("Yes", math.log(0.5)), (" yes", math.log(0.1)), ("▁Yes", math.log(0.05)), ("No", math.log(0.2)),
              ("Ġno", math.log(0.05)), ("Maybe", math.log(0.05)), ("not", math.log(0.02))]  # fmt: skip
    found = of_tokens(tokens)
    assert found[:2] == pytest.approx((0.65, 0.25))
    assert found.ratio == pytest.approx(0.65 / 0.9)


def test_only_one_of_them_is_enough_and_neither_is_missing() -> None:
    assert of_tokens(logs(Yes=0.25)) == YesNo(pytest.approx(0.25), 0.0)
    assert of_tokens(logs(No=0.5)).ratio == 0
    assert of_tokens(logs(Maybe=0.9, yesterday=0.1)) == YesNo(None, None, NEITHER)
    assert of_tokens([]) == YesNo(None, None, NEITHER)


@pytest.mark.parametrize("chances", [(math.nan, 0.1), (0.1, math.inf), (-0.1, 0.5), (1.5, 0.1)])
def test_what_is_no_probability_is_missing(chances: tuple[float, float]) -> None:
    found = YesNo.of(*chances)
    assert found[:2] == (None, None)
    assert found.ratio is None
    assert "are no probabilities" in (found.reason or "")


@pytest.mark.parametrize(
    ("text", "p_yes"),
    [("Yes", 1), ("yes.", 1), (" **No**, it does not", 0), ("NO", 0), ("Yes and no", 1),
     ("Maybe", None), ("", None), ("Yesterday", None), ("None", None), ("The answer is yes", None)],
)  # fmt: skip
def test_the_first_word_of_a_reply(text: str, p_yes: float | None) -> None:
    found = of_text(text)
    assert found.p_yes == p_yes
    assert (found.p_no is None) == (found.reason is not None) == (p_yes is None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"score": 4, "reason": "fine"}', 4),
        ('Sure!\n```json\n{"reason": "a {brace}", "score": "5"}\n```', 5),
        ('{"score": 3.0}', 3),
        ("{'score': 2, 'reason': 'not JSON'}", None),
        ('"score": 2, and more', 2),
        ("score: 1", 1),
        ('{"score": 4, "reason": "cut off', 4),
        ('{"score": 0}', None), ('{"score": 6}', None), ('{"score": 4.5}', None), ('{"score": 45}', None),
        ('{"score": true}', None), ('{"score": null}', None), ('{"score": [4]}', None), ('"score": 45', None),
        ('"score": 4.5', None), ("score: 2, no, score: 3", None), ("five", None), ("", None), ("4", None),
    ],
)  # fmt: skip
def test_a_grade_is_read_or_missing(text: str, value: int | None) -> None:
    found = grade(text)
    assert found.value == value
    assert (found.reason is None) == (value is not None)


def test_a_grade_keeps_what_was_said_and_a_failure_its_reason() -> None:
    assert grade('{"score": 4, "reason": "fine"}').said == "fine"
    assert grade(None, "no reply: timed out") == (None, "", "no reply: timed out")
