"""The plan of the recipe offline."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from selfportrait import stages
from selfportrait.benchmarks.base import Benchmark
from selfportrait.draws.inversion import Inversion
from selfportrait.losses.base import needs_reference
from selfportrait.planning.base import Batch, Count, Plan, if_here, measuring, watching
from selfportrait.recipes.offline import check_finders, check_instances, check_model, check_pairs

__all__ = ["plan"]

SCHEDULE = (
    *("steps", "epochs", "batch_size", "pairs_per_forward"),
    *("checkpoint_every", "ema_decay", "on_event", "evaluate_every"),
)
FINDERS = ("planner", "detector", "instance_judge")


def plan(built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Count what `settings` make of the built sections: pairs, pictures, forwards of the denoiser, updates."""
    model = built["model"]
    check_model(model)
    schedule = stages.Schedule(*(settings[name] for name in SCHEDULE))
    check_pairs(*(built.get(name) for name in ("preferences", "prompts", "judge", "selection")))
    finders = check_finders(*(built.get(name) for name in ("weights", *FINDERS, "vlm", "judge")))
    check_instances(built.get("weights"), finders, built.get("preferences"))
    benchmark = stages.hand_over(built["benchmark"], policy=model, seed=built["seed"])
    pairs = _pairs(built)
    counts = [
        measuring("evaluate before", benchmark),
        *watching("evaluate before", built, benchmark),
        *_drawing(pairs, settings),
        *_annotating(built, pairs.number),
        *_encoding(built, pairs),
        *_training(built, settings, pairs.number),
        *_measuring_between(schedule, benchmark, pairs.number),
        measuring("evaluate after", benchmark),
        *watching("evaluate after", built, benchmark),
    ]
    tokens = 0 if (sizes := model.sizes()) is None else sizes.num_tokens
    is_adapted = model.denoiser.train == "lora"
    num_copies = int(settings["ema_decay"] is not None) + int(needs_reference(built["loss"]) and not is_adapted)
    rows = 2 * min(settings["pairs_per_forward"], settings["batch_size"])
    return Plan(1, [count for count in counts if count.number != 0], [], Batch(rows, tokens), num_copies, True)


class Pairs(NamedTuple):
    """How many pairs there are at most: a pair a row of what is given, or so many a prompt; None where it is not here.

    `num_prompts` is None for pairs that are given.
    """

    number: int | None
    num_prompts: int | None
    note: str = ""


def _pairs(built: Mapping[str, Any]) -> Pairs:
    if (given := built.get("preferences")) is not None:
        number, note = if_here(lambda: given.num_rows)
        return Pairs(number, None, note)
    chosen = getattr(built["selection"], "keywords", {})
    a_prompt = chosen.get("num_chosen", 1) * chosen.get("num_rejected", 1)
    num_prompts = len(stages.hand_over(built["prompts"], policy=built["model"], seed=built["seed"])())
    return Pairs(num_prompts * a_prompt, num_prompts)


def _drawing(pairs: Pairs, settings: Mapping[str, Any]) -> Iterator[Count]:
    if pairs.num_prompts is None:
        yield Count("pairs", "pairs", pairs.number, pairs.note or "as many as there are rows", "at most")
        return
    each = settings["candidates_per_prompt"]
    pictures = pairs.num_prompts * each
    yield Count("sample", "pictures", pictures, f"{each} of each of {pairs.num_prompts:,} prompts")
    yield Count("judge", "judgements", pictures)
    yield Count("pair", "pairs", pairs.number, "the selection leaves fewer", "at most")


def _annotating(built: Mapping[str, Any], num_pairs: int | None) -> Iterator[Count]:
    if built.get("planner") is not None:
        yield Count("annotate", "pairs", num_pairs, "looked through for instances", "at most")


def _encoding(built: Mapping[str, Any], pairs: Pairs) -> Iterator[Count]:
    if built.get("preferences") is not None:
        yield Count(
            "encode", "pictures", None if pairs.number is None else 2 * pairs.number, "once in a run", "at most"
        )
    num_prompts = pairs.number if pairs.num_prompts is None else pairs.num_prompts
    yield Count("encode", "prompts", num_prompts, "each text once in a run", "at most")


def _training(built: Mapping[str, Any], settings: Mapping[str, Any], num_pairs: int | None) -> Iterator[Count]:
    size, at_once = settings["batch_size"], settings["pairs_per_forward"]
    steps = _num_steps(settings["steps"], settings["epochs"], size, num_pairs)
    forwards = None if steps is None else steps * -(-size // at_once)
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
        inverting = None if forwards is None else forwards * steps_up
        yield Count("train", "forwards of inversion", inverting, f"up to {steps_up} steps", "at most")


def _num_steps(steps: int | None, epochs: int | None, size: int, num_pairs: int | None) -> int | None:
    return steps if epochs is None or num_pairs is None else -(-epochs * num_pairs // size)


def _measuring_between(schedule: stages.Schedule, benchmark: Benchmark, num_pairs: int | None) -> Iterator[Count]:
    """The pictures of the measurements between the first step and the last."""
    if schedule.evaluate_every is None:
        return
    steps = _num_steps(schedule.steps, schedule.epochs, schedule.batch_size, num_pairs)
    times = None if steps is None else (steps - 1) // schedule.evaluate_every
    once = measuring("evaluate during training", benchmark)
    pictures = None if once.number is None or times is None else times * once.number
    note = f"{once.note}, every {schedule.evaluate_every:,} steps"
    yield once._replace(number=pictures, note=note, qualifier="at most" if schedule.steps is None else "")
