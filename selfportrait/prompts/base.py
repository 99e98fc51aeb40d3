"""What a source of prompts is. Read this before adding a file to this folder."""

from typing import Protocol

from selfportrait.types import Prompt

__all__ = ["PromptSource"]


class PromptSource(Protocol):
    """Gives the same prompts in the same order every time; everything that can fail has failed when it was built."""

    def __call__(self) -> list[Prompt]: ...
