"""Prompts that a model writes in streams: counts, reasons, refreshed examples, and no trace of the batch size."""

import pytest

from selfportrait import config
from selfportrait.asking.captions import STREAMS
from selfportrait.prompts.streams import Streams
from selfportrait.stages import hand_over

NOUNS = ["cup", "hat", "owl", "fig", "bus", "pan", "jar", "bed", "fox", "key"]


def caption(conversation, seed: int) -> str:
    """A caption of the last digits of its seed, and every fifth one unreadable."""
    text = f"a {NOUNS[seed // 7 % 10]} and a {NOUNS[seed // 70 % 10]}"
    return "no caption" if seed % 5 == 0 else f"Caption: {text};Units: x;Tuples: (y)"


def test_a_stream_is_filled_and_what_is_dropped_is_counted(scripted) -> None:
    source = Streams(scripted(caption), 0, streams=("color2",), attribute_prompts=30)
    written = source.part("color2")
    assert [prompt.id for prompt in written.prompts] == [f"0{index:06d}" for index in range(30)]
    assert {prompt.category for prompt in written.prompts} == {"attribute2"}
    assert len({prompt.text for prompt in written.prompts}) == 30
    assert written.dropped.keys() == {"not three parts", "written before"}
    assert source() == written.prompts


@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_the_batch_size_changes_nothing(batch_size: int, scripted) -> None:
    def told(conversation, seed: int) -> str:
        """A caption that depends on the examples it was shown, so that a late or early refresh would be seen."""
        shown = sum(map(ord, "".join(turn.text for turn in conversation)))
        return caption(conversation, seed ^ shown)

    def written(size: int):
        model = scripted(told)
        source = Streams(
            model, 1, streams=("color2",), attribute_prompts=40, refresh_every=20, batch_size=size, tries_per_prompt=50
        )
        return source.part("color2"), model

    (expected, _), (found, model) = written(7), written(batch_size)
    assert found == expected
    assert max(model.sizes) <= min(batch_size, 20)


def test_examples_are_drawn_anew_from_what_was_accepted(scripted) -> None:
    model = scripted(caption)
    Streams(model, 0, streams=("color2",), attribute_prompts=30, refresh_every=16).part("color2")
    shown = [[turn.text for turn in turns if turn.role == "assistant"] for turns in model.asked]
    first = [shot.answer() for shot in STREAMS["color2"].shots]
    assert all(shots == first for shots in shown[:16])
    assert len(shown) > 32
    assert all(shots != first for shots in shown[16:])
    assert shown[16] != shown[32]
    assert all(shots == shown[16] for shots in shown[16:32])
    assert len(shown[16]) == 3
    assert all(text.endswith(";Units: x;Tuples: (y)") for text in shown[16])


def test_examples_stay_while_too_little_was_accepted(scripted) -> None:
    model = scripted("nothing")
    Streams(model, 0, streams=("complex",), complex_prompts=2, refresh_every=8, tries_per_prompt=10).part("complex")
    assert len(model.asked) == 20
    assert len({str(turns) for turns in model.asked}) == 1


def test_a_stream_ends_when_its_tries_are_used_up(scripted, caplog) -> None:
    model = scripted("Caption: two cups;Units: a;Tuples: b")
    source = Streams(model, 0, streams=("numeracy1",), numeracy1_prompts=3, tries_per_prompt=4, batch_size=5)
    written = source.part("numeracy1")
    assert [prompt.text for prompt in written.prompts] == ["two cups"]
    assert written.dropped == {"written before": 11}
    assert model.sizes == [5, 5, 2]
    assert "numeracy1: 1 of 3 prompts after 12 texts" in caplog.text


def test_a_model_that_writes_nothing_usable_is_an_error_with_the_reasons(scripted) -> None:
    source = Streams(scripted("hello"), 0, streams=("color1", "complex"), attribute_prompts=1, complex_prompts=1)
    with pytest.raises(ValueError, match=r"the model wrote no prompt that can be used \(dropped: 40 not three parts\)"):
        source()


def test_parts_are_numbered_within_their_family_and_joined_without_repetitions(scripted) -> None:
    def text(conversation, seed: int) -> str:
        return f"Caption: two cups {seed % 26 * 'x'};Units: a;Tuples: b"

    source = Streams(
        scripted(text),
        0,
        streams=("numeracy1", "color1", "numeracy2", "color2"),
        attribute_prompts=4,
        numeracy1_prompts=5,
        numeracy2_prompts=6,
    )
    assert source.parts == ("numeracy1", "color1", "numeracy2", "color2")
    assert [prompt.id for prompt in source.part("numeracy2").prompts] == [f"1{index:06d}" for index in range(5, 11)]
    assert [prompt.id for prompt in source.part("color2").prompts] == [f"0{index:06d}" for index in range(4, 8)]
    prompts = source()
    assert len({prompt.text for prompt in prompts}) == len(prompts)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert source.part("color2").prompts[0] in [*prompts, *source.part("color2").prompts]


def test_the_published_counts_are_the_defaults(scripted) -> None:
    source = Streams(scripted("x"), 0)
    assert sum(source._counts.values()) == 16_002
    assert source.parts == tuple(STREAMS)


def test_compact_requests_ask_by_the_kind_of_caption(scripted) -> None:
    model = scripted(caption)
    source = Streams(model, 0, streams=("color2",), attribute_prompts=2, style="compact", max_new_tokens=60)
    source.part("color2")
    assert {turns[0].text for turns in map(tuple, model.asked)} == {
        "Write one new caption: two objects, each with a colour."
    }
    assert model.decoding == {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 60}


def test_a_config_names_streams_and_a_recipe_hands_over_the_model(scripted) -> None:
    section = config.bind_section("prompts", {"name": "streams", "streams": ["color2"], "attribute_prompts": 3})
    assert section.takes_policy
    source = hand_over(section.build(), policy=scripted(caption), seed=0)
    assert len(source()) == 3
    with pytest.raises(ValueError, match="prompts.streams"):
        config.bind_section("prompts", {"name": "streams", "streams": ["colour"]})
    with pytest.raises(ValueError, match="the model object writes no text"):
        hand_over(section.build(), policy=object(), seed=0)
