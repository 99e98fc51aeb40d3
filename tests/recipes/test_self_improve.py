"""SILMM and OSPO on a tiny model: what the rounds write, where each begins, and that they end the same however cut."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_rounds import CANDIDATES, PROMPTS, ROUNDS, settings_for, start_run

from selfportrait import store
from selfportrait.asking.roles import role_of
from selfportrait.models.janus import Janus
from selfportrait.seeds import derive
from selfportrait.stages import read_prompts
from selfportrait.types import Prompt, Score

Differences = Callable[[Path, Path], list[str]]


@pytest.fixture(scope="module")
def silmm(tiny_janus: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """Two rounds of SILMM, finished without interruption."""
    return start_run(tmp_path_factory.mktemp("runs") / "silmm", settings_for(tiny_janus, "silmm"))


@pytest.fixture(scope="module")
def ospo(tiny_janus: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """Two rounds of OSPO, finished without interruption."""
    return start_run(tmp_path_factory.mktemp("runs") / "ospo", settings_for(tiny_janus, "ospo"))


def table(run: store.Run, *parts: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.read_table(run.path(*parts)).to_pylist()
    return rows


def metrics(run: store.Run, index: int) -> list[dict[str, Any]]:
    return store.read_jsonl(run.path(f"round-{index}", "training", "metrics.jsonl"))


def last_weights(run: store.Run, index: int, group: str = "weights") -> dict[str, torch.Tensor]:
    checkpoint = sorted(run.path(f"round-{index}", "training", "checkpoints").glob("step-*"))[-1]
    return load_file(checkpoint / f"{group}.safetensors")


def model_with(path: Path, weights: dict[str, torch.Tensor] | None, **settings: Any) -> Janus:
    """The tiny model of the runs, at the end of a round."""
    model = Janus(path=str(path), lora_rank=2, guidance_scale=2.0, **settings).load()
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            parameter.copy_(parameter if weights is None else weights[name])
    return model


# What a round writes


@pytest.mark.parametrize("index", range(ROUNDS))
def test_the_tables_of_a_round_hang_together(silmm: store.Run, index: int) -> None:
    at = f"round-{index}"
    prompts, candidates, scores, pairs = (
        table(silmm, at, name) for name in ("prompts", "candidates", "scores", "preferences")
    )
    assert [len(rows) for rows in (prompts, candidates, scores)] == [
        PROMPTS,
        PROMPTS * CANDIDATES,
        PROMPTS * CANDIDATES,
    ]
    assert all(row["questions"] and row["role"] is None for row in prompts)
    for row in candidates:
        assert row["seed"] == derive(0, index, row["prompt_id"], row["index"], "sample")
        assert len(row["tokens"]) == 16
        assert row["latent"] is None
    value = {row["candidate_id"]: row["value"] for row in scores}
    assert list(value) == [row["id"] for row in candidates]
    prompt_of = {row["id"]: row["prompt_id"] for row in candidates}
    for pair in pairs:
        own = [value[id] for id in value if prompt_of[id] == pair["prompt_id"]]
        assert value[pair["chosen_id"]] == pair["chosen_score"] == max(own)
        assert value[pair["rejected_id"]] == pair["rejected_score"] == min(own)
        assert pair["margin"] == pair["chosen_score"] - pair["rejected_score"] > 0
        assert pair["prompt"] == next(row["text"] for row in prompts if row["id"] == pair["prompt_id"])
        assert pair["rejected_prompt"] is None
    found = store.read_json(silmm.path(at, "yield.json"))
    assert found["preferences"]["kept"] == len(pairs)
    assert len(pairs) + sum(found["preferences"]["dropped"].values()) == PROMPTS
    assert found["preferences"]["num_checked"] == len(pairs)  # the micro world can tell of each
    assert found["candidates"] == found["scores"] == {"kept": PROMPTS * CANDIDATES, "dropped": {}}
    assert "warning" in store.read_json(silmm.path(at, "calibration.json"))
    assert not silmm.path(at, "masks").exists()


def test_the_summary_has_every_round(silmm: store.Run) -> None:
    summary = store.read_json(silmm.path("summary.json"))
    assert len(summary["rounds"]) == len(summary["round_changes"]) == ROUNDS
    assert summary["after"] == summary["rounds"][-1]
    files = ["round-0/evaluation/before", *(f"round-{index}/evaluation/after" for index in range(ROUNDS))]
    for file, values in zip(files, [summary["before"], *summary["rounds"]], strict=True):
        assert store.read_json(silmm.path(f"{file}.json")) == values
    assert {"write", "sample", "judge", "pair", "train", "reference"} <= set(summary["time_s"])
    assert silmm.path("report.html").is_file()


# Where a round begins


def test_every_round_starts_with_itself_as_reference(silmm: store.Run) -> None:
    for index in range(ROUNDS):
        first, *others = metrics(silmm, index)
        assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert all(abs(line["loss"] - math.log(2)) > 1e-4 for line in others)
        assert first["pairs"] == 4
        assert {"reward/margin", "logp/chosen", "grad_norm", "learning_rate"} <= set(first)


@pytest.mark.parametrize("method", ["silmm", "ospo"])
def test_a_round_is_drawn_by_the_model_that_the_last_one_ended_with(
    method: str, request: pytest.FixtureRequest, tiny_janus: Path
) -> None:
    run, train = request.getfixturevalue(method), "lora" if method == "silmm" else "full"
    rows = table(run, "round-1", "candidates")[:4]
    ended = last_weights(run, 0, "weights" if method == "silmm" else "ema")  # OSPO's run averages its weights
    drawn = []
    for weights in (ended, None):
        model = model_with(tiny_janus, weights, train=train)
        drawn.append(model.sample(model.encode([row["prompt"] for row in rows]), [row["seed"] for row in rows]).content)
    assert drawn[0].tolist() == [row["tokens"] for row in rows]
    assert drawn[1].tolist() != drawn[0].tolist()


def test_the_model_that_is_saved_is_the_one_that_was_measured(ospo: store.Run, silmm: store.Run) -> None:
    averaged, saved = last_weights(ospo, 1, "ema"), load_file(ospo.path("model", "model.safetensors"))
    assert all(torch.equal(saved[name], value) for name, value in averaged.items())
    adapter = load_file(silmm.path("model", "adapter_model.safetensors"))
    assert len(adapter) == len(last_weights(silmm, 1))


def test_training_prefers_the_chosen(silmm: store.Run, tiny_janus: Path) -> None:
    """On the pairs of the last round the log-ratios have moved apart, as the metrics of the steps say."""
    pairs = table(silmm, "round-1", "preferences")
    tokens = {row["id"]: row["tokens"] for row in table(silmm, "round-1", "candidates")}
    sides = [torch.tensor([tokens[pair[key]] for pair in pairs]) for key in ("chosen_id", "rejected_id")]
    margins = []
    for index in (0, 1):  # at the start of round 1, and at its end
        model = model_with(tiny_janus, last_weights(silmm, index))
        with torch.no_grad():
            chosen, rejected = (
                model.log_likelihood(side, model.encode([p["prompt"] for p in pairs])) for side in sides
            )
        margins.append((chosen - rejected).mean())
    assert margins[1] > margins[0]


# OSPO


def test_a_slot_is_drawn_from_its_detailed_prompts_with_one_seed(ospo: store.Run) -> None:
    prompts = {prompt.id: prompt for prompt in read_prompts(ospo.path("round-0", "prompts"))}
    base = [prompt for prompt in prompts.values() if prompt.role is None]
    assert all(prompt.questions for prompt in base)
    candidates = {row["id"]: row for row in table(ospo, "round-0", "candidates")}
    assert len(candidates) == 2 * 3 * PROMPTS
    for id, row in candidates.items():
        if id.endswith("-hard-negative"):
            continue
        twin = candidates[f"{id}-hard-negative"]
        assert (twin["seed"], twin["index"], twin["prompt_id"]) == (row["seed"], row["index"], row["prompt_id"])
        texts = {
            "dense": f"{row['prompt_id']}-dense-{row['index']}",
            "dense-perturbed": f"{row['prompt_id']}-perturbed-{row['index']}-dense",
        }
        for one, (kind, prompt_id) in zip((row, twin), texts.items(), strict=True):
            role = role_of(prompts[prompt_id])
            assert role is not None
            assert (role.kind, role.slot) == (kind, row["index"])
            assert one["prompt"] == prompts[prompt_id].text


def test_both_of_a_slot_are_asked_the_base_prompts_questions(ospo: store.Run) -> None:
    prompts = {row["id"]: row for row in table(ospo, "round-0", "prompts")}
    candidates = {row["id"]: row for row in table(ospo, "round-0", "candidates")}
    for row in table(ospo, "round-0", "scores"):
        asked = prompts[candidates[row["candidate_id"]]["prompt_id"]]["questions"]
        assert [one["text"] for one in json.loads(row["details"])["questions"]] == [one["text"] for one in asked]


def test_a_pair_is_a_slot_with_masks_of_both_on_the_short_prompt(ospo: store.Run) -> None:
    candidates = {row["id"]: row for row in table(ospo, "round-0", "candidates")}
    pairs = table(ospo, "round-0", "preferences")
    masks = {row["candidate_id"]: row for row in table(ospo, "round-0", "masks")}
    texts = {prompt.id: prompt.text for prompt in read_prompts(ospo.path("round-0", "prompts"))}
    assert len(pairs) == PROMPTS
    for pair in pairs:
        assert pair["rejected_id"] == f"{pair['chosen_id']}-hard-negative"
        assert pair["rejected_prompt"] == candidates[pair["rejected_id"]]["prompt"]
        assert pair["prompt"] == texts[pair["prompt_id"]] != candidates[pair["chosen_id"]]["prompt"]
        for key in ("chosen_id", "rejected_id"):
            mask = masks[pair[key]]
            assert (mask["height"], mask["width"], len(mask["mask"])) == (4, 4, 16)
            assert all(0 <= value <= 1 for value in mask["mask"])
            assert mask["objects"]
            assert all(word in pair["prompt"] for word in mask["objects"])
    assert {"loss/simpo", "loss/sft"} <= set(metrics(ospo, 0)[0])
    assert "reference" not in store.read_json(ospo.path("summary.json"))["time_s"]  # neither term looks at one


# However it is cut


class StoppedError(BaseException):
    """The process is gone: nothing catches it."""


class Stopping(Janus):
    """Stops the run at the n-th call of one of its methods, counted over all."""

    calls = 0
    at = 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise StoppedError

    def sample(self, *arguments: Any) -> Any:
        self._count()
        return super().sample(*arguments)

    def answer(self, *arguments: Any) -> Any:
        self._count()
        return super().answer(*arguments)

    def attend(self, *arguments: Any) -> Any:
        self._count()
        return super().attend(*arguments)

    def token_log_likelihood(self, *arguments: Any) -> Any:
        self._count()
        return super().token_log_likelihood(*arguments)


@pytest.mark.parametrize("method", ["silmm", "ospo"])
def test_a_run_stopped_again_and_again_ends_like_one_that_was_not(
    method: str, request: pytest.FixtureRequest, tiny_janus: Path, tmp_path: Path, differences: Differences
) -> None:
    settings = settings_for(tiny_janus, method)
    own = {key: value for key, value in settings["model"].items() if key != "name"}
    stops = 0
    for at in (3, 14, 26, 1000):
        model = Stopping(**own)
        model.at = at
        try:
            start_run(tmp_path / "run", settings, model=model)
        except StoppedError:
            stops += 1
    assert stops == 3
    assert differences(request.getfixturevalue(method).folder, tmp_path / "run") == []


def test_a_finished_run_stays_as_it_is(
    ospo: store.Run, tiny_janus: Path, tmp_path: Path, differences: Differences
) -> None:
    shutil.copytree(ospo.folder, tmp_path / "again")
    start_run(tmp_path / "again", settings_for(tiny_janus, "ospo"))
    assert differences(ospo.folder, tmp_path / "again") == []


@pytest.mark.parametrize("method", ["silmm", "ospo"])
def test_the_pairs_do_not_depend_on_the_sizes_of_batches(
    method: str, request: pytest.FixtureRequest, tiny_janus: Path, tmp_path: Path
) -> None:
    other = start_run(
        tmp_path / "other",
        settings_for(
            tiny_janus,
            method,
            recipe={"rounds": 1, "prompts_per_part": 5, "pairs_per_forward": 3},
            model={"batch_size": 2},
            judge={"batch_size": 3},
        ),
    )
    run = request.getfixturevalue(method)
    tokens = [{row["id"]: row["tokens"] for row in table(one, "round-0", "candidates")} for one in (run, other)]
    assert tokens[0] == tokens[1]
    for one, two in zip(*(sorted_pairs(one) for one in (run, other)), strict=True):
        assert [one[key] for key in ("chosen_id", "rejected_id")] == [two[key] for key in ("chosen_id", "rejected_id")]
        assert one["margin"] == pytest.approx(two["margin"], abs=1e-5)
    for one, two in zip(metrics(run, 0), metrics(other, 0), strict=True):  # the same pairs in the same steps
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-2)


def sorted_pairs(run: store.Run) -> list[dict[str, Any]]:
    return sorted(table(run, "round-0", "preferences"), key=lambda pair: pair["chosen_id"])


# What is refused


class Constant:
    """A judge that gives every picture the same score, or none."""

    def __init__(self, value: float | None) -> None:
        self.value = value

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        return [Score(self.value, "cannot tell" if self.value is None else None) for _ in images]


def test_a_judge_that_tells_nothing_apart_stops_the_run_with_all_that_was_lost(
    tiny_janus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"there are 0 pairs to train on, and recipe.min_pairs = 1 .*6 tie") as caught:
        start_run(tmp_path / "flat", settings_for(tiny_janus, "silmm"), judge=Constant(0.5))
    assert "scores kept 18, dropped nothing" in str(caught.value)
    with pytest.raises(ValueError, match=r"the candidates: 18 of 18 judgements are missing.*cannot tell"):
        start_run(tmp_path / "blind", settings_for(tiny_janus, "silmm"), judge=Constant(None))


def test_a_self_judge_that_always_says_yes_is_named_as_the_reason(tiny_janus: Path, tmp_path: Path) -> None:
    class SaysYes(Janus):
        def answer(self, images: Any, questions: Sequence[str]) -> Any:
            return torch.full((len(questions),), 0.75), torch.full((len(questions),), 0.25)

    model = SaysYes(path=str(tiny_janus))
    with pytest.raises(ValueError, match=r"0 pairs to train on.*The self-judge says yes whatever it sees"):
        start_run(tmp_path / "run", settings_for(tiny_janus, "silmm"), model=model)


@pytest.mark.parametrize(
    ("method", "changes", "says"),
    [
        ("silmm", {"recipe": {"steps": 3}}, "recipe.steps = 3 and recipe.epochs = 2: give one of them"),
        ("silmm", {"densification": {"name": "micro"}}, "densification: .* no section perturbation"),
        ("ospo", {"recipe": {"candidates_per_prompt": 4}}, "recipe.candidates_per_prompt = 4: with a perturbation"),
    ],
)
def test_settings_that_do_not_fit_each_other(
    tiny_janus: Path, tmp_path: Path, method: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        start_run(tmp_path / "run", settings_for(tiny_janus, method, **changes))
    assert not (tmp_path / "run" / "round-0").exists()


def test_a_model_that_lacks_something_is_named_before_it_loads(
    tiny_sd3: Path, tiny_janus: Path, tmp_path: Path
) -> None:
    flow = {"name": "sd3", "path": str(tiny_sd3)}
    exact = {"judge": {"name": "micro_questions"}}
    with pytest.raises(ValueError, match=r"model.name: .* a SD3 draws none; give a token model, such as janus"):
        start_run(tmp_path / "one", {**settings_for(tiny_janus, "silmm", **exact), "model": flow})

    class Mute(Janus):
        write = None

    settings = settings_for(tiny_janus, "silmm", questions={"name": "self_written"})
    with pytest.raises(ValueError, match="the model Mute writes no text"):
        start_run(tmp_path / "two", settings, model=Mute(path=str(tiny_janus)))

    class Blind(Janus):
        attend = None

    with pytest.raises(ValueError, match=r"weights.name: .* a Blind does not give"):
        start_run(tmp_path / "three", settings_for(tiny_janus, "ospo"), model=Blind(path=str(tiny_janus)))
