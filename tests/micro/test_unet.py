"""The UNet of the micro world before and while it learns, and as the model sd reads it."""

from pathlib import Path

import pytest
import torch

from selfportrait.micro import autoencoder, denoisers, unet
from selfportrait.models.sd import SD


def trained(steps: int) -> tuple[list[float], unet.StableDiffusionPipeline]:
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder()
    vae.register_to_config(shift_factor=0.1, scaling_factor=0.9)
    pipeline = unet.new_pipeline(vae, seed=0)
    data = denoisers.make_training_set(pipeline, {"color": 1.0}, size=250, seed=0, on_step=lambda _: None)
    trainer = unet.trainer(pipeline, steps=steps, batch=16, seed=0)
    losses = [trainer.step(index, data) for index in range(steps)]
    trainer.use_ema()
    return losses, pipeline


def test_it_learns_noise_and_repeats_from_its_seed(tmp_path: Path) -> None:
    losses, pipeline = trained(3)
    assert losses == trained(3)[0]
    assert losses[0] == pytest.approx(1.0, abs=0.3)  # noise of unit variance, of which it knows nothing yet
    names = {name for name, p in pipeline.unet.named_parameters() if unet._is_block(f"unet.{name}") and p.ndim == 2}
    assert names
    assert all("transformer_blocks" in name for name in names)

    denoisers.save(pipeline, tmp_path / "model")
    model = SD(path=str(tmp_path / "model"), num_inference_steps=2).load()
    samples = model.sample(model.encode(["a red circle"]), [0])
    assert samples.images[0].size == (64, 64)
    assert samples.content.shape == (1, 4, 16, 16)


def test_the_pipeline_undoes_no_shift() -> None:
    vae = autoencoder.new_autoencoder()
    vae.register_to_config(shift_factor=0.1, scaling_factor=0.9)
    assert unet.new_pipeline(vae, seed=0).vae.config.shift_factor is None
