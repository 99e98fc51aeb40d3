"""From a round's first candidates to what they say of its self-judge, before anything is trained on its scores.

Read this to see which pictures the calibration asks about.
"""

import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from selfportrait import images, store
from selfportrait.asking.base import Answers
from selfportrait.asking.calibration import calibrate
from selfportrait.seeds import derive
from selfportrait.stages.candidates import is_hard_negative
from selfportrait.stages.prompts import read_prompts
from selfportrait.types import Prompt, Score

__all__ = ["calibrate_judge", "read_warning"]

PICTURES = 100  # enough to tell 60 % from chance
log = logging.getLogger(__name__)


def calibrate_judge(
    policy: Answers,
    prompts: Path,
    candidates: Path,
    file: Path,
    *,
    seed: int,
    check: Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]],
) -> None:
    """Ask the policy about one candidate each of some prompts, and write what came of it, with a warning if need be.

    `check` judges the same pictures exactly where it can. Nothing is asked and written where there are no two prompts.
    """
    if not file.exists():
        shown = _some(read_prompts(prompts), candidates, seed)
        if len({prompt.text for prompt, _ in shown}) < 2:
            return
        several, pictures = [prompt for prompt, _ in shown], [picture for _, picture in shown]
        found = calibrate(policy, several, pictures, seed=seed, exact=check(several, pictures))
        store.write_json(file, found.as_json())
        if found.warning:
            log.warning("%s", found.warning)


def read_warning(file: Path) -> str | None:
    """What a calibration warns of; None where it does not, and where there was none."""
    warning: str | None = store.read_json(file)["warning"] if file.exists() else None
    return warning


def _some(prompts: Sequence[Prompt], candidates: Path, seed: int) -> list[tuple[Prompt, Image.Image]]:
    """The first candidate of some base prompts, drawn at random among all."""
    base = [prompt for prompt in prompts if prompt.role is None]
    chosen = random.Random(derive(seed, "calibration")).sample(base, min(PICTURES, len(base)))
    by_id = {prompt.id: prompt for prompt in chosen}
    found: dict[str, Image.Image] = {}
    for index in range(len(store.parts(candidates))):
        for row in store.read_part(candidates, index, ["id", "prompt_id", "image"]).to_pylist():
            if row["prompt_id"] in by_id and row["prompt_id"] not in found and not is_hard_negative(row["id"]):
                found[row["prompt_id"]] = images.from_bytes(row["image"]["bytes"])
    return [(by_id[id], picture) for id, picture in sorted(found.items())]
