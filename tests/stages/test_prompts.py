"""Prompts from source to table, with writers that fail on purpose: what is left out, and under which reason."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from selfportrait import store
from selfportrait.asking.base import Written
from selfportrait.asking.roles import base_of, dense, perturbed, role_of
from selfportrait.stages import Writers, base_prompts, read_prompts, write_prompts
from selfportrait.stages.parts import read_counts
from selfportrait.types import Prompt, Question

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")
BASE = [Prompt(name, f"a {name}") for name in NAMES]
SLOTS = 2


def asks(prompts: Sequence[Prompt]) -> Written:
    """Questions about all but the cat."""
    asked = [replace(prompt, questions=(Question(f"Is there {prompt.text}?"),)) for prompt in prompts]
    return Written([p for p in asked if p.id != "cat"], {"no questions": sum(p.id == "cat" for p in asked)})


def perturbs(prompts: Sequence[Prompt]) -> Written:
    """Two slots each, none for the dog, one for the bee."""
    slots = [(prompt, slot) for prompt in prompts for slot in range(SLOTS)]
    kept = [(prompt, slot) for prompt, slot in slots if prompt.id != "dog" and (prompt.id, slot) != ("bee", 0)]
    made = [perturbed(prompt, slot, "replace", f"no {prompt.id} {slot}") for prompt, slot in kept]
    return Written(made, {"unchanged": len(slots) - len(kept)})


def densifies(prompts: Sequence[Prompt]) -> Written:
    """Both detailed prompts of every slot but the elk's first; the fox' second is too long."""
    by_id = {prompt.id: prompt for prompt in prompts}
    found = []
    for prompt in prompts:
        role = role_of(prompt)
        if role is None or prompt.id == "elk-perturbed-0":
            continue
        long = " long" * 9 if prompt.id == "fox-perturbed-1" else ""
        base = base_of(prompt, by_id)
        found += [dense(base, role.slot, role.edit, f"{base.text} in detail {role.slot}")]
        found += [dense(prompt, role.slot, role.edit, f"{prompt.text} in detail{long}")]
    return Written(found, {"no second sentence": sum(prompt.id == "elk-perturbed-0" for prompt in prompts)})


def write(folder: Path, writers: Writers, *, prompts_per_part: int = 4, dropped: dict[str, int] | None = None) -> None:
    write_prompts(
        Written(BASE, dropped or {}),
        folder,
        writers,
        lambda text: text == "a ant",
        lambda text: len(text) < 40,
        prompts_per_part,
    )


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    write(tmp_path, Writers(asks, perturbs, densifies), dropped={"written before": 3})
    prompts = {prompt.id: prompt for prompt in read_prompts(tmp_path)}
    assert [id for id, prompt in prompts.items() if prompt.role is None] == ["bee", "elk", "fox"]
    slots = [prompt.id for prompt in prompts.values() if prompt.role and prompt.role.startswith("perturbed")]
    assert slots == ["bee-perturbed-1", "elk-perturbed-1", "fox-perturbed-0"]
    assert len(prompts) == 3 + 3 * 3
    assert read_counts(tmp_path) == {
        "prompts": {"kept": 4, "dropped": {"written before": 3, "in the benchmark": 1, "no perturbed prompt": 1}},
        "perturbations": {"kept": 7, "dropped": {"unchanged": 3}},
        "densifications": {"kept": 5, "dropped": {"no second sentence": 1, "too long for the model": 1}},
        "questions": {"kept": 3, "dropped": {"no questions": 1}},
    }


@pytest.mark.parametrize("writers", [Writers(asks), Writers(asks, perturbs), Writers(asks, perturbs, densifies)])
def test_the_size_of_a_part_changes_nothing(tmp_path: Path, writers: Writers) -> None:
    found = []
    for size in (1, 4, 6):
        write(tmp_path / str(size), writers, prompts_per_part=size)
        assert len(store.parts(tmp_path / str(size))) == -(-len(BASE) // size)
        prompts = sorted(read_prompts(tmp_path / str(size)), key=lambda prompt: prompt.id)
        found.append((prompts, read_counts(tmp_path / str(size))))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("lost", [0, 2])
def test_any_part_that_is_missing_is_written_again(tmp_path: Path, lost: int) -> None:
    """As several processes leave them that were killed."""
    write(tmp_path, Writers(asks), prompts_per_part=2, dropped={"written before": 3})
    parts, counts = store.parts(tmp_path), read_counts(tmp_path)
    before = [path.read_bytes() for path in parts]
    parts[lost].unlink()
    write(tmp_path, Writers(asks), prompts_per_part=2, dropped={"written before": 3})
    assert [path.read_bytes() for path in parts] == before
    assert read_counts(tmp_path) == counts


def test_prompts_keep_their_own_questions_where_nobody_writes_any(tmp_path: Path) -> None:
    own = replace(BASE[1], questions=(Question("Is it black and yellow?"),))
    write_prompts(Written([own, BASE[2]]), tmp_path, Writers(), lambda _: False, lambda _: True, 4)
    assert read_prompts(tmp_path) == [own]
    assert read_counts(tmp_path)["questions"] == {"kept": 1, "dropped": {"no questions": 1}}


def test_a_source_without_prompts_says_what_became_of_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the source gave no prompts \(dropped: 5 chat marker\)"):
        write_prompts(Written([], {"chat marker": 5}), tmp_path, Writers(), lambda _: False, lambda _: True, 4)


class InParts:
    """A source that writes three parts, and may be cut off before one of them."""

    parts = ("one", "two", "three")

    def __init__(self, stop: str = "") -> None:
        self.stop, self.asked = stop, []

    def part(self, name: str) -> Written:
        if name == self.stop:
            raise KeyboardInterrupt
        self.asked.append(name)
        return Written([Prompt(name, f"a {name}"), Prompt(f"{name}-again", "a bird")], {"empty": 1})

    def __call__(self) -> list[Prompt]:
        raise AssertionError("it is written part by part")


def test_a_source_in_parts_goes_on_at_the_first_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        base_prompts(InParts("three"), tmp_path)
    source = InParts()
    written = base_prompts(source, tmp_path)
    assert source.asked == ["three"]
    assert [prompt.text for prompt in written.prompts] == ["a one", "a bird", "a two", "a three"]
    assert written.dropped == {"empty": 3, "written before": 2}
