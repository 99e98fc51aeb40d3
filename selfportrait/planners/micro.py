"""The exact planner of the micro world: what the prompt claims and both pictures show."""

from collections.abc import Sequence

from selfportrait.micro.detect import detect
from selfportrait.micro.instances import covers, kind_of, names_of, phrase_of
from selfportrait.micro.language import Claim, Phrase, parse
from selfportrait.planners.base import PicturePair, Plan
from selfportrait.types import Detection

__all__ = ["Micro"]


class Micro:
    """Name each thing that a prompt claims and both pictures show, as exactly as both do.

    "a red circle" is named "red circle" where both pictures have one, "circle" where one of them has it in another
    colour, "red shape" where one of them has another shape in red. A name that could stand for two phrases of the
    prompt is not used.
    """

    def __call__(self, pairs: Sequence[PicturePair]) -> list[Plan]:
        """One plan a pair."""
        return [_plan(pair) for pair in pairs]


def _plan(pair: PicturePair) -> Plan:
    try:
        claim = parse(pair.prompt)
    except ValueError:
        return Plan((), "the prompt is not of the micro language")
    found = detect(pair.chosen), detect(pair.rejected)
    names = [name for phrase in claim.phrases if (name := _name(phrase, claim, found))]
    return Plan(tuple(dict.fromkeys(names)))


def _name(phrase: Phrase, claim: Claim, found: Sequence[Sequence[Detection]]) -> str | None:
    """The most exact name of a phrase that is to be seen in every picture."""
    for name in names_of(phrase):
        kind = kind_of(name)
        assert kind is not None
        is_seen = all(any(covers(kind, detection) for detection in several) for several in found)
        if is_seen and phrase_of(name, claim.phrases) == phrase:
            return name
    return None
