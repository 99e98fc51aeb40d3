"""Janus draws what transformers draws, its likelihoods and answers are those of plain forwards, bad input is named."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import JanusForConditionalGeneration, JanusProcessor

from selfportrait.models import _attention_maps as maps
from selfportrait.models._decoder import positions, visible
from selfportrait.models._tokens import EncodedTokens, choose, guided, gumbel, left_pad, unconditional
from selfportrait.models._yes_no import yes_and_no
from selfportrait.models.base import Turn
from selfportrait.models.janus import Janus
from selfportrait.types import Draw

TEXTS = ["a red circle", "two blue circles left of a red circle", "a star"]
QUESTIONS = ["Is there a circle?", "Is the circle red?", "Are there two blue circles left of it?"]
SEEDS = [5, 6, 2**62 + 1]
FULL_TOKENS = 16


def model_of(folder: Path, **settings: object) -> Janus:
    return Janus(path=str(folder), **{"train": "full", "guidance_scale": 3.0, **settings}).load()


@pytest.fixture(scope="module")
def janus(tiny_janus: Path) -> Janus:
    """A shared model: tests that change its weights build their own."""
    return model_of(tiny_janus)


@pytest.fixture(scope="module")
def plain(tiny_janus: Path) -> JanusForConditionalGeneration:
    """The same checkpoint as transformers loads it, with attention that can be looked at."""
    return JanusForConditionalGeneration.from_pretrained(tiny_janus, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    chance = np.random.default_rng(0)
    return [Image.fromarray(chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(2)]


def perturb(model: Janus, size: float = 0.05) -> None:
    """Move every trainable weight, as training would; LoRA's zero half in particular."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(size * torch.randn(parameter.shape, generator=chance).to(parameter.dtype))


def some_tokens(rows: int) -> torch.Tensor:
    return torch.randint(0, 64, (rows, FULL_TOKENS), generator=torch.Generator().manual_seed(1))


def generated(model: JanusForConditionalGeneration, processor: JanusProcessor, prompts: EncodedTokens, scale: float):
    """What transformers draws when it always takes the likeliest token."""
    tokenizer = processor.tokenizer
    model.generation_config.generation_kwargs = {"boi_token_id": tokenizer.boi_token_id}
    return model.generate(
        prompts.ids,
        attention_mask=prompts.mask.long(),
        generation_mode="image",
        do_sample=False,
        guidance_scale=scale,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


# Tokens


def test_the_unconditional_row_is_padding_that_counts_between_first_and_last_token() -> None:
    pad, begin, picture = 0, 1, 2  # golden rows: BOS a b c BOI, and PAD PAD BOS a BOI
    found = unconditional(left_pad([[begin, 7, 8, 9, picture], [begin, 7, picture]], pad), pad)
    assert found.ids.tolist() == [[begin, pad, pad, pad, picture], [pad, pad, begin, pad, picture]]
    assert found.mask.int().tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]


def test_guidance_is_the_hand_computed_one() -> None:
    logits = guided(torch.tensor([[1.0, 2.0, 0.0], [0.5, 2.5, 0.0]]), 5.0)
    assert logits.tolist() == [[3.0, 0.0, 0.0]]  # 0.5 + 5 (1 - 0.5), 2.5 + 5 (2 - 2.5), 0
    assert logits.softmax(-1)[0].tolist() == pytest.approx([0.909443, 0.0452785, 0.0452785], abs=1e-6)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits, noise = probabilities.log().expand(20_000, 4), gumbel([torch.Generator().manual_seed(0)], 80_000)
    for temperature in (1.0, 0.5):
        drawn = choose(logits, noise.view(-1, 4), temperature=temperature)
        expected = (probabilities.log() / temperature).softmax(0)
        assert (drawn.bincount(minlength=4) / 20_000 - expected).abs().max() < 0.012
    # the nucleus of 0.7 is the first two, since the first alone does not reach it
    drawn = choose(logits, noise.view(-1, 4), top_p=0.7)
    assert (drawn.bincount(minlength=4) / 20_000 - torch.tensor([0.625, 0.375, 0, 0])).abs().max() < 0.012
    assert choose(logits, noise.view(-1, 4), top_p=0.01).unique().tolist() == [0]
    assert choose(logits[:3], None, temperature=0.0).tolist() == [0, 0, 0]


