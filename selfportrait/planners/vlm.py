"""The planner of IAPO: a vision-language model names what it sees in both pictures."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from selfportrait.asking.base import one_line
from selfportrait.asking.phrases import NUMBERS
from selfportrait.asking.pictures import UNPARSABLE, Looks, Reply, Request, ask, the_line
from selfportrait.planners.base import PicturePair, Plan

__all__ = ["Vlm"]

REQUEST = (
    "Two images were made for the prompt: {prompt}. Name up to {number} concrete things clearly visible in both. "
    "Output exactly: Matched Instance:[a; b; c]"
)
_LISTED = re.compile(r"Matched Instance: ?\[([^\[\]]*)\]", re.IGNORECASE)


class Vlm:
    """Ask a vision-language model for up to `max_names` things that are clearly visible in both pictures.

    Of a longer list the first `max_names` count, and a name that stands twice counts once. Another reply than the one
    line that was asked for is unparsable, and names nothing.
    Source: the planner of IAPO, with a wording of our own; the form of the reply is the paper's.
    """

    def __init__(self, vlm: Looks, *, max_names: Annotated[int, Field(ge=1, le=10)] = 5) -> None:
        self.vlm, self.max_names = vlm, max_names

    def __call__(self, pairs: Sequence[PicturePair]) -> list[Plan]:
        """One plan a pair; the reply as it was is in `raw`."""
        return [self._read(reply) for reply in ask(self.vlm, [self._request(pair) for pair in pairs])]

    def _request(self, pair: PicturePair) -> Request:
        prompt = one_line(pair.prompt).rstrip(".")
        return (pair.chosen, pair.rejected, REQUEST.format(prompt=prompt, number=NUMBERS[self.max_names - 1]))

    def _read(self, reply: Reply) -> Plan:
        if reply.text is None:
            return Plan((), reply.reason)
        match = the_line(_LISTED, reply.text)
        if match is None:
            return Plan((), UNPARSABLE, reply.text)
        names: dict[str, str] = {}
        for name in filter(None, map(one_line, match[1].split(";"))):
            names.setdefault(name.casefold(), name)
        return Plan(tuple(names.values())[: self.max_names], None, reply.text)
