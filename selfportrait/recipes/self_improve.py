"""Self-improvement in rounds: SILMM (https://arxiv.org/abs/2412.05818), and with perturbed prompts OSPO
(https://arxiv.org/abs/2506.02015).

    for each round:
        the model writes prompts
        OSPO:  it perturbs each in several slots, and writes both prompts of a slot out in detail
        it writes yes/no questions about each prompt
        SILMM: draw N candidates a prompt;  OSPO: draw a candidate and a hard negative a slot, with one seed
        score = mean of p(yes) - p(no) over the prompt's questions, by the model itself
        pairs: the best against the worst;  OSPO: one right candidate against its hard negative
        OSPO:  mark where the model looked at the prompt's objects, and weigh those tokens more
        train on the short prompts; the model that began the round is policy and reference

Every stage writes a table into the round's folder and goes on where it was cut off. Trained on are the tokens that were
sampled, never a picture that was encoded again.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from selfportrait import stages, store, summary
from selfportrait.benchmarks.base import Benchmark
from selfportrait.densifications.base import Densification
from selfportrait.losses.base import PairLoss
from selfportrait.models.base import TokenModel
from selfportrait.perturbations.base import Perturbation
from selfportrait.prompts.base import PromptSource, WrittenPrompts
from selfportrait.questions.base import QuestionSource
from selfportrait.report import write_report
from selfportrait.seeds import derive
from selfportrait.selection.base import PairSelection
from selfportrait.training import health
from selfportrait.training.optimizer import Optimizer
from selfportrait.weights.base import Weights, needs_maps

__all__ = ["self_improve"]

_Count = Annotated[int, Field(ge=1)]
CANDIDATES = 10  # a prompt, as in SILMM


def self_improve(
    model: TokenModel,
    prompts: PromptSource | WrittenPrompts,
    judge: stages.Judge,
    selection: PairSelection,
    weights: Weights,
    loss: PairLoss,
    optimizer: Optimizer,
    benchmark: Benchmark,
    run: store.Run,
    seed: int,
    questions: QuestionSource | None = None,
    perturbation: Perturbation | None = None,
    densification: Densification | None = None,
    *,
    rounds: _Count = 3,
    candidates_per_prompt: _Count | None = None,
    steps: _Count | None = None,
    epochs: _Count | None = None,
    batch_size: _Count = 32,
    pairs_per_forward: _Count = 8,
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None,
    checkpoint_every: _Count = 50,
    prompts_per_part: _Count = 25,
    max_missing: Annotated[float, Field(ge=0, le=1)] = 0.01,
    min_margin: Annotated[float, Field(ge=0)] = 0.1,
    min_pairs: _Count = 1,
) -> None:
    """Improve a model that draws tokens by its own prompts, questions and answers, in rounds, and measure each of them.

    With a perturbation it is OSPO, without one SILMM, of which `candidates_per_prompt` (10) is a setting. Without
    questions the prompts keep those of their source. A round trains for `steps` updates, or `epochs` passes over its
    pairs, of `batch_size` pairs each, with a new optimizer; `pairs_per_forward` bounds the memory. With `ema_decay` a
    round ends with averaged weights. `prompts_per_part` prompts are written, drawn and judged at a time; a pair whose
    margin is below `min_margin` is counted as ambiguous.
    """
    check_parts(model, weights, perturbation, densification, candidates_per_prompt)
    schedule = stages.Schedule(steps, epochs, batch_size, pairs_per_forward, checkpoint_every, ema_decay)
    components = (prompts, judge, questions, perturbation, densification)
    _ready(model, seed, components)  # what the model cannot do is said before its weights load
    benchmark = stages.hand_over(benchmark, policy=model)
    model.load()
    untouched = health.fingerprint(model.frozen())
    with summary.stage(run, "evaluate before"):
        before = stages.Round(run.path("round-0")).evaluation("before")
        stages.evaluate(model, benchmark, before, label="measuring the base model")

    for index in range(rounds):
        at, own_seed = stages.Round(run.path(f"round-{index}")), derive(seed, index)
        source, judging, *others = _ready(model, own_seed, components)
        with summary.stage(run, "write"):
            written = stages.base_prompts(source, at.written)
            fits, held_out = stages.can_draw(model), benchmark.is_held_out
            stages.write_prompts(written, at.prompts, stages.Writers(*others), held_out, fits, prompts_per_part)
        with summary.stage(run, "sample"):
            count = candidates_per_prompt or CANDIDATES
            stages.draw_candidates(model, at.prompts, at.candidates, seed=seed, round_index=index, count=count)
        with summary.stage(run, "judge"):
            stages.score_candidates(judging, at.prompts, at.candidates, at.scores, max_missing=max_missing)
        with summary.stage(run, "calibrate"):
            warning = _calibrate(judging, at, benchmark, own_seed)
        with summary.stage(run, "pair"):
            tables = (at.prompts, at.candidates, at.scores)
            stages.select_pairs(selection, *tables, at.preferences, own_seed, min_margin, benchmark.check)
        if needs_maps(weights):
            with summary.stage(run, "mask"):
                stages.make_masks(model, weights, at.preferences, at.candidates, at.masks)
        stages.check_pairs(stages.write_yield(at), min_pairs, warning)
        pairs = stages.read_pairs(at.preferences, at.candidates, at.masks, weights)
        stages.train_on_pairs(model, pairs, loss, optimizer, at.training, schedule, own_seed)
        with summary.stage(run, "evaluate after"):
            stages.evaluate(model, benchmark, at.evaluation("after"), label=f"measuring round {index}")

    health.check_unchanged(untouched, model.frozen())
    model.save(run.path("model"))
    summary.write(run, rounds)
    write_report(run.folder)


def check_parts(
    model: object, weights: Weights, perturbation: object, densification: object, candidates_per_prompt: int | None
) -> None:
    """Refuse what cannot work together; raises ValueError before anything loads."""
    if not callable(getattr(model, "token_log_likelihood", None)):
        raise ValueError(
            "model.name: the recipe self_improve trains on log-likelihoods of tokens, and a "
            f"{type(model).__name__} draws none; give a token model, such as janus"
        )
    if needs_maps(weights) and not callable(getattr(model, "attend", None)):
        raise ValueError(
            f"weights.name: they are made of attention maps, which a {type(model).__name__} does not give; give "
            "weights.name=ones, or a model that attends, such as janus"
        )
    if densification is not None and perturbation is None:
        raise ValueError(
            "densification: a prompt is written out together with its perturbed versions, and there is no section "
            "perturbation; add one, or leave densification out"
        )
    if perturbation is not None and candidates_per_prompt is not None:
        raise ValueError(
            f"recipe.candidates_per_prompt = {candidates_per_prompt}: with a perturbation a candidate and a hard "
            "negative are drawn for each slot of a prompt; leave it out"
        )


def _ready(model: TokenModel, seed: int, components: Sequence[Any]) -> list[Any]:
    """Components that wait for the policy and a seed get both."""
    return [stages.hand_over(component, policy=model, seed=seed) for component in components]


def _calibrate(judge: Any, at: stages.Round, benchmark: Benchmark, seed: int) -> str | None:
    """Ask a self-judge where the answer is known; another judge has nothing to be calibrated."""
    policy = getattr(judge, "policy", None)
    if policy is None:
        return None
    return stages.calibrate_judge(policy, at.prompts, at.candidates, at.calibration, seed=seed, check=benchmark.check)
