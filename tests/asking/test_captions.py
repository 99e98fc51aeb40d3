"""Captions: the streams there are, how an answer is read, and every reason for dropping one."""

import pytest

from selfportrait.asking.base import Unreadable
from selfportrait.asking.captions import FAMILIES, STREAMS, Caption, conversation, family, item_id, kind, read

COLOR, NUMBERS, COMPLEX = STREAMS["color2"], STREAMS["numeracy2"], STREAMS["complex"]


def answer(caption: str) -> str:
    return f"Caption: {caption};Units: a, b;Tuples: (a, b)"


def test_twelve_streams_in_four_families() -> None:
    assert len(STREAMS) == 12
    assert {family(stream.category) for stream in STREAMS.values()} == set(FAMILIES)
    assert [len(stream.shots) for stream in STREAMS.values()] == [3] * 10 + [2, 4]
    assert [stream.num_refreshed for stream in STREAMS.values()] == [3] * 11 + [5]
    assert [name for name, stream in STREAMS.items() if not stream.is_template_like] == ["non-spatial", "complex"]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_the_examples_are_read_as_they_are_meant(stream) -> None:
    for shot in stream.shots:
        assert read(shot.answer(), stream) == shot


def test_the_request_is_repeated_before_every_shot() -> None:
    turns = conversation(COLOR, COLOR.shots, "full")
    assert [turn.role for turn in turns] == ["system", *["user", "assistant"] * 3, "user"]
    assert len({turn.text for turn in turns if turn.role == "user"}) == 1
    assert [turn.text for turn in turns if turn.role == "assistant"] == [shot.answer() for shot in COLOR.shots]


def test_compact_requests_tell_the_streams_apart() -> None:
    requests = [conversation(stream, stream.shots, "compact") for stream in STREAMS.values()]
    assert all(len(turns) == 1 for turns in requests)
    assert len({turns[0].text for turns in requests}) == len(STREAMS)


@pytest.mark.parametrize(
    ("text", "stream", "caption"),
    [
        (answer("a red cup and a blue hat"), COLOR, "a red cup and a blue hat"),
        (answer("a red cup and a blue hat."), COLOR, "a red cup and a blue hat"),
        ("  a red cup ; x ; y \n", COLOR, "a red cup"),
        ("Here it is: Caption: a red cup;Units:x;Tuples:y", COLOR, "a red cup"),
        (answer("two cats and One dog"), NUMBERS, "two cats and One dog"),
        (
            answer("a half-open,\nred door (old) of a colour/shape."),
            COMPLEX,
            "a half-open, red door (old) of a colour/shape.",
        ),
        (answer("seven swans"), COMPLEX, "seven swans"),
        (answer("a colorful parrot and a shaped cake"), COLOR, "a colorful parrot and a shaped cake"),
    ],
)
def test_what_is_read(text: str, stream, caption: str) -> None:
    assert read(text, stream).text == caption


@pytest.mark.parametrize(
    ("text", "stream", "reason"),
    [
        ("", COLOR, "not three parts"),
        ("Caption: a red cup", COLOR, "not three parts"),
        ("Caption: a;Units: b;Tuples: c;", COLOR, "not three parts"),
        (answer("a red cup") + ";more", COLOR, "not three parts"),
        (answer(""), COLOR, "empty caption"),
        (answer(" . "), COLOR, "empty caption"),
        (answer("a red cup\nand a blue hat"), COLOR, "banned character"),
        (answer("a red/blue cup"), COLOR, "banned character"),
        (answer("a red-blue cup"), COLOR, "banned character"),
        (answer("a red (and blue) cup"), COLOR, "banned character"),
        (answer("a cup of a color"), COLOR, "banned word"),
        (answer("a Colour chart"), COLOR, "banned word"),
        (answer("two shapes"), NUMBERS, "banned word"),
        (answer("a texture"), COLOR, "banned word"),
        (answer("spatial things"), COLOR, "banned word"),
        (answer("numeracy"), COLOR, "banned word"),
        (answer("a cat and a dog"), NUMBERS, "number"),
        (answer("two cats and five dogs"), NUMBERS, "number"),
        (answer("two cats and Seventeen dogs"), NUMBERS, "number"),
        (answer("two cats and a billion stars"), NUMBERS, "number"),
        (answer("two cats and 7 dogs"), NUMBERS, "number"),
        (answer("a red cup") + "\nUser: Write one new caption.", COLOR, "chat marker"),
        (answer("<|Assistant|> a red cup"), COMPLEX, "chat marker"),
    ],
)
def test_why_a_caption_is_dropped(text: str, stream, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text, stream)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "word", ["five", "six", "twelve", "thirteen", "fifteen", "twenty", "forty", "hundred", "thousands", "million"]
)
def test_every_larger_number_word_is_dropped(word: str) -> None:
    with pytest.raises(Unreadable, match="number"):
        read(answer(f"two cats and {word} dogs"), NUMBERS)


def test_ids_have_one_digit_for_the_family() -> None:
    assert [item_id(stream.category, 7) for stream in STREAMS.values()] == (
        ["0000007"] * 6 + ["1000007"] * 4 + ["2000007", "3000007"]
    )


def test_categories_of_benchmarks_have_a_kind() -> None:
    assert [kind(name) for name in ("color", "spatial", "numeracy", "non-spatial", "text")] == [
        "attribute",
        "spatial",
        "numeracy",
        "non-spatial",
        "complex",
    ]
    assert Caption("a", "b", "c").answer() == "Caption: a;Units: b;Tuples: c"
