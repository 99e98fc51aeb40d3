"""The flow-matching transformers of the micro pipelines: what they are made of, and what they learn.

Read this to rebuild them; `selfportrait micro build` calls it. The pipeline is a real `StableDiffusion3Pipeline`:
16 image tokens, 18 text tokens, no T5. Blocks' matrices learn by Muon, everything else by AdamW.
"""

from functools import partial
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextModelWithProjection

from selfportrait.micro.denoisers import Batch, Trainer, new_tokenizer, text_config, vocabulary
from selfportrait.models._attention import RepeatedTokenAttention

__all__ = ["new_pipeline", "trainer"]

TEXT_WIDTH, TEXT_LAYERS, POOLED = 64, 3, 32
WIDTH_PER_HEAD, HEADS, LAYERS = 32, 4, 6
ABSENT_T5_TOKENS = 256  # diffusers' default for `max_sequence_length`
SHIFT = 3.0
TRAINING_SHIFT = 2.0


def new_pipeline(autoencoder: AutoencoderKL, *, spells: bool, seed: int) -> StableDiffusion3Pipeline:
    """An untrained pipeline; `spells` leaves every word to its letters, which the text category needs."""
    torch.manual_seed(seed)
    tokenizer = new_tokenizer([] if spells else vocabulary())
    config = text_config(tokenizer, width=TEXT_WIDTH, layers=TEXT_LAYERS, projection_dim=POOLED)
    channels = autoencoder.config["latent_channels"]
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=4,
        in_channels=channels,
        out_channels=channels,
        num_layers=LAYERS,
        attention_head_dim=WIDTH_PER_HEAD,
        num_attention_heads=HEADS,
        caption_projection_dim=WIDTH_PER_HEAD * HEADS,
        joint_attention_dim=2 * TEXT_WIDTH,
        pooled_projection_dim=2 * POOLED,
        pos_embed_max_size=4,
        qk_norm="rms_norm",
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


def trainer(pipeline: StableDiffusion3Pipeline, **settings: Any) -> Trainer:
    """Make the transformer and the text encoders learn; the settings are those of `Trainer`."""
    pipeline.transformer.set_attn_processor(RepeatedTokenAttention(ABSENT_T5_TOKENS))
    modules = {
        "transformer": pipeline.transformer,
        "encoder": pipeline.text_encoder,
        "encoder_2": pipeline.text_encoder_2,
    }
    empty = pipeline.tokenizer([""], padding="max_length", return_tensors="pt").input_ids
    return Trainer(modules, partial(_loss, pipeline), _is_block, empty, **settings)


def _is_block(name: str) -> bool:
    return ".transformer_blocks." in name


def _loss(pipeline: StableDiffusion3Pipeline, batch: Batch) -> torch.Tensor:
    """Mean squared error of the velocity, at times that are shifted towards noise."""
    sigma = TRAINING_SHIFT * batch.times / (1 + (TRAINING_SHIFT - 1) * batch.times)
    context, pooled = _encode(pipeline, batch.tokens)
    level = sigma[:, None, None, None]
    noisy = (1 - level) * batch.latents + level * batch.noise
    velocity = pipeline.transformer(noisy, context, pooled, 1000 * sigma).sample
    loss: torch.Tensor = (velocity - (batch.noise - batch.latents)).square().mean()
    return loss


def _encode(pipeline: StableDiffusion3Pipeline, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) -> context (B, T + 1, D) whose last token stands for the absent T5, pooled (B, P)."""
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    outputs = [encoder(tokens, output_hidden_states=True) for encoder in encoders]
    context = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
    return torch.nn.functional.pad(context, (0, 0, 0, 1)), pooled
