"""The prompt source of the micro world."""

import pytest

from selfportrait import config
from selfportrait.micro.scenes import is_held_out
from selfportrait.prompts.micro import Micro


def test_it_gives_as_many_distinct_training_prompts_as_asked_for() -> None:
    found = Micro(num_prompts=200)()
    assert len({prompt.text for prompt in found}) == 200
    assert {prompt.category for prompt in found} == {"numeracy"}
    assert not any(is_held_out(prompt.text) for prompt in found)
    assert Micro(num_prompts=200)() == found
    assert Micro(num_prompts=200, seed=1)() != found


@pytest.mark.parametrize("count", [9, 10])
def test_categories_share_equally(count: int) -> None:
    found = Micro(categories=("color", "text"), num_prompts=count)()
    assert len(found) == count
    assert [prompt.category for prompt in found] == ["color"] * 5 + ["text"] * (count - 5)


def test_no_category_at_all_is_refused_before_anything_loads() -> None:
    with pytest.raises(ValueError, match="prompts.categories = \\[\\]: should be"):
        config.bind_section("prompts", {"name": "micro", "categories": []})
