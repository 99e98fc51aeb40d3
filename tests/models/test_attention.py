"""One context token that counts as n equals n equal tokens, through the whole transformer."""

import pytest
import torch
from diffusers import SD3Transformer2DModel

from selfportrait.models._attention import RepeatedTokenAttention


def transformer(**settings: object) -> SD3Transformer2DModel:
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        caption_projection_dim=32,
        joint_attention_dim=24,
        pooled_projection_dim=16,
        pos_embed_max_size=8,
        **settings,
    ).eval()


def forward(model: SD3Transformer2DModel, context: torch.Tensor) -> torch.Tensor:
    chance = torch.Generator().manual_seed(2)
    latents, pooled = torch.randn(3, 4, 8, 8, generator=chance), torch.randn(3, 16, generator=chance)
    return model(latents, context, pooled, torch.tensor([10.0, 500.0, 990.0]), return_dict=False)[0]


@pytest.mark.parametrize(
    "settings", [{}, {"qk_norm": "rms_norm"}, {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}]
)
@pytest.mark.parametrize("repeats", [1, 256])
@torch.no_grad()
def test_a_repeated_token_equals_as_many_zero_tokens(settings: dict, repeats: int) -> None:
    model = transformer(**settings)
    text = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(1))
    zeros = torch.zeros(3, 1, 24)
    expected = forward(model, torch.cat([text, zeros.expand(3, repeats, 24)], dim=1))
    once = forward(model, torch.cat([text, zeros], dim=1))
    model.set_attn_processor(RepeatedTokenAttention(repeats))
    found = forward(model, torch.cat([text, zeros], dim=1))
    assert (found - expected).abs().max() < 1e-5
    assert repeats == 1 or (once - expected).abs().max() > 1e-3  # 256 tokens weigh more than one


def test_gradients_are_those_of_the_long_context() -> None:
    model = transformer(qk_norm="rms_norm")
    text = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(1))
    weight = model.transformer_blocks[0].attn.add_k_proj.weight
    forward(model, torch.cat([text, torch.zeros(3, 256, 24)], dim=1)).square().mean().backward()
    expected, weight.grad = weight.grad, None
    model.set_attn_processor(RepeatedTokenAttention(256))
    forward(model, torch.cat([text, torch.zeros(3, 1, 24)], dim=1)).square().mean().backward()
    assert torch.allclose(weight.grad, expected, atol=1e-6)
