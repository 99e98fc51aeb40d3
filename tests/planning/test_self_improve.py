"""The plan of rounds: numbers that follow from the settings, by hand, and how sure they are."""

from pathlib import Path
from typing import Any

import pytest

from selfportrait import config
from selfportrait.planning import base, texts

SILMM = {
    "recipe": {
        "name": "self_improve", "rounds": 2, "candidates_per_prompt": 4,
        "steps": 7, "batch_size": 6, "pairs_per_forward": 4,
    },
    "prompts": {"name": "micro", "num_prompts": 10, "categories": ["color", "spatial"]},
    "questions": {"name": "whole_prompt"},
    "judge": {"name": "self_vqa"},
    "selection": {"name": "best_worst"},
    "weights": {"name": "ones"},
    "loss": {"name": "dpo"},
    "optimizer": {},
    "benchmark": {"name": "micro", "prompts_per_category": 2, "categories": ["color"]},
}  # fmt: skip
OSPO = SILMM | {
    "recipe": {"name": "self_improve", "epochs": 2, "batch_size": 6, "pairs_per_forward": 4},
    "perturbation": {"name": "micro"},
    "densification": {"name": "micro"},
    "questions": {"name": "self_written"},
    "selection": {"name": "perturbed_pairs"},
    "weights": {"name": "object_mask"},
    "loss": {"name": "simpo"},
}


def planned(settings: dict[str, Any], folder: Path) -> tuple[base.Plan, dict[str, tuple[int, str]]]:
    """The plan, and its numbers by stage and what."""
    model = {"name": "janus", "path": str(folder), "batch_size": 16}
    checked = config.bind(settings | {"model": model})
    recipe = checked.sections["recipe"]
    made = base.plan("self_improve", checked.build(), recipe.settings)
    return made, {f"{count.stage} {count.what}": (count.number, count.qualifier) for count in made.counts}


def test_silmm_with_given_prompts_is_known_but_for_its_pairs(tiny_janus: Path) -> None:
    plan, numbers = planned(SILMM, tiny_janus)
    assert numbers == {
        "evaluate before pictures": (8, ""),
        "write prompts": (10, ""),
        "write questions": (10, ""),
        "sample pictures": (40, ""),
        "sample image tokens": (640, ""),
        "sample forwards of a token": (48, ""),  # three batches of 16 tokens
        "judge questions answered": (40, ""),
        "pair pairs": (10, "at most"),
        "train pairs a step": (6, ""),
        "train optimizer steps": (7, ""),
        "train forwards and backwards": (14, ""),
        "train forwards without gradient": (3, "at most"),
        "evaluate after pictures": (8, ""),
    }
    assert (plan.num_rounds, plan.num_copies) == (2, 2)
    assert plan.training.rows == 8
    assert max(batch.rows for batch in plan.generating) == 32


def test_ospo_counts_slots_and_what_the_model_writes(tiny_janus: Path) -> None:
    plan, numbers = planned(OSPO, tiny_janus)
    slots, is_known = numbers["write perturbed prompts"]
    assert is_known == ""
    assert 20 <= slots <= 30  # three a prompt, where the edit finds something to change
    assert numbers["write detailed prompts"] == numbers["sample pictures"] == (2 * slots, "")
    assert numbers["write questions"] == (round(10 * texts.num_questions()), "about")
    assert numbers["write text tokens"] == (10 * texts.answer_tokens("questions", "full"), "about")
    assert numbers["mask attention maps"] == (20, "at most")
    assert numbers["train optimizer steps"] == (4, "at most")  # twice ten pairs, six a step
    assert "train forwards without gradient" not in numbers
    assert plan.num_copies == 0


@pytest.mark.parametrize(
    ("section", "settings", "says"),
    [
        ("recipe", {"name": "self_improve", "batch_size": 6}, "recipe.steps = None and recipe.epochs = None"),
        ("recipe", {**OSPO["recipe"], "candidates_per_prompt": 4}, "leave it out"),
        ("perturbation", None, "densification: a prompt is written out together"),
        ("model", {"name": "sd3"}, "draws none"),
    ],
)
def test_what_the_recipe_refuses_is_refused(section: str, settings: Any, says: str, tiny_janus: Path) -> None:
    checked = config.bind(OSPO | {"model": {"name": "janus", "path": str(tiny_janus)}} | {section: settings})
    with pytest.raises(ValueError, match=says):
        base.plan("self_improve", checked.build(), checked.sections["recipe"].settings)
