"""A run in which the model writes everything itself: exact texts, and every so often one that cannot be used."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from tiny_rounds import settings_for, start_run

from selfportrait import store
from selfportrait.asking.captions import Caption
from selfportrait.asking.perturb import Edit
from selfportrait.asking.questions import LABEL
from selfportrait.micro.language import parse, questions, say
from selfportrait.micro.rewriting import densify, perturb
from selfportrait.micro.scenes import claim, is_held_out
from selfportrait.models.janus import Janus
from selfportrait.stages import read_prompts

PROMPTS_A_STREAM = 3
SCRIBE = {"name": "self_written", "style": "compact"}


class Scribe(Janus):
    """Draws and answers as the tiny model, and writes in the micro language, by a script that its seed decides."""

    def write(self, conversations: Sequence[Any], seeds: Sequence[int], **_: Any) -> list[str]:
        return [
            "What?" if seed % 6 == 0 else self._text(conversation[-1].text, random.Random(seed))
            for conversation, seed in zip(conversations, seeds, strict=True)
        ]

    def _text(self, request: str, rng: random.Random) -> str:
        if request.startswith(LABEL):
            asked = questions(parse(request.removeprefix(LABEL).strip()))
            return f"{LABEL} {' '.join(question.text for question in asked)}"
        if match := re.match(rf"(.+)\nEdit: <({'|'.join(get_args(Edit))})>", request):
            changed = perturb(parse(match[1]), match[2], rng)  # type: ignore[arg-type]
            return f"Result: {match[1] if changed is None else say(changed)}"
        if match := re.match(r"First: (.+)\nSecond: (.+)\n", request):
            pair = densify(parse(match[1]), parse(match[2]), rng)
            return f"2. First, detailed: {say(pair.base)}\n4. Second, detailed: {say(pair.perturbed)}"
        return Caption(say(claim("color", rng)), "", "").answer()


@pytest.fixture
def settings(tiny_janus: Path) -> dict[str, Any]:
    return settings_for(
        tiny_janus,
        "ospo",
        recipe={"rounds": 1, "epochs": 1, "prompts_per_part": 4},
        prompts={
            "name": "streams",
            "style": "compact",
            "streams": ["color1", "color2"],
            "attribute_prompts": PROMPTS_A_STREAM,
        },
        perturbation=SCRIBE,
        densification=SCRIBE,
        questions=SCRIBE,
    )


def scribe(settings: dict[str, Any]) -> Scribe:
    return Scribe(**{key: value for key, value in settings["model"].items() if key != "name"})


def test_the_model_writes_everything_and_every_text_is_accounted_for(settings: dict[str, Any], tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", settings, model=scribe(settings))
    found = store.read_json(run.path("round-0", "yield.json"))
    written = read_prompts(run.path("round-0", "written"))
    assert len(written) == 2 * PROMPTS_A_STREAM
    assert found["prompts"]["dropped"].get("in the benchmark", 0) == sum(is_held_out(one.text) for one in written)
    assert found["prompts"]["dropped"]["not three parts"] > 0  # "What?"
    base = [prompt for prompt in read_prompts(run.path("round-0", "prompts")) if prompt.role is None]
    assert not any(is_held_out(prompt.text) for prompt in base)
    assert all(prompt.questions == questions(parse(prompt.text)) for prompt in base)
    slots = found["perturbations"]["kept"] + sum(found["perturbations"]["dropped"].values())
    asked = found["prompts"]["kept"] + found["prompts"]["dropped"].get("no perturbed prompt", 0)
    assert slots == 3 * asked
    assert (
        found["densifications"]["kept"] + sum(found["densifications"]["dropped"].values())
        == (found["perturbations"]["kept"])
    )
    assert found["questions"]["kept"] + sum(found["questions"]["dropped"].values()) == found["prompts"]["kept"]
    assert found["questions"]["kept"] == len(base)
    assert found["candidates"]["kept"] % 2 == 0
    json.dumps(found)


def test_a_run_cut_off_while_it_writes_does_not_write_again_what_it_has(
    settings: dict[str, Any], tmp_path: Path, differences: Any
) -> None:
    class CutOff(Scribe):
        left = 0

        def write(self, conversations: Sequence[Any], seeds: Sequence[int], **decoding: Any) -> list[str]:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().write(conversations, seeds, **decoding)

    start_run(tmp_path / "whole", settings, model=scribe(settings))
    parts = []
    for calls in (1, 2, 3, 50):
        model = CutOff(**{key: value for key, value in settings["model"].items() if key != "name"})
        model.left = calls
        try:
            start_run(tmp_path / "cut", settings, model=model)
        except KeyboardInterrupt:
            parts.append(len(store.parts(tmp_path / "cut/round-0/written")))
    assert parts == sorted(parts)
    assert parts[0] < parts[-1] == 2
    assert differences(tmp_path / "whole", tmp_path / "cut") == []
