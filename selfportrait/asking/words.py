"""Asking for lists of words, and putting them into templates: how SILMM gets prompts about attributes and layout.

Read this for the kinds of objects that are asked for, how a list is read, and how English makes "an owl" and "two
knives" of it. The steps are those of SILMM (https://arxiv.org/abs/2412.05818), section 2.1; the wording is ours.
"""

import re

from selfportrait.asking.base import Style, Turn, few_shot

__all__ = [
    "ATTRIBUTES",
    "NUMBERS",
    "OBJECTS",
    "RELATIONS",
    "conversation",
    "counted",
    "is_plural",
    "read",
    "with_article",
]

OBJECTS = (
    "animals",
    "plants",
    "fruit",
    "household objects",
    "pieces of clothing",
    "vehicles",
    "kinds of food",
    "musical instruments",
    "electronic devices",
)
ATTRIBUTES = {
    "color": "colours",
    "shape": "adjectives for the form of a thing, such as round",
    "texture": "adjectives for the material of a thing, such as wooden",
}
RELATIONS = (
    "on top of",
    "on the bottom of",
    "to the left of",
    "to the right of",
    "next to",
    "on the side of",
    "in front of",
    "behind",
    "hidden by",
)
NUMBERS = ("one", "two", "three", "four")
_SYSTEM = "You list common English words, in the singular, separated by commas, and say nothing else."
_SHOTS = (("List 4 pieces of furniture.", "table, chair, cupboard, bed"), ("List 3 tastes.", "sweet, sour, bitter"))
_PLURALS = {
    "child": "children",
    "deer": "deer",
    "fish": "fish",
    "foot": "feet",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "sheep": "sheep",
    "tooth": "teeth",
    "woman": "women",
    **{noun: f"{noun.rstrip('e')[:-1]}ves" for noun in ("calf", "knife", "leaf", "loaf", "scarf", "shelf", "wolf")},
    **{noun: f"{noun}es" for noun in ("echo", "hero", "mango", "potato", "tomato")},
}
_AN = re.compile(r"^(?!uni|uku|eu|use|one)[aeiou]|^(?:hour|heir|honest)")


def conversation(kind: str, count: int, style: Style) -> list[Turn]:
    """Ask for words of a kind."""
    return few_shot(_SYSTEM, _SHOTS, f"List {count} {kind}.", style)


def read(text: str) -> list[str]:
    """Read a list: one or two plain words an entry, lower case, without articles, bullets, numbers and repetitions.

    What stands before a colon is an introduction. Entries that are no such words are left out.
    """
    entries = [re.sub(r"^[\s\d.)*•-]+|[\s.]+$", "", entry) for entry in re.split(r"[,;\n]", text.rpartition(":")[2])]
    words = [re.sub(r"^(?:an?|the|and) ", "", entry.lower()) for entry in entries]
    return list(dict.fromkeys(word for word in words if re.fullmatch(r"[a-z]+(?: [a-z]+)?", word)))


def with_article(words: str) -> str:
    """ "red owl" is "a red owl", "owl" is "an owl"."""
    return f"{'an' if _AN.match(words) else 'a'} {words}"


def counted(number: int, words: str) -> str:
    """ "knife" is "one knife" or "two knives"; only the last word takes the plural."""
    return f"{NUMBERS[number - 1]} {words if number == 1 else _plural(words)}"


def _plural(words: str) -> str:
    before, space, noun = words.rpartition(" ")
    regular = f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"
    if re.search(r"[^aeiou]y$", noun):
        regular = f"{noun[:-1]}ies"
    return before + space + _PLURALS.get(noun, regular)


def is_plural(noun: str) -> bool:
    """Whether a noun looks like several: by its ending, or because it is a plural of no ending."""
    irregular = {plural for singular, plural in _PLURALS.items() if plural != singular}
    return noun in irregular or (noun.endswith("s") and not noun.endswith(("ss", "us")))
