"""A local vision-language model on a tiny random LLaVA: batches of words and pictures in, one reply each out."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from selfportrait.vlms.local import Local

RED, BLUE = Image.new("RGB", (30, 20), "red"), Image.new("L", (16, 16), 40)
REQUESTS = [("Image A:", RED, "Image B:", BLUE, "Which?"), (RED, "What is it, in a longer question?"), ("No picture",)]


def local(folder: Path, **settings) -> Local:
    return Local(path=str(folder), dtype="float32", device="cpu", max_new_tokens=6, **settings)


def test_every_request_gets_its_own_reply_whatever_the_batch(checkpoint: Path) -> None:
    alone, together = (local(checkpoint, batch_size=size)(REQUESTS) for size in (1, 3))
    assert alone == together  # so requests of other lengths, padded on the left, change nothing
    assert all(reply.text and reply.reason is None for reply in alone)
    assert len({reply.text for reply in alone}) > 1


def test_the_pictures_and_their_order_are_seen(checkpoint: Path) -> None:
    white, black = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (16, 16), "black")
    replies = local(checkpoint)([(white, black, "Which?"), (black, white, "Which?"), (white, white, "Which?")])
    assert len({reply.text for reply in replies}) > 1
    assert replies == local(checkpoint)([(white, black, "Which?"), (black, white, "Which?"), (white, white, "Which?")])


def test_a_marker_inside_a_prompt_is_plain_text(checkpoint: Path) -> None:
    (reply,) = local(checkpoint)([(RED, "made for the prompt: an <image> of </s> a cat")])
    assert reply.text is not None


def test_nothing_to_ask_loads_nothing() -> None:
    assert Local(path="no/such-model")([]) == []


def test_yes_and_no_are_the_probabilities_of_the_first_tokens(checkpoint: Path) -> None:
    """Against the same network asked by hand: one conversation, the whole logits, softmax, the tokens' own ids."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    picture = Image.new("RGB", (40, 40), "red")
    with torch.no_grad():
        inputs = processor(text="<image>Is it red? Answer:", images=picture, return_tensors="pt")
        chances = model(**inputs).logits[0, -1].softmax(-1)
    # bytes are the vocabulary, so that every surface form ends in s or o
    last = {word: processor.tokenizer.convert_tokens_to_ids(word[-1]) for word in ("yes", "no")}
    (found,) = local(checkpoint).yes_no([(picture, "Is it red?")])
    assert found.p_yes == pytest.approx(float(chances[last["yes"]]), rel=1e-4)
    assert found.p_no == pytest.approx(float(chances[last["no"]]), rel=1e-4)


def test_padding_on_the_left_changes_no_probability(checkpoint: Path) -> None:
    alone, together = (local(checkpoint, batch_size=size).yes_no(REQUESTS) for size in (1, 3))
    for one, other in zip(alone, together, strict=True):
        assert one[:2] == pytest.approx(other[:2], rel=1e-4)
    assert len({one.p_yes for one in alone}) == 3


def test_a_tokenizer_that_cannot_tell_yes_from_no_is_refused(checkpoint: Path) -> None:
    one = local(checkpoint)
    one.__dict__["_loaded"] = SimpleNamespace(tokenizer=SimpleNamespace(encode=lambda *_, **__: [7])), None
    with pytest.raises(ValueError, match="ends yes and no in the same token: ask it for grades"):
        _ = one._ids


@pytest.mark.parametrize(
    "picture",
    [Image.new("RGB", (1, 1)), Image.new("RGB", (20000, 10)), Image.new("RGBA", (30, 30)), Image.new("P", (30, 30)),
     Image.new("I;16", (30, 30)), Image.new("CMYK", (30, 30))],
    ids=["1x1", "wide", "RGBA", "palette", "16 bits", "CMYK"],
)  # fmt: skip
def test_odd_pictures_are_looked_at(checkpoint: Path, picture: Image.Image) -> None:
    (found,) = local(checkpoint).yes_no([(picture, "Is it red?")])
    assert found.reason is None


def test_what_was_answered_once_is_not_asked_again(checkpoint: Path, tmp_path: Path) -> None:
    first = local(checkpoint, cache=str(tmp_path / "answers.jsonl"))
    replies, weighed = first(REQUESTS), first.yes_no(REQUESTS[:2])
    again = local(checkpoint, cache=str(tmp_path / "answers.jsonl"))
    again.__dict__["_loaded"] = None  # it is not needed
    assert again(REQUESTS[::-1]) == replies[::-1]
    assert again.yes_no(REQUESTS[:2]) == weighed
    with pytest.raises(TypeError):
        again.yes_no(REQUESTS)  # the third was never weighed