def test_nothing_truncates_the_distribution_of_picture_tokens(tiny_janus: Path) -> None:
    model = model_of(tiny_janus, guidance_scale=1.0, batch_size=50)
    torch.nn.init.zeros_(model.model.model.generation_head.vision_head.weight)
    torch.nn.init.zeros_(model.model.model.generation_head.vision_head.bias)
    tokens = model.sample(model.encode(TEXTS[:1]).repeat(50), range(50)).content
    assert len(tokens.unique()) > 60  # of 64 that are equally likely, in 800 draws; transformers' default keeps 50


def test_distinct_prompts_are_found_and_columns_of_padding_dropped() -> None:
    prompts = left_pad([[1, 5, 2], [1, 6, 7, 8, 2]], 0).repeat(2)
    distinct, index = prompts.distinct()
    assert len(distinct.ids) == 2
    assert torch.equal(distinct.ids[index], prompts.ids)
    assert torch.equal(distinct.mask[index], prompts.mask)
    short = prompts.rows(slice(0, 2))
    assert short.ids.tolist() == [[1, 5, 2]] * 2
    assert short.mask.all()
    assert prompts.rows(torch.tensor([3, 0])).ids.tolist() == [[1, 6, 7, 8, 2], [0, 0, 1, 5, 2]]


def test_padding_is_seen_by_itself_alone() -> None:
    seen = visible(torch.tensor([[False, True, True]]))
    assert seen.int().tolist() == [[[[1, 0, 0], [0, 1, 0], [0, 1, 1]]]]
    assert visible(torch.ones(2, 3, dtype=torch.bool)) is None
    assert positions(torch.tensor([[False, True, True]])).tolist() == [[0, 0, 1]]


# Drawing


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_likeliest_tokens_are_those_that_transformers_draws(
    tiny_janus: Path, plain: JanusForConditionalGeneration, scale: float
) -> None:
    model = model_of(tiny_janus, temperature=0.0, guidance_scale=scale)
    prompts = model.encode(TEXTS)
    drawn = model.sample(prompts.repeat(2), range(6)).content
    assert drawn.shape == (6, FULL_TOKENS)
    assert len(drawn.unique()) > 10
    if scale > 1:  # without guidance transformers refuses; the rows of its doubled batch are the same
        assert torch.equal(drawn[::2], generated(plain, model.processor, prompts, scale))
        alone = prompts.rows(slice(0, 1))
        assert torch.equal(drawn[:1], generated(plain, model.processor, alone, scale))
    assert torch.equal(drawn[::2], drawn[1::2])
    other = model_of(tiny_janus, temperature=0.0, guidance_scale=4.0 - scale).sample(prompts, range(3)).content
    assert not torch.equal(other, drawn[::2])


def test_what_is_drawn_depends_on_the_seed_and_not_on_batch_or_order(tiny_janus: Path, janus: Janus) -> None:
    together = janus.sample(janus.encode(TEXTS), SEEDS)
    alone = model_of(tiny_janus, batch_size=1)
    backwards = alone.sample(alone.encode(TEXTS[::-1]), SEEDS[::-1])
    assert torch.equal(together.content, backwards.content.flip(0))
    again = janus.sample(janus.encode(TEXTS[1:2]).repeat(3), SEEDS)
    assert torch.equal(again.content[1], together.content[1])
    assert not torch.equal(again.content[0], again.content[1])
    assert [image.size for image in together.images] == [(32, 32)] * 3


def test_a_prompt_is_read_once_for_all_its_candidates(tiny_janus: Path) -> None:
    model = model_of(tiny_janus)
    shapes: list[tuple[int, ...]] = []
    model.decoder.layers[0].register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[:2])))
    prompts = model.encode(TEXTS[:2])
    model.sample(prompts.repeat(4), range(8))
    # two prompts and their unconditional rows; then a token a row, in one batch of conditional and unconditional ones
    assert shapes == [(4, prompts.ids.shape[1]), *[(16, 1)] * (FULL_TOKENS - 1)]


def test_batches_are_as_large_as_allowed(tiny_janus: Path) -> None:
    model = model_of(tiny_janus, batch_size=2)
    rows: list[int] = []
    model.model.model.generation_head.proj_out.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    model.sample(model.encode(TEXTS), SEEDS)
    assert rows == [4] * FULL_TOKENS + [2] * FULL_TOKENS


