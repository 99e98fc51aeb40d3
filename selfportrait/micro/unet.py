"""The UNet of the micro pipeline `micro-sd`: what it is made of, and what it learns.

Read this to rebuild it; `selfportrait micro build sd` calls it. The pipeline is a real `StableDiffusionPipeline` that
predicts noise on the schedule of Stable Diffusion 1.5: 16x16 latents, one level below them with cross-attention, 18
text tokens. The matrices of its attention blocks learn by Muon, everything else by AdamW.
"""

from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

from selfportrait.micro.denoisers import Batch, Trainer, new_tokenizer, text_config, vocabulary

__all__ = ["new_pipeline", "trainer"]

TEXT_WIDTH, TEXT_LAYERS = 128, 3
CHANNELS, WIDTH_PER_HEAD = (32, 128), 32
SCHEDULE = {  # of Stable Diffusion 1.5
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def new_pipeline(autoencoder: AutoencoderKL, *, seed: int) -> StableDiffusionPipeline:
    """An untrained pipeline around a trained autoencoder."""
    torch.manual_seed(seed)
    autoencoder.register_to_config(shift_factor=None)  # which this pipeline would not undo
    tokenizer = new_tokenizer(vocabulary())
    channels = autoencoder.config["latent_channels"]
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=CHANNELS[-1] // WIDTH_PER_HEAD,  # diffusers reads the number of heads here
        norm_num_groups=16,
    )
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=CLIPTextModel(text_config(tokenizer, width=TEXT_WIDTH, layers=TEXT_LAYERS)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def trainer(pipeline: StableDiffusionPipeline, **settings: Any) -> Trainer:
    """Make the UNet and the text encoder learn; the settings are those of `Trainer`."""
    pipeline.unet.set_attn_processor(AttnProcessor())  # plain products: fused attention is slow backwards on a CPU
    modules = {"unet": pipeline.unet, "encoder": pipeline.text_encoder}
    empty = pipeline.tokenizer([""], padding="max_length", return_tensors="pt").input_ids
    return Trainer(modules, partial(_loss, pipeline), _is_block, empty, **settings)


def _is_block(name: str) -> bool:
    return ".transformer_blocks." in name


def _loss(pipeline: StableDiffusionPipeline, batch: Batch) -> torch.Tensor:
    """Mean squared error of the noise, at times that are dense in the middle."""
    scheduler = pipeline.scheduler
    timesteps = (batch.times * scheduler.config.num_train_timesteps).long()
    noisy = scheduler.add_noise(batch.latents, batch.noise, timesteps)
    context = pipeline.text_encoder(batch.tokens).last_hidden_state
    with torch.autocast(noisy.device.type, torch.bfloat16):
        predicted = pipeline.unet(noisy, timesteps, context).sample
    loss: torch.Tensor = (predicted.float() - batch.noise).square().mean()
    return loss
