"""BLIP-VQA: the library's own answers without padding, the published layout, phrases, rounding and batches."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tiny_judges import BERT_WORDS, blip_sizes, new_blip

from selfportrait.judges import blip_vqa
from selfportrait.judges._pictures import squared
from selfportrait.judges.blip_vqa import BlipVqa, network_of, plain_question
from selfportrait.types import Prompt

ENCODE, DECODE = len(BERT_WORDS) + 1, len(BERT_WORDS)
YES, NO = BERT_WORDS.index("yes"), BERT_WORDS.index("no")


@pytest.fixture
def judge(blip_folder: Path) -> BlipVqa:
    return BlipVqa(path=str(blip_folder), device="cpu", batch_size=2)


def p_yes(picture: Image.Image, ids: list[int], size: int = 32) -> float:
    """One question, by the submodules alone, from the whole vocabulary's probabilities."""
    network = new_blip()
    with torch.no_grad():
        v = network.vision_model(squared(picture, size)[None], interpolate_pos_encoding=True).last_hidden_state
        question = torch.tensor([[ENCODE, *ids[1:]]])
        q = network.text_encoder(
            input_ids=question,
            attention_mask=torch.ones_like(question),
            encoder_hidden_states=v,
            encoder_attention_mask=torch.ones(v.shape[:2], dtype=torch.long),
        ).last_hidden_state
        decoded = network.text_decoder(input_ids=torch.tensor([[DECODE]]), encoder_hidden_states=q)
        p = decoded.logits[0, 0].softmax(0)
    return float(p[YES] / (p[YES] + p[NO]))


def test_an_answer_is_that_of_the_first_token(judge: BlipVqa, pictures) -> None:
    questions = [["a red cat?", "a dog?"], [], ["a red cat?"]]
    found = judge.answer(pictures[:3], questions)
    red_cat, dog = [2, 8, 9, 12, 7, 3], [2, 8, 13, 7, 3]
    assert found[0] == pytest.approx([p_yes(pictures[0], red_cat), p_yes(pictures[0], dog)], abs=1e-5)
    assert found[1] == []
    assert found[2] == pytest.approx([p_yes(pictures[2], red_cat)], abs=1e-5)
    assert len({round(one, 4) for several in found for one in several}) == 3


def test_other_pixels_than_the_checkpoints(blip_folder: Path, pictures) -> None:
    judge = BlipVqa(path=str(blip_folder), device="cpu", image_size=48)
    ((found,),) = judge.answer(pictures[:1], [["a dog?"]])
    assert found == pytest.approx(p_yes(pictures[0], [2, 8, 13, 7, 3], size=48), abs=1e-5)
    assert found != pytest.approx(p_yes(pictures[0], [2, 8, 13, 7, 3]), abs=1e-4)


def test_questions_are_never_padded(judge: BlipVqa, pictures) -> None:
    """In the library padding changes the answer: questions of several lengths in one call equal one at a time."""
    questions = ["a red cat?", "a dog?", "a green dog and a blue cat?", "cat?", "a red dog?"]
    (together,) = judge.answer(pictures[:1], [questions])
    alone = [judge.answer(pictures[:1], [[question]])[0][0] for question in questions]
    assert together == pytest.approx(alone, abs=1e-5)


def test_each_picture_is_encoded_and_each_question_asked_once(judge: BlipVqa, pictures, counted) -> None:
    seen = counted(judge._loaded.network.vision_model, "pixel_values")
    asked = counted(judge._loaded.network.text_encoder, "input_ids")
    one, other, again = pictures[0], pictures[1], pictures[4]
    found = judge.answer([one, other, again], [["a dog?", "A dog!?"], ["a red cat?"], ["a dog?", "a cat?"]])
    assert seen == [2]
    assert sorted(asked) == [1, 2]  # "a dog?" and "a cat?" about the first, and the longer one
    assert found[0][0] == found[0][1] == found[2][0]


def test_a_score_is_the_product_of_rounded_answers(judge: BlipVqa, pictures) -> None:
    (score,) = judge([Prompt("p", "a red cat and a green dog")], pictures[:1])
    answers = judge.answer(pictures[:1], [["a red cat?", "a green dog?"]])[0]
    rounded = [round(answer, 4) for answer in answers]
    assert score.details["questions"] == [
        {"text": "a red cat?", "p_yes": rounded[0]},
        {"text": "a green dog?", "p_yes": rounded[1]},
    ]
    assert score.value == round(rounded[0] * rounded[1], 4)


