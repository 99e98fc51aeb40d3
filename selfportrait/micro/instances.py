"""Things of the micro world by name: which shapes a name covers, and which phrase of a claim it stands for.

Read this beside the micro planner, detector and instance judge. A name is a shape with or without its colour and size,
"small red circle" or "circle", or a colour or size of any shape, "red shape".
"""

from collections.abc import Sequence

from selfportrait.micro.language import Phrase
from selfportrait.micro.world import COLOURS, RADII, SHAPES
from selfportrait.types import Detection

__all__ = ["Kind", "covers", "kind_of", "names_of", "phrase_of", "stated"]

Kind = dict[str, str]
"""Some of colour, shape and size, by these words."""

_WORDS = {
    **dict.fromkeys(COLOURS, "colour"),
    **dict.fromkeys(SHAPES, "shape"),
    **dict.fromkeys(RADII, "size"),
}
ANY = "shape"


def kind_of(name: str) -> Kind | None:
    """What a name says; None where it names nothing of the micro world."""
    words = name.lower().split()
    if not words or any(word not in _WORDS for word in words[:-1]) or words[-1] not in (*SHAPES, ANY):
        return None
    kind = {_WORDS[word]: word for word in words if word != ANY}
    return kind if kind and len(kind) == len([word for word in words if word != ANY]) else None


def stated(phrase: Phrase) -> Kind:
    """What a phrase says of each of its shapes."""
    said = {"colour": phrase.colour, "shape": phrase.shape, "size": phrase.size}
    return {key: value for key, value in said.items() if value is not None}


def covers(kind: Kind, detection: Detection) -> bool:
    """Whether a shape that was found is of a kind."""
    return all(detection.attributes[key] == value for key, value in kind.items())


def names_of(phrase: Phrase) -> list[str]:
    """The names that may stand for a phrase, the most exact first."""
    names = [phrase.name, phrase.shape, *(f"{word} {ANY}" for word in (phrase.colour, phrase.size) if word)]
    return list(dict.fromkeys(names))


def phrase_of(name: str, phrases: Sequence[Phrase]) -> Phrase | None:
    """The one phrase of a claim that a name stands for; None where there is none, or several."""
    kind = kind_of(name)
    if kind is None:
        return None
    found = [phrase for phrase in phrases if kind.items() <= stated(phrase).items()]
    return found[0] if len(found) == 1 else None
