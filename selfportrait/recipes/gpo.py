"""Group preference optimisation (GPO): Algorithm 1 of Chen et al. (2025), from prompts to a better model.

    theta_ref = theta
    for each batch of prompts:
        draw G candidates a prompt from theta_ref, keep their clean latents
        r = reward(candidates);  A = standardise(r) within each group;  drop groups without spread
        repeat tau times:
            accumulate sum_i A_i mse_i over k draws of (noise, timestep);  one optimizer step
        theta_ref = theta

It differs from the textbook in one thing: the reference's error is never computed, because it has no gradient.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from selfportrait import processes, progress, stages, store, summary
from selfportrait.benchmarks.base import Benchmark
from selfportrait.draws.base import GroupDraw
from selfportrait.losses.base import GroupLoss
from selfportrait.models.base import Conditioning, Draws
from selfportrait.prompts.base import PromptSource
from selfportrait.recipes._measuring import measure
from selfportrait.report import write_report
from selfportrait.seeds import generator, passes
from selfportrait.selection.base import Selection
from selfportrait.training import health
from selfportrait.training.learner import Learner, start
from selfportrait.training.metrics import Metrics, timed
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import Draw, Prompt

__all__ = ["gpo"]

ROUND = "round-0"


@dataclass(frozen=True)
class Algorithm:
    """The numbers of Algorithm 1, by the paper's letters: G, k, tau, and |B|."""

    group_size: int
    timesteps_per_update: int
    updates_per_group: int
    prompts_per_step: int
    is_online: bool


class Groups(NamedTuple):
    """The groups of one step: P prompts, G candidates each, flattened prompt by prompt (P * G, ...)."""

    prompts: list[Prompt]
    conditioning: Conditioning
    latents: Tensor
    rewards: Tensor
    advantages: Tensor
    keep: Tensor


def gpo(
    model: Draws,
    prompts: PromptSource,
    judge: stages.Judge,
    selection: Selection,
    draw: GroupDraw,
    loss: GroupLoss,
    optimizer: Optimizer,
    benchmark: Benchmark,
    run: store.Run,
    seed: int,
    watch: stages.Watch | None = None,
    *,
    steps: Annotated[int, Field(ge=1)],
    group_size: Annotated[int, Field(ge=2)] = 32,
    timesteps_per_update: Annotated[int, Field(ge=1)] = 5,
    updates_per_group: Annotated[int, Field(ge=1)] = 3,
    prompts_per_step: Annotated[int, Field(ge=1)] = 1,
    online: bool = True,
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None,
    checkpoint_every: Annotated[int, Field(ge=1)] = 10,
    max_missing: Annotated[float, Field(ge=0, le=1)] = 0.01,
) -> None:
    """Improve a model by GPO: measure, `steps` times draw groups, judge them and update on them, measure again.

    A step is one batch of `prompts_per_step` groups and `updates_per_group` optimizer updates on it. `online: false`
    draws every group from the base model. `ema_decay` measures and saves an average of the weights over updates.
    """
    processes.require_one("recipe.name: the recipe gpo")
    check_model(model)
    algorithm = Algorithm(group_size, timesteps_per_update, updates_per_group, prompts_per_step, online)
    judge = stages.hand_over(judge, policy=model, seed=seed)
    benchmark = stages.hand_over(benchmark, policy=model)
    watchers = stages.watchers(watch, judge, benchmark)
    source = stages.not_held_out(stages.hand_over(prompts, policy=model, seed=seed)(), benchmark.is_held_out)
    model.load()
    measure(model, benchmark, watchers, run, "before", label="measuring the base model")
    store.write_table(run.path(ROUND, "prompts"), 0, stages.prompt_rows(source), store.PROMPTS)

    learner = start(model, optimizer, ema_decay)
    untouched = health.fingerprint(model.frozen())
    metrics = Metrics(run.path(ROUND, "training"))
    first = _resume(learner, run, metrics)
    order = _order(source, steps * prompts_per_step, seed)
    with progress.bar("training", total=steps, done=first) as advance:
        for step in range(first, steps):
            batch = order[step * prompts_per_step : (step + 1) * prompts_per_step]
            seconds: dict[str, float] = {}
            groups = _draw_groups(model, judge, selection, batch, algorithm, run, seed, step, max_missing, seconds)
            with timed(seconds, "train_s"):
                values = _learn(learner, groups, draw, loss, algorithm, run, seed, step)
            values |= _describe(groups, learner, step, values)
            metrics.write(step, values, seconds)
            if (step + 1) % checkpoint_every == 0 or step + 1 == steps:
                metrics.sync()
                learner.save(run.path(ROUND, "training", "checkpoints"), step + 1)
            advance(1)
    metrics.close()
    health.check_unchanged(untouched, model.frozen())

    with learner.averaged():
        measure(model, benchmark, watchers, run, "after", label="measuring the result")
        model.save(run.path("model"))
    summary.write(run)
    write_report(run.folder)


