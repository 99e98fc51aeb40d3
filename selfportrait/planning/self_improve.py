"""The plan of the recipe self_improve: one round, from prompts to a measured model.

Read this to see what is counted and what is expected. Where a model writes, nothing is known before it has written: the
number of prompts is what is asked for, each slot and question is taken to succeed, and pairs are as many as there can
be.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfportrait import stages
from selfportrait.losses.base import needs_reference
from selfportrait.planning import texts
from selfportrait.planning.base import Batch, Count, Plan, Qualifier, is_written, measuring, watching
from selfportrait.recipes.self_improve import CANDIDATES, check_parts
from selfportrait.types import Prompt
from selfportrait.weights.base import needs_maps

__all__ = ["plan"]

REQUESTS = {"prompts": "captions", "perturbation": "perturb", "densification": "densify", "questions": "questions"}
SLOTS = 3  # perturbed prompts that a model is asked for about each prompt


@dataclass(frozen=True)
class Round:
    """The numbers of one round that the others follow from; how sure prompts are, and their questions."""

    prompts: int
    slots: int
    questions: float
    pictures: int
    pairs: int
    prompt_tokens: int
    drawn_tokens: int
    known: Qualifier
    asked: Qualifier


def plan(built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Count what `settings` make of the built sections; what the model cannot do is refused as in a run."""
    model, seed = built["model"], built["seed"]
    _check(built, settings)
    names = ("prompts", "judge", "questions", "perturbation", "densification")
    ready = {name: stages.hand_over(built.get(name), policy=model, seed=seed) for name in names}
    benchmark = stages.hand_over(built["benchmark"], policy=model)
    found = _round(built, ready, settings)
    sizes = model.sizes()
    num_tokens = 0 if sizes is None else sizes.num_tokens
    counts = [
        measuring("evaluate before", benchmark, "before the first round"),
        *watching("evaluate before", built, benchmark),
        *_writing(built, found),
        *_drawing(model, found, num_tokens),
        *_preferring(built["weights"], found),
        *_training(built["loss"], settings, found),
        measuring("evaluate after", benchmark),
        *watching("evaluate after", built, benchmark),
    ]
    guided = 2 if model.guidance_scale > 1 else 1
    drawing = Batch(guided * min(model.batch_size, found.pictures), texts.TEMPLATE + found.drawn_tokens + num_tokens)
    writing = [_batch(built.get(name), request, model) for name, request in REQUESTS.items()]
    together = min(settings["pairs_per_forward"], settings["batch_size"])
    training = Batch(2 * together, texts.TEMPLATE + found.prompt_tokens + num_tokens)
    num_copies = 2 * needs_reference(built["loss"]) + (settings["ema_decay"] is not None)
    return Plan(settings["rounds"], counts, [drawing, *writing], training, num_copies)


