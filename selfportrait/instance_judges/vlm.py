"""The instance judge of IAPO: a vision-language model compares two crops."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from selfportrait.asking.base import one_line
from selfportrait.asking.pictures import UNPARSABLE, Looks, Reply, Request, ask, the_line
from selfportrait.instance_judges.base import Comparison, Verdict

__all__ = ["Vlm"]

REQUEST = (
    "The prompt was: {prompt}. Both crops show the same kind of thing: {name}. Which one is drawn better (shape, parts "
    "count, sharpness, fit to the prompt)? Output exactly: Image A is better, or: Image B is better."
)
_BETTER = re.compile(r"Image ([AB]) is better", re.IGNORECASE)


class Vlm:
    """Ask a vision-language model which of two crops is drawn better.

    A crop is a square centred on the instance, `context` times the longer side of its box, as `side` by `side` pixels;
    it is moved where it would leave its picture. Another reply than one of the two lines is unparsable, never a guess.
    Source: the judge of IAPO, with a wording of our own; the form of the reply is the paper's.
    """

    def __init__(
        self,
        vlm: Looks,
        *,
        context: Annotated[float, Field(ge=1)] = 1.5,
        side: Annotated[int, Field(ge=1)] = 336,
    ) -> None:
        self.vlm, self.context, self.side = vlm, context, side

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict a comparison; the reply as it was is in `raw`."""
        return [_read(reply) for reply in ask(self.vlm, [self._request(one) for one in comparisons])]

    def _request(self, one: Comparison) -> Request:
        a, b = (seen.crop(self.context, self.side) for seen in (one.a, one.b))
        text = REQUEST.format(prompt=one_line(one.prompt).rstrip("."), name=one_line(one.name))
        return ("Image A:", a, "Image B:", b, text)


def _read(reply: Reply) -> Verdict:
    if reply.text is None:
        return Verdict(None, reply.reason)
    match = the_line(_BETTER, reply.text)
    if match is None:
        return Verdict(None, UNPARSABLE, reply.text)
    return Verdict("A" if match[1].upper() == "A" else "B", None, reply.text)