def test_a_text_is_encoded_once(tiny_janus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = model_of(tiny_janus), []
    once = model.words.prompt
    monkeypatch.setattr(model.words, "prompt", lambda text, count: asked.append(text) or once(text, count))
    first = model.encode([*TEXTS, TEXTS[0]])
    second = model.encode([TEXTS[2], "a ring"])
    assert asked == [*TEXTS, "a ring"]
    assert torch.equal(first.ids[0], first.ids[3])
    assert second.ids.shape[1] < first.ids.shape[1]


def test_a_prompt_is_encoded_as_the_processor_does(janus: Janus) -> None:
    expected = janus.processor(text="<|User|>: a red circle\n\n<|Assistant|>:", generation_mode="image")["input_ids"]
    assert janus.encode(["a red circle"]).ids.tolist() == np.asarray(expected).tolist()


def test_tokens_are_decoded_as_transformers_does(janus: Janus, plain: JanusForConditionalGeneration) -> None:
    tokens = some_tokens(3)
    with torch.no_grad():
        expected = (plain.decode_image_tokens(tokens) / 2 + 0.5).clamp(0, 1) * 255  # (B, H, W, 3)
    for found, other in zip(janus.decode(tokens), expected, strict=True):
        assert (torch.tensor(np.asarray(found)) - other).abs().max() < 0.51
        assert other.std() > 1


def test_pictures_become_the_codes_nearest_in_direction(tiny_janus: Path, pictures: list[Image.Image]) -> None:
    model = model_of(tiny_janus)
    vqmodel = model.model.model.vqmodel
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1 for image in pictures])

    def transformers_own() -> torch.Tensor:
        with torch.no_grad():
            return vqmodel.encode(pixels).image_tokens.view(2, -1)

    codes = vqmodel.quantize.embedding.weight
    with torch.no_grad():
        codes.copy_(torch.nn.functional.normalize(codes, dim=-1))
    found = model.tokenize(pictures)
    assert found.shape == (2, FULL_TOKENS)
    assert torch.equal(found, transformers_own())  # all codes of length 1: nothing to get wrong
    with torch.no_grad():
        codes.mul_(torch.linspace(0.1, 3, len(codes))[:, None])
    assert torch.equal(model.tokenize(pictures), found)
    assert not torch.equal(transformers_own(), found)


def test_a_picture_of_another_size_is_resized(janus: Janus, pictures: list[Image.Image]) -> None:
    assert janus.tokenize([pictures[0].resize((50, 40)).convert("L")]).shape == (1, FULL_TOKENS)


def test_bfloat16_draws_answers_and_learns(tiny_janus: Path) -> None:
    model = model_of(tiny_janus, dtype="bfloat16", train="lora")
    prompts = model.encode(TEXTS)
    samples = model.sample(prompts, SEEDS)
    assert samples.images[0].size == (32, 32)
    p_yes, p_no = model.answer(samples.images, QUESTIONS)
    assert ((p_yes > 0) & (p_no > 0) & (p_yes + p_no < 1)).all()
    likelihood = model.log_likelihood(samples.content, prompts)
    assert likelihood.dtype == torch.float32
    likelihood.sum().backward()
    assert any(parameter.grad.any() for parameter in model.trainable().values())
    maps_ = model.attend(samples.content, prompts, [[(3,)], [(3,)], [(3,)]])
    assert torch.isfinite(maps_).all()


# Log-likelihood


def test_the_token_that_begins_a_picture_predicts_its_first_token(tiny_janus: Path) -> None:
    model = model_of(tiny_janus)
    hidden = torch.eye(48)
    begin, first = hidden[0], hidden[1]
    # a decoder of no layers: a state is the embedding of its token
    model.decoder.layers, model.decoder.norm = torch.nn.ModuleList(), torch.nn.Identity()
    with torch.no_grad():
        model.decoder.embed_tokens.weight.zero_()[model.processor.tokenizer.boi_token_id] = begin
    model.model.prepare_embeddings_for_image_generation = lambda ids: first.expand(*ids.shape, 48)
    head = torch.zeros(4, 48)
    head[1, 0], head[2, 1] = math.log(3), math.log(5)
    model.model.model.generation_head = torch.nn.Linear(48, 4, bias=False)
    model.model.model.generation_head.weight.data = head
    # p(y_1 = 1) = 3 / (1 + 3 + 1 + 1) at the token that begins, p(y_2 = 2) = 5 / (1 + 1 + 5 + 1) at y_1
    found = model.log_likelihood(torch.tensor([[1, 2]]), model.encode(TEXTS[:1]))
    assert found.item() == pytest.approx(math.log(3 / 6) + math.log(5 / 8), abs=1e-6)
    weighted = model.log_likelihood(torch.tensor([[1, 2]]), model.encode(TEXTS[:1]), None, torch.tensor([[1.0, 2.0]]))
    assert weighted.item() == pytest.approx(math.log(3 / 6) + 2 * math.log(5 / 8), abs=1e-6)


