"""The plan of the recipe gpo."""

from collections.abc import Mapping
from typing import Any

from selfportrait import stages
from selfportrait.planning.base import Batch, Count, Plan, is_written, measuring, watching
from selfportrait.recipes.gpo import check_model, needs_old

__all__ = ["plan"]


def plan(built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Count what `settings` make of the built sections: pictures, forwards of the denoiser, updates."""
    model, loss = built["model"], built["loss"]
    check_model(model)
    source = stages.hand_over(built["prompts"], policy=model, seed=built["seed"])
    is_expected = is_written(built["prompts"])
    benchmark = stages.hand_over(built["benchmark"], policy=model)
    num_prompts = source.num_prompts if is_expected else len(source())
    steps, size, updates = settings["steps"], settings["group_size"], settings["updates_per_group"]
    groups, draws = settings["prompts_per_step"], settings["timesteps_per_update"]
    rows, guided = groups * size, 2 if model.guidance_scale > 1 else 1
    old = (updates - 1) * draws * steps if needs_old(loss) else 0
    words = f"{steps:,} steps, {groups:,} prompts of {size:,} candidates each"
    counts = [
        measuring("evaluate before", benchmark),
        *watching("evaluate before", built, benchmark),
        Count(
            "prompts",
            "prompts",
            num_prompts,
            "gone through in a new random order each time",
            "about" if is_expected else "",
        ),
        Count("candidates", "pictures", steps * rows, words),
        Count(
            "candidates",
            "rows of the denoiser",
            steps * rows * guided * model.num_inference_steps,
            f"{model.num_inference_steps} sampling steps{', twice for guidance' if guided == 2 else ''}",
        ),
        Count("scores", "judgements", steps * rows),
        Count("training", "optimizer steps", steps * updates, f"{updates} on each batch of groups"),
        Count(
            "training", "forwards and backwards", steps * updates * draws, f"{draws} draws a step, {rows:,} rows each"
        ),
        Count("training", "forwards without gradient", old, "old log-likelihoods, for loss.guard"),
        measuring("evaluate after", benchmark),
        *watching("evaluate after", built, benchmark),
    ]
    tokens = 0 if (sizes := model.sizes()) is None else sizes.num_tokens
    num_copies = 0 if settings["ema_decay"] is None else 1
    return Plan(1, [count for count in counts if count.number != 0], [], Batch(rows, tokens), num_copies)
