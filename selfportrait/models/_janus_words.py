"""How Janus is spoken to: prompts, questions and conversations as token ids, and ids as text.

Read this for the exact words that go into the model.
"""

from collections.abc import Sequence
from typing import Any

from selfportrait.asking.yes_no import put
from selfportrait.models._attention_maps import word_span
from selfportrait.models.base import Turn

__all__ = ["Words"]

SYSTEM = (  # Janus was trained with these words before a question about a picture
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
USER, ASSISTANT = "<|User|>: ", "<|Assistant|>:"
SPELLINGS = {True: ("yes", "Yes"), False: ("no", "No")}


class Words:
    """The texts that Janus reads, through the tokenizer of its processor; `room` is how many tokens it reads at most.

    Every method raises ValueError for a text that leaves no room for what follows it.
    """

    def __init__(self, processor: Any, room: int) -> None:
        self.tokenizer, self.room = processor.tokenizer, room
        self._begin, self._picture, self._end_picture = (
            processor.image_start_token,
            processor.image_token,
            processor.image_end_token,
        )
        self._num_image_tokens = processor.num_image_tokens
        self.pad, self.end = int(self.tokenizer.pad_token_id), int(self.tokenizer.eos_token_id)

    def prompt(self, text: str, num_tokens: int) -> list[int]:
        """The ids up to the token that begins a picture of so many tokens."""
        ids = self._ids(self._drawing(text))
        self._check(len(ids) + num_tokens, f"the prompt {_short(text)} and its picture")
        return ids

    def questions(self, texts: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """The ids up to a picture's end, which yes/no questions share, and the ids of each question after it."""
        begin, picture, end = self.tokenizer.convert_tokens_to_ids([self._begin, self._picture, self._end_picture])
        prefix: list[int] = []
        asked = []
        for text in texts:
            ids = self._ids(f"{SYSTEM}\n\n{USER}{self._picture}\n{put(text)}\n\n{ASSISTANT}")
            at = ids.index(picture)
            prefix = [*ids[:at], begin, *[picture] * self._num_image_tokens, end]
            asked.append(ids[at + 1 :])
            self._check(len(prefix) + len(asked[-1]), f"the question {_short(text)} and its picture")
        return prefix, asked

    def conversation(self, turns: Sequence[Turn], max_new_tokens: int) -> list[int]:
        """The ids up to the assistant's next turn; raises ValueError where the turn is not the assistant's."""
        roles = [turn.role for turn in turns]
        if not turns or roles[-1] != "user" or "system" in roles[1:]:
            raise ValueError(
                f"a conversation of the turns {', '.join(roles) or 'none'} cannot be continued by the assistant; "
                "give at most one system turn, in the first place, and a user turn in the last"
            )
        forms = {
            "system": "{}\n\n",
            "user": USER + "{}\n\n",
            "assistant": ASSISTANT + " {}" + self.tokenizer.eos_token,
        }
        ids = self._ids("".join(forms[turn.role].format(turn.text.strip()) for turn in turns) + ASSISTANT)
        self._check(len(ids) + max_new_tokens, f"a conversation and max_new_tokens = {max_new_tokens}")
        return ids

    def answers(self, is_yes: bool) -> list[int]:
        """The last token of each spelling of yes, or of no."""
        return [self.tokenizer(word, add_special_tokens=False)["input_ids"][-1] for word in SPELLINGS[is_yes]]

    def text(self, ids: Sequence[int]) -> str:
        """What was written, up to the token that ends a turn."""
        ids = list(ids)
        written: str = self.tokenizer.decode(
            ids[: ids.index(self.end)] if self.end in ids else ids, skip_special_tokens=True
        )
        return written.strip()

    def span(self, prompt: str, word: str) -> tuple[int, ...]:
        """The positions of an object's word in `prompt`'s ids; the words that Janus puts around it are not searched."""
        encoded = self.tokenizer(self._drawing(prompt), return_offsets_mapping=True)
        start, end = len(USER), len(USER) + len(prompt)
        own = [at for at, (first, last) in enumerate(encoded["offset_mapping"]) if first < end and last > start]
        names = self.tokenizer.convert_ids_to_tokens([encoded["input_ids"][at] for at in own])
        return tuple(own[at] for at in word_span(self.tokenizer.tokenize(word.lower()), names))

    def _drawing(self, text: str) -> str:
        return f"{USER}{text}\n\n{ASSISTANT}{self._begin}"

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids

    def _check(self, length: int, what: str) -> None:
        if length > self.room:
            raise ValueError(f"{what} take {length} tokens, and the model reads {self.room}; shorten the text")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