def test_the_likelihood_is_that_of_a_plain_forward(janus: Janus, plain: JanusForConditionalGeneration) -> None:
    tokens = some_tokens(3)
    together = janus.log_likelihood(tokens, janus.encode(TEXTS))
    assert together.dtype == torch.float32
    for row, text in enumerate(TEXTS):
        prompt = janus.encode([text])
        assert prompt.mask.all()
        with torch.no_grad():
            embedded = plain.prepare_embeddings_for_image_generation(tokens[row : row + 1])
            states = torch.cat([plain.get_input_embeddings()(prompt.ids), embedded], 1)
            hidden = plain.model.language_model(inputs_embeds=states).last_hidden_state
            logps = plain.model.generation_head(hidden).log_softmax(-1)[0, prompt.ids.shape[1] - 1 : -1]
        expected = logps[range(FULL_TOKENS), tokens[row]].sum()
        assert together[row].item() == pytest.approx(expected.item(), abs=2e-3)  # of about -150; with others' padding
        assert janus.log_likelihood(tokens[row : row + 1], prompt).item() == pytest.approx(expected.item(), abs=2e-3)


def test_tokens_are_embedded_once_and_again_when_their_weights_change(tiny_janus: Path) -> None:
    model, calls = model_of(tiny_janus), []
    embed = model.model.prepare_embeddings_for_image_generation
    model.model.prepare_embeddings_for_image_generation = lambda ids: calls.append(1) or embed(ids)
    tokens, prompts = some_tokens(3), model.encode(TEXTS)
    before = model.log_likelihood(tokens, prompts)
    model.sample(prompts, SEEDS)
    assert torch.equal(model.log_likelihood(tokens, prompts), before)
    assert len(calls) == 1
    with torch.no_grad():
        next(model.model.model.generation_aligner.parameters()).mul_(2)
    assert not torch.allclose(model.log_likelihood(tokens, prompts), before, atol=0.1)
    assert len(calls) == 2


def test_chosen_and_rejected_go_through_together(janus: Janus) -> None:
    tokens, prompts = some_tokens(6), janus.encode(TEXTS)
    both = janus.log_likelihood(tokens, prompts.rows(torch.tensor([0, 1, 2, 0, 1, 2])))
    assert torch.allclose(both[3:], janus.log_likelihood(tokens[3:], prompts), atol=2e-3)


def test_a_token_model_knows_no_draw(janus: Janus) -> None:
    at = Draw(torch.ones(1), torch.zeros(1, FULL_TOKENS))
    with pytest.raises(ValueError, match="knows no draw"):
        janus.log_likelihood(some_tokens(1), janus.encode(TEXTS[:1]), at)


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_gradient_reaches_what_is_trained_and_nothing_else(tiny_janus: Path, train: str) -> None:
    model = model_of(tiny_janus, train=train, lora_rank=2)
    model.log_likelihood(some_tokens(2), model.encode(TEXTS[:2])).sum().backward()
    trained, frozen = model.trainable(), model.frozen()
    assert sum(bool(parameter.grad.any()) for parameter in trained.values()) > len(trained) / 3
    assert all(parameter.grad is None for parameter in frozen.values())
    assert len(trained) + len(frozen) == len(list(model.model.named_parameters()))
    assert all("language_model" in name for name in trained)
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained if "lora_" in name}
    names = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert adapted == (names if train == "lora" else set())


