"""What a source of prompts is. Read this before adding a file to this folder."""

from typing import Protocol

from selfportrait.asking.base import Written
from selfportrait.types import Prompt

__all__ = ["PromptSource", "WrittenPrompts"]


class PromptSource(Protocol):
    """Gives the same prompts in the same order every time; everything that can fail has failed when it was built."""

    def __call__(self) -> list[Prompt]: ...


class WrittenPrompts(Protocol):
    """A source that a model writes: it is handed the policy and a seed, and may fail when it is called.

    Its parts can be written one by one, each for itself, so that a stage that was cut off goes on at the first part
    that is missing; `asking.base.joined` puts them together as a call does.
    """

    parts: tuple[str, ...]

    @property
    def num_prompts(self) -> int:
        """How many it asks for; what cannot be read or comes twice makes them fewer."""
        ...

    def part(self, name: str) -> Written: ...

    def __call__(self) -> list[Prompt]: ...
