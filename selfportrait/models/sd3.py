"""Stable Diffusion 3: any `StableDiffusion3Pipeline` of diffusers, by folder or hub id, with or without T5.

Read this to see how a flow-matching model samples, and what its log-likelihood is. Nothing here knows a loss.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image
from pydantic import Field

from selfportrait import seeds as keyed
from selfportrait.devices import device_of
from selfportrait.micro.checkpoints import Sampling, embedded, sampling
from selfportrait.models import _diffusion, _flow, _pipeline, _sd3_sizes
from selfportrait.models._attention import RepeatedTokenAttention
from selfportrait.models._denoiser import Denoiser
from selfportrait.models._diffusion import DECODED_AT_ONCE, DTYPES
from selfportrait.models._texts import KeptTexts
from selfportrait.models.base import Away, EncodedText, Samples, Sizes, Transition
from selfportrait.types import Draw

__all__ = ["SD3"]

SAMPLING = Sampling(num_inference_steps=28, guidance_scale=4.5)  # as Stable Diffusion 3.5 Medium recommends
FITS = _pipeline.Fits("sd3", ("StableDiffusion3Pipeline",), "stabilityai/stable-diffusion-3.5-medium")
LORA_TARGETS = tuple(
    f"attn.{name}"
    for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
)


class SD3:
    """A policy over a StableDiffusion3Pipeline; `load` brings the weights, everything before it is cheap.

    `path` is a folder, a hub id or the name of an embedded checkpoint (micro-sd3, micro-sd3-text). `train` chooses
    LoRA adapters or the whole transformer; with `dtype` below float32 the optimizer keeps float32 master weights.
    Without `num_inference_steps` or `guidance_scale` an embedded checkpoint is sampled as its card says, every other
    one in 28 steps at 4.5.
    """

    is_exact = False

    def __init__(
        self,
        *,
        path: str = "micro-sd3",
        train: Literal["lora", "full"] = "lora",
        lora_rank: Annotated[int, Field(ge=1)] = 16,
        lora_alpha: Annotated[float, Field(gt=0)] | None = None,
        num_inference_steps: Annotated[int, Field(ge=1)] | None = None,
        guidance_scale: Annotated[float, Field(ge=1)] | None = None,
        max_sequence_length: Annotated[int, Field(ge=1, le=512)] = 256,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "auto",
        gradient_checkpointing: bool = False,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        self.path = embedded(path)
        alpha = lora_alpha or lora_rank
        self.denoiser = Denoiser("transformer", LORA_TARGETS, train=train, rank=lora_rank, alpha=alpha)
        made_for = sampling(self.path) or SAMPLING
        self.num_inference_steps = num_inference_steps or made_for.num_inference_steps
        self.guidance_scale = guidance_scale or made_for.guidance_scale
        self.max_sequence_length, self.dtype, self.batch_size = max_sequence_length, DTYPES[dtype], batch_size
        self.gradient_checkpointing = gradient_checkpointing
        self.device = device_of(device)
        self._encoded = KeptTexts()
        _pipeline.check_folder(self.path, FITS)

    def load(self) -> "SD3":
        """Load the weights (safetensors only) and make the transformer trainable."""
        self.pipeline = _load_pipeline(self.path, self.dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        if self.pipeline.text_encoder_3 is None:
            self.pipeline.transformer.set_attn_processor(RepeatedTokenAttention(self.max_sequence_length))
        self.transformer = self.denoiser.hold(
            self.pipeline, self.path, gradient_checkpointing=self.gradient_checkpointing
        )
        return self

    def sizes(self) -> Sizes | None:
        """What the pipeline takes, before `load`; None for one that is neither a folder nor in the hub's cache."""
        found = _pipeline.known_folder(self.path, "transformer")
        if found is None:
            return None
        has_t5 = (found[0] / "text_encoder_3").is_dir()
        return _sd3_sizes.measure(
            found,
            self.dtype,
            self.denoiser,
            num_t5_words=self.max_sequence_length if has_t5 else 1,
            is_saving=self.gradient_checkpointing,
            decoded_at_once=min(self.batch_size, DECODED_AT_ONCE),
        )

    @cached_property
    def picture_size(self) -> int:
        """Pixels of a picture's side, by the pipeline's configurations."""
        return _pipeline.picture_size(self.path, SD3Transformer2DModel, "transformer")

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedText:
        """Encode prompts into context (B, T, D) and pooled (B, P); a text met lately costs nothing."""
        return _diffusion.encode_texts(prompts, self._encoded, self._encode, self.device)

    def _encode(self, text: str) -> EncodedText:
        self.denoiser.check_encoders()
        has_t5 = self.pipeline.text_encoder_3 is not None
        context, _, pooled, _ = self.pipeline.encode_prompt(
            text,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_sequence_length if has_t5 else 1,
        )
        return EncodedText(context[0], pooled[0])

    @torch.no_grad()
    def sample(self, conditioning: EncodedText, seeds: Sequence[int]) -> Samples:
        """Draw one picture a row: the pipeline's own sampler, from noise that only the row's seed decides."""
        parts = _diffusion.chunks(conditioning, seeds, self.batch_size)
        latents = torch.cat([self._sample_latents(rows, chosen) for rows, chosen in parts])
        return Samples(self.decode(latents), latents)

    def _sample_latents(self, conditioning: EncodedText, seeds: Sequence[int]) -> torch.Tensor:
        config = self.transformer.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        empty = self.encode([""]) if self.guidance_scale > 1 else None
        drawn: torch.Tensor = self.pipeline(
            prompt_embeds=conditioning.context,
            pooled_prompt_embeds=conditioning.pooled,
            negative_prompt_embeds=None if empty is None else empty.context.expand_as(conditioning.context),
            negative_pooled_prompt_embeds=None if empty is None else empty.pooled.expand_as(conditioning.pooled),
            latents=keyed.noise(list(seeds), shape).to(self.device, self.dtype),
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            height=self.picture_size,
            width=self.picture_size,
            output_type="latent",
        ).images
        return drawn  # (B, C, H, W)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Decode latents (B, C, H, W) of the denoiser's space into RGB pictures."""
        self.denoiser.check_encoders()
        return _diffusion.decode(self.pipeline, latents, self.batch_size)

    def log_likelihood(
        self,
        content: torch.Tensor,
        conditioning: EncodedText,
        draw: Draw | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Minus the denoising error of each row at a draw: -mean(w (v_theta(x_t, c) - (noise - x_0))^2), no half.

        Shapes: content (clean latents) and draw.noise (B, C, H, W), draw.sigma (B,), weights (B, 1 or C, H, W) or
        None; returns (B,) in float32. x_t = (1 - sigma) x_0 + sigma noise; the conditional prediction alone, without
        guidance.
        Source: Flow Matching for Generative Modeling (Lipman et al., 2023), as in Esser et al. (2024), Eq. 13-14.
        """
        if draw is None:
            raise ValueError(
                "the log-likelihood of a flow model is taken at a draw (sigma, noise), but draw is None; pass a Draw"
            )
        latents, noise = content.to(self.dtype), draw.noise.to(self.device, self.dtype)
        sigma = draw.sigma.to(self.device, torch.float32)
        velocity = self._predict(_flow.noised(latents, noise, sigma), conditioning, sigma)
        return _diffusion.error_logp(velocity, noise - latents, weights)

    def _predict(self, noisy: torch.Tensor, conditioning: EncodedText, sigma: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = self.transformer(
            hidden_states=noisy.to(self.dtype),
            encoder_hidden_states=conditioning.context,
            pooled_projections=conditioning.pooled,
            timestep=1000 * sigma,
            return_dict=False,
        )[0]
        return predicted.float()

    @torch.no_grad()
    def latents(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Encode pictures of the model's size into clean latents (B, C, H, W): the posterior's mode, each alone."""
        self.denoiser.check_encoders()
        return _diffusion.encode_pictures(self.pipeline, images, self.picture_size).to(self.dtype)

    def noised(self, content: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Clean latents with noise up to sigma (B,): (1 - sigma) x_0 + sigma noise."""
        return _flow.noised(self._exact(content), self._exact(noise), self._exact(sigma))

    def noise_in(self, noisy: torch.Tensor, content: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The noise with which `noised` returns these noisy latents, at sigma above 0."""
        return _flow.noise_in(self._exact(noisy), self._exact(content), self._exact(sigma))

    def step(
        self,
        noisy: torch.Tensor,
        conditioning: EncodedText,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
        label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Euler's step from sigma to another level, both (B,), down to draw or up to invert."""
        noisy, sigma, to = self._exact(noisy), self._exact(sigma), self._exact(to)
        told = sigma if label is None else self._exact(label)
        return _flow.euler(noisy, self._guided(noisy, conditioning, told, guidance_scale), sigma, to)

    def transition(
        self,
        noisy: torch.Tensor,
        conditioning: EncodedText,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
    ) -> Transition:
        """The step to a lower level, both (B,), of the stochastic sampler that Flow-GRPO draws with."""
        noisy, sigma, to = self._exact(noisy), self._exact(sigma), self._exact(to)
        return _flow.sde(noisy, self._guided(noisy, conditioning, sigma, guidance_scale), sigma, to)

    def _guided(
        self, noisy: torch.Tensor, conditioning: EncodedText, sigma: torch.Tensor, scale: float
    ) -> torch.Tensor:
        return _diffusion.guided(
            self._predict, noisy, conditioning, sigma, empty=lambda: self.encode([""]), scale=scale
        )

    def _exact(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.device, torch.float32)

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the transformer is as it was loaded, or as it was when it last became the reference."""
        return self.denoiser.reference()

    def renew_reference(self) -> None:
        """From now on, the reference is the model as it is now, which takes a copy of what learns."""
        self.denoiser.renew_reference()

    def without_encoders(self) -> Away:
        """Inside, only the transformer takes memory on the device; nothing can be encoded or decoded."""
        return self.denoiser.without_encoders()

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn: the adapters' or all of the transformer's."""
        return self.denoiser.trainable()

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that must not change: autoencoder, text encoders, and the transformer under its adapters."""
        return self.denoiser.frozen()

    def save(self, folder: Path) -> None:
        """Write a whole pipeline (full) or `pytorch_lora_weights.safetensors` for `load_lora_weights` (LoRA)."""
        self.denoiser.save(folder)

    def load_adapter(self, folder: Path) -> None:
        """Take up LoRA weights that `save` wrote."""
        self.denoiser.load_adapter(folder)


def _load_pipeline(path: str, dtype: torch.dtype) -> StableDiffusion3Pipeline:
    with _pipeline.explained(path):
        parts = StableDiffusion3Pipeline.load_config(path)
        # diffusers wants to be told of an encoder that the folder leaves out (T5, most often)
        absent = {name: None for name in ("text_encoder_3", "tokenizer_3") if not any(parts.get(name) or ())}
        return StableDiffusion3Pipeline.from_pretrained(path, torch_dtype=dtype, use_safetensors=True, **absent)