def test_gradient_checkpointing_changes_no_gradient_and_no_picture(tiny_janus: Path) -> None:
    gradients, drawn = [], []
    for is_saving in (False, True):
        model = model_of(tiny_janus, train="lora", lora_rank=2, gradient_checkpointing=is_saving)
        perturb(model)
        calls: list[int] = []
        model.decoder.layers[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        model.log_likelihood(some_tokens(2), model.encode(TEXTS[:2])).sum().backward()
        assert len(calls) == (2 if is_saving else 1)
        gradients.append([parameter.grad for parameter in model.trainable().values()])
        drawn.append(model.sample(model.encode(TEXTS), SEEDS).content)
    assert all(torch.allclose(first, second, atol=1e-4) for first, second in zip(*gradients, strict=True))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_reference_is_the_base_model_and_leaves_the_policy_as_it_was(tiny_janus: Path, train: str) -> None:
    model = model_of(tiny_janus, train=train, lora_rank=2)
    prompts, tokens = model.encode(TEXTS[:1]), some_tokens(1)
    start = model.log_likelihood(tokens, prompts).detach()
    with model.reference():
        assert torch.equal(model.log_likelihood(tokens, prompts), start)
    perturb(model)
    policy = model.log_likelihood(tokens, prompts).detach()
    assert not torch.allclose(policy, start, rtol=1e-3)
    with model.reference():
        reference = model.log_likelihood(tokens, prompts)
        assert torch.equal(reference, start)
        assert not reference.requires_grad
    with pytest.raises(RuntimeError, match="inside"), model.reference():
        raise RuntimeError("inside")
    again = model.log_likelihood(tokens, prompts)
    assert torch.equal(again, policy)
    again.sum().backward()  # the gradient comes back as well
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.trainable().values())


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_reference_can_become_the_policy_as_it_is(tiny_janus: Path, train: str) -> None:
    model = model_of(tiny_janus, train=train, lora_rank=2)
    prompts, tokens = model.encode(TEXTS[:1]), some_tokens(1)
    perturb(model)
    then = model.log_likelihood(tokens, prompts).detach()
    model.renew_reference()
    perturb(model)
    now = model.log_likelihood(tokens, prompts).detach()
    with model.reference():
        assert torch.equal(model.log_likelihood(tokens, prompts), then)
    assert torch.equal(model.log_likelihood(tokens, prompts), now)
    assert not torch.equal(now, then)


def test_the_log_likelihood_is_the_sum_over_its_tokens(janus: Janus) -> None:
    prompts, tokens, weights = janus.encode(TEXTS[:2]), some_tokens(2), torch.rand(2, 16)
    with torch.no_grad():
        each = janus.token_log_likelihood(tokens, prompts)
        assert each.shape == tokens.shape
        assert torch.equal(janus.log_likelihood(tokens, prompts), each.sum(1))
        assert torch.equal(janus.log_likelihood(tokens, prompts, weights=weights), (weights * each).sum(1))


# Answering


def test_yes_and_no_are_the_best_of_their_spellings_among_all_words() -> None:
    probabilities = torch.tensor([[0.3, 0.35, 0.05, 0.1, 0.2], [0.6, 0.01, 0.29, 0.05, 0.05]])
    p_yes, p_no = yes_and_no(probabilities.log(), yes=[0, 1], no=[2, 3])
    assert p_yes.tolist() == pytest.approx([0.35, 0.6])
    assert p_no.tolist() == pytest.approx([0.1, 0.29])


def test_shared_pictures_are_answered_as_one_forward_a_question_would(
    janus: Janus, plain: JanusForConditionalGeneration, pictures: list[Image.Image]
) -> None:
    rows = [(0, 0), (1, 1), (0, 2), (0, 1)]
    seen: list[int] = []
    hook = janus.model.model.vision_model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    p_yes, p_no = janus.answer([pictures[i].copy() for i, _ in rows], [QUESTIONS[j] for _, j in rows])
    hook.remove()
    assert seen == [2]  # each picture is looked at once, both in one batch
    vocabulary = janus.processor.tokenizer.get_vocab()
    for row, (i, j) in enumerate(rows):
        text = f"<|User|>: <image_placeholder>\n{QUESTIONS[j]} Reply with yes or no only.\n\n<|Assistant|>:"
        inputs = janus.processor(text=text, images=pictures[i], return_tensors="pt")  # it puts its system prompt first
        with torch.no_grad():
            last = plain(**inputs).logits[0, -1].softmax(-1)
        spellings = [[last[vocabulary[word]].item() for word in words] for words in (("yes", "Yes"), ("no", "No"))]
        assert p_yes[row].item() == pytest.approx(max(spellings[0]), rel=1e-3)
        assert p_no[row].item() == pytest.approx(max(spellings[1]), rel=1e-3)
    assert len({round(value, 8) for value in p_yes.tolist()}) == 4