def test_batches_and_repeats_change_no_score(judge: BlipVqa, blip_folder: Path, prompts, pictures) -> None:
    one = BlipVqa(path=str(blip_folder), device="cpu", batch_size=1)
    together = [score.value for score in judge(prompts, pictures)]
    alone = [one([prompt], [picture])[0].value for prompt, picture in zip(prompts, pictures, strict=True)]
    assert together == pytest.approx(alone, abs=1.5e-4)  # both are rounded to 4 digits
    asked = [["a red cat?", "dog?"]] * len(pictures)
    alone_answers = [one.answer([picture], [asked[0]])[0] for picture in pictures]
    for found, expected in zip(judge.answer(pictures, asked), alone_answers, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_prompt_without_phrases_has_no_score(judge: BlipVqa, pictures) -> None:
    (score,) = judge([Prompt("p", "the left")], pictures[:1])
    assert score.value is None
    assert "no noun phrase" in (score.reason or "")


def test_the_first_eight_phrases_count_and_places_are_none(judge: BlipVqa) -> None:
    letters = "bcdefghijk"
    judge.phrases = lambda text: ["top", "the left", *(f"a {letter}" for letter in letters)]
    assert judge._phrases("whatever") == [f"a {letter}" for letter in letters[:8]]


@pytest.mark.parametrize(
    ("question", "plain"),
    [
        ("A Red Cat?", "a red cat?"),
        ('the sign "STOP!": (big) #1; *~.', "the sign stop big 1"),
        ("it's a well-lit room, isn't it?  ", "it's a well-lit room, isn't it?"),
        (" ".join(["word"] * 60), " ".join(["word"] * 50)),
    ],
)
def test_questions_as_blip_reads_them(question: str, plain: str) -> None:
    assert plain_question(question) == plain


def published(network) -> dict[str, torch.Tensor]:
    """The weights by the names of model_base_vqa_capfilt_large.pth."""
    names = {
        "vision_model.embeddings.class_embedding": "visual_encoder.cls_token",
        "vision_model.embeddings.position_embedding": "visual_encoder.pos_embed",
        "vision_model.embeddings.patch_embedding.": "visual_encoder.patch_embed.proj.",
        "vision_model.encoder.layers.": "visual_encoder.blocks.",
        "vision_model.post_layernorm.": "visual_encoder.norm.",
    }
    inner = {"self_attn.qkv": "attn.qkv", "self_attn.projection": "attn.proj", "layer_norm": "norm"}
    state = {"text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    state["text_decoder.bert.embeddings.position_ids"] = state["text_encoder.embeddings.position_ids"]
    for key, value in network.state_dict().items():
        name = key
        for ours, theirs in {**names, **(inner if key.startswith("vision_model.") else {})}.items():
            name = name.replace(ours, theirs)
        state[name] = value
    return state


def test_the_published_file_is_that_network(tmp_path: Path, bert_folder: Path, pictures, monkeypatch) -> None:
    monkeypatch.setattr(blip_vqa, "OFFICIAL_SIZES", blip_sizes())
    torch.save({"model": published(new_blip())}, tmp_path / "vqa.pth")
    judge = BlipVqa(path=str(tmp_path / "vqa.pth"), tokenizer=str(bert_folder), device="cpu")
    found = judge.answer(pictures[:1], [["a red cat?", "a dog?"]])[0]
    red_cat, dog = [2, 8, 9, 12, 7, 3], [2, 8, 13, 7, 3]
    assert found == pytest.approx([p_yes(pictures[0], red_cat), p_yes(pictures[0], dog)], abs=1e-6)
    loaded, own = judge._loaded.network.state_dict(), new_blip().state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[key], own[key]) for key in own)


def test_the_sizes_of_the_published_file() -> None:
    assert blip_vqa.OFFICIAL_SIZES["vision_config"]["image_size"] == 480
    assert blip_vqa.OFFICIAL_SIZES["vision_config"]["layer_norm_eps"] == 1e-6
    assert blip_vqa.OFFICIAL_SIZES["text_config"]["num_attention_heads"] == 12


def test_a_file_of_another_network_is_refused() -> None:
    state = published(new_blip())
    del state["visual_encoder.cls_token"]
    with pytest.raises(ValueError, match="vqa.pth is not BLIP-VQA: of its tensors 1 missing"):
        network_of(state, blip_sizes(), "vqa.pth")


def test_a_picture_that_cannot_be_read_has_no_answers(judge: BlipVqa, pictures, tmp_path: Path) -> None:
    pictures[0].save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    found = judge.answer([Image.open(tmp_path / "cut.png"), pictures[1]], [["a dog?", "a cat?"], ["a dog?"]])
    assert [math.isnan(one) for one in found[0]] == [True, True]
    assert 0 < found[1][0] < 1


def test_every_picture_needs_its_own_questions(judge: BlipVqa, pictures) -> None:
    with pytest.raises(ValueError, match="2 pictures and 1 lists of questions"):
        judge.answer(pictures[:2], [["a dog?"]])


def test_spacy_has_to_be_there_when_the_judge_is_made(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ValueError, match="pip install spacy"):
        BlipVqa(phrases="spacy")


def test_spacys_chunks_are_asked_as_they_stand(blip_folder: Path, pictures, monkeypatch) -> None:
    def chunks(text: str) -> SimpleNamespace:
        return SimpleNamespace(noun_chunks=[SimpleNamespace(text=one) for one in ("A Red Cat", "the left", "a dog")])

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=lambda name: chunks))
    judge = BlipVqa(path=str(blip_folder), phrases="spacy", device="cpu")
    (score,) = judge([Prompt("p", "A Red Cat on the left of a dog")], pictures[:1])
    assert [question["text"] for question in score.details["questions"]] == ["A Red Cat?", "a dog?"]
    answers = judge.answer(pictures[:1], [["a red cat?", "a dog?"]])[0]
    assert [question["p_yes"] for question in score.details["questions"]] == [round(one, 4) for one in answers]
