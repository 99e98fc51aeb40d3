"""Stable Diffusion 1.5, 2 and XL: any pipeline of theirs in diffusers' format, by folder or hub id.

Read this to see how a model that predicts noise or velocity at timesteps samples, and what its log-likelihood is.
Nothing here knows a loss.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from pydantic import Field

from selfportrait.devices import device_of
from selfportrait.micro.checkpoints import Sampling, embedded, sampling
from selfportrait.models import _ddim, _diffusion, _pipeline, _sd_sizes
from selfportrait.models._denoiser import Denoiser
from selfportrait.models._diffusion import DECODED_AT_ONCE, DTYPES
from selfportrait.models._texts import KeptTexts
from selfportrait.models.base import Away, EncodedText, Samples, Sizes, Transition
from selfportrait.types import Draw

__all__ = ["SD"]

FAMILIES = {family.__name__: family for family in (StableDiffusionPipeline, StableDiffusionXLPipeline)}
SAMPLING = {"StableDiffusionPipeline": Sampling(50, 7.5), "StableDiffusionXLPipeline": Sampling(50, 5.0)}
FITS = _pipeline.Fits("sd", tuple(FAMILIES), "stable-diffusion-v1-5/stable-diffusion-v1-5")
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")  # parts that no picture here goes through
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # of every attention


class SD:
    """A policy over a StableDiffusionPipeline or a StableDiffusionXLPipeline; `load` brings the weights.

    `path` is a folder, a hub id or the name of the embedded checkpoint (micro-sd). `train` chooses LoRA adapters or the
    whole UNet; with `dtype` below float32 the optimizer keeps float32 master weights. Without `num_inference_steps` or
    `guidance_scale` the embedded checkpoint is sampled as its card says, every other one in 50 steps at 7.5, XL at 5.
    A sigma is a time t / T: it stands for the timestep floor(T sigma). A safety checker is neither loaded nor saved.
    `error` is what a denoising error is measured in: what the model predicts, as in the papers, or velocity, in which
    the high noise levels count for more where noise is predicted.
    """

    is_exact = False

    def __init__(
        self,
        *,
        path: str = "micro-sd",
        train: Literal["lora", "full"] = "lora",
        lora_rank: Annotated[int, Field(ge=1)] = 16,
        lora_alpha: Annotated[float, Field(gt=0)] | None = None,
        num_inference_steps: Annotated[int, Field(ge=1)] | None = None,
        guidance_scale: Annotated[float, Field(ge=1)] | None = None,
        error: Literal["prediction", "velocity"] = "prediction",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "auto",
        gradient_checkpointing: bool = False,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        self.path = embedded(path)
        alpha = lora_alpha or lora_rank
        self.denoiser = Denoiser("unet", LORA_TARGETS, train=train, rank=lora_rank, alpha=alpha)
        self._steps, self._guidance, self.error = num_inference_steps, guidance_scale, error
        self.dtype, self.batch_size, self.gradient_checkpointing = DTYPES[dtype], batch_size, gradient_checkpointing
        self.device = device_of(device)
        self._encoded = KeptTexts()
        _pipeline.check_folder(self.path, FITS, UNUSED)
        if Path(self.path).is_dir():
            _ddim.check_kind(_pipeline.read_json(Path(self.path), "scheduler/scheduler_config.json"), self.path)
        known = _pipeline.known_folder(self.path, "unet")
        self._set_sampling(FITS.classes[0] if known is None else str(_pipeline.class_name(known[0])))

    def _set_sampling(self, family: str) -> None:
        """Settle how it samples by the class of the pipeline, which before `load` may be a guess."""
        made_for = sampling(self.path) or SAMPLING.get(family, SAMPLING[FITS.classes[0]])
        self.num_inference_steps = self._steps or made_for.num_inference_steps
        self.guidance_scale = self._guidance or made_for.guidance_scale

    def load(self) -> "SD":
        """Load the weights (safetensors only) and make the UNet trainable."""
        self.pipeline = _load_pipeline(self.path, self.dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self._set_sampling(type(self.pipeline).__name__)
        schedule = _ddim.schedule_of(self.pipeline.scheduler, self.path)
        self.schedule = schedule._replace(abar=schedule.abar.to(self.device), clean=schedule.clean.to(self.device))
        if self.dtype == torch.float16 and self.pipeline.vae.config.force_upcast:
            self.pipeline.vae.float()  # it overflows, says its configuration
        self.unet = self.denoiser.hold(self.pipeline, self.path, gradient_checkpointing=self.gradient_checkpointing)
        return self

    @property
    def _is_xl(self) -> bool:
        return isinstance(self.pipeline, StableDiffusionXLPipeline)

    def sizes(self) -> Sizes | None:
        """What the pipeline takes, before `load`; None for one that is neither a folder nor in the hub's cache."""
        found = _pipeline.known_folder(self.path, "unet")
        if found is None:
            return None
        return _sd_sizes.measure(
            found,
            self.dtype,
            self.denoiser,
            is_saving=self.gradient_checkpointing,
            decoded_at_once=min(self.batch_size, DECODED_AT_ONCE),
        )

    @cached_property
    def picture_size(self) -> int:
        """Pixels of a picture's side, by the pipeline's configurations."""
        return _pipeline.picture_size(self.path, UNet2DConditionModel, "unet")

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedText:
        """Encode prompts into context (B, T, D) and pooled (B, P), P being 0 but for XL; a text met lately is kept."""
        return _diffusion.encode_texts(prompts, self._encoded, self._encode, self.device)

    def _encode(self, text: str) -> EncodedText:
        self.denoiser.check_encoders()
        found = self.pipeline.encode_prompt(
            text, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        context = found[0][0]
        return EncodedText(context, found[2][0] if self._is_xl else context.new_zeros(0))

    def _empty(self) -> EncodedText:
        """What stands for no prompt under guidance, a row: the empty text, or for most of XL zeros."""
        empty = self.encode([""])
        has_zeros = self._is_xl and self.pipeline.config.force_zeros_for_empty_prompt
        return EncodedText(*(torch.zeros_like(part) for part in empty)) if has_zeros else empty

    @torch.no_grad()
    def sample(self, conditioning: EncodedText, seeds: Sequence[int]) -> Samples:
        """Draw one picture a row: the pipeline's own sampler, from noise that only the row's seed decides."""
        parts = _diffusion.chunks(conditioning, seeds, self.batch_size)
        latents = torch.cat([self._sample_latents(rows, chosen) for rows, chosen in parts])
        return Samples(self.decode(latents), latents)

    def _sample_latents(self, conditioning: EncodedText, seeds: Sequence[int]) -> torch.Tensor:
        config = self.unet.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        chance = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]  # a stochastic sampler goes on with it
        texts = {"prompt_embeds": conditioning.context, "pooled_prompt_embeds": conditioning.pooled}
        if self.guidance_scale > 1:
            empty = self._empty()
            texts["negative_prompt_embeds"] = empty.context.expand_as(conditioning.context)
            texts["negative_pooled_prompt_embeds"] = empty.pooled.expand_as(conditioning.pooled)
        drawn: torch.Tensor = self.pipeline(
            **{name: value for name, value in texts.items() if self._is_xl or "pooled" not in name},
            generator=chance,
            latents=torch.stack([torch.randn(shape, generator=one) for one in chance]).to(self.device, self.dtype),
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
        """Minus the denoising error of each row at a draw: -mean(w (prediction - target)^2), without a half.

        Shapes: content (clean latents) and draw.noise (B, C, H, W), draw.sigma (B,), weights (B, 1 or C, H, W) or
        None; returns (B,) in float32. x_t = a_t x_0 + s_t noise at t = min(T - 1, floor(T sigma)); the target is the
        noise, or a_t noise - s_t x_0 for v-prediction; the conditional prediction alone, without guidance. With
        `error: velocity` the error of a predicted noise becomes that of the velocity it stands for, 1 / a_t^2 times it.
        Source: Eq. 14 of https://arxiv.org/abs/2006.11239; v-prediction is of https://arxiv.org/abs/2202.00512.
        """
        if draw is None:
            raise ValueError(
                "the log-likelihood of a diffusion model is taken at a draw (sigma, noise), but draw is None; "
                "pass a Draw"
            )
        latents, noise, sigma = self._exact(content), self._exact(draw.noise), self._exact(draw.sigma)
        abar = self.schedule.at(sigma)
        prediction = self._predict(_ddim.noised(latents, noise, abar), conditioning, sigma)
        logps = _diffusion.error_logp(prediction, _ddim.target(latents, noise, abar, self.schedule.kind), weights)
        return logps if self.error == "prediction" else logps * _ddim.as_velocity(abar, self.schedule.kind)

    def _predict(self, noisy: torch.Tensor, conditioning: EncodedText, sigma: torch.Tensor) -> torch.Tensor:
        added = None
        if self._is_xl:
            side = self.picture_size
            sizes = conditioning.context.new_tensor([side, side, 0, 0, side, side])  # original, crop, target
            added = {"text_embeds": conditioning.pooled, "time_ids": sizes.expand(len(noisy), 6)}
        predicted: torch.Tensor = self.unet(
            noisy.to(self.dtype),
            self.schedule.timestep(sigma),
            encoder_hidden_states=conditioning.context,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return predicted.float()

    @torch.no_grad()
    def latents(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Encode pictures of the model's size into clean latents (B, C, H, W): the posterior's mode, each alone."""
        self.denoiser.check_encoders()
        return _diffusion.encode_pictures(self.pipeline, images, self.picture_size).to(self.dtype)

    def noised(self, content: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Clean latents with noise up to sigma (B,): a_t x_0 + s_t noise."""
        return _ddim.noised(self._exact(content), self._exact(noise), self.schedule.at(self._exact(sigma)))

    def noise_in(self, noisy: torch.Tensor, content: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The noise with which `noised` returns these noisy latents."""
        return _ddim.noise_in(self._exact(noisy), self._exact(content), self.schedule.at(self._exact(sigma)))

    def step(
        self,
        noisy: torch.Tensor,
        conditioning: EncodedText,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
        label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """DDIM's step from sigma to another level, both (B,), down to draw or up to invert."""
        latents, noise = self._estimates(noisy, conditioning, sigma, guidance_scale, label)
        return _ddim.noised(latents, noise, self.schedule.at(self._exact(to)))

    def transition(
        self,
        noisy: torch.Tensor,
        conditioning: EncodedText,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
    ) -> Transition:
        """The step to a lower level, both (B,), of DDIM with eta = 1."""
        latents, noise = self._estimates(noisy, conditioning, sigma, guidance_scale)
        abar, abar_to = (self.schedule.at(self._exact(level)) for level in (sigma, to))
        return _ddim.ancestral(latents, noise, abar, abar_to)

    def _estimates(
        self,
        noisy: torch.Tensor,
        conditioning: EncodedText,
        sigma: torch.Tensor,
        scale: float,
        label: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The clean latents and the noise that the model finds in noisy latents, told sigma or another level."""
        noisy, sigma = self._exact(noisy), self._exact(sigma)
        told = sigma if label is None else self._exact(label)
        prediction = _diffusion.guided(self._predict, noisy, conditioning, told, empty=self._empty, scale=scale)
        return _ddim.estimates(noisy, prediction, self.schedule.at(sigma), self.schedule.kind)

    def _exact(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.device, torch.float32)

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the UNet is as it was loaded, or as it was when it last became the reference."""
        return self.denoiser.reference()

    def renew_reference(self) -> None:
        """From now on, the reference is the model as it is now, which takes a copy of what learns."""
        self.denoiser.renew_reference()

    def without_encoders(self) -> Away:
        """Inside, only the UNet takes memory on the device; nothing can be encoded or decoded."""
        return self.denoiser.without_encoders()

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn: the adapters' or all of the UNet's."""
        return self.denoiser.trainable()

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that must not change: autoencoder, text encoders, and the UNet under its adapters."""
        return self.denoiser.frozen()

    def save(self, folder: Path) -> None:
        """Write a whole pipeline (full) or `pytorch_lora_weights.safetensors` for `load_lora_weights` (LoRA)."""
        self.denoiser.save(folder)

    def load_adapter(self, folder: Path) -> None:
        """Take up LoRA weights that `save` wrote."""
        self.denoiser.load_adapter(folder)


def _load_pipeline(path: str, dtype: torch.dtype) -> Any:
    with _pipeline.explained(path):
        name = DiffusionPipeline.load_config(path).get("_class_name")
    FITS.check(path, name)
    absent: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if name == "StableDiffusionPipeline":
        absent |= {"safety_checker": None, "requires_safety_checker": False}
    with _pipeline.explained(path):
        pipeline = FAMILIES[name].from_pretrained(path, torch_dtype=dtype, use_safetensors=True, **absent)
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise ValueError(
            f"model.path = {path}: its UNet is told the guidance scale (time_cond_proj_dim), which has no place in a "
            "log-likelihood; give a model that is not distilled for few steps"
        )
    return pipeline