def test_answers_do_not_depend_on_the_batch(tiny_janus: Path, janus: Janus, pictures: list[Image.Image]) -> None:
    together = janus.answer(pictures, QUESTIONS[:2])
    alone = model_of(tiny_janus, batch_size=1).answer(pictures[::-1], QUESTIONS[1::-1])
    assert torch.allclose(together.p_yes, alone.p_yes.flip(0), rtol=1e-4)
    assert torch.allclose(together.p_no, alone.p_no.flip(0), rtol=1e-4)


# Writing

CHATS = [
    [Turn("user", "a red circle")],
    [Turn("system", "You see pictures."), Turn("user", "two"), Turn("assistant", "blue"), Turn("user", "left of")],
]


def test_the_likeliest_words_are_those_that_transformers_writes(
    janus: Janus, plain: JanusForConditionalGeneration
) -> None:
    end = janus.processor.tokenizer.eos_token
    texts = [
        "<|User|>: a red circle\n\n<|Assistant|>:",
        f"You see pictures.\n\n<|User|>: two\n\n<|Assistant|>: blue{end}<|User|>: left of\n\n<|Assistant|>:",
    ]
    found = janus.write(CHATS, [1, 2], temperature=0.0, max_new_tokens=12)
    for text, written in zip(texts, found, strict=True):
        ids = janus.processor.tokenizer(text, return_tensors="pt")["input_ids"]
        out = plain.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
        expected = janus.processor.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert written == expected.strip()
        assert written


def test_what_is_written_depends_on_the_seed_and_not_on_the_batch(tiny_janus: Path, janus: Janus) -> None:
    settings = {"temperature": 1.2, "top_p": 0.9, "max_new_tokens": 10}
    together = janus.write([CHATS[0], CHATS[1], CHATS[0]], [1, 2, 3], **settings)
    alone = model_of(tiny_janus, batch_size=1)
    assert alone.write([CHATS[0], CHATS[1]], [3, 2], **settings) == [together[2], together[1]]
    assert together[0] != together[2]


