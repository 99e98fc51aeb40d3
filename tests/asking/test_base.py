"""What every request shares: batches, reasons, roles of speakers, and models that lack something."""

import pytest

from selfportrait.asking.base import (
    Decoding,
    Turn,
    Unreadable,
    Written,
    check_spoken,
    collect,
    few_shot,
    has_speaker,
    joined,
    require,
    write_all,
)
from selfportrait.types import Prompt


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_every_batch_size_writes_the_same_texts_in_order(batch_size: int, scripted) -> None:
    model = scripted(lambda conversation, seed: f"{conversation[0].text}-{seed}")
    conversations = [[Turn("user", str(index))] for index in range(7)]
    texts = write_all(model, conversations, list(range(7)), Decoding(1.0, 0.9, 5, batch_size), "writing")
    assert texts == [f"{index}-{index}" for index in range(7)]
    assert max(model.sizes) <= batch_size
    assert model.decoding == {"temperature": 1.0, "top_p": 0.9, "max_new_tokens": 5}


def test_a_model_that_loses_texts_is_refused(scripted) -> None:
    model = scripted("x")
    model.write = lambda *_, **__: ["only one"]
    with pytest.raises(ValueError, match="wrote 1 texts for 2 conversations"):
        write_all(model, [[], []], [0, 1], Decoding(1.0, 1.0, 5, 8), "writing")


def test_unreadable_texts_are_counted_by_reason() -> None:
    def read(text: str) -> list[Prompt]:
        if text == "good":
            return [Prompt("a", text)]
        raise Unreadable(text)

    written = collect(["bad", "good", "worse", "bad"], [read] * 4)
    assert written == Written([Prompt("a", "good")], {"bad": 2, "worse": 1})


def test_parts_are_joined_and_a_text_comes_once() -> None:
    first = Written([Prompt("a", "x"), Prompt("b", "y")], {"bad": 1})
    second = Written([Prompt("c", "y"), Prompt("d", "z")], {"bad": 2, "worse": 1})
    whole = joined([first, second])
    assert [prompt.id for prompt in whole.prompts] == ["a", "b", "d"]
    assert whole.dropped == {"bad": 3, "worse": 1, "written before": 1}
    assert joined([]) == Written([], {})


@pytest.mark.parametrize(
    "text",
    ["<|User|>: hello", "a cat\nUser: another", "ASSISTANT: yes", "a cat</s>", "[INST] draw", "human :"],
)
def test_a_chat_marker_is_seen(text: str) -> None:
    assert has_speaker(text)
    with pytest.raises(Unreadable, match="chat marker"):
        check_spoken(text)


@pytest.mark.parametrize("text", ["a user of a phone", "a system of pipes", "a < b", "<swap>", "two humans"])
def test_an_ordinary_word_is_no_chat_marker(text: str) -> None:
    assert check_spoken(text) == text


def test_a_compact_conversation_is_the_request_alone() -> None:
    shots = [("asked", "answered")]
    assert few_shot("how", shots, "request", "compact") == [("user", "request")]
    assert few_shot("how", shots, "request", "full") == [
        ("system", "how"),
        ("user", "asked"),
        ("assistant", "answered"),
        ("user", "request"),
    ]


def test_a_model_that_cannot_is_named() -> None:
    with pytest.raises(ValueError, match="the model object writes no text"):
        require(object(), "write")
    with pytest.raises(ValueError, match="the model object answers no questions about pictures"):
        require(object(), "answer")
