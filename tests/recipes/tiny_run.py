"""A tiny run of the GPO recipe: random weights, real tables, and a judge that finds a difference in any picture.

    python tiny_run.py MODEL FOLDER [watch]

starts it, or goes on with it, in a process of its own, with judges that watch where that is asked for.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from selfportrait import config, store
from selfportrait.types import Prompt, Score

WATCH: dict[str, Any] = {
    "shapes": {"name": "micro_questions"},
    "both": {"name": "weighted", "parts": {"micro_count": {}, "micro_questions": {}}},
}
STEPS, PROMPTS, GROUP, DRAWS, UPDATES, INFERENCE_STEPS = 3, 2, 4, 2, 2, 2


class Brightness:
    """Scores the mean brightness, which any two random pictures differ in."""

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        return [Score(float(np.asarray(image).mean()) / 255, None, {"exact": False}) for image in images]


def settings_for(path: Path, /, **changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of the tiny run, with some sections changed or added."""
    settings: dict[str, Any] = {
        "seed": 0,
        "recipe": {
            "name": "gpo",
            "steps": STEPS,
            "group_size": GROUP,
            "prompts_per_step": PROMPTS,
            "timesteps_per_update": DRAWS,
            "updates_per_group": UPDATES,
            "checkpoint_every": 1,
        },
        "model": {"name": "sd3", "path": str(path), "train": "full", "num_inference_steps": INFERENCE_STEPS},
        "prompts": {"name": "micro", "num_prompts": 3},
        "judge": {"name": "micro_count"},
        "selection": {"name": "standardize"},
        "draw": {"name": "forward_noise"},
        "loss": {"name": "gpo"},
        "optimizer": {"learning_rate": 1e-4},
        "benchmark": {"name": "micro", "categories": ["numeracy", "color"], "prompts_per_category": 2},
    }
    for section, values in changes.items():
        settings[section] = {**settings[section], **values} if "name" not in values else values
    return settings


def start_run(folder: Path, settings: dict[str, Any], **replaced: Any) -> store.Run:
    """Run what the settings say in a folder, with some components replaced by other objects."""
    checked = config.bind(settings)
    with store.Run.open(folder, checked.resolved()) as run:
        checked.recipe(run=run, **{**checked.build(), "judge": Brightness(), **replaced})
    return store.Run.read(folder)


def finished_settings(model: Path) -> dict[str, Any]:
    """The settings of the run that tests compare with: EMA, the guard, three prompts that come again."""
    return settings_for(model, recipe={"ema_decay": 0.5}, loss={"name": "gpo", "guard": 0.1})


if __name__ == "__main__":
    watch = {"judge": {"name": "micro_questions"}, "watch": {"micro_count": {}}} if sys.argv[3:] else {}
    start_run(Path(sys.argv[2]), finished_settings(Path(sys.argv[1])) | watch)
