"""Tiny runs of the recipe self_improve: a token model with random weights that answers its own questions by chance.

    python tiny_rounds.py MODEL FOLDER {silmm,ospo}

starts one, or goes on with it, in a process of its own.
"""

import sys
from pathlib import Path
from typing import Any

from selfportrait import config, store

PROMPTS, CANDIDATES, ROUNDS, BATCH = 6, 3, 2, 4

SILMM: dict[str, Any] = {
    "seed": 0,
    "recipe": {
        "name": "self_improve",
        "rounds": ROUNDS,
        "candidates_per_prompt": CANDIDATES,
        "epochs": 2,
        "batch_size": BATCH,
        "pairs_per_forward": 2,
        "checkpoint_every": 1,
        "prompts_per_part": 4,
    },
    "model": {"name": "janus", "train": "lora", "lora_rank": 2, "guidance_scale": 2.0},
    "prompts": {"name": "micro", "categories": ["color", "numeracy"], "num_prompts": PROMPTS},
    "questions": {"name": "micro"},
    "judge": {"name": "self_vqa"},
    "selection": {"name": "best_worst"},
    "weights": {"name": "ones"},
    "loss": {"name": "dpo"},
    "optimizer": {"learning_rate": 1e-2},
    "benchmark": {"name": "micro", "categories": ["color"], "prompts_per_category": 2, "images_per_prompt": 2},
}
OSPO: dict[str, Any] = {
    **SILMM,
    "recipe": {name: value for name, value in SILMM["recipe"].items() if name != "candidates_per_prompt"}
    | {"ema_decay": 0.5},
    "model": {**SILMM["model"], "train": "full"},
    "perturbation": {"name": "micro"},
    "densification": {"name": "micro"},
    "selection": {"name": "perturbed_pairs", "choice": "random"},
    "weights": {"name": "object_mask"},
    "loss": {"name": "sum", "terms": {"simpo": {}, "sft": {"weight": 2}}},
    "optimizer": {"learning_rate": 1e-3},
}
METHODS = {"silmm": SILMM, "ospo": OSPO}


def settings_for(model: Path, method: str, /, **changes: dict[str, Any] | None) -> dict[str, Any]:
    """The settings of a tiny run, with some sections changed, added, or left out where they are None."""
    settings: dict[str, Any] = {**METHODS[method], "model": {**METHODS[method]["model"], "path": str(model)}}
    for section, values in changes.items():
        settings[section] = values if values is None or "name" in values else {**settings[section], **values}
    return settings


def start_run(folder: Path, settings: dict[str, Any], **replaced: Any) -> store.Run:
    """Run what the settings say in a folder, with some components replaced by other objects."""
    checked = config.bind(settings)
    with store.Run.open(folder, checked.resolved()) as run:
        checked.recipe(run=run, **{**checked.build(), **replaced})
    return store.Run.read(folder)


if __name__ == "__main__":
    start_run(Path(sys.argv[2]), settings_for(Path(sys.argv[1]), sys.argv[3]))
