"""What a Stable Diffusion 1.5, 2 or XL pipeline takes, by its configurations alone.

Read this to see how what a UNet keeps for the backward pass is counted, without numbers and without memory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch.overrides import TorchFunctionMode
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from selfportrait.models import _sizes
from selfportrait.models._denoiser import Denoiser
from selfportrait.models.base import Sizes

__all__ = ["measure"]

ENCODERS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}


def measure(
    found: tuple[Path, str], dtype: torch.dtype, denoiser: Denoiser, *, is_saving: bool, decoded_at_once: int
) -> Sizes:
    """Count the parameters of a pipeline's parts; `denoiser` adds adapters and says what learns.

    A picture's places are those of its latents, and each keeps its share of what a row of the UNet keeps.
    """
    folder, source = found
    parts = _sizes.build(folder, denoiser, UNet2DConditionModel, ENCODERS)
    unet, vae = parts[denoiser.part], parts["autoencoder"]
    torch.nn.Module.to(unet, dtype)  # diffusers' own would warn
    num_places, num_words = unet.config.sample_size**2, parts["text encoder"].config.max_position_embeddings
    return _sizes.measure(
        parts,
        dtype,
        denoiser,
        source=source,
        num_tokens=num_places,
        kept_bytes=_kept_bytes(unet, num_words, dtype, is_saving=is_saving) // num_places,
        decoded_at_once=decoded_at_once,
        is_vae_float32=dtype == torch.float16 and vae.config.force_upcast,
    )


def _kept_bytes(unet: Any, num_words: int, dtype: torch.dtype, *, is_saving: bool) -> int:
    """Count what a forward of one row leaves for the backward pass; with gradient checkpointing, at its fullest."""
    kept, inside = _Kept(unet), [0]

    def checkpointed(block: Any, *inputs: Any) -> Any:
        for tensor in inputs:
            if isinstance(tensor, torch.Tensor):
                kept.add(tensor)
        own = _Kept(unet)
        with own:
            outputs = block(*inputs)
        inside[0] = max(inside[0], own.bytes)
        return outputs

    if is_saving:
        unet.enable_gradient_checkpointing(checkpointed)
    with torch.device("meta"), _FusedAttention(), kept:
        noisy, words = _row(unet, num_words, dtype)
        unet(noisy, torch.zeros(1), encoder_hidden_states=words, added_cond_kwargs=_added(unet, dtype))
    return kept.bytes + inside[0]


def _row(unet: Any, num_words: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    noisy = torch.zeros(1, unet.config.in_channels, side, side, dtype=dtype)
    return noisy, torch.zeros(1, num_words, width, dtype=dtype)


def _added(unet: Any, dtype: torch.dtype) -> dict[str, torch.Tensor] | None:
    """What XL is told besides: pooled text and six sizes."""
    if unet.config.addition_embed_type != "text_time":
        return None
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    return {"text_embeds": torch.zeros(1, pooled, dtype=dtype), "time_ids": torch.zeros(1, 6, dtype=dtype)}


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """Inside, the bytes of distinct tensors that autograd keeps, weights aside."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__(self.add, lambda tensor: tensor)
        self._known = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        self._alive: list[torch.Tensor] = []  # so that no storage's address is used again
        self.bytes = 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count a tensor whose storage was not met before."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


class _FusedAttention(TorchFunctionMode):
    """Inside, attention is a fused kernel, as on a real device; on the meta device it would keep its scores."""

    def __torch_function__(self, called: Any, _: Any, inputs: Any = (), named: Mapping[str, Any] | None = None) -> Any:
        if called is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*inputs)[0]
        return called(*inputs, **(named or {}))
