"""Learning from preferences that are there already: Diffusion-DPO (https://arxiv.org/abs/2311.12908), and with another
draw, loss or weights InPO, Diffusion-KTO and IAPO.

    measure the base model
    encode both pictures and the prompt of every pair, once
    for each step:
        take pairs; draw a noise level and a noise for each, or find it by inversion
        log-likelihoods of chosen and rejected under policy and reference, at the same draw;  loss;  update
        measure, every so many steps
    measure again

It differs from the textbook in one thing: pictures are cut and mirrored once in a run and not anew at every visit, so
that each is encoded once.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from selfportrait import processes, stages, store, summary
from selfportrait.asking.pictures import Looks
from selfportrait.benchmarks.base import Benchmark
from selfportrait.boxes import Geometry, Size
from selfportrait.detectors.base import Detector
from selfportrait.draws.base import GroupDraw
from selfportrait.instance_judges.base import InstanceJudge
from selfportrait.losses.base import PairLoss
from selfportrait.models.base import Denoises
from selfportrait.planners.base import Planner
from selfportrait.preferences.base import PreferenceSource
from selfportrait.preferences.run import Run
from selfportrait.prompts.base import PromptSource
from selfportrait.recipes._measuring import measure, measure_between
from selfportrait.report import write_report
from selfportrait.selection.base import PairSelection
from selfportrait.training import health
from selfportrait.training.optimizer import Optimizer
from selfportrait.training.pair_health import OnEvent
from selfportrait.types import Instance, PreferencePair, Prompt
from selfportrait.weights.base import LatentWeights

__all__ = ["offline"]

_Count = Annotated[int, Field(ge=1)]
PROMPTS_A_PART = 25
MIN_MARGIN = 0.1  # below it a pair is counted as ambiguous
_Share = Annotated[float, Field(ge=0, le=1)]


def offline(
    model: Denoises,
    draw: GroupDraw,
    loss: PairLoss,
    optimizer: Optimizer,
    benchmark: Benchmark,
    run: store.Run,
    seed: int,
    preferences: PreferenceSource | None = None,
    prompts: PromptSource | None = None,
    judge: stages.Judge | None = None,
    selection: PairSelection | None = None,
    weights: LatentWeights | None = None,
    planner: Planner | None = None,
    detector: Detector | None = None,
    instance_judge: InstanceJudge | None = None,
    vlm: Looks | None = None,
    watch: stages.Watch | None = None,
    *,
    steps: _Count | None = None,
    epochs: _Count | None = None,
    batch_size: _Count = 32,
    pairs_per_forward: _Count = 8,
    candidates_per_prompt: _Count = 10,
    crop: Literal["center", "random"] = "center",
    flip: bool = False,
    empty_prompts: _Share = 0.0,
    fixed_draws: _Count | None = None,
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None,
    checkpoint_every: _Count = 50,
    max_missing: _Share = 0.01,
    on_event: OnEvent = "warn",
    evaluate_every: _Count | None = None,
) -> None:
    """Improve a model that removes noise on pairs of pictures, for `steps` updates or `epochs` passes, and measure it.

    The pairs are those of `preferences`; without it the model draws `candidates_per_prompt` pictures of each prompt
    itself, and a judge and a selection pair them. `batch_size` pairs make a step, `pairs_per_forward` a forward. A
    picture's shorter side becomes the model's, `crop` says which square of it is used, `flip` mirrors half of the
    pictures. `empty_prompts` is the share of visits without a prompt. With `fixed_draws` a pair has so many noises and
    noise levels in all, and the reference is asked once for each. Weights need instances: those of the pairs, or what
    planner, detector and instance judge find. More than `max_missing` of the pairs with an unreadable picture, or of
    the judgements failed, end the run. `on_event` says what an alarm of the pairs' health does: nothing but a line, the
    end, or the end at the last checkpoint before. Every `evaluate_every` steps the model is measured on the benchmark
    too, which changes nothing of what it learns; who watches looks at the pictures before and after only.
    """
    schedule = stages.Schedule(
        steps, epochs, batch_size, pairs_per_forward, checkpoint_every, ema_decay, on_event, evaluate_every
    )
    check_model(model)
    makers = check_pairs(preferences, prompts, judge, selection)
    finders = check_finders(weights, planner, detector, instance_judge, vlm, judge)
    check_instances(weights, finders, preferences)
    check_rows(preferences)
    draw = stages.hand_over(draw, policy=model)
    benchmark = stages.hand_over(benchmark, policy=model, seed=seed)
    watchers = stages.watchers(watch, judge, benchmark)
    at = stages.Round(run.path("round-0"))
    model.load()
    untouched = health.fingerprint(model.frozen())
    measure(model, benchmark, watchers, run, "before", label="measuring the base model")
    if preferences is None:
        preferences = _draw_pairs(model, makers, benchmark, run, at, seed, candidates_per_prompt, max_missing)
    instances = None
    if finders is not None:
        with summary.stage(run, "annotate"):
            stages.find_instances(finders, preferences, at.instances, seed=seed, max_missing=max_missing)
        instances = stages.instances_of(at.instances)
    if weights is not None:
        stages.keep_examples(preferences, instances, at.examples)
    weigh = None if weights is None else partial(_weigh, weights, instances)
    with summary.stage(run, "encode"):
        found = stages.encode_pairs(model, preferences, at.latents, stages.Cut(crop, flip, seed), weigh)
        stages.check_readable(found, max_missing)
        pairs = stages.StoredLatents(at.latents)
        stages.encode_texts(model, pairs.prompts + [""] * (empty_prompts > 0), at.texts)
    visits = stages.Visits(seed, empty_prompts, fixed_draws)
    texts = stages.StoredTexts(at.texts, model)
    with model.without_encoders() as with_encoders:
        between = partial(measure_between, with_encoders, model, benchmark, run)
        stages.train_on_latents(model, pairs, texts, draw, loss, optimizer, at.training, schedule, visits, between)
    measure(model, benchmark, watchers, run, "after", label="measuring the result")
    health.check_unchanged(untouched, model.frozen())
    processes.by_main(partial(_conclude, model, run))


class Makers(NamedTuple):
    """What makes pairs where none are given."""

    prompts: PromptSource
    judge: stages.Judge
    selection: PairSelection


def check_model(model: Denoises) -> None:
    """Refuse a model that removes no noise; raises ValueError before anything loads."""
    if not callable(getattr(model, "latents", None)):
        raise ValueError(
            f"model.name: the recipe offline encodes pictures and takes denoising errors, and a {type(model).__name__} "
            "draws tokens; give a model that removes noise, such as sd or sd3"
        )


def check_pairs(
    preferences: PreferenceSource | None,
    prompts: PromptSource | None,
    judge: stages.Judge | None,
    selection: PairSelection | None,
) -> Makers | None:
    """Refuse pairs from two sources or from none; raises ValueError before anything loads."""
    if preferences is not None:
        if prompts is not None or selection is not None:
            raise ValueError(
                "preferences: the pairs are given, and the sections prompts and selection would make others; leave out "
                "one or the other"
            )
        return None
    if prompts is None or judge is None or selection is None:
        raise ValueError(
            "preferences: the section is missing; give pairs, such as preferences.name=pick_a_pic, or the sections "
            "prompts, judge and selection, with which the model makes its own"
        )
    return Makers(prompts, judge, selection)


def check_finders(
    weights: LatentWeights | None,
    planner: Planner | None,
    detector: Detector | None,
    instance_judge: InstanceJudge | None,
    vlm: Looks | None,
    judge: stages.Judge | None,
) -> stages.Finders | None:
    """Who finds instances, None where nobody does; raises ValueError for some of them without the others."""
    given = {"planner": planner, "detector": detector, "instance_judge": instance_judge}
    missing = [name for name, one in given.items() if one is None]
    if len(missing) == len(given):
        return None
    if missing or weights is None:
        raise ValueError(
            f"{missing[0] if missing else 'weights'}: the section is missing; planner, detector and instance_judge "
            "find instances together, for weights that are made of them, such as weights.name=instance_mask"
        )
    helpers = {"vlm": vlm, "judge": judge}
    return stages.Finders(*(stages.hand_over(one, **helpers) for one in given.values()))


def check_rows(preferences: PreferenceSource | None) -> None:
    """Refuse pairs that are not on this machine, or none; raises FileNotFoundError or ValueError before a load."""
    if preferences is not None and not preferences.num_rows:
        raise ValueError(f"preferences: {preferences.path} holds no row; give pairs to train on")


def check_instances(
    weights: LatentWeights | None, finders: stages.Finders | None, preferences: PreferenceSource | None
) -> None:
    """Refuse weights without instances to make them of; raises ValueError before anything loads."""
    if weights is None or finders is not None:
        return
    if preferences is None:
        raise ValueError(
            "weights: they are made of instances, and nobody looks for them in the pictures that the model draws; "
            "give the sections planner, detector and instance_judge, or no weights"
        )
    stages.check_have_instances(preferences)


def _draw_pairs(
    model: Denoises,
    makers: Makers | None,
    benchmark: Benchmark,
    run: store.Run,
    at: stages.Round,
    seed: int,
    count: int,
    max_missing: float,
) -> PreferenceSource:
    """Let the model draw candidates, judge and pair them; returns the pairs with their latents."""
    assert makers is not None, "checked before"
    judge = stages.hand_over(makers.judge, policy=model, seed=seed)
    with summary.stage(run, "sample"):
        source = stages.hand_over(makers.prompts, policy=model, seed=seed)
        processes.main_first(lambda: _write_prompts(source(), benchmark, at))
        stages.draw_candidates(model, at.prompts, at.candidates, seed=seed, round_index=0, count=count)
    with summary.stage(run, "judge"):
        stages.score_candidates(judge, at.prompts, at.candidates, at.scores, max_missing=max_missing)
    with summary.stage(run, "pair"):
        tables = (at.prompts, at.candidates, at.scores, at.preferences)
        stages.select_pairs(makers.selection, *tables, seed, MIN_MARGIN, benchmark.check)
    return Run(path=str(run.folder))


def _write_prompts(source: Sequence[Prompt], benchmark: Benchmark, at: stages.Round) -> None:
    """Write prompts/, without those that are held out for measuring."""
    prompts = stages.not_held_out(source, benchmark.is_held_out)
    for index, start in enumerate(range(0, len(prompts), PROMPTS_A_PART)):
        if not store.has_part(at.prompts, index):
            rows = stages.prompt_rows(prompts[start : start + PROMPTS_A_PART])
            store.write_table(at.prompts, index, rows, store.PROMPTS)


def _weigh(
    weights: LatentWeights,
    instances: Mapping[str, Sequence[Instance]] | None,
    pair: PreferencePair,
    views: Sequence[Geometry],
    grid: Size,
) -> torch.Tensor:
    found = pair.instances if instances is None else instances.get(pair.id, ())
    chosen, rejected = views
    return weights(found, chosen, rejected, grid)


def _conclude(model: Denoises, run: store.Run) -> None:
    model.save(run.path("model"))
    summary.write(run)
    write_report(run.folder)
