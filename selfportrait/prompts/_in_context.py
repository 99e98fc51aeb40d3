"""What the model-written sources share: fill a stream with captions that the model writes from examples."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from selfportrait import progress
from selfportrait.asking.base import Decoding, Style, Unreadable, Writes, Written, joined, write_batch
from selfportrait.asking.captions import Caption, Stream, conversation, item_id, read
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["Writing", "all_prompts", "write_stream"]

_log = logging.getLogger(__name__)


class Writing(NamedTuple):
    """How a stream is filled; `refresh_every` and `tries_per_prompt` count texts."""

    policy: Writes
    seed: int
    style: Style
    refresh_every: int
    tries_per_prompt: int
    decoding: Decoding


def write_stream(stream: Stream, count: int, first_index: int, writing: Writing) -> Written:
    """Let the model write until `count` captions are accepted, or the tries are used up.

    Every `refresh_every` texts the shots are drawn anew from the captions accepted so far. Batches end there, so the
    size of a batch changes nothing; what a last batch wrote beyond the count is neither used nor counted.
    """
    accepted: dict[str, Caption] = {}
    dropped: Counter[str] = Counter()
    shots: Sequence[Caption] = stream.shots
    num_texts, budget = 0, count * writing.tries_per_prompt
    with progress.bar(f"writing prompts: {stream.name}", total=count) as advance:
        while len(accepted) < count and num_texts < budget:
            if num_texts and num_texts % writing.refresh_every == 0:
                shots = _refreshed(stream, shots, list(accepted.values()), writing.seed, num_texts)
            until_refresh = writing.refresh_every - num_texts % writing.refresh_every
            size = min(writing.decoding.batch_size, until_refresh, budget - num_texts)
            before = len(accepted)
            for text in _batch(stream, shots, num_texts, size, writing):
                if len(accepted) < count:
                    _take(text, stream, accepted, dropped)
            num_texts += size
            advance(len(accepted) - before)
    if len(accepted) < count:
        _log.warning("%s: %d of %d prompts after %d texts", stream.name, len(accepted), count, num_texts)
    prompts = [
        Prompt(item_id(stream.category, first_index + index), text, stream.category)
        for index, text in enumerate(accepted)
    ]
    return Written(prompts, dict(dropped))


def _batch(stream: Stream, shots: Sequence[Caption], first: int, size: int, writing: Writing) -> list[str]:
    conversations = [conversation(stream, shots, writing.style)] * size
    seeds = [derive(writing.seed, stream.name, first + index, "write") for index in range(size)]
    return write_batch(writing.policy, conversations, seeds, writing.decoding)


def _take(text: str, stream: Stream, accepted: dict[str, Caption], dropped: Counter[str]) -> None:
    try:
        caption = read(text, stream)
    except Unreadable as reason:
        dropped[str(reason)] += 1
        return
    dropped["written before"] += caption.text in accepted
    accepted.setdefault(caption.text, caption)


def _refreshed(
    stream: Stream, shots: Sequence[Caption], accepted: Sequence[Caption], seed: int, num_texts: int
) -> Sequence[Caption]:
    """A random draw from what was accepted, or the shots as they are where that is too little."""
    if len(accepted) < stream.num_refreshed:
        return shots
    return random.Random(derive(seed, stream.name, num_texts, "shots")).sample(accepted, stream.num_refreshed)


def all_prompts(parts: Sequence[Written]) -> list[Prompt]:
    """The prompts of every part; says what was dropped, and raises ValueError where there is none left."""
    written = joined(parts)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(written.dropped.items()))
    if not written.prompts:
        raise ValueError(
            f"the model wrote no prompt that can be used (dropped: {reasons or 'nothing'}): try another model"
        )
    _log.info("%d prompts written, dropped: %s", len(written.prompts), reasons or "nothing")
    return written.prompts
