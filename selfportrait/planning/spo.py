"""The plan of the recipe spo."""

from collections.abc import Mapping
from typing import Any

from selfportrait import stages
from selfportrait.losses.base import needs_reference
from selfportrait.planning.base import Batch, Count, Plan, is_written, measuring, watching
from selfportrait.recipes.spo import check

__all__ = ["plan"]


def plan(built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Count what `settings` make of the built sections: sampler steps, judgements, forwards, updates."""
    model = built["model"]
    check(model, settings["sampling_steps"], settings["first_step"])
    source = stages.hand_over(built["prompts"], policy=model, seed=built["seed"])
    is_expected = is_written(built["prompts"])
    benchmark = stages.hand_over(built["benchmark"], policy=model, seed=built["seed"])
    steps, prompts, k = settings["steps"], settings["prompts_per_step"], settings["candidates_per_step"]
    taken = settings["sampling_steps"] - 1
    compared = (taken - settings["first_step"]) * prompts * steps
    forwards = -(-compared // settings["pairs_per_forward"])
    guided = 2 if settings["guidance_scale"] > 1 else 1
    counts = [
        measuring("evaluate before", benchmark),
        *watching("evaluate before", built, benchmark),
        Count("prompts", "prompts", source.num_prompts if is_expected else len(source())),
        Count("training", "sampler steps", steps * prompts * taken, f"of {prompts} trajectories a step"),
        Count("training", "judgements", compared * k, f"{k} next steps from the same latent"),
        Count("training", "pairs", compared, "what is far enough apart", "at most"),
        Count("training", "optimizer steps", steps),
        Count("training", "forwards and backwards", forwards, f"on {guided} rows a pair", "at most"),
        Count("training", "forwards without gradient", forwards * needs_reference(built["loss"]), "", "at most"),
        measuring("evaluate after", benchmark),
        *watching("evaluate after", built, benchmark),
    ]
    tokens = 0 if (sizes := model.sizes()) is None else sizes.num_tokens
    num_copies = int(needs_reference(built["loss"]) and model.denoiser.train != "lora")
    rows = guided * settings["pairs_per_forward"]
    return Plan(1, [count for count in counts if count.number != 0], [], Batch(rows, tokens), num_copies)
