"""ImageReward: its published layout against a forward written by hand, and batches against one at a time."""

from pathlib import Path

import pytest
import torch
from tiny_judges import BLIP_TEXT, BLIP_VISION, randomized

from selfportrait.judges import image_reward
from selfportrait.judges._blip import TEXT, VISION_LARGE
from selfportrait.judges._pictures import cropped
from selfportrait.judges.image_reward import ImageReward, Network, network_of
from selfportrait.types import Prompt


@pytest.fixture(scope="module")
def network() -> Network:
    return randomized(Network(BLIP_VISION, BLIP_TEXT), seed=3)


def published(network: Network) -> dict[str, torch.Tensor]:
    """The weights by the names of ImageReward.pt."""
    names = {
        "vision_model.embeddings.class_embedding": "blip.visual_encoder.cls_token",
        "vision_model.embeddings.position_embedding": "blip.visual_encoder.pos_embed",
        "vision_model.embeddings.patch_embedding.": "blip.visual_encoder.patch_embed.proj.",
        "vision_model.encoder.layers.": "blip.visual_encoder.blocks.",
        "vision_model.post_layernorm.": "blip.visual_encoder.norm.",
        "self_attn.qkv": "attn.qkv",
        "self_attn.projection": "attn.proj",
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        "text_encoder.": "blip.text_encoder.",
    }
    state = {"blip.text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    for key, value in network.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs) if ours.startswith(("self", "layer_")) or key.startswith(ours) else key
        state[key] = value
    return state


def states_by_hand(state: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """BLIP's vision transformer in its own layout: 16 patches of 8 pixels, 2 layers of 2 heads, epsilon 1e-6."""
    functional = torch.nn.functional
    own = {key.removeprefix("blip.visual_encoder."): value for key, value in state.items()}

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, own[f"{name}.weight"], own[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, (32,), own[f"{name}.weight"], own[f"{name}.bias"], eps=1e-6)

    x = functional.conv2d(pixels, own["patch_embed.proj.weight"], own["patch_embed.proj.bias"], stride=8)
    x = x.flatten(2).transpose(1, 2)  # (B, 16, 32)
    x = torch.cat([own["cls_token"].expand(len(x), -1, -1), x], 1) + own["pos_embed"]
    for layer in range(2):
        name = f"blocks.{layer}"
        y = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = y.reshape(len(x), 17, 3, 2, 16).permute(2, 0, 3, 1, 4)  # each (B, heads, T, 16)
        attention = (q @ k.transpose(2, 3) / 4).softmax(-1)  # 4 is the root of 16
        x = x + linear((attention @ v).transpose(1, 2).reshape(len(x), 17, 32), f"{name}.attn.proj")
        y = functional.gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1"))
        x = x + linear(y, f"{name}.mlp.fc2")
    return norm(x, "norm")


def test_the_published_layout_is_that_network(network: Network) -> None:
    loaded = network_of(published(network), BLIP_VISION, BLIP_TEXT, "ImageReward.pt").eval()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[2, 8, 9, 12, 3, 0, 0], [2, 8, 10, 13, 14, 15, 3]])
    with torch.no_grad():
        states = network.encode(pixels)
        assert torch.equal(loaded.encode(pixels), states)
        assert torch.allclose(states, states_by_hand(published(network), pixels), atol=2e-5)
        mask = (ids != 0).long()
        assert torch.equal(loaded(ids, mask, states), network(ids, mask, states))


def test_the_head_by_hand(network: Network, tmp_path: Path, bert_folder: Path, pictures, monkeypatch) -> None:
    """The first token through five linear layers with nothing between, then the published mean and spread."""
    monkeypatch.setattr(image_reward, "VISION", BLIP_VISION)
    monkeypatch.setattr(image_reward, "TEXT", BLIP_TEXT)
    torch.save(published(network), tmp_path / "ImageReward.pt")
    judge = ImageReward(path=str(tmp_path / "ImageReward.pt"), tokenizer=str(bert_folder), device="cpu")
    (score,) = judge([Prompt("p", "a red cat")], pictures[:1])
    ids = torch.tensor([[2, 8, 9, 12, 3, *[0] * 30]])  # [CLS] a red cat [SEP], padded to 35
    with torch.no_grad():
        states = states_by_hand(published(network), cropped(pictures[0], 32)[None])
        x = network.text_encoder(
            input_ids=ids,
            attention_mask=(ids != 0).long(),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(1, 17, dtype=torch.long),
        ).last_hidden_state[0, 0]
        for layer in (0, 2, 4, 6, 7):
            state = published(network)
            x = state[f"mlp.layers.{layer}.weight"] @ x + state[f"mlp.layers.{layer}.bias"]
    assert score.value == pytest.approx((float(x) - 0.16717362830052426) / 1.0333394966054072, rel=1e-4)


@pytest.fixture
def checkpoint(network: Network, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setattr(image_reward, "VISION", BLIP_VISION)
    monkeypatch.setattr(image_reward, "TEXT", BLIP_TEXT)
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in published(network).items()}
    for layer in (0, 2, 4, 6, 7):  # five layers of random weights make numbers that only tell float32's rounding
        state[f"mlp.layers.{layer}.weight"] *= 0.1
    save_file(state, tmp_path / "ImageReward.safetensors")
    return str(tmp_path / "ImageReward.safetensors")


def test_batches_and_repeats_change_no_score(checkpoint: str, bert_folder: Path, prompts, pictures) -> None:
    together = ImageReward(path=checkpoint, tokenizer=str(bert_folder), device="cpu", batch_size=3)(prompts, pictures)
    one = ImageReward(path=checkpoint, tokenizer=str(bert_folder), device="cpu", batch_size=1)
    alone = [one([prompt], [picture])[0].value for prompt, picture in zip(prompts, pictures, strict=True)]
    assert [score.value for score in together] == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == 5


def test_each_picture_is_encoded_and_each_pair_read_once(
    checkpoint: str, bert_folder: Path, prompts, pictures, counted
) -> None:
    judge = ImageReward(path=checkpoint, tokenizer=str(bert_folder), device="cpu", batch_size=3)
    seen = counted(judge._loaded.network.vision_model, "pixel_values")
    read = counted(judge._loaded.network.text_encoder, "input_ids")
    judge([*prompts, prompts[0]], [*pictures, pictures[0]])
    assert seen == [3, 1]  # of 6 pictures 4 are distinct
    assert read == [3, 2]  # of 6 pairs 5


def test_the_published_sizes() -> None:
    """12 heads in the text encoder, where the library's default is 8, and an epsilon of 1e-6."""
    assert TEXT["num_attention_heads"] == 12
    assert VISION_LARGE["layer_norm_eps"] == 1e-6
    assert image_reward.VISION["image_size"] == 224
