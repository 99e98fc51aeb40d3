"""What diffusion and flow models share between texts, noise and pictures: encoding once, chunks, guidance, the error.

Read this before adding a pipeline of diffusers; `_denoiser.py` has what they share about weights.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from selfportrait import images as pictures
from selfportrait.models._texts import KeptTexts
from selfportrait.models.base import EncodedText

__all__ = ["DECODED_AT_ONCE", "DTYPES", "chunks", "decode", "encode_pictures", "encode_texts", "error_logp", "guided"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DECODED_AT_ONCE = 16  # pictures; full-resolution activations of more leave the cache, 1.5 times slower on a CPU


def encode_texts(
    prompts: Sequence[str], kept: KeptTexts, encode: Callable[[str], EncodedText], device: torch.device
) -> EncodedText:
    """Encode prompts into a row each, by `encode` for those that are not `kept`, which gives no dimension of a batch.

    Each text alone: the last bits depend on the size of a batch, and a resumed run meets its prompts in others.
    """
    rows = kept.rows(prompts, encode)
    return EncodedText(*(torch.stack(parts).to(device) for parts in zip(*rows, strict=True)))


def chunks(conditioning: EncodedText, seeds: Sequence[int], size: int) -> Iterator[tuple[EncodedText, Sequence[int]]]:
    """Split rows and their seeds into parts of at most `size`."""
    for start in range(0, len(seeds), size):
        yield conditioning.rows(slice(start, start + size)), seeds[start : start + size]


def decode(pipeline: Any, latents: torch.Tensor, size: int) -> list[Image.Image]:
    """Decode latents (B, C, H, W) of the denoiser's space into RGB pictures, at most `size` at once."""
    vae, images = pipeline.vae, []
    for part in latents.split(min(size, DECODED_AT_ONCE)):
        scaled = part.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        if scaled.device.type == "cpu":  # its convolutions take 0.6 of the time with channels last
            scaled = scaled.contiguous(memory_format=torch.channels_last)
        pixels = vae.decode(scaled, return_dict=False)[0]
        images += pipeline.image_processor.postprocess(pixels, output_type="pil")
    return images


def encode_pictures(pipeline: Any, images: Sequence[Image.Image], side: int) -> torch.Tensor:
    """Encode pictures of side x side pixels into latents (B, C, H, W) of the denoiser's space: the posterior's mode.

    Each picture alone: the last bits depend on the size of a batch.
    """
    vae, latents = pipeline.vae, []
    for index, image in enumerate(images):
        if image.size != (side, side):
            raise ValueError(
                f"picture {index} has {image.width}x{image.height} pixels, and the model draws {side}x{side}: "
                "resize or crop it first, together with what belongs to its places"
            )
        pixels = pictures.to_tensor(image)[None].to(vae.device, vae.dtype)  # (1, 3, H, W)
        mode = vae.encode(pixels).latent_dist.mode()
        latents.append((mode - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor)
    return torch.cat(latents)  # (B, C, H, W)


def guided(
    predict: Callable[[torch.Tensor, EncodedText, torch.Tensor], torch.Tensor],
    noisy: torch.Tensor,
    conditioning: EncodedText,
    level: torch.Tensor,
    *,
    empty: Callable[[], EncodedText],
    scale: float,
) -> torch.Tensor:
    """A prediction under classifier-free guidance, u + scale (c - u); at scale 1 it is c, and nothing else is asked.

    Shapes: noisy (B, C, H, W), level (B,). `empty` gives the one row that stands for no prompt.
    """
    if scale == 1:
        return predict(noisy, conditioning, level)
    without = [part.expand_as(like) for part, like in zip(empty(), conditioning, strict=True)]
    both = EncodedText(*(torch.cat(parts) for parts in zip(without, conditioning, strict=True)))
    unconditional, conditional = predict(noisy.repeat(2, 1, 1, 1), both, level.repeat(2)).chunk(2)
    return unconditional + scale * (conditional - unconditional)


def error_logp(prediction: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Minus the mean of w (prediction - target)^2 over C, H and W, in float32 and without a half: (B,)."""
    error = (prediction.float() - target.float()).square()
    mean: torch.Tensor = (error if weights is None else weights * error).mean(dim=(1, 2, 3))
    return -mean
