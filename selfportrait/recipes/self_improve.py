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

Every stage writes a table into the round's folder and goes on where it was cut off. Several processes share the parts
of each table and the forwards of each step; what a round has only once, the main one makes. Trained on are the tokens
that were sampled, never a picture that was encoded again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, NamedTuple

from pydantic import Field

from selfportrait import processes, stages, store, summary
from selfportrait.benchmarks.base import Benchmark
from selfportrait.densifications.base import Densification
from selfportrait.losses.base import PairLoss
from selfportrait.models.base import TokenModel
from selfportrait.perturbations.base import Perturbation
from selfportrait.prompts.base import PromptSource, WrittenPrompts
from selfportrait.questions.base import QuestionSource
from selfportrait.recipes._measuring import measure
from selfportrait.report import write_report
from selfportrait.seeds import derive
from selfportrait.selection.base import PairSelection
from selfportrait.training import health
from selfportrait.training.optimizer import Optimizer
from selfportrait.training.pair_health import OnEvent
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
    watch: stages.Watch | None = None,
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
    on_event: OnEvent = "warn",
) -> None:
    """Improve a model that draws tokens by its own prompts, questions and answers, in rounds, and measure each of them.

    With a perturbation it is OSPO, without one SILMM, of which `candidates_per_prompt` (10) is a setting. Without
    questions the prompts keep those of their source. A round trains for `steps` updates, or `epochs` passes over its
    pairs, of `batch_size` pairs each, with a new optimizer; `pairs_per_forward` bounds the memory. With `ema_decay` a
    round ends with averaged weights. `prompts_per_part` prompts are written, drawn and judged at a time; a pair whose
    margin is below `min_margin` is counted as ambiguous. `on_event` says what an alarm of the pairs' health does:
    nothing but a line, the end of the round's training, or that with the last checkpoint before.
    """
    schedule = stages.Schedule(steps, epochs, batch_size, pairs_per_forward, checkpoint_every, ema_decay, on_event)
    team = Team(
        model, prompts, judge, selection, weights, loss, optimizer, benchmark, questions, perturbation, densification
    )
    numbers = Numbers(schedule, candidates_per_prompt, prompts_per_part, max_missing, min_margin, min_pairs)
    check(team, numbers, seed)  # what the model cannot do is said before its weights load
    benchmark = stages.hand_over(benchmark, policy=model)
    watchers = stages.watchers(watch, judge, benchmark)
    model.load()
    untouched = health.fingerprint(model.frozen())
    measure(model, benchmark, watchers, run, "before", label="measuring the base model")

    for index in range(rounds):
        now = Round(team, numbers, run, seed, index)
        now.write()
        now.sample()
        now.judge()
        now.pair()
        now.train()
        measure(model, benchmark, watchers, run, "after", label=f"measuring round {index}", index=index)

    health.check_unchanged(untouched, model.frozen())
    processes.by_main(lambda: _conclude(model, run, rounds))


def _conclude(model: TokenModel, run: store.Run, rounds: int) -> None:
    model.save(run.path("model"))
    summary.write(run, rounds)
    write_report(run.folder)


class Team(NamedTuple):
    """What a config built, by its sections."""

    model: TokenModel
    prompts: PromptSource | WrittenPrompts
    judge: stages.Judge
    selection: PairSelection
    weights: Weights
    loss: PairLoss
    optimizer: Optimizer
    benchmark: Benchmark
    questions: QuestionSource | None = None
    perturbation: Perturbation | None = None
    densification: Densification | None = None


class Numbers(NamedTuple):
    """The recipe's settings, as its stages need them."""

    schedule: stages.Schedule
    candidates_per_prompt: int | None
    prompts_per_part: int
    max_missing: float
    min_margin: float
    min_pairs: int


