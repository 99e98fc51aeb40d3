"""From a source to a table of prompts: base prompts with their questions, perturbed and detailed versions of them.

Read this to see in which order texts are written, and which prompts never reach a picture.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfportrait import processes, store
from selfportrait.asking.base import Written, joined
from selfportrait.asking.roles import slot_pairs
from selfportrait.densifications.base import Densification
from selfportrait.models.base import Draws
from selfportrait.perturbations.base import Perturbation
from selfportrait.prompts.base import PromptSource, WrittenPrompts
from selfportrait.questions.base import QuestionSource
from selfportrait.stages.parts import Yield, add_up, count, own_missing, read_counts, reasons, shared_out, write_part
from selfportrait.types import Prompt, Question

__all__ = ["Writers", "base_prompts", "can_draw", "not_held_out", "prompt_rows", "read_prompts", "write_prompts"]

_log = logging.getLogger(__name__)

IN_THE_BENCHMARK, TOO_LONG = "in the benchmark", "too long for the model"


@dataclass(frozen=True)
class Writers:
    """What is written about base prompts: questions (None: those they came with), perturbed and detailed prompts."""

    questions: QuestionSource | None = None
    perturbation: Perturbation | None = None
    densification: Densification | None = None


def base_prompts(source: PromptSource | WrittenPrompts, folder: Path) -> Written:
    """The prompts of a source; those that a model writes are kept in a table, from where a later call goes on."""
    names: Sequence[str] = getattr(source, "parts", ())
    write: Callable[[str], Written] | None = getattr(source, "part", None)
    if write is None:
        return Written(source())
    for index in own_missing(folder, len(names)):
        written = write(names[index])
        rows = prompt_rows(written.prompts)
        write_part(folder, index, rows, store.PROMPTS, count(len(rows), written.dropped))
    processes.wait()
    return joined([Written(read_prompts(folder), read_counts(folder)["dropped"])])


def not_held_out(prompts: Sequence[Prompt], is_held_out: Callable[[str], bool]) -> list[Prompt]:
    """The prompts that may be trained on; raises ValueError where the benchmark measures with every one of them."""
    kept = [prompt for prompt in prompts if not is_held_out(prompt.text)]
    if not kept:
        raise ValueError(
            f"prompts: all {len(prompts)} of them are held out by the benchmark, which measures with them; give others "
            "to train on"
        )
    if len(kept) < len(prompts):
        _log.warning(
            "%d of %d prompts are left out: the benchmark holds them out", len(prompts) - len(kept), len(prompts)
        )
    return kept


def can_draw(model: Draws) -> Callable[[str], bool]:
    """Say of a text whether the model can read it and still has room for the picture."""

    def fits(text: str) -> bool:
        try:
            model.encode([text])
        except ValueError:
            return False
        return True

    return fits


def write_prompts(
    written: Written,
    folder: Path,
    writers: Writers,
    is_held_out: Callable[[str], bool],
    fits: Callable[[str], bool],
    prompts_per_part: int,
) -> None:
    """Write everything that base prompts need to become pairs into prompts/, some base prompts a part.

    A prompt that is held out for measuring, too long, without a slot (where there are any) or without questions is
    left out and counted; so is a slot of which a text is missing. Raises ValueError where there is no prompt at all.
    """
    prompts = written.prompts
    if not prompts:
        raise ValueError(
            f"the source gave no prompts (dropped: {reasons(written.dropped)}): take another source or model"
        )
    chunks = [prompts[start : start + prompts_per_part] for start in range(0, len(prompts), prompts_per_part)]
    with shared_out("writing about prompts", folder, [len(chunk) for chunk in chunks]) as missing:
        for index in missing:
            chunk = chunks[index]
            faults = [_fault(prompt.text, is_held_out, fits) for prompt in chunk]
            allowed = [prompt for prompt, fault in zip(chunk, faults, strict=True) if fault is None]
            found, counts = _written_about(allowed, writers, fits)
            before = [{} if index else written.dropped, Counter(fault for fault in faults if fault)]
            counts = add_up([counts, *({"prompts": count(0, dropped)} for dropped in before)])
            write_part(folder, index, prompt_rows(found), store.PROMPTS, counts)


def _fault(text: str, is_held_out: Callable[[str], bool], fits: Callable[[str], bool]) -> str | None:
    return IN_THE_BENCHMARK if is_held_out(text) else None if fits(text) else TOO_LONG


def _written_about(
    base: Sequence[Prompt], writers: Writers, fits: Callable[[str], bool]
) -> tuple[list[Prompt], dict[str, Yield]]:
    """Base prompts with questions, then the perturbed and detailed prompts of their complete slots; and the counts."""
    rewrites, counts = _rewritten(base, writers, fits)
    parents = {prompt.parent for prompt in rewrites}
    going_on = [prompt for prompt in base if writers.perturbation is None or prompt.id in parents]
    asked = _asked(going_on, writers.questions)
    kept = {prompt.id for prompt in asked.prompts}
    kept |= {prompt.id for prompt in rewrites if prompt.parent in kept}  # the perturbed, and the detailed base prompts
    counts["prompts"] = count(len(going_on), {"no perturbed prompt": len(base) - len(going_on)})
    counts["questions"] = count(len(asked.prompts), asked.dropped)
    return [*asked.prompts, *(prompt for prompt in rewrites if prompt.parent in kept)], counts


def _rewritten(
    base: Sequence[Prompt], writers: Writers, fits: Callable[[str], bool]
) -> tuple[list[Prompt], dict[str, Yield]]:
    """The perturbed and detailed prompts of the slots that have all that they need."""
    if writers.perturbation is None:
        return [], {}
    perturbed = _fitting(writers.perturbation(base), fits)
    counts = {"perturbations": count(len(perturbed.prompts), perturbed.dropped)}
    if writers.densification is None:
        return perturbed.prompts, counts
    dense = _fitting(writers.densification([*base, *perturbed.prompts]), fits)
    prompts = [*base, *perturbed.prompts, *dense.prompts]
    slots = slot_pairs(prompts) if dense.prompts else []
    counts["densifications"] = count(len(slots), dense.dropped)
    whole = {id for slot in slots for id in (slot.rejected.parent, slot.chosen.id, slot.rejected.id)}
    return [prompt for prompt in prompts if prompt.id in whole], counts


def _fitting(written: Written, fits: Callable[[str], bool]) -> Written:
    prompts = [prompt for prompt in written.prompts if fits(prompt.text)]
    return Written(prompts, {**written.dropped, TOO_LONG: len(written.prompts) - len(prompts)})


def _asked(prompts: Sequence[Prompt], questions: QuestionSource | None) -> Written:
    if questions is not None:
        return questions(prompts) if prompts else Written([])
    given = [prompt for prompt in prompts if prompt.questions]
    return Written(given, {"no questions": len(prompts) - len(given)})


def prompt_rows(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Prompts as rows of prompts/."""
    return [
        {
            "id": prompt.id,
            "text": prompt.text,
            "category": prompt.category,
            "questions": [{"text": question.text, "answer": question.answer} for question in prompt.questions],
            "parent": prompt.parent,
            "role": prompt.role,
        }
        for prompt in prompts
    ]


def read_prompts(folder: Path, index: int | None = None) -> list[Prompt]:
    """The prompts of a table, or of one of its parts."""
    table = store.read_table(folder) if index is None else store.read_part(folder, index)
    return [_prompt(row) for row in table.to_pylist()]


def _prompt(row: Mapping[str, Any]) -> Prompt:
    questions = tuple(Question(question["text"], question["answer"]) for question in row["questions"] or ())
    return Prompt(row["id"], row["text"], row["category"], questions, row["parent"], row["role"])
