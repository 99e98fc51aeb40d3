"""From prompts to candidates: which pictures are drawn, from which text, with which seed.

Read this to see what decides a picture: its prompt, its index, the round and the seed of the run, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from selfportrait import store
from selfportrait.asking.roles import SlotPair, slot_pairs
from selfportrait.models.base import Draws, Samples
from selfportrait.seeds import derive
from selfportrait.stages.parts import shared_out
from selfportrait.stages.prompts import read_prompts
from selfportrait.types import Prompt

__all__ = [
    "Drawing",
    "candidate_id",
    "draw_candidates",
    "drawings",
    "is_hard_negative",
    "sample_candidates",
    "save_candidates",
]

HARD_NEGATIVE = "-hard-negative"


def candidate_id(prompt: Prompt, index: int) -> str:
    """The id of a prompt's candidate."""
    return f"{prompt.id}-{index:04d}"


def sample_candidates(
    model: Draws, prompts: Sequence[Prompt], *, seed: int, round_index: int, first: Sequence[int], count: int
) -> tuple[Samples, list[int]]:
    """Draw `count` candidates a prompt, prompt by prompt; `first` is the index of each prompt's first candidate.

    Returns pictures and their content (P * count, ...) with their seeds, which prompt and index alone decide.
    """
    seeds = [
        _seed(seed, round_index, prompt, start + offset)
        for prompt, start in zip(prompts, first, strict=True)
        for offset in range(count)
    ]
    conditioning = model.encode([prompt.text for prompt in prompts]).repeat(count)
    return model.sample(conditioning, seeds), seeds


@dataclass(frozen=True)
class Drawing:
    """One candidate to draw: the base prompt whose questions it is asked, and the text and seed it is drawn from.

    A picture that was brought has no seed.
    """

    id: str
    prompt_id: str
    index: int
    text: str
    seed: int | None


def drawings(prompts: Sequence[Prompt], *, seed: int, round_index: int, count: int) -> list[Drawing]:
    """The candidates of some prompts: `count` of each, or with perturbed prompts among them two a slot.

    The two of a slot, a candidate and its hard negative, share the slot's index and the seed.
    """
    slots = slot_pairs(prompts)
    if slots:
        return [drawing for slot in slots for drawing in _of_slot(slot, seed, round_index)]
    return [
        Drawing(candidate_id(prompt, index), prompt.id, index, prompt.text, _seed(seed, round_index, prompt, index))
        for prompt in prompts
        for index in range(count)
    ]


def _of_slot(slot: SlotPair, seed: int, round_index: int) -> list[Drawing]:
    id, own = candidate_id(slot.base, slot.slot), _seed(seed, round_index, slot.base, slot.slot)
    return [
        Drawing(id, slot.base.id, slot.slot, slot.chosen.text, own),
        Drawing(id + HARD_NEGATIVE, slot.base.id, slot.slot, slot.rejected.text, own),
    ]


def is_hard_negative(id: str) -> bool:
    """Whether a candidate was drawn to be rejected, by its id."""
    return id.endswith(HARD_NEGATIVE)


def _seed(seed: int, round_index: int, prompt: Prompt, index: int) -> int:
    return derive(seed, round_index, prompt.id, index, "sample")


def draw_candidates(model: Draws, prompts: Path, folder: Path, *, seed: int, round_index: int, count: int) -> None:
    """Draw the candidates of every part of prompts/, `count` a prompt without slots, into a part of candidates/."""
    with shared_out("drawing candidates", folder, [1] * len(store.parts(prompts))) as missing:
        for index in missing:
            chunk = read_prompts(prompts, index)
            planned = drawings(chunk, seed=seed, round_index=round_index, count=count)
            store.write_table(folder, index, _drawn(model, planned) if planned else [], store.CANDIDATES)


def _drawn(model: Draws, planned: Sequence[Drawing]) -> list[dict[str, Any]]:
    samples = model.sample(
        model.encode([one.text for one in planned]), [one.seed for one in planned if one.seed is not None]
    )
    return candidate_rows(planned, samples)


def save_candidates(
    folder: Path,
    step: int,
    prompts: Sequence[Prompt],
    first: Sequence[int],
    samples: Samples,
    seeds: Sequence[int],
) -> list[str]:
    """Write one part of candidates/; returns the candidates' ids."""
    count = len(seeds) // len(prompts)
    planned = []
    for row, seed in enumerate(seeds):
        prompt, index = prompts[row // count], first[row // count] + row % count
        planned.append(Drawing(candidate_id(prompt, index), prompt.id, index, prompt.text, seed))
    store.write_table(folder, step, candidate_rows(planned, samples, step), store.CANDIDATES)
    return [one.id for one in planned]


def candidate_rows(planned: Sequence[Drawing], samples: Samples, step: int | None = None) -> list[dict[str, Any]]:
    """Candidates as rows of candidates/; `step` is that of a recipe which draws while it trains."""
    contents = _content(samples.content)
    return [
        {
            "id": one.id,
            "prompt_id": one.prompt_id,
            "prompt": one.text,
            "index": one.index,
            "seed": one.seed,
            "step": step,
            "image": image,
            **content,
        }
        for one, image, content in zip(planned, samples.images, contents, strict=True)
    ]


def _content(content: Tensor) -> list[dict[str, Any]]:
    """A row's content in its column of candidates/: token ids in `tokens`, anything else in `latent`."""
    if content.is_floating_point():
        return [{"latent": row, "tokens": None} for row in content.float().flatten(1).cpu().numpy().tolist()]
    return [{"latent": None, "tokens": row} for row in content.flatten(1).tolist()]
