"""The plan of the recipe offline."""

from collections.abc import Iterator, Mapping
from typing import Any

from selfportrait import stages
from selfportrait.draws.inversion import Inversion
from selfportrait.losses.base import needs_reference
from selfportrait.planning.base import Batch, Count, Plan, measuring
from selfportrait.recipes.offline import check_finders, check_instances, check_model, check_pairs

__all__ = ["plan"]

FINDERS = ("planner", "detector", "instance_judge")


def plan(built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Count what `settings` make of the built sections: pairs, pictures, forwards of the denoiser, updates."""
    model = built["model"]
    check_model(model)
    names = ("steps", "epochs", "batch_size", "pairs_per_forward", "checkpoint_every")
    stages.Schedule(*(settings[name] for name in names))
    check_pairs(*(built.get(name) for name in ("preferences", "prompts", "judge", "selection")))
    finders = check_finders(*(built.get(name) for name in ("weights", *FINDERS, "vlm", "judge")))
    check_instances(built.get("weights"), finders, built.get("preferences"))
    benchmark = stages.hand_over(built["benchmark"], policy=model, seed=built["seed"])
    num_pairs, qualifier = _pairs(built, settings)
    counts = [
        measuring("evaluate before", benchmark),
        *_drawing(built, settings),
        *_annotating(built, num_pairs),
        Count("encode", "pictures", 2 * num_pairs if built.get("preferences") else 0, "once in a run", qualifier),
        *_training(built, settings, num_pairs),
        measuring("evaluate after", benchmark),
    ]
    tokens = 0 if (sizes := model.sizes()) is None else sizes.num_tokens
    is_adapted = model.denoiser.train == "lora"
    num_copies = int(settings["ema_decay"] is not None) + int(needs_reference(built["loss"]) and not is_adapted)
    rows = 2 * min(settings["pairs_per_forward"], settings["batch_size"])
    return Plan(1, [count for count in counts if count.number], [], Batch(rows, tokens), num_copies)


def _pairs(built: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[int, Any]:
    """How many pairs there are at most: a pair a row, or a prompt."""
    if built.get("preferences"):
        return built["preferences"].num_rows, "at most"
    chosen = getattr(built["selection"], "keywords", {})
    a_prompt = chosen.get("num_chosen", 1) * chosen.get("num_rejected", 1)
    return len(stages.hand_over(built["prompts"], policy=built["model"], seed=built["seed"])()) * a_prompt, "at most"


def _drawing(built: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Count]:
    if built.get("preferences"):
        return
    prompts = stages.hand_over(built["prompts"], policy=built["model"], seed=built["seed"])()
    pictures = len(prompts) * settings["candidates_per_prompt"]
    yield Count(
        "sample", "pictures", pictures, f"{settings['candidates_per_prompt']} of each of {len(prompts):,} prompts"
    )
    yield Count("judge", "judgements", pictures)
    yield Count("pair", "pairs", _pairs(built, settings)[0], "the selection leaves fewer", "at most")


def _annotating(built: Mapping[str, Any], num_pairs: int) -> Iterator[Count]:
    if built.get("planner") is not None:
        yield Count("annotate", "pairs", num_pairs, "looked through for instances", "at most")


def _training(built: Mapping[str, Any], settings: Mapping[str, Any], num_pairs: int) -> Iterator[Count]:
    size, at_once = settings["batch_size"], settings["pairs_per_forward"]
    steps = settings["steps"] or -(-(settings["epochs"] or 0) * num_pairs // size)
    forwards = steps * -(-size // at_once)
    yield Count("train", "pairs a step", size, f"{min(at_once, size):,} in one forward, both pictures of each")
    yield Count("train", "optimizer steps", steps)
    yield Count("train", "forwards and backwards", forwards)
    if needs_reference(built["loss"]):
        is_fixed = settings["fixed_draws"] is not None
        note = "the reference, once a draw of a pair" if is_fixed else "the reference"
        yield Count("train", "forwards without gradient", forwards, note, "at most" if is_fixed else "")
    draw = built["draw"]
    if getattr(draw, "func", draw) is Inversion or isinstance(draw, Inversion):
        steps_up = getattr(draw, "keywords", {}).get("max_steps", 10)
        yield Count("train", "forwards of inversion", forwards * steps_up, f"up to {steps_up} steps", "at most")
