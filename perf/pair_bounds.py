"""What a Diffusion-DPO step with LoRA can save at best on published models, counted without weights.

    python perf/pair_bounds.py

Operations of one row, on the meta device: of the reference's forward, of the policy's forward and backward, and of
encoding a picture and a prompt (shared by two rows). An implementation without any cost of its own takes reference and
policy, the usual script of `pair_cost.py` the encoders too. Memory is weights and what a forward keeps, in float32;
of ours without the encoders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from common import show
from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from selfportrait import console
from selfportrait.models import _pipeline, _sd3_sizes, _sd_sizes, _sizes
from selfportrait.models._reference import without_adapters
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3

MODELS: dict[str, type[SD] | type[SD3]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": SD,
    "stabilityai/stable-diffusion-xl-base-1.0": SD,
    "stabilityai/stable-diffusion-3.5-medium": SD3,
}
WORDS, T5_WORDS = 77, 256
PAIRS = (1, 4)


def main() -> None:
    """Count and print."""
    console.silence_libraries()
    rows = [
        cells for path, family in MODELS.items() for saves in (False, True) for cells in [bounds(path, family, saves)]
    ]
    columns = ["model", "reference", "policy", "encoding", "live / bare", "live / usual", "known / usual"]
    show("TFLOP a row with LoRA, and the least ratios", columns + [f"memory, {n} pairs" for n in PAIRS], rows)


@dataclass(frozen=True)
class Parts:
    """The parts of a pipeline on the meta device, and a forward of the one that learns on one row."""

    all: dict[str, Any]
    network: Any
    forward: Callable[[], torch.Tensor]


def bounds(path: str, family: type[SD] | type[SD3], saves: bool) -> list[str]:
    """The cells of a model, without or with gradient checkpointing."""
    model = family(path=path, device="cpu", gradient_checkpointing=saves)
    parts = unet(model) if isinstance(model, SD) else transformer(model)
    with torch.device("meta"):
        with without_adapters(parts.network):
            reference = flops(parts.forward)
        if saves:
            parts.network.train().enable_gradient_checkpointing()
        policy = flops(lambda: parts.forward().sum().backward())
        encoding = flops(lambda: encode(parts.all, model.picture_size)) / 2  # of a pair, which is two rows
    usual, sizes = policy + reference + encoding, model.sizes()
    assert sizes is not None
    copy = sum(value.nbytes for name, value in parts.network.named_parameters() if "lora" not in name)
    kept = [2 * pairs * sizes.kept_bytes * sizes.num_tokens for pairs in PAIRS]
    held = [(sizes.weight_bytes - sizes.encoder_bytes + one, sizes.weight_bytes + copy + one) for one in kept]
    ratios = ((policy + reference) / policy, (policy + reference) / usual, policy / usual)
    return [
        path.partition("/")[2] + (", checkpointing" if saves else ""),
        *(f"{value:.2f}" for value in (reference, policy, encoding, *ratios)),
        *(f"{usual / ours:.2f}" for ours, usual in held),
    ]


def unet(model: SD) -> Parts:
    """Of Stable Diffusion 1.5 or XL."""
    parts = _sizes.build(folder(model), model.denoiser, UNet2DConditionModel, _sd_sizes.ENCODERS)
    network = parts["unet"]

    def forward() -> torch.Tensor:
        noisy, words = _sd_sizes._row(network, WORDS, torch.float32)
        added = _sd_sizes._added(network, torch.float32)
        return network(noisy, torch.zeros(1), encoder_hidden_states=words, added_cond_kwargs=added).sample

    return Parts(parts, network, forward)


def transformer(model: SD3) -> Parts:
    """Of Stable Diffusion 3."""
    parts = _sizes.build(folder(model), model.denoiser, SD3Transformer2DModel, _sd3_sizes.ENCODERS)
    network, config = parts["transformer"], parts["transformer"].config

    def forward() -> torch.Tensor:
        noisy = torch.zeros(1, config.in_channels, config.sample_size, config.sample_size)
        words = torch.zeros(1, WORDS + T5_WORDS, config.joint_attention_dim)
        pooled = torch.zeros(1, config.pooled_projection_dim)
        return network(noisy, words, pooled, torch.zeros(1)).sample

    return Parts(parts, network, forward)


def folder(model: SD | SD3) -> Any:
    """Where the published configurations lie."""
    found = _pipeline.known_folder(model.path, model.denoiser.part)
    assert found is not None
    return found[0]


@torch.no_grad()
def encode(parts: dict[str, Any], side: int) -> None:
    """Both pictures of a pair and its prompt."""
    parts["autoencoder"].encode(torch.zeros(2, 3, side, side))
    for name, encoder in parts.items():
        if name.startswith("text"):
            encoder(torch.zeros(1, T5_WORDS if name.endswith("3") else WORDS, dtype=torch.long))


def flops(call: Callable[[], object]) -> float:
    """Operations of a call, in 10^12."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e12


if __name__ == "__main__":
    main()
