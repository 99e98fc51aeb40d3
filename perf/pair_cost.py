"""What a step on preference pairs costs beyond the network's own passes, and what it saves over the usual script.

    python perf/pair_cost.py [--model PATH | --wide] [--checkpointing] [--pairs 4,32] [--repeats 9] [--clock cpu]
                             [--only time|memory]

The network is the one of `step_cost.py`, with LoRA; ratios are medians over neighbours in time, as there. The usual
script encodes both pictures and the prompts in every step, each by itself, and holds a second model as the reference;
before anything is timed, both must come to the same loss. Memory is the peak of a process from before the model loads,
once updates of one pair with another copy have loaded the libraries: of ours it includes the encoding of pairs and
prompts, after which the encoders are put away. With `--checkpointing` the network of both computes activations again in
the backward pass, as scripts for SDXL have it. The exit code is 1 when a ratio is on the wrong side.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from common import load, pipeline, show
from memory import peak, start_watching
from PIL import Image
from step_cost import CLOCKS, Cost, Meter

from selfportrait.draws.forward_noise import forward_noise
from selfportrait.draws.inversion import Inversion
from selfportrait.losses.dpo import dpo
from selfportrait.models.sd3 import SD3
from selfportrait.stages import StoredTexts, Visits, encode_texts
from selfportrait.stages.latent_training import LatentPairs, Reference, Task, Visit, _backward, _evaluated
from selfportrait.training.learner import start
from selfportrait.training.optimizer import Optimizer

LIVE_LIMIT, CACHED_LIMIT, INVERSION_LIMIT, USUAL_LIMIT, MEMORY_LIMIT = 1.45, 1.10, 1.10, 2.0, 1.3
UPDATES = 3  # the first allocates the optimizer's moments, the others live beside them
PROMPT = "two red circles on a white background"
loss = partial(dpo, beta=100.0)


class Memory:
    """Pairs of latents in memory."""

    def __init__(self, latents: torch.Tensor) -> None:
        self.latents = latents

    def __len__(self) -> int:
        return len(self.latents)

    def rows(self, index: list[int]) -> LatentPairs:
        """All of them."""
        return LatentPairs([f"pair-{row}" for row in index], [PROMPT] * len(index), self.latents)


def main() -> int:
    """Measure, print, and say by the exit code whether everything is on the right side of its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a StableDiffusion3Pipeline; default: the embedded architecture")
    parser.add_argument("--wide", action="store_true", help="a larger architecture, nearer to published models")
    parser.add_argument("--checkpointing", action="store_true", help="activations are computed again, not kept")
    parser.add_argument("--pairs", default="4,32", help="pairs of a step")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--only", choices=["time", "memory"])
    parser.add_argument("--child", choices=["ours", "usual"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.pairs.split(",")]
    if arguments.child:
        print(peak_of(arguments.child, arguments.model, sizes[0], is_saving=arguments.checkpointing))
        return 0
    with pipeline(arguments.model, is_wide=arguments.wide) as path:
        costs = [] if arguments.only == "memory" else times(path, sizes, arguments)
        peaks = [] if arguments.only == "time" else [memory(path, size, arguments) for size in sizes]
    return int(not all([show_times(costs, arguments), show_memory(peaks)]))


def times(path: str, sizes: list[int], arguments: argparse.Namespace) -> list[Cost]:
    """Every ratio of times, by size."""
    model = load(path, train="lora", is_saving=arguments.checkpointing)
    meter = Meter(arguments.repeats, CLOCKS[arguments.clock])
    return [cost for size in sizes for cost in measure(model, size, meter)]


def show_times(costs: list[Cost], arguments: argparse.Namespace) -> bool:
    """Print them; returns whether all are on the right side of their limits."""
    rows = [[*cost.cells()[:-1], verdict(cost)] for cost in costs]
    if not rows:
        return True
    settings = f"{arguments.repeats} repeats, {torch.get_num_threads()} threads, torch {torch.__version__}"
    columns = ["what", "pairs", "ms", "bare ms", "ratio", "middle half", "limit", ""]
    show(f"{arguments.clock} time, {settings}", columns, rows)
    return not any("miss" in row[-1] for row in rows)


def show_memory(peaks: list[tuple[int, float, float]]) -> bool:
    """Print peaks by size; returns whether all are on the right side of their limit."""
    rows = []
    for size, ours, usual in peaks:
        word = "[green]PASS[/]" if usual / ours >= MEMORY_LIMIT else "[red]miss[/]"
        cells = [f"{ours / 2**20:.1f}", f"{usual / 2**20:.1f}", f"{usual / ours:.2f}", f"{MEMORY_LIMIT:.2f}", word]
        rows.append(["three updates, LoRA", str(size), *cells])
    if rows:
        show(
            "peak memory above a process with its libraries",
            ["what", "pairs", "MiB", "usual MiB", "ratio", "limit", ""],
            rows,
        )
    return not any("miss" in row[-1] for row in rows)


def memory(path: str, size: int, arguments: argparse.Namespace) -> tuple[int, float, float]:
    """The median peaks of both ways, each in processes of its own, in bytes."""
    peaks = []
    for kind in ("ours", "usual"):
        command = [sys.executable, __file__, "--child", kind, "--model", path, "--pairs", str(size)]
        command += ["--checkpointing"] * arguments.checkpointing
        repeats = range(min(arguments.repeats, 3))
        runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in repeats]
        peaks.append(statistics.median(float(run.stdout.split()[-1]) for run in runs))
    return size, peaks[0], peaks[1]