def check_model(model: Draws) -> None:
    """Refuse a model whose log-likelihoods are no denoising errors; raises ValueError before anything loads."""
    if model.is_exact:
        raise ValueError(
            f"model.name: the recipe gpo trains on denoising errors, and a {type(model).__name__} draws tokens; give a "
            "model that removes noise, such as sd3"
        )


def _resume(learner: Learner[Draws], run: store.Run, metrics: Metrics) -> int:
    """Go back to the last checkpoint and forget what came after it; returns the step to run next."""
    first = learner.resume(run.path(ROUND, "training", "checkpoints"))
    metrics.truncate(first)
    for table in ("candidates", "scores", "preferences"):
        store.drop_parts_from(run.path(ROUND, table), first)
    return first


def _order(source: list[Prompt], count: int, seed: int) -> list[tuple[Prompt, int]]:
    """Go through the prompts in a new random order each epoch: (prompt, how often it came before)."""
    rows = passes(len(source), count, seed)
    return [(source[row], place // len(source)) for place, row in enumerate(rows)]


def _draw_groups(
    model: Draws,
    judge: stages.Judge,
    selection: Selection,
    batch: list[tuple[Prompt, int]],
    algorithm: Algorithm,
    run: store.Run,
    seed: int,
    step: int,
    max_missing: float,
    seconds: dict[str, float],
) -> Groups:
    """Draw G candidates a prompt from theta_ref, judge them, standardise; three tables get a part each."""
    prompts, size = [prompt for prompt, _ in batch], algorithm.group_size
    first = [visit * size for _, visit in batch]
    with timed(seconds, "sample_s"), nullcontext() if algorithm.is_online else model.reference():
        samples, seeds = stages.sample_candidates(model, prompts, seed=seed, round_index=0, first=first, count=size)
    ids = stages.save_candidates(run.path(ROUND, "candidates"), step, prompts, first, samples, seeds)
    with timed(seconds, "judge_s"):
        scores = stages.score(judge, [prompt for prompt in prompts for _ in range(size)], samples.images)
    stages.check_missing(scores, max_missing, f"step {step}")
    stages.save_scores(run.path(ROUND, "scores"), step, ids, type(judge).__name__, scores)
    rewards = torch.tensor([float("nan") if score.value is None else score.value for score in scores])
    advantages, keep = selection(rewards.view(len(prompts), size))  # (P, G), (P,)
    rows = stages.preference_rows(ids, prompts, step, rewards, advantages, keep)
    store.write_table(run.path(ROUND, "preferences"), step, rows, store.PREFERENCES)
    conditioning = model.encode([prompt.text for prompt in prompts])
    return Groups(prompts, conditioning, samples.content, rewards.view(len(prompts), size), advantages, keep)


def _learn(
    learner: Learner[Draws],
    groups: Groups,
    draw: GroupDraw,
    loss: GroupLoss,
    algorithm: Algorithm,
    run: store.Run,
    seed: int,
    step: int,
) -> dict[str, Any]:
    """Take tau optimizer steps on the groups that have spread, each over k draws; returns mean metrics."""
    kept = [index for index, is_kept in enumerate(groups.keep.tolist()) if is_kept]
    if not kept:
        return {}
    size, k = algorithm.group_size, algorithm.timesteps_per_update
    latents = groups.latents.unflatten(0, (-1, size))[kept]  # (P, G, C, H, W)
    conditioning = groups.conditioning.rows(torch.tensor(kept)).repeat(size)
    advantages = groups.advantages[kept].to(latents.device)
    draws = [
        [
            _shared_draw(draw, latents, [groups.prompts[i] for i in kept], seed, step, update, index)
            for index in range(k)
        ]
        for update in range(algorithm.updates_per_group)
    ]
    log_likelihood = partial(_log_likelihood, learner.model, latents, conditioning)
    old = _old_log_likelihoods(log_likelihood, draws) if needs_old(loss) else None
    totals: dict[str, list[Tensor]] = {}
    for update, several in enumerate(draws):
        learner.optimizer.zero_grad()
        for index, at in enumerate(several):
            policy = log_likelihood(at)  # (P, G)
            output = loss(policy, policy.detach() if old is None or update == 0 else old[update][index], advantages)
            _check_finite(output.loss, run, groups, at, step)
            (output.loss.mean() / k).backward()
            for name, value in {"loss": output.loss.detach().mean(), **output.metrics}.items():
                totals.setdefault(name, []).append(value)
        totals.setdefault("grad_norm", []).append(learner.step())
    return {name: torch.stack(values).nanmean() for name, values in totals.items()}


def needs_old(loss: GroupLoss) -> bool:
    """A loss with a guard looks at the old log-likelihoods; without one they have no gradient and nobody needs them."""
    return getattr(loss, "keywords", {}).get("guard") is not None


def _shared_draw(
    draw: GroupDraw, latents: Tensor, prompts: list[Prompt], seed: int, step: int, update: int, index: int
) -> Draw:
    """One (noise, timestep) a group, keyed by its prompt: the same whatever else is in the batch."""
    drawn = [
        draw(latents[row : row + 1], generator(seed, 0, prompt.id, step, update, index, "draw"))
        for row, prompt in enumerate(prompts)
    ]
    return Draw(torch.cat([one.sigma for one in drawn]), torch.cat([one.noise for one in drawn]))


def _log_likelihood(model: Draws, latents: Tensor, conditioning: Conditioning, at: Draw) -> Tensor:
    flat = Draw(at.sigma.flatten(), at.noise.flatten(0, 1))
    rows = model.log_likelihood(latents.flatten(0, 1), conditioning, flat)
    return rows.view(latents.shape[:2])  # (P, G)


@torch.no_grad()
def _old_log_likelihoods(log_likelihood: Callable[[Draw], Tensor], draws: list[list[Draw]]) -> list[list[Tensor]]:
    """The log-likelihoods under theta_ref; those of the first update are the policy's own, so they are left out."""
    return [[], *([log_likelihood(at) for at in several] for several in draws[1:])]


def _check_finite(values: Tensor, run: store.Run, groups: Groups, at: Draw, step: int) -> None:
    health.check_finite(
        values,
        run.path(ROUND, "training"),
        step=step,
        batch={"latents": groups.latents, "advantages": groups.advantages, "sigma": at.sigma, "noise": at.noise},
        details={"prompts": [prompt.text for prompt in groups.prompts]},
    )


def _describe(groups: Groups, learner: Learner[Draws], step: int, values: dict[str, Any]) -> dict[str, Any]:
    """What the step's groups look like, and the events of the health monitor."""
    spread = health.diversity(groups.latents.unflatten(0, groups.rewards.shape))
    above, below = (values.get(name) for name in ("error/above", "error/below"))
    events = learner.monitor.observe(
        step,
        diversity=float(spread),
        error_above=None if above is None else float(above),
        error_below=None if below is None else float(below),
    )
    return {
        "reward/mean": groups.rewards.nanmean(),
        "reward/std": (groups.rewards - groups.rewards.nanmean(1, keepdim=True)).square().nanmean(1).sqrt().nanmean(),
        "groups/kept": int(groups.keep.sum()),
        "groups/skipped": int((~groups.keep).sum()),
        "diversity": spread,
        "learning_rate": learner.optimizer.learning_rate,
        "update": learner.optimizer.num_steps,
        "events": events,
    }
