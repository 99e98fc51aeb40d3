"""Step-wise preference optimisation (SPO, https://arxiv.org/abs/2406.04314), on the next steps of a sampler.

    for each batch of prompts:
        start from noise
        at each step of the sampler, from `first_step` on:
            draw k next steps from the same noisy latent; take each to the clean picture it predicts; judge those
            best against worst, where they are far enough apart; go on from one of them by chance
        for each such pair: log-likelihoods of both next steps, under policy and reference, with guidance;  loss
        one optimizer step

Differs from the paper: the judge looks at predicted clean pictures, and is told no noise level; its model for that is
not published for other judges. A pair shares its noisy latent, so one forward gives the log-likelihoods of both.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

from selfportrait import processes, progress, stages, store, summary
from selfportrait.benchmarks.base import Benchmark
from selfportrait.losses.base import PairLogps, PairLoss, needs_reference
from selfportrait.models.base import Denoises, transition_logp
from selfportrait.prompts.base import PromptSource
from selfportrait.recipes._measuring import measure
from selfportrait.report import write_report
from selfportrait.seeds import derive, passes
from selfportrait.training import health
from selfportrait.training.learner import Learner, start
from selfportrait.training.metrics import Metrics, timed
from selfportrait.training.optimizer import Optimizer

__all__ = ["spo"]

ROUND = "round-0"
_Count = Annotated[int, Field(ge=1)]


def spo(
    model: Denoises,
    prompts: PromptSource,
    judge: stages.Judge,
    loss: PairLoss,
    optimizer: Optimizer,
    benchmark: Benchmark,
    run: store.Run,
    seed: int,
    watch: stages.Watch | None = None,
    *,
    steps: _Count,
    prompts_per_step: _Count = 4,
    candidates_per_step: Annotated[int, Field(ge=2)] = 4,
    sampling_steps: Annotated[int, Field(ge=2)] = 20,
    guidance_scale: Annotated[float, Field(ge=1)] = 5.0,
    first_step: Annotated[int, Field(ge=0)] = 4,
    min_gap: Annotated[float, Field(ge=0, lt=1)] = 0.3,
    shift: Annotated[float, Field(gt=0)] = 1.0,
    pairs_per_forward: _Count = 8,
    checkpoint_every: _Count = 10,
) -> None:
    """Improve a model by preferences between the next steps of its sampler: `steps` batches of prompts, an update each.

    The sampler is stochastic: DDIM with eta 1 for a UNet, the equal-marginal equation for a flow model, whose levels
    `shift` moves towards noise. The last step is drawn from no distribution and never compared. `min_gap` is the least
    tanh(d / 2) of two scores with a difference of d, as the paper has it.
    """
    processes.require_one("recipe.name: the recipe spo")
    check(model, sampling_steps, first_step)
    sampler = stages.Sampler(
        stages.levels(sampling_steps, shift), guidance_scale, candidates_per_step, first_step, min_gap
    )
    judge, benchmark = (stages.hand_over(one, policy=model, seed=seed) for one in (judge, benchmark))
    watchers = stages.watchers(watch, judge, benchmark)
    source = stages.not_held_out(stages.hand_over(prompts, policy=model, seed=seed)(), benchmark.is_held_out)
    model.load()
    measure(model, benchmark, watchers, run, "before", label="measuring the base model")
    store.write_table(run.path(ROUND, "prompts"), 0, stages.prompt_rows(source), store.PROMPTS)
    learner, metrics = start(model, optimizer, None), Metrics(run.path(ROUND, "training"))
    untouched = health.fingerprint(model.frozen())
    first = learner.resume(run.path(ROUND, "training", "checkpoints"))
    metrics.truncate(first)
    order = [source[row] for row in passes(len(source), steps * prompts_per_step, seed)]
    with progress.bar("training", total=steps, done=first) as advance:
        for step in range(first, steps):
            batch = order[step * prompts_per_step : (step + 1) * prompts_per_step]
            seconds: dict[str, float] = {}
            with timed(seconds, "sample_s"):
                found = stages.walk(model, judge, batch, sampler, derive(seed, step))
            with timed(seconds, "train_s"):
                values = _learn(learner, found.pairs, loss, guidance_scale, pairs_per_forward, run, step)
            counts = {
                "steps/groups": found.num_groups,
                "steps/pairs": len(found.pairs),
                "scores/missing": found.num_missing,
            }
            metrics.write(step, values | counts, seconds)
            if (step + 1) % checkpoint_every == 0 or step + 1 == steps:
                metrics.sync()
                learner.save(run.path(ROUND, "training", "checkpoints"), step + 1)
            advance(1)
    metrics.close()
    health.check_unchanged(untouched, model.frozen())
    measure(model, benchmark, watchers, run, "after", label="measuring the result")
    model.save(run.path("model"))
    summary.write(run)
    write_report(run.folder)


def check(model: Denoises, sampling_steps: int, first_step: int) -> None:
    """Refuse what cannot work; raises ValueError before anything loads."""
    if not callable(getattr(model, "transition", None)):
        raise ValueError(
            f"model.name: the recipe spo compares steps of a sampler, and a {type(model).__name__} draws tokens; give "
            "a model that removes noise, such as sd or sd3"
        )
    if first_step >= sampling_steps - 1:
        raise ValueError(
            f"recipe.first_step = {first_step}: of {sampling_steps} steps the last is never compared, so none is left; "
            f"give one below {sampling_steps - 1}"
        )


def _learn(
    learner: Learner[Denoises],
    pairs: Sequence[stages.StepPair],
    loss: PairLoss,
    guidance_scale: float,
    at_once: int,
    run: store.Run,
    step: int,
) -> dict[str, Any]:
    """Take one optimizer step on the mean loss of the pairs, some in a forward; none where there is no pair."""
    if not pairs:
        return {}
    totals: dict[str, Any] = {}
    learner.optimizer.zero_grad()
    for places in stages.portions(len(pairs), at_once):
        some = [pairs[place] for place in places]
        policy = _logps(learner.model, some, guidance_scale)
        output = loss(policy, _reference(learner.model, some, guidance_scale) if needs_reference(loss) else None)
        _check_finite(output.loss, some, run, step)
        (output.loss.sum() / len(pairs)).backward()
        for name, value in {"loss": output.loss.detach().mean(), **output.metrics}.items():
            totals[name] = totals.get(name, 0) + value * len(some) / len(pairs)
    totals["grad_norm"] = learner.step()
    events = learner.pairs.observe(step, totals)
    return {**totals, "update": learner.optimizer.num_steps, "events": events}


def _logps(model: Denoises, pairs: Sequence[stages.StepPair], guidance_scale: float) -> PairLogps:
    """The log-likelihoods of both next steps from one forward, the mean over elements: (M,) each."""
    conditioning = model.encode([pair.prompt for pair in pairs])
    noisy = torch.stack([pair.noisy for pair in pairs])
    sigma, to = (torch.tensor([getattr(pair, name) for pair in pairs]) for name in ("sigma", "to"))
    mean, std = model.transition(noisy, conditioning, sigma, to, guidance_scale)
    sides = (torch.stack([getattr(pair, name) for pair in pairs]).to(mean) for name in ("chosen", "rejected"))
    chosen, rejected = (transition_logp(side, mean, std) for side in sides)
    return PairLogps(chosen, rejected, torch.ones_like(chosen), torch.ones_like(rejected))


@torch.no_grad()
def _reference(model: Denoises, pairs: Sequence[stages.StepPair], guidance_scale: float) -> PairLogps:
    with model.reference():
        return _logps(model, pairs, guidance_scale)


def _check_finite(values: torch.Tensor, pairs: Sequence[stages.StepPair], run: store.Run, step: int) -> None:
    names = ("noisy", "chosen", "rejected")
    health.check_finite(
        values,
        run.path(ROUND, "training"),
        step=step,
        batch={name: torch.stack([getattr(pair, name) for pair in pairs]) for name in names},
        details={"prompts": [pair.prompt for pair in pairs]},
    )