def peak_of(kind: str, path: str, size: int, *, is_saving: bool) -> int:
    """What this process needs at its peak above what it holds after updates of one pair, in bytes: models included."""
    train(kind, path, 1, is_saving=is_saving)  # libraries load and threads start
    before = start_watching()
    train(kind, path, size, is_saving=is_saving)
    return peak() - before


def train(kind: str, path: str, size: int, *, is_saving: bool) -> None:
    """Load a model and take updates with it, our way or the usual one."""
    model = load(path, train="lora", is_saving=is_saving)
    images = pictures(model, size)
    if kind == "usual":
        take(usual_step(model, images))
        return
    with tempfile.TemporaryDirectory() as folder:
        latents, texts = model.latents(images).unflatten(0, (-1, 2)), Path(folder, "texts")
        encode_texts(model, [PROMPT], texts)
        with model.without_encoders():
            take(step(model, latents, None, Path(folder), StoredTexts(texts, model)))


def take(update: Callable[[], float]) -> None:
    """Take a few updates."""
    for _ in range(UPDATES):
        update()


def pictures(model: SD3, size: int) -> list[Image.Image]:
    """Both pictures of each pair, of noise."""
    return [Image.effect_noise((model.picture_size,) * 2, 60).convert("RGB") for _ in range(2 * size)]


def verdict(cost: Cost) -> str:
    """Whether a cost is below its limit, or a saving (a ratio below 1 of ours over theirs) above it."""
    is_met = cost.ratio <= (1 / USUAL_LIMIT if cost.limit == USUAL_LIMIT else cost.limit or 0)
    return "[green]PASS[/]" if is_met else "[red]miss[/]"


def measure(model: SD3, size: int, meter: Meter) -> list[Cost]:
    """A step live and with a reference that is known, against bare passes; inversion; and the usual script's step."""
    images = pictures(model, size)
    latents = model.latents(images).unflatten(0, (-1, 2))
    bare = bare_passes(model, size)
    with tempfile.TemporaryDirectory() as folder:
        encode_texts(model, [PROMPT], Path(folder, "texts"))
        texts = StoredTexts(Path(folder, "texts"), model)
        live, cached = (step(model, latents, fixed, Path(folder), texts) for fixed in (None, 1))
        usual = usual_step(model, images)
        assert abs(live() - usual()) < 1e-4, "both begin at log 2"
        return [
            meter.compare("DPO step, LoRA", size, live, bare, LIVE_LIMIT),
            meter.compare("the same, reference known", size, cached, bare, CACHED_LIMIT),
            meter.compare("inversion", size, *inversion(model, latents), INVERSION_LIMIT),
            meter.compare("DPO step over the usual script's", size, live, usual, USUAL_LIMIT),
            meter.compare("the same, reference known", size, cached, usual, USUAL_LIMIT),
        ]


def step(
    model: SD3, latents: torch.Tensor, fixed_draws: int | None, folder: Path, texts: StoredTexts
) -> Callable[[], float]:
    """One update as the recipe takes it: draws, both forwards, checks, clipping, AdamW; returns the loss."""
    model.renew_reference()
    learner = start(model, Optimizer(learning_rate=1e-12), None)
    task = Task(model, Memory(latents), texts, forward_noise, loss, Visits(0, 0.0, fixed_draws), folder, True)
    visits, known = [Visit(row, 0) for row in range(len(latents))], Reference()

    def update() -> float:
        learner.optimizer.zero_grad()
        values = _backward(task, known, visits, len(visits), 0)
        learner.step()
        return float(values["loss"])

    return update


