"""From prompts to candidates: which pictures are drawn, from which text, with which seed.

Read this to see what decides a picture: its prompt, its index, the round and the seed of the run, and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from selfportrait import store
from selfportrait.models.base import Draws, Samples
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["candidate_id", "sample_candidates", "save_candidates"]


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
        derive(seed, round_index, prompt.id, start + offset, "sample")
        for prompt, start in zip(prompts, first, strict=True)
        for offset in range(count)
    ]
    conditioning = model.encode([prompt.text for prompt in prompts]).repeat(count)
    return model.sample(conditioning, seeds), seeds


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
    content = _content(samples.content)
    rows = []
    for row, (image, seed) in enumerate(zip(samples.images, seeds, strict=True)):
        prompt, index = prompts[row // count], first[row // count] + row % count
        rows.append(
            {
                "id": candidate_id(prompt, index),
                "prompt_id": prompt.id,
                "prompt": prompt.text,
                "index": index,
                "seed": seed,
                "step": step,
                "image": image,
                **content[row],
            }
        )
    store.write_table(folder, step, rows, store.CANDIDATES)
    return [row["id"] for row in rows]


def _content(content: Tensor) -> list[dict[str, Any]]:
    """A row's content in its column of candidates/: token ids in `tokens`, anything else in `latent`."""
    if content.is_floating_point():
        return [{"latent": row, "tokens": None} for row in content.float().flatten(1).cpu().numpy().tolist()]
    return [{"latent": None, "tokens": row} for row in content.flatten(1).tolist()]