def test_writing_stops_where_a_turn_ends(tiny_janus: Path) -> None:
    model, steps = model_of(tiny_janus), []
    tokenizer = model.processor.tokenizer
    word = tokenizer("red", add_special_tokens=False)["input_ids"][0]
    after = {1: word, 2: word, 3: tokenizer.eos_token_id}

    class Head(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            steps.append(len(states))
            return torch.nn.functional.one_hot(torch.tensor([after[len(steps)]] * len(states)), len(tokenizer)).float()

    model.model.lm_head = Head()
    assert model.write(CHATS, [1, 2], temperature=0.0, max_new_tokens=50) == [tokenizer.decode([word, word])] * 2
    assert steps == [2, 2, 2]


@pytest.mark.parametrize(
    "turns", [[], [Turn("assistant", "yes")], [Turn("user", "a"), Turn("system", "b"), Turn("user", "c")]]
)
def test_a_conversation_must_wait_for_the_assistant(janus: Janus, turns: Sequence[Turn]) -> None:
    with pytest.raises(ValueError, match="cannot be continued by the assistant"):
        janus.write([turns], [0])


# Attending


def test_a_map_is_the_mean_of_heads_kept_layers_and_span(
    tiny_janus: Path, plain: JanusForConditionalGeneration
) -> None:
    model = model_of(tiny_janus, skip_layers=1, batch_size=2)
    tokens, prompts = some_tokens(3), model.encode(TEXTS)
    spans = [[(1, 4), (2,)], [(5,)], [(), (3,)]]
    found = model.attend(tokens, prompts, spans)
    assert found.shape == (3, 2, 4, 4)
    for row, (text, objects) in enumerate(zip(TEXTS, spans, strict=True)):
        ids = model.encode([text]).ids
        with torch.no_grad():
            embedded = plain.prepare_embeddings_for_image_generation(tokens[row : row + 1])
            states = torch.cat([plain.get_input_embeddings()(ids), embedded], 1)
            layers = plain.model.language_model(inputs_embeds=states, output_attentions=True).attentions
        assert len(layers) == 4
        attention = torch.stack(layers[1:3])[:, 0, :, ids.shape[1] :].mean((0, 1))  # queries of the picture, (T, S)
        for number in range(2):
            if number >= len(objects) or not objects[number]:
                assert not found[row, number].any()
                continue
            expected = attention[:, list(objects[number])].mean(1)
            expected = (expected - expected.min()) / (expected.max() - expected.min() + 1e-8)
            assert torch.allclose(found[row, number].flatten(), expected, atol=1e-4)


def test_maps_reach_from_0_to_1() -> None:
    # golden: one kept layer of three, one head, a 2x2 picture, its attention to the span's only key
    attention = torch.zeros(1, 4, 3)
    attention[0, :, 1] = torch.tensor([0.1, 0.4, 0.2, 0.3])
    found = maps.object_maps(attention, torch.tensor([0]), [[(1,)]], 1)
    assert found.flatten().tolist() == pytest.approx([0.0, 0.99999997, 0.33333332, 0.66666664], abs=1e-6)
    shifted = maps.object_maps(torch.nn.functional.pad(attention, (2, 0)), torch.tensor([2]), [[(1,)]], 1)
    assert torch.equal(shifted, found)
    assert list(maps.kept_layers(3, 1)) == [1]


@pytest.mark.parametrize(("layers", "kept"), [(30, range(5, 25)), (24, range(5, 19)), (8, range(2, 6)), (2, range(2))])
def test_the_first_and_last_layers_are_left_out(layers: int, kept: range) -> None:
    assert maps.kept_layers(layers, None) == kept
    assert maps.kept_layers(layers, 0) == range(layers)
    with pytest.raises(ValueError, match=f"leaves none of {layers} layers"):
        maps.kept_layers(layers, (layers + 1) // 2)


@pytest.mark.parametrize(
    ("word", "prompt", "expected"),
    [
        (["dog"], ["Ġa", "Ġdog", "Ġand", "Ġa", "Ġcat"], (1,)),
        (["dog"], ["A", "▁Dog", "▁and", "▁dogs"], (1, 3)),  # the plural contains it
        (["gir", "affe"], ["Ġtwo", "Ġgiraffes"], (1,)),
        (["zeb", "ra"], ["Ġa", "Ġzeb", "ra", "Ġzeb", "ra"], (1, 2, 3, 4)),
        (["t", "v"], ["Ġtwo", "Ġt", "v", "Ġsets"], (1, 2)),  # single letters only as the whole run
        (["cat"], ["Ġa", "Ġdog"], ()),
        ([], ["Ġa", "Ġdog"], ()),
    ],
)
def test_an_objects_word_is_found_in_a_prompt(word: list[str], prompt: list[str], expected: tuple[int, ...]) -> None:
    assert maps.word_span(word, prompt) == expected


def test_a_span_counts_from_the_prompts_first_token(janus: Janus) -> None:
    prompt = "a User of a blue circle"
    names = janus.processor.tokenizer.convert_ids_to_tokens(janus.encode([prompt]).ids[0])
    assert [names[at] for at in janus.span(prompt, "Circle")] == ["Ġcircle"]
    assert min(janus.span(prompt, "user")) > 3  # not the word that Janus puts before every prompt
    assert janus.span(prompt, "zebra") == ()


# Saving


def test_a_full_model_that_was_saved_draws_the_same_in_plain_transformers(tiny_janus: Path, tmp_path: Path) -> None:
    model = model_of(tiny_janus, temperature=0.0)
    before = model.sample(model.encode(TEXTS), SEEDS).content
    perturb(model)
    drawn = model.sample(model.encode(TEXTS), SEEDS).content
    assert not torch.equal(drawn, before)
    model.save(tmp_path / "1")
    again = JanusForConditionalGeneration.from_pretrained(tmp_path / "1")
    processor = JanusProcessor.from_pretrained(tmp_path / "1")
    assert torch.equal(drawn, generated(again, processor, model.encode(TEXTS), 3.0))
    model.save(tmp_path / "2")
    files = [{file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("1", "2")]
    assert files[0] == files[1]


def test_a_lora_that_was_saved_works_in_plain_peft(tiny_janus: Path, tmp_path: Path) -> None:
    settings = {"train": "lora", "lora_rank": 2, "lora_alpha": 6.0, "temperature": 0.0}
    model = model_of(tiny_janus, **settings)
    before = model.sample(model.encode(TEXTS), SEEDS).content
    perturb(model, 0.2)
    drawn = model.sample(model.encode(TEXTS), SEEDS).content
    assert not torch.equal(drawn, before)
    model.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    adapted = PeftModel.from_pretrained(JanusForConditionalGeneration.from_pretrained(tiny_janus), tmp_path)
    found = generated(adapted.base_model.model, model.processor, model.encode(TEXTS), 3.0)
    assert torch.equal(drawn, found)
    again = model_of(tiny_janus, **settings)
    again.load_adapter(tmp_path)
    assert torch.equal(drawn, again.sample(again.encode(TEXTS), SEEDS).content)


@pytest.mark.slow
def test_equal_adapters_make_equal_files_in_every_process(tiny_janus: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from selfportrait.models.janus import Janus; "
        "Janus(path=sys.argv[1], lora_rank=2).load().save(Path(sys.argv[2]))"
    )
    files = []
    for name in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": name}
        subprocess.run([sys.executable, "-c", code, tiny_janus, tmp_path / name], env=environment, check=True)
        files.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    assert files[0] == files[1]


def test_adapters_of_another_rank_are_refused(tiny_janus: Path, tmp_path: Path) -> None:
    model_of(tiny_janus, train="lora", lora_rank=2).save(tmp_path)
    other = model_of(tiny_janus, train="lora", lora_rank=4)
    with pytest.raises(ValueError, match=r"do not fit model.lora_rank = 4 of .*size mismatch"):
        other.load_adapter(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no adapter_model.safetensors"):
        other.load_adapter(tmp_path / "nothing")
    state = load_file(tmp_path / "adapter_model.safetensors")
    state.pop(min(state))
    save_file(state, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="adapts other layers"):
        other.load_adapter(tmp_path)


# Bad folders and texts


def copy_of(folder: Path, to: Path, **config: object) -> Path:
    shutil.copytree(folder, to)
    settings = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**settings, **config}))
    return to


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder; give the folder of a JanusFor"):
        Janus(path=str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match=r"the folder has no config\.json"):
        Janus(path=str(tmp_path))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "holds a LlamaForCausalLM"),  # text alone
        ({"model_type": "janus_vqgan", "architectures": ["JanusVQVAE"]}, "holds a JanusVQVAE"),  # pictures alone
        ({"model_type": "multi_modality", "architectures": None}, "deepseek-community/Janus-Pro-1B is the same model"),
    ],
)
def test_a_folder_of_another_model_says_what_it_is(
    tiny_janus: Path, tmp_path: Path, config: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match="fits a JanusForConditionalGeneration only") as caught:
        Janus(path=str(copy_of(tiny_janus, tmp_path / "other", **config)))
    assert sentence in str(caught.value)


