"""What an official scorer wrote about our pictures, read back: only such numbers are official.

Read this to see which files are understood.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from selfportrait.benchmarks import _files, _parts
from selfportrait.benchmarks.base import Row
from selfportrait.types import Prompt, Score

__all__ = ["NO_VERDICT", "compbench", "geneval", "measure"]

NO_VERDICT = "the official scorer's results have no verdict on this picture"
COMPBENCH_FILES = {
    "color": "annotation_blip",
    "shape": "annotation_blip",
    "texture": "annotation_blip",
    "spatial": "labels/annotation_obj_detection_2d",
    "3d_spatial": "labels/annotation_obj_detection_3d",
    "numeracy": "annotation_num",
    "non_spatial": "annotation_clip",
    "complex": "annotation_3_in_1",
}
_PLACE = re.compile(r"(\d+)/samples/(\d+)\.png$")

Found = Callable[[Prompt, int], Score | None]
"""The official verdict on a picture of a prompt, None where there is none."""


def measure(found: Found, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
    """One row a picture, in order; a score with `exact` in its details is right or wrong."""
    rows = []
    for prompt, several in zip(prompts, images, strict=True):
        for index in range(len(several)):
            score = found(prompt, index) or Score(None, NO_VERDICT)
            rows.append(_parts.row(prompt, index, score, score.details.get("exact")))
    return rows


def geneval(path: str) -> Found:
    """Read the results.jsonl of evaluate_images.py; raises ValueError where a line is none of its lines."""
    file = _files.locate(path, ["results.jsonl"], "evaluation/evaluate_images.py of GenEval")
    verdicts: dict[tuple[int, int], Mapping[str, Any]] = {}
    for number, line in enumerate(_files.objects(file)):
        _files.one_of(file, f"line {number + 1}", line, ("filename", "prompt", "correct", "reason"))
        place = _PLACE.search(str(line["filename"]).replace("\\", "/"))
        if place is None:
            raise ValueError(f"{file}, line {number + 1}: {line['filename']} is not such as 00000/samples/0000.png")
        verdicts[int(place[1]), int(place[2])] = line

    def find(prompt: Prompt, index: int) -> Score | None:
        line = verdicts.get((prompt.spec["row"], index))
        if line is None:
            return None
        if line["prompt"] != prompt.text:
            raise ValueError(f"{file}: picture {line['filename']} is of {line['prompt']!r}, expected {prompt.text!r}")
        correct = bool(line["correct"])
        return Score(float(correct), None, {"exact": correct, "reasons": [line["reason"]] if line["reason"] else []})

    return find


def compbench(folder: str, images_per_prompt: int) -> Found:
    """Read the vqa_result.json that each category's scorer leaves in `<folder>/<category>`."""
    answers: dict[str, dict[int, float]] = {}

    def find(prompt: Prompt, index: int) -> Score | None:
        if prompt.category not in answers:
            answers[prompt.category] = _answers(Path(folder) / prompt.category / COMPBENCH_FILES[prompt.category])
        value = answers[prompt.category].get(prompt.spec["row"] * images_per_prompt + index)
        return None if value is None else Score(value)

    return find


def _answers(folder: Path) -> dict[int, float]:
    file = _files.locate(str(folder), ["vqa_result.json"], "the category's scorer, run on the folder of its pictures")
    found = {}
    for number, one in enumerate(_files.json_list(file)):
        _files.one_of(file, f"entry {number}", one, ("question_id", "answer"))
        found[int(one["question_id"])] = float(one["answer"])
    return found
