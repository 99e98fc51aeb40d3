"""Where the signal of a GPO update is: signal against noise of its gradient, by noise level.

    python perf/gradient_signal.py [--model micro-sd3] [--blocks 12] [--category numeracy]

One block is a step's worth of groups, sampled and judged anew. The advantage-weighted error of each block is
differentiated twice at each band of noise levels, with fresh noise. For gradients g of blocks a, b and draws d, e:

    signal      mean over a != b of <g_a, g_b>                   the squared norm of the expected gradient
    candidates  mean over a of <g_ad, g_ae> - signal             what other candidates would change
    draws       mean of <g_ad, g_ad> - signal - candidates       what other noise would change; k draws divide it by k

It helps to choose `draw.band`, `recipe.timesteps_per_update` and `recipe.prompts_per_step`: once draws / k is below
candidates, only more candidates help.
"""

import argparse
from collections.abc import Iterator
from itertools import islice, pairwise

import torch
from common import load, show
from torch import Tensor

from selfportrait import progress, stages
from selfportrait.judges.micro_count import MicroCount
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.micro.scenes import CATEGORIES, prompts
from selfportrait.models.sd3 import SD3
from selfportrait.selection.standardize import standardize
from selfportrait.types import Draw, Prompt

GROUPS, GROUP_SIZE, DRAWS = 8, 16, 2
EDGES = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.97, 1.0)  # sigma


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro-sd3", help="a StableDiffusion3Pipeline that draws the micro world")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--category", choices=CATEGORIES[:-1], default="numeracy")
    parser.add_argument("--guidance", type=float, default=1.5, help="of the sampler; the gradient is without")
    arguments = parser.parse_args()
    model = load(arguments.model, train="lora")
    model.guidance_scale = arguments.guidance
    wanted = list(islice(prompts(arguments.category, held_out=False, seed=0), arguments.blocks * GROUPS))
    bands = list(pairwise(EDGES))
    gradients: list[list[Tensor]] = [[] for _ in bands]  # by band and block: (DRAWS, D)
    with progress.bar("measuring gradients", total=arguments.blocks) as advance:
        for block in range(arguments.blocks):
            part = wanted[block * GROUPS : (block + 1) * GROUPS]
            for found, gradient in zip(gradients, gradients_of(model, part, bands, seed=block), strict=True):
                found.append(gradient)
            advance(1)
    rows = [
        [f"{low:g} to {high:g}", *parts(torch.stack(found))]
        for (low, high), found in zip(bands, gradients, strict=True)
    ]
    size = f"{arguments.blocks} blocks of {GROUPS} x {GROUP_SIZE} candidates"
    title = f"{arguments.category}, {size}; squared norms in 1e-6"
    show(title, ["sigma", "signal", "candidates", "draws", "signal / (candidates + draws)"], rows)


def gradients_of(model: SD3, some: list[Prompt], bands: list[tuple[float, float]], *, seed: int) -> Iterator[Tensor]:
    """Draw and judge one block, then yield its gradients (DRAWS, D) at each band."""
    samples, _ = stages.sample_candidates(
        model, some, seed=seed, round_index=0, first=[0] * len(some), count=GROUP_SIZE
    )
    repeated = [prompt for prompt in some for _ in range(GROUP_SIZE)]
    judge = MicroCount() if some[0].category == "numeracy" else MicroQuestions()
    scores = [float("nan") if score.value is None else score.value for score in judge(repeated, samples.images)]
    advantages = standardize(torch.tensor(scores).view(len(some), GROUP_SIZE)).advantages.flatten().to(model.device)
    conditioning = model.encode([prompt.text for prompt in some]).repeat(GROUP_SIZE)
    # LoRA's other half has no gradient before the first update
    parameters = [parameter for name, parameter in model.trainable().items() if "lora_B" in name]
    chance = torch.Generator().manual_seed(seed)
    for low, high in bands:
        several = []
        for _ in range(DRAWS):
            sigma = low + (high - low) * torch.rand(len(some), generator=chance)
            noise = torch.randn(len(some), *samples.content.shape[1:], generator=chance)
            at = Draw(sigma.repeat_interleave(GROUP_SIZE), noise.repeat_interleave(GROUP_SIZE, 0))
            loss = -(advantages * model.log_likelihood(samples.content, conditioning, at)).mean()
            several.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]))
        yield torch.stack(several)


def parts(gradients: Tensor) -> list[str]:
    """Signal, the two noises and their ratio, as cells; gradients are (blocks, DRAWS, D)."""
    means = gradients.mean(1)  # (blocks, D)
    products = means @ means.T
    count = len(means)
    signal = (products.sum() - products.diagonal().sum()) / (count * (count - 1))
    within = (gradients[:, 0] * gradients[:, 1]).sum(-1).mean()
    whole = gradients.square().sum(-1).mean()
    values = [1e6 * float(value) for value in (signal, within - signal, whole - within)]
    return [*(f"{value:.1f}" for value in values), f"{values[0] / (values[1] + values[2]):.2f}"]


if __name__ == "__main__":
    main()