def test_a_pipeline_of_diffusers_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    with pytest.raises(ValueError, match="holds a StableDiffusion3Pipeline; the model 'janus' fits"):
        Janus(path=str(tmp_path))


@pytest.mark.parametrize(
    ("part", "what"), [("vision_model", "sees pictures"), ("generation_head", "draws pictures"), ("vqmodel", "turns")]
)
def test_half_a_checkpoint_says_what_it_lacks(tiny_janus: Path, tmp_path: Path, part: str, what: str) -> None:
    folder = copy_of(tiny_janus, tmp_path / "half")
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if part not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"the weights have no {part}, the part that {what}"):
        Janus(path=str(folder))


def test_a_missing_weight_is_not_made_up(tiny_janus: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_janus, tmp_path / "holed")
    state = load_file(folder / "model.safetensors")
    del state["model.language_model.layers.2.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 weights are missing, model\.language_model\.layers\.2\.mlp"):
        Janus(path=str(folder)).load()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(tiny_janus: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(tiny_janus, tmp_path / "without")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Janus(path=str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_broken_file_is_named(tiny_janus: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(tiny_janus, tmp_path / "broken")
    (folder / name).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        Janus(path=str(folder))


def test_a_prompt_without_room_for_its_picture_is_refused_before_weights_load(tiny_janus: Path) -> None:
    model = Janus(path=str(tiny_janus))
    with pytest.raises(ValueError, match=r"the prompt 'zzz.*\.\.\.' and its picture take \d+ tokens, .* reads 320"):
        model.encode(["z" * 400])
    assert model.encode(["a red circle"]).ids.shape[0] == 1
    with pytest.raises(ValueError, match="the question 'zzz"):
        model.words.questions(["z" * 400])
    with pytest.raises(ValueError, match="max_new_tokens = 320 take"):
        model.words.conversation(CHATS[0], 320)
