"""A packed decoder goes on as its layers do, whatever is in them, and is made only where it is exact and worth it."""

from collections.abc import Callable, Iterator

import pytest
import torch
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

from selfportrait.models import _packed
from selfportrait.models._decoder import Continuation
from selfportrait.models._packed import PackedRows
from selfportrait.models._reference import without_adapters
from selfportrait.models._tokens import left_pad

PROMPTS = left_pad([[1, 5, 2], [1, 6, 7, 8, 2], [1, 5, 2], [1, 9, 2]], 0)  # with padding, and one twice
STEPS = 4


def new_llama(**settings: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3}
    config = LlamaConfig(**{**sizes, "num_attention_heads": 4, "initializer_range": 0.3, **settings})
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=0.7, std=0.2)
    return model


def with_adapters(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The model with one that adds something."""
    model.add_adapter(LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "o_proj", "up_proj", "down_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def states(model: LlamaForCausalLM) -> Iterator[torch.Tensor]:
    """The states of four rows, token after token."""
    decoder = model.model
    rows = Continuation(decoder, decoder.embed_tokens, PROMPTS, STEPS + 1)
    for step in range(STEPS):
        rows.step(decoder.embed_tokens(torch.tensor([3, 4, 5, 6]) + step))
        yield rows.hidden


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize(
    "new",
    [
        new_llama,
        lambda: new_llama(num_key_value_heads=2, attention_bias=True, mlp_bias=True),
        lambda: with_adapters(new_llama(attention_bias=True)),
    ],
    ids=["plain", "grouped keys and biases", "adapters"],
)
def test_it_goes_on_as_its_layers_do(
    new: Callable[[], LlamaForCausalLM], has_onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_packed, "HAS_ONEDNN", _packed.HAS_ONEDNN and has_onednn)
    model = new()
    packed = list(states(model))
    monkeypatch.setattr(PackedRows, "fits", staticmethod(lambda _: False))
    layered = list(states(model))
    for ours, theirs in zip(packed, layered, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("counts", [(2, 4, 2), (1, 3), (4,)], ids=["pairs", "no common divisor", "one prompt"])
def test_rows_of_a_prompt_share_it_however_many_they_are(counts: tuple[int, ...]) -> None:
    """Every run of rows goes on from its own prompt, as if each of its rows went on alone."""
    decoder = new_llama(num_key_value_heads=2).model
    prompts = left_pad([[1, 9, 2], [1, 5, 2], [1, 6, 7, 8, 2]][: len(counts)], 0)
    rows = prompts.rows(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)))
    tokens = torch.arange(3, 3 + 2 * len(rows.ids)).view(2, -1)

    @torch.no_grad()
    def last(which: slice) -> torch.Tensor:
        part = Continuation(decoder, decoder.embed_tokens, rows.rows(which), 3)
        for step in tokens[:, which]:
            part.step(decoder.embed_tokens(step))
        return part.hidden

    alone = torch.cat([last(slice(row, row + 1)) for row in range(len(rows.ids))])
    assert torch.allclose(last(slice(None)), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_after_the_last_is_the_same_packed(dtype: torch.dtype) -> None:
    model, states = new_llama().to(dtype), torch.randn(4, 48, generator=torch.Generator().manual_seed(1)).to(dtype)
    with torch.no_grad():
        layer = Continuation(model.model, model.model.embed_tokens, PROMPTS, STEPS).packed(model.lm_head)
        assert torch.allclose(layer(states), model.lm_head(states), rtol=1e-4, atol=1e-5)
    assert (layer is model.lm_head) == (dtype == torch.bfloat16)


def test_one_token_takes_no_step() -> None:
    decoder = new_llama().model
    with torch.no_grad():
        one, more = (Continuation(decoder, decoder.embed_tokens, PROMPTS, count).hidden for count in (1, 2))
    assert torch.equal(one, more)


def test_it_knows_whether_adapters_are_on() -> None:
    model, without = with_adapters(new_llama()), new_llama()
    bare = torch.stack(list(states(without)))
    assert not torch.allclose(torch.stack(list(states(model))), bare, atol=0.1)
    with without_adapters(model):
        assert torch.allclose(torch.stack(list(states(model))), bare, rtol=1e-4, atol=1e-5)


def test_it_is_used_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    step = PackedRows.step
    monkeypatch.setattr(PackedRows, "step", lambda self, *args: calls.append(1) or step(self, *args))
    list(states(new_llama()))
    assert len(calls) == STEPS
    list(states(new_llama().to(torch.bfloat16)))
    assert len(calls) == STEPS


def test_it_fits_small_decoders_in_full_precision_that_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = new_llama().model
    assert not PackedRows.fits(decoder)
    with torch.no_grad():
        assert PackedRows.fits(decoder)
        assert not PackedRows.fits(new_llama().to(torch.bfloat16).model)
        assert not PackedRows.fits(new_llama().to("meta").model)
        with decoder.layers[1].mlp.register_forward_hook(lambda *_: None):
            assert not PackedRows.fits(decoder)
        assert PackedRows.fits(decoder)
        monkeypatch.setattr(_packed, "LARGEST", 100)
        assert not PackedRows.fits(decoder)
