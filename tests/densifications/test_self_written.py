"""Detailed prompts by the model: two a slot, aligned, or none."""

from selfportrait.asking.roles import perturbed, slot_pairs
from selfportrait.densifications.self_written import SelfWritten
from selfportrait.types import Prompt

BASE = Prompt("0000000", "a teal kettle", "attribute1_color")
SHORT = [BASE, *(perturbed(BASE, slot, "replace", f"a red kettle {slot}") for slot in range(3))]


def expand(conversation, seed: int) -> str:
    first, second = (line.partition(": ")[2] for line in conversation[-1].text.splitlines()[:2])
    return f"2. First, detailed: {first}, {seed % 1000}.\n4. Second, detailed: {second}, {seed % 1000}."


def test_each_slot_gets_a_detailed_base_of_its_own(scripted) -> None:
    written = SelfWritten(scripted(expand), 0)(SHORT)
    assert [prompt.role for prompt in written.prompts] == [
        f"{kind} {slot} replace" for slot in range(3) for kind in ("dense", "dense-perturbed")
    ]
    assert len({prompt.text for prompt in written.prompts}) == 6
    pairs = slot_pairs([*SHORT, *written.prompts])
    assert [pair.slot for pair in pairs] == [0, 1, 2]
    for pair in pairs:
        assert pair.base == BASE
        assert pair.chosen.text.startswith("a teal kettle, ")
        assert pair.rejected.text.startswith(f"a red kettle {pair.slot}, ")
        assert pair.chosen.text.split(", ")[1] == pair.rejected.text.split(", ")[1]


def test_the_batch_size_changes_nothing(scripted) -> None:
    assert SelfWritten(scripted(expand), 0, batch_size=1)(SHORT) == SelfWritten(scripted(expand), 0)(SHORT)


def test_a_broken_answer_drops_its_slot_only(scripted) -> None:
    def text(conversation, seed: int) -> str:
        full = expand(conversation, seed)
        return full.replace("4. Second", "Second") if "kettle 1" in full else full

    written = SelfWritten(scripted(text), 0)(SHORT)
    assert written.dropped == {"no second sentence": 1}
    assert [pair.slot for pair in slot_pairs([*SHORT, *written.prompts])] == [0, 2]


def test_detailed_prompts_among_the_given_are_left_alone(scripted) -> None:
    once = SelfWritten(scripted(expand), 0)(SHORT)
    assert SelfWritten(scripted(expand), 0)([*SHORT, *once.prompts]) == once
    assert SelfWritten(scripted(expand), 0)([BASE]).prompts == []