class Round:
    """One round of a run, stage by stage: each goes from one table to the next, and on where it was cut off.

    A stage is skipped where its table was given, or one after it. The model comes as the last round left it.
    """

    def __init__(self, team: Team, numbers: Numbers, run: store.Run, seed: int, index: int) -> None:
        self.numbers, self.run, self.run_seed, self.index = numbers, run, seed, index
        self.seed = derive(seed, index)
        self.team, self.at = ready(team, self.seed), stages.Round(run.path(f"round-{index}"))

    def write(self, prompts: PromptSource | WrittenPrompts | None = None) -> None:
        """Write prompts/: base prompts, of the config's source or another, and all that is written about them."""
        if prompts is None and self.at.is_given("prompts"):
            return
        team = self.team
        with summary.stage(self.run, "write"):
            written = stages.base_prompts(prompts or team.prompts, self.at.written)
            writers = stages.Writers(team.questions, team.perturbation, team.densification)
            stages.write_prompts(written, self.at.prompts, writers, *self._limits())

    def take(self, pictures: Sequence[stages.GivenPicture]) -> None:
        """Write prompts/ and candidates/ of pictures that somebody brings, and scores/ where they have any."""
        questions = stages.Writers(self.team.questions)
        stages.give_pictures(self.team.model, self.at, pictures, questions, *self._limits())

    def _limits(self) -> tuple[Callable[[str], bool], Callable[[str], bool], int]:
        """Which prompts are held out, which fit, and how many stand in a part."""
        return self.team.benchmark.is_held_out, stages.can_draw(self.team.model), self.numbers.prompts_per_part

    def sample(self) -> None:
        """Draw candidates/ from prompts/."""
        if self.at.is_given("candidates"):
            return
        count = self.numbers.candidates_per_prompt or CANDIDATES
        with summary.stage(self.run, "sample"):
            tables = (self.at.prompts, self.at.candidates)
            stages.draw_candidates(self.team.model, *tables, seed=self.run_seed, round_index=self.index, count=count)

    def judge(self) -> None:
        """Make scores/ of candidates/, and ask a self-judge where the answer is known: calibration.json."""
        if self.at.is_given("scores"):
            return
        at, judge, missing = self.at, self.team.judge, self.numbers.max_missing
        with summary.stage(self.run, "judge"):
            stages.score_candidates(judge, at.prompts, at.candidates, at.scores, max_missing=missing)
        policy = getattr(judge, "policy", None)
        if policy is not None:  # another judge than the model has nothing to be calibrated
            with summary.stage(self.run, "calibrate"):
                tables, check = (at.prompts, at.candidates, at.calibration), self.team.benchmark.check
                calibrate = partial(stages.calibrate_judge, policy, *tables, seed=self.seed, check=check)
                processes.by_main(calibrate)

    def pair(self) -> None:
        """Make preferences/ of scores/, masks/ where the weights need them, and count all that was lost: yield.json."""
        at, team = self.at, self.team
        if not at.is_given("preferences"):
            with summary.stage(self.run, "pair"):
                tables, margin = (at.prompts, at.candidates, at.scores, at.preferences), self.numbers.min_margin
                stages.select_pairs(team.selection, *tables, self.seed, margin, team.benchmark.check)
        if needs_maps(team.weights):
            with summary.stage(self.run, "mask"):
                stages.make_masks(team.model, team.weights, at.preferences, at.candidates, at.masks)
        processes.by_main(self._check_yield)

    def _check_yield(self) -> None:
        found, warning = stages.write_yield(self.at), stages.read_warning(self.at.calibration)
        stages.check_pairs(found, self.numbers.min_pairs, warning)

    def train(self) -> None:
        """Train the model on preferences/; one that was trained on them only takes up what it came to."""
        at, team = self.at, self.team
        pairs = stages.read_pairs(at.preferences, at.candidates, at.masks, team.weights)
        stages.train_on_pairs(
            team.model, pairs, team.loss, team.optimizer, at.training, self.numbers.schedule, self.seed
        )


def ready(team: Team, seed: int) -> Team:
    """The same with the policy and a seed for those that wait for them; raises ValueError for what the policy lacks."""
    waiting = ("prompts", "judge", "benchmark", "questions", "perturbation", "densification")
    given = {"policy": team.model, "seed": seed}
    return team._replace(**{name: stages.hand_over(getattr(team, name), **given) for name in waiting})


def check(team: Team, numbers: Numbers, seed: int) -> None:
    """Refuse what cannot work; raises ValueError before anything loads."""
    check_parts(team.model, team.weights, team.perturbation, team.densification, numbers.candidates_per_prompt)
    ready(team, seed)


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
