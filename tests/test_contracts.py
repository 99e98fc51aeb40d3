"""What every component must keep to, checked for each file of each slot, so that a new file needs no edit here."""

import ast
import functools
import importlib
import inspect
import itertools
from pathlib import Path

import pytest
import torch

import selfportrait
from selfportrait.boxes import Geometry
from selfportrait.losses.base import PairLogps, Term, needs_reference
from selfportrait.selection.base import Judged
from selfportrait.types import Instance, Score
from selfportrait.weights.base import needs_maps

PACKAGE = Path(selfportrait.__file__).parent
SLOTS = [
    "models",
    "prompts",
    "preferences",
    "perturbations",
    "densifications",
    "questions",
    "judges",
    "planners",
    "detectors",
    "instance_judges",
    "vlms",
    "selection",
    "draws",
    "weights",
    "losses",
    "recipes",
    "benchmarks",
]


def component_files(slot: str) -> list[Path]:
    return [
        path for path in sorted((PACKAGE / slot).glob("*.py")) if not path.stem.startswith("_") and path.stem != "base"
    ]


def components(slot: str) -> list[object]:
    """Pytest parameters: the callable of each file of a slot."""
    found = []
    for path in component_files(slot):
        module = importlib.import_module(f"selfportrait.{slot}.{path.stem}")
        found.append(pytest.param(getattr(module, module.__all__[0]), id=path.stem))
    return found


def taking(slot: str, name: str) -> list[object]:
    """Of those, the ones with a parameter of that name; a sum of losses comes with terms."""
    return [
        pytest.param(with_terms(found), id=parameter.id)  # type: ignore[attr-defined]
        for parameter in components(slot)
        for found in parameter.values  # type: ignore[attr-defined]
        if name in inspect.signature(found).parameters
    ]


def with_terms(loss):
    if "terms" not in inspect.signature(loss).parameters:
        return loss
    others = {p.id: p.values[0] for p in components("losses") if p.id in ("dpo", "sft")}  # type: ignore[attr-defined]
    return functools.partial(loss, terms={name: Term(other, 0.5) for name, other in others.items()})


ALL_FILES = [pytest.param(slot, path, id=f"{slot}/{path.stem}") for slot in SLOTS for path in component_files(slot)]


