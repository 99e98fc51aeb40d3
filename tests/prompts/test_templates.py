"""Prompts from templates filled with a model's own words."""

import re

import pytest

from selfportrait.asking.words import ATTRIBUTES, OBJECTS
from selfportrait.prompts.templates import Templates

LISTS = {
    kind: ", ".join(f"{stem}{letter}" for letter in "abcdefgh") for kind, stem in zip(OBJECTS, "bcdfghjkl", strict=True)
}
LISTS |= {
    kind: ", ".join(f"{stem}{letter}" for letter in "uvwxy")
    for kind, stem in zip(ATTRIBUTES.values(), "rst", strict=True)
}


def listed(conversation, seed: int) -> str:
    request = conversation[-1].text
    kind = re.sub(r"^List \d+ (.*)\.$", r"\1", request)
    return LISTS.get(kind, f"Caption: somebody feeds {seed};Units: a;Tuples: b")


def test_half_the_attribute_prompts_have_one_object_and_a_third_of_layout_each_form(scripted) -> None:
    source = Templates(
        scripted(listed), 0, attribute_prompts=20, layout_prompts=10, non_spatial_prompts=2, complex_prompts=0
    )
    assert source.parts == ("templates", "non-spatial")
    prompts = source.part("templates").prompts
    categories = [prompt.category for prompt in prompts]
    assert [categories.count(f"attribute1_{kind}") for kind in ("color", "shape", "texture")] == [4, 4, 3]
    assert [categories.count(name) for name in ("attribute2", "layout1", "layout2", "layout3")] == [9, 4, 3, 3]
    assert [prompt.id for prompt in prompts] == [f"0{i:06d}" for i in range(20)] + [f"1{i:06d}" for i in range(10)]
    assert [prompt.category for prompt in source()] == [*categories, "non-spatial", "non-spatial"]


def test_the_forms(scripted) -> None:
    source = Templates(scripted(listed), 0, attribute_prompts=60, layout_prompts=30)
    forms = {
        "attribute1_color": r"a r[u-y] [b-l][a-h]",
        "attribute1_shape": r"a s[u-y] [b-l][a-h]",
        "attribute2": r"a [rst]([u-y]) [b-l][a-h] and a [rst](?!\1)[u-y] [b-l][a-h]",
        "layout1": r"a ([b-l][a-h]) [a-z ]+ a (?!\1)[b-l][a-h]",
        "layout2": r"(one [b-l][a-h]|(two|three|four) [b-l][a-h]e?s)",
        "layout3": r"(one \w\w|(two|three|four) \w\we?s) and (one \w\w|(two|three|four) \w\we?s)",
    }
    for prompt in source.part("templates").prompts:
        if prompt.category in forms:
            assert re.fullmatch(forms[prompt.category], prompt.text), prompt


def test_the_same_prompts_every_time_and_other_ones_from_another_seed(scripted) -> None:
    def written(seed: int, batch_size: int) -> list[str]:
        source = Templates(scripted(listed), seed, attribute_prompts=30, layout_prompts=30, batch_size=batch_size)
        return [prompt.text for prompt in source.part("templates").prompts]

    assert written(0, 8) == written(0, 3)
    assert written(0, 8) != written(1, 8)


def test_empty_lists_are_counted(scripted) -> None:
    model = scripted(
        lambda conversation, seed: "???" if "animals" in conversation[-1].text else listed(conversation, seed)
    )
    written = Templates(model, 0, attribute_prompts=6, layout_prompts=3, lists_per_kind=2).part("templates")
    assert written.dropped == {"empty list": 2}
    assert len(written.prompts) == 9


def test_words_that_run_out_end_a_template(scripted, caplog) -> None:
    model = scripted("red, blue")  # the same two words for everything
    prompts = Templates(model, 0, attribute_prompts=600, layout_prompts=3).part("templates").prompts
    one = [prompt.text for prompt in prompts if prompt.category == "attribute1_color"]
    assert sorted(one) == ["a blue blue", "a blue red", "a red blue", "a red red"]
    assert "the words have no more to give" in caplog.text


def test_a_model_that_lists_nothing_is_an_error(scripted) -> None:
    with pytest.raises(ValueError, match="the model listed 0 words for objects"):
        Templates(scripted("!"), 0)()
