"""Exact edits: which there are, that they conflict, and what is found wrong with others."""

import random

import pytest

from selfportrait.asking.densify import Dense
from selfportrait.micro.language import parse, say
from selfportrait.micro.logic import entails
from selfportrait.micro.rewriting import densify, density_fault, perturb, perturbation_fault
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, lay_out

EDITS = ("replace", "swap", "drop")


def all_of(text: str, edit: str) -> set[str]:
    found = {perturb(parse(text), edit, random.Random(seed)) for seed in range(300)}
    return {say(one) for one in found if one is not None}


@pytest.mark.parametrize(
    ("text", "edit", "expected"),
    [
        ("a red circle and a blue star", "swap", {"a blue circle and a red star"}),
        ("a red circle and a blue star", "drop", {"a red circle", "a blue star"}),
        ("a red circle left of a blue star", "swap", {"a blue star left of a red circle"}),
        ("a red circle left of a blue star", "drop", {"a red circle and a blue star"}),
        (
            "a red circle left of a blue star",
            "replace",
            {f"a red circle {relation} a blue star" for relation in ("right of", "above", "below")},
        ),
        ("two rings", "replace", {f"{number} rings" for number in ("three", "four", "five", "six")} | {"one ring"}),
        ("two red rings and one blue star", "swap", {"one red ring and two blue stars"}),
        ("two red rings and one blue star", "drop", {"two red rings", "one blue star"}),
        ("a red circle and a red star", "swap", set()),
        ("a red circle", "swap", set()),
        ("a red circle", "drop", set()),
        ("a red star on a white background", "drop", {"a red star"}),
        ("a red star at the top left", "drop", {"a red star"}),
    ],
)
def test_every_edit_there_is(text: str, edit: str, expected: set[str]) -> None:
    assert all_of(text, edit) == expected


def test_one_thing_is_replaced_by_what_is_not_named() -> None:
    found = all_of("a red circle", "replace")
    assert len(found) == 10  # five other colours and five other shapes
    assert "a blue circle" in found
    assert "a red star" in found


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_perturbed_and_detailed_claims_have_no_fault(category: str) -> None:
    rng = random.Random(category)
    num_dense = 0
    for _ in range(300):
        base, edit = claim(category, rng), rng.choice(EDITS)
        changed = perturb(base, edit, rng)
        if changed is None:
            continue
        assert parse(say(changed)) == changed
        assert perturbation_fault(say(base), say(changed), edit) is None
        pair = densify(base, changed, rng)
        dense = Dense(say(pair.base), say(pair.perturbed))
        assert density_fault(say(base), say(changed), dense) is None
        num_dense += dense.base != say(base)
        lay_out(pair.base, rng), lay_out(pair.perturbed, rng)  # both can be drawn
    assert num_dense > 100


@pytest.mark.parametrize(
    ("base", "text", "edit", "fault"),
    [
        ("a red circle and a blue star", "a blue circle and a red star", "swap", None),
        ("a red circle and a blue star", "a red circle and a blue dog", "replace", "not in the language"),
        ("a red circle and a blue star", "a blue star and a red circle", "swap", "no conflict"),
        ("a red circle left of a blue star", "a blue star right of a red circle", "swap", "no conflict"),
        ("a circle", "a red circle", "replace", "no conflict"),
        ("a red circle and a blue star", "a red circle", "swap", "drop instead of swap"),
        ("a red circle and a blue star", "a green circle and a blue star", "drop", "replace instead of drop"),
        ("a red circle and a blue star", "a blue circle and a red star", "replace", "swap instead of replace"),
        ("a red circle", "a red circle and a blue star", "drop", "replace instead of drop"),
    ],
)
def test_what_is_wrong_with_a_perturbed_prompt(base: str, text: str, edit: str, fault: str | None) -> None:
    assert perturbation_fault(base, text, edit) == fault


@pytest.mark.parametrize(
    ("dense", "fault"),
    [
        (("a small red circle", "a small blue circle"), None),
        (("a red circle on a gray background", "a blue circle on a gray background"), None),
        (("a red circle", "a blue circle"), None),
        (("a tiny red circle", "a blue circle"), "not in the language"),
        (("a red circle and a star", "a blue circle"), "unfaithful base"),
        (("a red circle", "a green circle"), "unfaithful perturbed"),
        (("a red circle on a gray background", "a blue circle on a white background"), "another background"),
    ],
)
def test_what_is_wrong_with_detailed_prompts(dense: tuple[str, str], fault: str | None) -> None:
    assert density_fault("a red circle", "a blue circle", Dense(*dense)) == fault


def test_a_dropped_relation_must_not_come_back() -> None:
    dense = Dense("a red circle left of a blue star", "a red circle left of a blue star")
    assert density_fault("a red circle left of a blue star", "a red circle and a blue star", dense) == "no conflict"


def test_the_same_things_are_added_to_both() -> None:
    base, changed = parse("a red circle and a blue star"), parse("a blue circle and a red star")
    versions = {densify(base, changed, random.Random(seed)) for seed in range(200)}
    assert len(versions) > 20
    for pair in versions:
        assert pair.base.background == pair.perturbed.background
        assert pair.base.relation == pair.perturbed.relation
        assert [phrase.size for phrase in pair.base.phrases] == [phrase.size for phrase in pair.perturbed.phrases]
        assert entails(pair.base, base)