@pytest.mark.parametrize(("slot", "path"), ALL_FILES)
def test_a_file_exports_one_name_it_defines(slot: str, path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    exports = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    defined = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert len(exports) == 1, "one __all__"
    assert len(exports[0]) == 1, "one public name"
    assert exports[0][0] in defined
    assert ast.get_docstring(tree)
    definition = next(node for node in tree.body if getattr(node, "name", "") == exports[0][0])
    assert ast.get_docstring(definition), "the first sentence is what `components` prints"


@pytest.mark.parametrize(("slot", "path"), ALL_FILES)
def test_a_signature_can_be_read_at_run_time(slot: str, path: Path) -> None:
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("slot", [slot for slot in SLOTS if slot != "recipes"])
def test_a_slot_imports_no_other_slot_and_nothing_above_it(slot: str) -> None:
    above = {f"selfportrait.{name}" for name in [*SLOTS, "cli", "config", "report"] if name != slot}
    for path in sorted((PACKAGE / slot).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                assert ".".join(name.split(".")[:2]) not in above, f"{path.name} imports {name}"


@pytest.mark.parametrize("slot", ["prompts", "perturbations", "densifications", "questions", "judges"])
def test_a_component_waits_for_nothing_but_the_policy_and_a_seed(slot: str) -> None:
    """What `stages.hand_over` completes by name."""
    for path in component_files(slot):
        if path.stem == "ocr":
            pytest.importorskip("rapidocr_onnxruntime")
        module = importlib.import_module(f"selfportrait.{slot}.{path.stem}")
        parameters = inspect.signature(getattr(module, module.__all__[0])).parameters.values()
        waits_for = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
        assert waits_for in ([], ["seed"], ["policy", "seed"]), path.name


@pytest.mark.parametrize("slot", ["planners", "detectors", "instance_judges", "vlms"])
def test_who_finds_instances_waits_for_nothing_but_what_it_asks(slot: str) -> None:
    """What `stages.hand_over` completes by name."""
    for path in component_files(slot):
        if path.stem == "endpoint":
            pytest.importorskip("openai")
        module = importlib.import_module(f"selfportrait.{slot}.{path.stem}")
        parameters = inspect.signature(getattr(module, module.__all__[0])).parameters.values()
        waits_for = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
        assert waits_for in ([], ["vlm"], ["judge"]), path.name


@pytest.mark.parametrize("slot", ["selection", "draws", "weights", "losses"])
def test_settings_are_typed_keywords_with_defaults(slot: str) -> None:
    for parameter in components(slot):
        signature = inspect.signature(parameter.values[0])  # type: ignore[attr-defined]
        for setting in signature.parameters.values():
            assert setting.annotation is not setting.empty
            if setting.kind is setting.KEYWORD_ONLY and setting.name != "terms":  # what a sum adds up, nobody can guess
                assert setting.default is not setting.empty


@pytest.mark.parametrize("loss", components("losses"))
def test_a_loss_says_where_it_comes_from(loss) -> None:
    text = inspect.getdoc(loss)
    for name in ("Equation:", "Shapes:", "Source:", "Differs from the source:"):
        assert text.count(f"\n{name} ") == 1, f"docstring field {name}"
    assert "https://" in text


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("loss", taking("losses", "advantages"))
def test_a_loss_is_one_number_a_candidate_with_gradient(loss, shape) -> None:
    generator = torch.Generator().manual_seed(0)
    policy = -torch.rand(shape, generator=generator)
    policy.requires_grad_(True)
    advantages = torch.randn(shape, generator=generator)
    output = loss(policy, None, advantages)
    assert output.loss.shape == policy.shape
    for name, value in output.metrics.items():
        assert not value.requires_grad, name
    output.loss.sum().backward()
    # a step against the gradient makes the best of a group likelier and the worst less likely
    gradient = policy.grad.flatten(0, -2) if policy.ndim > 1 else policy.grad.unsqueeze(0)
    order = advantages.reshape(gradient.shape)
    assert (gradient.gather(1, order.argmax(1, keepdim=True)) < 0).all()
    assert (gradient.gather(1, order.argmin(1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("loss", taking("losses", "advantages"))
def test_a_loss_sees_each_group_alone(loss) -> None:
    generator = torch.Generator().manual_seed(1)
    policy, advantages = -torch.rand(3, 5, generator=generator), torch.randn(3, 5, generator=generator)
    whole = loss(policy, None, advantages).loss
    rows = torch.stack([loss(policy[i], None, advantages[i]).loss for i in range(3)])
    assert torch.equal(whole, rows)


@pytest.mark.parametrize("loss", taking("losses", "advantages"))
def test_a_loss_leaves_a_skipped_group_alone(loss) -> None:
    policy = torch.tensor([[-0.3, -0.7, -0.5]], requires_grad=True)
    loss(policy, None, torch.zeros(1, 3)).loss.sum().backward()
    assert policy.grad.abs().max() == 0


def token_logps(num_pairs: int, seed: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Log-likelihoods of 6 tokens, chosen and rejected, and their weights."""
    generator = torch.Generator().manual_seed(seed)
    logps = [-torch.rand(num_pairs, 6, generator=generator).to(dtype) for _ in range(2)]
    return [*logps, *(1 + torch.rand(num_pairs, 6, generator=generator).to(dtype) for _ in range(2))]


def moved(logps: list[torch.Tensor], chosen: float, rejected: float) -> PairLogps:
    """Pairs under a reference that finds every token of either side so much likelier."""
    values = [logps[0].detach() + chosen, logps[1].detach() + rejected, *logps[2:]]
    return PairLogps.from_tokens(*values)


@pytest.mark.parametrize("loss", taking("losses", "reference"))
def test_a_loss_for_pairs_is_one_number_a_pair_that_prefers_the_chosen(loss) -> None:
    chosen, rejected, *weights = token_logps(4, seed=0)
    chosen.requires_grad_(True)
    rejected.requires_grad_(True)
    reference = moved([chosen, rejected, *weights], chosen=0.001, rejected=-0.001)
    output = loss(PairLogps.from_tokens(chosen, rejected, *weights), reference)
    assert output.loss.shape == (4,)
    for name, value in output.metrics.items():
        assert not value.requires_grad, name
        assert value.shape == (), name
        assert torch.isfinite(value), name
    output.loss.sum().backward()
    assert (chosen.grad < 0).all()  # a step against the gradient makes every token of the chosen likelier
    assert rejected.grad is None or (rejected.grad >= 0).all()


LOOK_AT_THE_BATCH = {"kto"}
"""Losses that compare a pair with the mean over all of them."""


@pytest.mark.parametrize("loss", [p for p in taking("losses", "reference") if p.id not in LOOK_AT_THE_BATCH])
def test_a_loss_sees_each_pair_alone(loss) -> None:
    policy, reference = token_logps(3, seed=0), token_logps(3, seed=1)
    whole = loss(PairLogps.from_tokens(*policy), PairLogps.from_tokens(*reference)).loss
    for row in range(3):
        one = [PairLogps.from_tokens(*(values[row : row + 1] for values in several)) for several in (policy, reference)]
        assert torch.equal(loss(*one).loss, whole[row : row + 1])


@pytest.mark.parametrize("loss", taking("losses", "reference"))
def test_a_loss_says_whether_its_gradient_needs_a_reference(loss) -> None:
    gradients = []
    for further in (0.001, 9.0):  # a reference nearby, and one that is left far behind
        chosen, rejected, *weights = token_logps(4, seed=0)
        chosen.requires_grad_(True)
        reference = moved([chosen, rejected, *weights], chosen=-further, rejected=further)
        loss(PairLogps.from_tokens(chosen, rejected, *weights), reference).loss.sum().backward()
        gradients.append(chosen.grad)
    assert needs_reference(loss) is not torch.equal(*gradients)
    if not needs_reference(loss):
        policy = PairLogps.from_tokens(*token_logps(4, seed=0))
        assert torch.equal(loss(policy, None).loss, loss(policy, reference).loss)


@pytest.mark.parametrize("loss", taking("losses", "reference"))
def test_a_loss_for_pairs_computes_in_float32(loss) -> None:
    half = PairLogps.from_tokens(*token_logps(2, seed=0))
    half = PairLogps(*(value.bfloat16() for value in half[:4]))
    assert loss(half, half).loss.dtype is torch.float32


@pytest.mark.parametrize("selection", taking("selection", "rewards"))
def test_a_selection_returns_advantages_and_the_groups_to_keep(selection) -> None:
    rewards = torch.tensor([[0.0, 0.5, 1.0], [0.5, 0.5, 0.5], [torch.nan, 0.2, 0.4], [torch.nan] * 3])
    advantages, keep = selection(rewards)
    assert advantages.shape == rewards.shape
    assert advantages.dtype == rewards.dtype
    assert keep.tolist() == [True, False, True, False]
    assert torch.isfinite(advantages).all()
    assert not advantages[~keep].any()
    assert advantages[2, 0] == 0
    assert advantages[0].argmax() == 2
    assert advantages[0].argmin() == 0


@pytest.mark.parametrize("selection", taking("selection", "rewards"))
def test_a_selection_ignores_scale_and_offset_of_the_judge(selection) -> None:
    rewards = torch.rand(4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = selection(rewards).advantages
    assert torch.allclose(selection(1000 * rewards - 3).advantages, expected, atol=1e-9)


def judged_candidates() -> list[Judged]:
    """Five prompts of three candidates and three hard negatives, a fifth of them without a score."""
    numbers = torch.rand(5, 3, 2, 4, generator=torch.Generator().manual_seed(0)).tolist()
    rows = []
    for prompt, index, side in itertools.product(range(5), range(3), range(2)):
        answers = tuple(1.2 * number - 0.4 * side for number in numbers[prompt][index][side])
        score = Score(None, "unreadable") if len(rows) % 5 == 4 else Score(sum(answers) / len(answers))
        rows.append(Judged(f"prompt-{prompt}", f"candidate-{len(rows)}", index, score, side == 1, answers))
    return rows


@pytest.mark.parametrize("selection", taking("selection", "judged"))
def test_a_selection_of_pairs_accounts_for_every_prompt_and_missing_score(selection) -> None:
    rows = judged_candidates()
    selected = selection(rows, 0)
    by_id = {row.candidate_id: row for row in rows}
    assert selected.pairs
    for pair in selected.pairs:
        chosen, rejected = by_id[pair.chosen_id], by_id[pair.rejected_id]
        assert chosen.prompt_id == rejected.prompt_id == pair.prompt_id
        assert (chosen.score.value, rejected.score.value) == (pair.chosen_score, pair.rejected_score)
        assert pair.margin == pair.chosen_score - pair.rejected_score
    assert len({pair.prompt_id for pair in selected.pairs}) + sum(selected.dropped.values()) == 5
    assert selected.num_missing == sum(row.score.value is None for row in rows)
    assert selection([], 0) == ([], {}, 0)


@pytest.mark.parametrize("selection", taking("selection", "judged"))
def test_a_selection_of_pairs_sees_each_prompt_alone_in_any_order(selection) -> None:
    rows = judged_candidates()
    whole = selection(rows, 0).pairs
    assert selection(rows[::-1], 0).pairs == whole
    for prompt in {row.prompt_id for row in rows}:
        alone = selection([row for row in rows if row.prompt_id == prompt], 0).pairs
        assert alone == [pair for pair in whole if pair.prompt_id == prompt]


@pytest.mark.parametrize("weights", taking("weights", "maps"))
def test_weights_of_tokens_are_one_number_a_token_from_1_up(weights) -> None:
    maps = torch.rand(3, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    tokens = torch.zeros(3, 24, dtype=torch.long)
    found = weights(tokens, maps)
    assert found.shape == (3, 24)
    assert found.dtype is torch.float32
    assert (found >= 1).all()  # so that dividing by their sum is safe
    if not needs_maps(weights):
        assert torch.equal(weights(tokens, None), found)


@pytest.mark.parametrize("weights", taking("weights", "instances"))
def test_weights_of_latents_have_unit_mean_in_each_picture(weights) -> None:
    whole = Geometry.resizing((48, 32), (48, 32))
    agreeing = Instance("cat", (0, 0, 9, 9), (0, 0, 9, 9), is_conflict=False)
    conflict = Instance("dog", (3, 5, 20, 30), (30, 2, 44, 9), is_conflict=True)
    found = weights([agreeing, conflict], whole, whole._replace(is_flipped=True), (6, 4))
    assert found.shape == (2, 1, 4, 6)
    assert found.dtype is torch.float32
    assert (found >= 0).all()
    assert found.mean((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-6)
    for harmless in ([], [agreeing]):
        assert torch.equal(weights(harmless, whole, whole, (6, 4)), torch.ones(2, 1, 4, 6))


@pytest.mark.parametrize("draw", components("draws"))
def test_a_draw_repeats_from_its_seed(draw) -> None:
    draw = draw(None) if inspect.isclass(draw) else draw  # one that waits for the policy needs it only to invert
    latents = torch.zeros(2, 3, 4, 5, 6)
    first, second, other = (draw(latents, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert first.sigma.shape == (2, 3)
    assert first.noise.shape == latents.shape
    assert ((first.sigma > 0) & (first.sigma <= 1)).all()
    assert torch.equal(first.sigma, second.sigma)
    assert torch.equal(first.noise, second.noise)
    assert not torch.equal(first.noise, other.noise)
