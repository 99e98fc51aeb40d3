"""Learning from preferences that are there already: Diffusion-DPO (https://arxiv.org/abs/2311.12908), and with another
draw, loss or weights InPO, Diffusion-KTO and IAPO.

    measure the base model
    encode both pictures of every pair, once
    for each step:
        take pairs; draw a noise level and a noise for each, or find it by inversion
        log-likelihoods of chosen and rejected under policy and reference, at the same draw;  loss;  update
    measure again

It differs from the textbook in one thing: pictures are cut and mirrored once in a run and not anew at every visit, so
that each is encoded once.
"""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from selfportrait import processes, stages, store, summary
from selfportrait.benchmarks.base import Benchmark
from selfportrait.draws.base import GroupDraw
from selfportrait.losses.base import PairLoss
from selfportrait.models.base import Denoises
from selfportrait.preferences.base import PreferenceSource
from selfportrait.report import write_report
from selfportrait.training import health
from selfportrait.training.optimizer import Optimizer
from selfportrait.training.pair_health import OnEvent

__all__ = ["offline"]

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]


def offline(
    model: Denoises,
    preferences: PreferenceSource,
    draw: GroupDraw,
    loss: PairLoss,
    optimizer: Optimizer,
    benchmark: Benchmark,
    run: store.Run,
    seed: int,
    *,
    steps: _Count | None = None,
    epochs: _Count | None = None,
    batch_size: _Count = 32,
    pairs_per_forward: _Count = 8,
    crop: Literal["center", "random"] = "center",
    flip: bool = False,
    empty_prompts: _Share = 0.0,
    fixed_draws: _Count | None = None,
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None,
    checkpoint_every: _Count = 50,
    max_missing: _Share = 0.01,
    on_event: OnEvent = "warn",
) -> None:
    """Improve a model that removes noise on pairs of pictures, for `steps` updates or `epochs` passes, and measure it.

    `batch_size` pairs make a step, `pairs_per_forward` of them a forward. A picture's shorter side becomes the model's,
    `crop` says which square of it is used, `flip` mirrors half of the pictures. `empty_prompts` is the share of visits
    without a prompt. With `fixed_draws` a pair has so many noises and noise levels in all, and the reference is asked
    once for each. More than `max_missing` of the pairs with an unreadable picture end the run. `on_event` says what an
    alarm of the pairs' health does: nothing but a line, the end, or the end at the last checkpoint before.
    """
    schedule = stages.Schedule(steps, epochs, batch_size, pairs_per_forward, checkpoint_every, ema_decay, on_event)
    check_model(model)
    draw = stages.hand_over(draw, policy=model)
    benchmark = stages.hand_over(benchmark, policy=model, seed=seed)
    at = stages.Round(run.path("round-0"))
    model.load()
    untouched = health.fingerprint(model.frozen())
    with summary.stage(run, "evaluate before"):
        stages.evaluate(model, benchmark, at.evaluation("before"), label="measuring the base model")
    with summary.stage(run, "encode"):
        found = stages.encode_pairs(model, preferences, at.latents, stages.Cut(crop, flip, seed))
    stages.check_readable(found, max_missing)
    visits = stages.Visits(seed, empty_prompts, fixed_draws)
    stages.train_on_latents(
        model, stages.StoredLatents(at.latents), draw, loss, optimizer, at.training, schedule, visits
    )
    with summary.stage(run, "evaluate after"):
        stages.evaluate(model, benchmark, at.evaluation("after"), label="measuring the result")
    health.check_unchanged(untouched, model.frozen())
    processes.by_main(partial(_conclude, model, run))


def check_model(model: Denoises) -> None:
    """Refuse a model that removes no noise; raises ValueError before anything loads."""
    if not callable(getattr(model, "latents", None)):
        raise ValueError(
            f"model.name: the recipe offline encodes pictures and takes denoising errors, and a {type(model).__name__} "
            "draws tokens; give a model that removes noise, such as sd or sd3"
        )


def _conclude(model: Denoises, run: store.Run) -> None:
    model.save(run.path("model"))
    summary.write(run)
    write_report(run.folder)