def _check(built: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse what the recipe refuses before it loads anything."""
    rewriting = (built.get("perturbation"), built.get("densification"))
    check_parts(built["model"], built["weights"], *rewriting, settings["candidates_per_prompt"])
    names = ("steps", "epochs", "batch_size", "pairs_per_forward", "checkpoint_every", "ema_decay")
    stages.Schedule(*(settings[name] for name in names))


def _round(built: Mapping[str, Any], ready: Mapping[str, Any], settings: Mapping[str, Any]) -> Round:
    source, is_expected = ready["prompts"], is_written(built["prompts"])
    prompts: list[Prompt] | None = None if is_expected else source()
    num_prompts = source.num_prompts if prompts is None else len(prompts)
    num_slots = _num_slots(built, ready, prompts, num_prompts)
    per_prompt = settings["candidates_per_prompt"] or CANDIDATES
    num_questions, is_asked = _num_questions(built, ready, prompts)
    short = texts.prompt_tokens(prompts)
    return Round(
        prompts=num_prompts,
        slots=num_slots,
        questions=num_questions,
        pictures=2 * num_slots if ready["perturbation"] else per_prompt * num_prompts,
        pairs=num_prompts * _pairs_a_prompt(built["selection"]),
        prompt_tokens=short,
        drawn_tokens=texts.dense_tokens() if ready["densification"] else short,
        known="about" if is_expected else "",
        asked="about" if is_expected or is_asked else "",
    )


def _num_slots(
    built: Mapping[str, Any], ready: Mapping[str, Any], prompts: Sequence[Prompt] | None, num_prompts: int
) -> int:
    perturbation = ready["perturbation"]
    if perturbation is None:
        return 0
    if prompts is None or is_written(built["perturbation"]):
        return int(getattr(perturbation, "slots", SLOTS)) * num_prompts
    return len(perturbation(prompts).prompts)


def _num_questions(
    built: Mapping[str, Any], ready: Mapping[str, Any], prompts: Sequence[Prompt] | None
) -> tuple[float, bool]:
    """Questions a prompt, and whether that is an expectation."""
    source = ready["questions"]
    if prompts is None or (source is not None and is_written(built["questions"])):
        return texts.num_questions(), True
    asked = prompts if source is None else source(prompts).prompts
    return sum(len(prompt.questions) for prompt in asked) / max(1, len(asked)), False


def _pairs_a_prompt(selection: Any) -> int:
    settings = getattr(selection, "keywords", {})
    return int(settings.get("num_chosen", 1) * settings.get("num_rejected", 1) * settings.get("pairs_per_prompt", 1))


def _writing(built: Mapping[str, Any], found: Round) -> Iterator[Count]:
    """Base prompts, perturbed and detailed ones, questions; and the tokens of what the model writes of them."""
    tokens = 0
    yield Count("write", "prompts", found.prompts, "", found.known)
    tokens += found.prompts * _answer(built, "prompts")
    if built.get("perturbation"):
        yield Count("write", "perturbed prompts", found.slots, "", found.known)
        tokens += found.slots * _answer(built, "perturbation")
    if built.get("densification"):
        yield Count("write", "detailed prompts", 2 * found.slots, "two in one answer", found.known)
        tokens += found.slots * _answer(built, "densification")
    yield Count("write", "questions", round(found.questions * found.prompts), "", found.asked)
    tokens += found.prompts * _answer(built, "questions")
    if tokens:
        yield Count("write", "text tokens", tokens, "texts as long as the worked examples, none dropped", "about")


def _batch(component: Any, request: str, model: Any) -> Batch:
    """The texts that a component lets the model write at once, each with its request and room for the longest."""
    if not is_written(component):
        return Batch(0, 0)
    settings = component.keywords
    asked = texts.request_tokens(request, settings["style"])
    return Batch(min(model.batch_size, settings["batch_size"]), asked + settings["max_new_tokens"])


def _answer(built: Mapping[str, Any], name: str) -> int:
    """Tokens of one text that a section lets the model write; 0 for one that needs no model, or is not there."""
    component: Any = built.get(name)
    return texts.answer_tokens(REQUESTS[name], component.keywords["style"]) if is_written(component) else 0


def _drawing(model: Any, found: Round, num_tokens: int) -> Iterator[Count]:
    is_guided = model.guidance_scale > 1
    yield Count("sample", "pictures", found.pictures, _why(found), found.known)
    yield Count("sample", "image tokens", found.pictures * num_tokens, f"{num_tokens:,} a picture", found.known)
    forwards = math.ceil(found.pictures / model.batch_size) * num_tokens
    rows = f"of {model.batch_size * (2 if is_guided else 1):,} rows{', half of them for guidance' if is_guided else ''}"
    yield Count("sample", "forwards of a token", forwards, rows, found.known)
    judged = round(found.pictures * found.questions)
    yield Count("judge", "questions answered", judged, "of each picture", found.asked)


def _why(found: Round) -> str:
    if found.slots:
        return "a candidate and a hard negative a slot"
    return f"{found.pictures // found.prompts:,} candidates a prompt"


def _preferring(weights: Any, found: Round) -> Iterator[Count]:
    yield Count("pair", "pairs", found.pairs, "the selection and its filters leave fewer", "at most")
    if needs_maps(weights):
        yield Count("mask", "attention maps", 2 * found.pairs, "of the chosen and the rejected picture", "at most")


def _training(loss: Any, settings: Mapping[str, Any], found: Round) -> Iterator[Count]:
    size, together = settings["batch_size"], settings["pairs_per_forward"]
    seen = settings["epochs"] * found.pairs if settings["steps"] is None else settings["steps"] * size
    steps = math.ceil(seen / size)
    known: Qualifier = "at most" if settings["steps"] is None else ""
    yield Count("train", "pairs a step", min(size, seen), f"{min(together, size):,} in one forward")
    yield Count("train", "optimizer steps", steps, "", known)
    yield Count("train", "forwards and backwards", steps * math.ceil(size / together), "", known)
    if needs_reference(loss):
        once = min(found.pairs, seen)
        yield Count(
            "train", "forwards without gradient", math.ceil(once / together), "the reference, once a pair", "at most"
        )