def bare_passes(model: SD3, size: int) -> Callable[[], None]:
    """One forward and backward pass of the policy on both pictures of every pair, and nothing else."""
    conditioning, noisy, target, timestep = rows_of(model, 2 * size)
    parameters = list(model.trainable().values())

    def passes() -> None:
        for parameter in parameters:
            parameter.grad = None
        velocity = model.transformer(noisy, *conditioning, timestep, return_dict=False)[0]
        F.mse_loss(velocity, target).backward()

    return passes


class Rows(NamedTuple):
    """What the network is given: context and pooled, noisy latents; a target; and timesteps."""

    conditioning: tuple[torch.Tensor, torch.Tensor]
    noisy: torch.Tensor
    target: torch.Tensor
    timestep: torch.Tensor


def rows_of(model: SD3, count: int) -> Rows:
    """Some rows, with random latents."""
    config = model.transformer.config
    shape = (count, config.in_channels, config.sample_size, config.sample_size)
    context, pooled = model.encode([PROMPT] * count)
    return Rows((context, pooled), torch.randn(shape), torch.randn(shape), torch.linspace(1, 1000, count))


def inversion(model: SD3, latents: torch.Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    """Inverting pairs with different levels, and the bare forwards on as many rows in as many steps."""
    draw = Inversion(model)
    task = Task(model, Memory(latents), model.encode, draw, loss, Visits(0), Path(), True)
    pairs = task.pairs.rows(list(range(len(latents))))
    at = _evaluated(task, pairs, [0] * len(latents))
    count = (draw.max_steps * at.draw.sigma).ceil().clamp(min=1)
    numbers = [int((count > number).sum()) for number in range(int(count.max()))]
    inputs = [rows_of(model, number) for number in numbers]

    @torch.no_grad()
    def forwards() -> None:
        for conditioning, noisy, _, timestep in inputs:
            model.transformer(noisy, *conditioning, timestep, return_dict=False)

    return partial(draw.invert, at.content, at.conditioning, at.draw.sigma), forwards


def usual_step(model: SD3, images: list[Image.Image]) -> Callable[[], float]:
    """A step as training scripts take it: encoders in the loop, one side after the other, and a second model."""
    reference = copy.deepcopy(model.transformer).requires_grad_(False)
    reference.unload_lora()  # the second model is the base model as it was loaded
    vae, processor = model.pipeline.vae, model.pipeline.image_processor
    pixels = [processor.preprocess(side).to(model.dtype) for side in (images[::2], images[1::2])]
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=1e-12)

    def update() -> float:
        with torch.no_grad():
            encoded = [vae.encode(side).latent_dist.sample() for side in pixels]
            latents = torch.cat([(one - vae.config.shift_factor) * vae.config.scaling_factor for one in encoded])
            texts = [PROMPT] * len(pixels[0])
            settings = {"do_classifier_free_guidance": False, "max_sequence_length": 1}
            context, _, pooled, _ = model.pipeline.encode_prompt(texts, None, None, **settings)
        noise = torch.randn_like(latents[: len(texts)]).repeat(2, 1, 1, 1)
        sigma = torch.rand(len(texts)).repeat(2)
        noisy = torch.lerp(latents, noise, sigma[:, None, None, None])
        inputs = (noisy, context.repeat(2, 1, 1), pooled.repeat(2, 1), 1000 * sigma)
        target = noise - latents
        errors = []
        for network in (model.transformer, reference):
            with torch.set_grad_enabled(network is model.transformer):
                velocity = network(*inputs, return_dict=False)[0]
                errors.append((velocity - target).square().mean((1, 2, 3)))
        (chosen, rejected), (chosen_ref, rejected_ref) = (error.chunk(2) for error in errors)
        margin = -100.0 * ((chosen - chosen_ref) - (rejected - rejected_ref))
        value = -F.logsigmoid(margin).mean()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.trainable().values(), 1.0)
        optimizer.step()
        return float(value.detach())

    return update


if __name__ == "__main__":
    sys.exit(main())
