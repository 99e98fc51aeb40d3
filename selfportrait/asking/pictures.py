"""Requests that show several pictures to a vision-language model, and the one line of its reply that counts.

Read this before asking such a model anything; it is another model than the one in training, and may be behind a server.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from PIL import Image

__all__ = ["FAILED", "UNPARSABLE", "Looks", "Reply", "Request", "ask", "the_line"]

Request = Sequence[str | Image.Image]
"""Words and pictures, in the order in which the model reads them."""

UNPARSABLE = "unparsable"  # the reason of a reply that does not read as what was asked for
FAILED = "no reply"  # what the reason of a request that failed begins with


class Reply(NamedTuple):
    """What a model wrote; None, with the reason, where it wrote nothing."""

    text: str | None
    reason: str | None = None


class Looks(Protocol):
    """A vision-language model."""

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order."""
        ...


def ask(vlm: Looks, requests: Sequence[Request]) -> list[Reply]:
    """Ask a vision-language model; raises ValueError where it returns another number of replies."""
    replies = vlm(requests)
    if len(replies) != len(requests):
        raise ValueError(
            f"the model {type(vlm).__name__} gave {len(replies)} replies to {len(requests)} requests; it must give one "
            "each, in order, with the text None where it has none"
        )
    return replies


def the_line(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Find what was to be output exactly: the one line of a reply that is nothing else; None where several differ.

    Quotes, asterisks, backticks and a full stop around it are forgiven, words beside it are not.
    """
    lines = {line.strip(" \t\"'`*.").casefold(): line.strip(" \t\"'`*.") for line in text.splitlines()}
    found = [match for line in lines.values() if (match := pattern.fullmatch(line))]
    return found[0] if len(found) == 1 else None
