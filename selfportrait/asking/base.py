"""What every request in words shares: conversations, the two protocols of a model, and text that cannot be read.

Read this before adding a request. Nothing here knows a slot, so prompts, perturbations, densifications, questions and
judges can all ask, and the micro world can write examples of the very same requests.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from PIL import Image
from torch import Tensor

from selfportrait import progress, strict_yaml
from selfportrait.types import Prompt

__all__ = [
    "Answers",
    "Conversation",
    "Decoding",
    "Style",
    "Turn",
    "Unreadable",
    "Writes",
    "Written",
    "check_spoken",
    "collect",
    "few_shot",
    "has_speaker",
    "joined",
    "one_line",
    "require",
    "texts",
    "write_all",
    "write_batch",
]

Style = Literal["full", "compact"]  # with instructions and examples, or the bare request for a model trained on it
_SPEAKER = re.compile(r"<\|[^|]*\|>|</?s>|\[/?INST\]|\b(?:user|assistant|system|human)\s*:", re.IGNORECASE)


class Turn(NamedTuple):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


Conversation = Sequence[Turn]


class Writes(Protocol):
    """A model that goes on with a conversation."""

    def write(
        self,
        conversations: Sequence[Conversation],
        seeds: Sequence[int],
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
    ) -> list[str]:
        """One text a conversation, which conversation and seed alone decide."""
        ...


class Answers(Protocol):
    """A model that answers yes/no questions about pictures."""

    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The probabilities of yes (B,) and of no (B,), out of the whole vocabulary, one question a picture."""
        ...


class Decoding(NamedTuple):
    """How a text is sampled, and how many at once; the number at once changes no text."""

    temperature: float
    top_p: float
    max_new_tokens: int
    batch_size: int


class Unreadable(ValueError):
    """A text that does not read as what was asked for; its message is the reason under which it is counted."""


@dataclass(frozen=True)
class Written:
    """Prompts that a model wrote, and how many of its texts were dropped, by reason."""

    prompts: list[Prompt]
    dropped: Mapping[str, int] = field(default_factory=dict)


def joined(several: Sequence[Written]) -> Written:
    """All of several, in order; a text of which there is a prompt already counts as "written before"."""
    prompts: dict[str, Prompt] = {}
    dropped: Counter[str] = Counter()
    for written in several:
        dropped.update(written.dropped)
        for prompt in written.prompts:
            dropped["written before"] += prompt.text in prompts
            prompts.setdefault(prompt.text, prompt)
    return Written(list(prompts.values()), dict(+dropped))


def texts(name: str) -> Any:
    """What the YAML file of a name beside this one holds: instructions and examples that a model is shown."""
    path = Path(__file__).with_name(f"{name}.yaml")
    return strict_yaml.parse(path.read_text(encoding="utf-8"), str(path))


def require(policy: object, method: Literal["write", "answer"]) -> None:
    """Raise ValueError for a model that cannot do what a component is going to ask of it."""
    if not callable(getattr(policy, method, None)):
        lack = {"write": "writes no text", "answer": "answers no questions about pictures"}[method]
        raise ValueError(f"the model {type(policy).__name__} {lack}: take a unified model, or another component")


def write_batch(
    policy: Writes, conversations: Sequence[Conversation], seeds: Sequence[int], decoding: Decoding
) -> list[str]:
    """Let the model write one text a conversation, in one call."""
    found = policy.write(
        conversations,
        seeds,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        max_new_tokens=decoding.max_new_tokens,
    )
    if len(found) != len(seeds):
        raise ValueError(
            f"the model {type(policy).__name__} wrote {len(found)} texts for {len(seeds)} conversations; write must "
            "return one each, in order"
        )
    return found


def write_all(
    policy: Writes, conversations: Sequence[Conversation], seeds: Sequence[int], decoding: Decoding, label: str
) -> list[str]:
    """Let the model write one text a conversation, a batch at a time."""
    texts: list[str] = []
    with progress.bar(label, total=len(seeds)) as advance:
        for start in range(0, len(seeds), decoding.batch_size):
            batch = slice(start, start + decoding.batch_size)
            texts += write_batch(policy, conversations[batch], seeds[batch], decoding)
            advance(len(seeds[batch]))
    return texts


def collect(texts: Sequence[str], readers: Sequence[Callable[[str], Sequence[Prompt]]]) -> Written:
    """Read each text with its reader, and count those that are unreadable by reason."""
    prompts: list[Prompt] = []
    dropped: Counter[str] = Counter()
    for text, read in zip(texts, readers, strict=True):
        try:
            prompts += read(text)
        except Unreadable as reason:
            dropped[str(reason)] += 1
    return Written(prompts, dict(dropped))


def few_shot(system: str, shots: Sequence[tuple[str, str]], request: str, style: Style) -> list[Turn]:
    """A conversation: instructions, then (request, answer) examples as if they had happened, then the request.

    In the compact style it is the request alone.
    """
    if style == "compact":
        return [Turn("user", request)]
    turns = [Turn("system", system)]
    for asked, answered in shots:
        turns += [Turn("user", asked), Turn("assistant", answered)]
    return [*turns, Turn("user", request)]


def one_line(text: str) -> str:
    """Text without line breaks and doubled spaces."""
    return " ".join(text.split())


def has_speaker(text: str) -> bool:
    """Whether a chat's role marker leaked into a text: somebody else begins to speak in it."""
    return _SPEAKER.search(text) is not None


def check_spoken(text: str) -> str:
    """Return a text in which nobody else begins to speak; raises Unreadable for another."""
    if has_speaker(text):
        raise Unreadable("chat marker")
    return text
