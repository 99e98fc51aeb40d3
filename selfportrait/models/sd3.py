"""Stable Diffusion 3: any `StableDiffusion3Pipeline` of diffusers, by folder or hub id, with or without T5.

Read this to see how a flow-matching model samples, and what its log-likelihood is. Nothing here knows a loss.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from diffusers import StableDiffusion3Pipeline
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from PIL import Image
from pydantic import Field
from safetensors import SafetensorError

from selfportrait import seeds as keyed
from selfportrait import store
from selfportrait.micro.checkpoints import PIPELINE as PIPELINE_FILE
from selfportrait.micro.checkpoints import Sampling, embedded, names, sampling
from selfportrait.models import _sd3_sizes
from selfportrait.models._attention import RepeatedTokenAttention
from selfportrait.models._reference import snapshot, swapped, without_adapters
from selfportrait.models.base import EncodedText, Samples, Sizes
from selfportrait.types import Draw

__all__ = ["SD3"]

SAMPLING = Sampling(num_inference_steps=28, guidance_scale=4.5)  # as Stable Diffusion 3.5 Medium recommends
PIPELINE = "StableDiffusion3Pipeline"
DECODED_AT_ONCE = 16  # pictures; full-resolution activations of more leave the cache, 1.5 times slower on a CPU
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")  # any of them
LORA_FILE = "pytorch_lora_weights.safetensors"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
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
        self.train, self.rank, self.alpha = train, lora_rank, lora_alpha or lora_rank
        made_for = sampling(self.path) or SAMPLING
        self.num_inference_steps = num_inference_steps or made_for.num_inference_steps
        self.guidance_scale = guidance_scale or made_for.guidance_scale
        self.max_sequence_length, self.dtype, self.batch_size = max_sequence_length, DTYPES[dtype], batch_size
        self.gradient_checkpointing = gradient_checkpointing
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self._encoded: dict[str, EncodedText] = {}
        self._base: dict[str, torch.Tensor] | None = None
        _check_folder(self.path)

    def load(self) -> "SD3":
        """Load the weights (safetensors only) and make the transformer trainable."""
        self.pipeline = _load_pipeline(self.path, self.dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        for module in self._frozen_modules().values():
            module.requires_grad_(False).eval()
        self.transformer = self.pipeline.transformer.eval()
        if self.pipeline.text_encoder_3 is None:
            self.transformer.set_attn_processor(RepeatedTokenAttention(self.max_sequence_length))
        if self.gradient_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        self._make_trainable(self.transformer)
        return self

    def _make_trainable(self, transformer: Any) -> None:
        """Give a transformer adapters, or let the whole of it learn."""
        transformer.requires_grad_(self.train == "full")
        if self.train == "full":
            return
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, target_modules=list(LORA_TARGETS), init_lora_weights="gaussian"
        )
        with torch.random.fork_rng():
            torch.manual_seed(keyed.derive("lora", self.rank))
            transformer.add_adapter(config)

    def sizes(self) -> Sizes | None:
        """What the pipeline takes, before `load`; None for one that is neither a folder nor in the hub's cache."""
        found = _sd3_sizes.known_folder(self.path)
        if found is None:
            return None
        has_t5 = (found[0] / "text_encoder_3").is_dir()
        return _sd3_sizes.measure(
            found,
            self.dtype,
            self._make_trainable,
            train=self.train,
            what_learns=f"LoRA of rank {self.rank} on attention" if self.train == "lora" else "the whole transformer",
            num_t5_words=self.max_sequence_length if has_t5 else 1,
            is_saving=self.gradient_checkpointing,
            decoded_at_once=min(self.batch_size, DECODED_AT_ONCE),
        )

    def _frozen_modules(self) -> dict[str, torch.nn.Module]:
        names = ("vae", "text_encoder", "text_encoder_2", "text_encoder_3")
        modules = {name: getattr(self.pipeline, name) for name in names}
        return {name: module for name, module in modules.items() if module is not None}

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedText:
        """Encode prompts into context (B, T, D) and pooled (B, P); a text met before costs nothing.

        Each text alone: the last bits depend on the size of a batch, and a resumed run meets its prompts in others.
        """
        has_t5 = self.pipeline.text_encoder_3 is not None
        for text in dict.fromkeys(prompts):
            if text not in self._encoded:
                context, _, pooled, _ = self.pipeline.encode_prompt(
                    text,
                    None,
                    None,
                    device=self.device,
                    do_classifier_free_guidance=False,
                    max_sequence_length=self.max_sequence_length if has_t5 else 1,
                )
                self._encoded[text] = EncodedText(context[0], pooled[0])
        rows = [self._encoded[text] for text in prompts]
        return EncodedText(torch.stack([row.context for row in rows]), torch.stack([row.pooled for row in rows]))

    @torch.no_grad()
    def sample(self, conditioning: EncodedText, seeds: Sequence[int]) -> Samples:
        """Draw one picture a row: the pipeline's own sampler, from noise that only the row's seed decides."""
        latents = torch.cat(
            [
                self._sample_latents(conditioning.rows(slice(start, start + self.batch_size)), part)
                for start, part in _chunks(seeds, self.batch_size)
            ]
        )
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
            height=config.sample_size * self.pipeline.vae_scale_factor,
            width=config.sample_size * self.pipeline.vae_scale_factor,
            output_type="latent",
        ).images
        return drawn  # (B, C, H, W)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Decode latents (B, C, H, W) of the denoiser's space into RGB pictures."""
        vae = self.pipeline.vae
        images: list[Image.Image] = []
        for part in latents.split(min(self.batch_size, DECODED_AT_ONCE)):
            pixels = vae.decode(part / vae.config.scaling_factor + vae.config.shift_factor, return_dict=False)[0]
            images += self.pipeline.image_processor.postprocess(pixels, output_type="pil")
        return images

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
        level = sigma.to(self.dtype)[:, None, None, None]
        velocity = self.transformer(
            hidden_states=torch.lerp(latents, noise, level),
            encoder_hidden_states=conditioning.context,
            pooled_projections=conditioning.pooled,
            timestep=1000 * sigma,
            return_dict=False,
        )[0]
        error = (velocity.float() - (noise - latents).float()).square()
        mean: torch.Tensor = (error if weights is None else weights * error).mean(dim=(1, 2, 3))
        return -mean

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the transformer is as it was loaded, or as it was when it last became the reference."""
        if self.train == "lora" and self._base is None:
            return without_adapters(self.transformer)
        return swapped(self.trainable(), self._base_weights())

    def renew_reference(self) -> None:
        """From now on, the reference is the model as it is now, which takes a copy of what learns."""
        self._base = snapshot(self.trainable())

    def _base_weights(self) -> dict[str, torch.Tensor]:
        """The loaded transformer's weights, read from disk again the first time that a full fine-tune needs them."""
        if self._base is None:
            module = type(self.transformer).from_pretrained(
                self.path, subfolder="transformer", torch_dtype=self.dtype, use_safetensors=True
            )
            self._base = {name: value.detach().to(self.device) for name, value in module.named_parameters()}
        return self._base

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn: the adapters' or all of the transformer's."""
        return {name: p for name, p in self.transformer.named_parameters() if p.requires_grad}

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that must not change: autoencoder, text encoders, and the transformer under its adapters."""
        return {
            f"{prefix}.{name}": parameter
            for prefix, module in {**self._frozen_modules(), "transformer": self.transformer}.items()
            for name, parameter in module.named_parameters()
            if not parameter.requires_grad
        }

    def save(self, folder: Path) -> None:
        """Write a whole pipeline (full) or `pytorch_lora_weights.safetensors` for `load_lora_weights` (LoRA)."""
        if self.train == "full":
            self._reset_tokenizers()
            self.pipeline.save_pretrained(folder, safe_serialization=True)
            return
        layers = get_peft_model_state_dict(self.transformer)
        settings = self.transformer.peft_config["default"].to_dict()  # alpha above all
        settings["target_modules"] = sorted(settings["target_modules"])  # a set, in another order in every process
        self.pipeline.save_lora_weights(
            folder,
            transformer_lora_layers=layers,
            transformer_lora_adapter_metadata=settings,
            safe_serialization=True,
        )
        _sort_metadata(folder / LORA_FILE)

    def _reset_tokenizers(self) -> None:
        """Forget the padding of the last call, which a tokenizer would save: equal models make equal files."""
        for tokenizer in (self.pipeline.tokenizer, self.pipeline.tokenizer_2, self.pipeline.tokenizer_3):
            if tokenizer is not None:
                tokenizer.backend_tokenizer.no_padding()
                tokenizer.backend_tokenizer.no_truncation()

    def load_adapter(self, folder: Path) -> None:
        """Take up LoRA weights that `save` wrote."""
        if not (folder / LORA_FILE).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {LORA_FILE}; give the folder in which a LoRA run saved its model"
            )
        try:
            state = self.pipeline.lora_state_dict(folder, weight_name=LORA_FILE, use_safetensors=True)
            state = {name.removeprefix("transformer."): value for name, value in state.items()}
            set_peft_model_state_dict(self.transformer, state)
        except (RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ValueError(
                f"the LoRA weights in {folder} do not fit model.lora_rank = {self.rank} of {self.path} ({reason}); "
                "use the model settings they were trained with"
            ) from error


def _chunks(items: Sequence[int], size: int) -> Iterator[tuple[int, Sequence[int]]]:
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


def _sort_metadata(path: Path) -> None:
    """Order the metadata of a safetensors file, which come in a random order: equal models make equal files."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    store.write_bytes(path, len(text).to_bytes(8, "little") + text + content[start:])


def _check_folder(path: str) -> None:
    """Refuse a folder that holds no pipeline, or one of another class, before anything loads."""
    folder = Path(path)
    if not folder.is_dir():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise FileNotFoundError(
                f"model.path = {path}: there is no such folder; give the folder of a {PIPELINE} with model_index.json, "
                f"a hub id such as stabilityai/stable-diffusion-3.5-medium, or {' or '.join(names(PIPELINE_FILE))}"
            )
        return
    index = folder / "model_index.json"
    if not index.is_file():
        raise FileNotFoundError(
            f"model.path = {path}: the folder has no model_index.json; give a folder that "
            f"{PIPELINE}.save_pretrained wrote"
        )
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        if not isinstance(parts, dict):
            raise TypeError(f"it holds {parts!r:.40}, no object")
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"model.path = {path}: model_index.json cannot be read ({error}); download it again"
        ) from error
    if parts.get("_class_name") != PIPELINE:
        raise ValueError(
            f"model.path = {path} holds a {parts.get('_class_name')}; the model 'sd3' fits a {PIPELINE} only"
        )
    for name, part in parts.items():  # transformers would stand an empty tokenizer in for a missing one
        needed = VOCABULARIES if name.startswith("tokenizer") else ("*",)
        if isinstance(part, list) and all(part) and not any(any((folder / name).glob(file)) for file in needed):
            raise FileNotFoundError(
                f"model.path = {path}: {name} is missing or incomplete, and model_index.json names it; give a complete "
                "folder"
            )


def _load_pipeline(path: str, dtype: torch.dtype) -> StableDiffusion3Pipeline:
    try:
        parts = StableDiffusion3Pipeline.load_config(path)
        # diffusers wants to be told of an encoder that the folder leaves out (T5, most often)
        absent = {name: None for name in ("text_encoder_3", "tokenizer_3") if not any(parts.get(name) or ())}
        pipeline = StableDiffusion3Pipeline.from_pretrained(path, torch_dtype=dtype, use_safetensors=True, **absent)
    except HFValidationError as error:
        raise ValueError(f"model.path = {path}: neither a folder nor a hub id ({error})") from error
    except (HfHubHTTPError, OSError, SafetensorError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model.path = {path}: the weights cannot be loaded ({reason}); give a complete folder of safetensors, "
            "or check the hub id and the network"
        ) from error
    return pipeline
