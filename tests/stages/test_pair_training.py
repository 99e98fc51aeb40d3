"""Training on pairs with the smallest token model there is: a row of logits a token, whatever the prompt."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))  # for several, whose work new processes find by its name
import several

from selfportrait import store
from selfportrait.losses.base import PairLogps
from selfportrait.losses.dpo import dpo
from selfportrait.losses.simpo import simpo
from selfportrait.stages import Pairs, Schedule, read_pairs, train_on_pairs
from selfportrait.training.optimizer import Optimizer
from selfportrait.weights.object_mask import object_mask
from selfportrait.weights.ones import ones

TOKENS, VOCABULARY, PAIRS = 6, 5, 7


class Unigram:
    """Token t is drawn from the softmax of its own logits; the reference is a copy of them."""

    is_exact = True

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.logits = torch.nn.Parameter(torch.randn(TOKENS, VOCABULARY))
        self.copy = self.logits.detach().clone()
        self.forwards: list[tuple[int, bool]] = []

    def encode(self, prompts: Sequence[str]) -> list[str]:
        return list(prompts)

    def token_log_likelihood(self, content: torch.Tensor, conditioning: list[str]) -> torch.Tensor:
        assert len(conditioning) == len(content)
        self.forwards.append((len(content), torch.is_grad_enabled()))
        logps = self.logits.log_softmax(-1).expand(len(content), -1, -1)
        return logps.gather(2, content.unsqueeze(2)).squeeze(2)

    @contextmanager
    def reference(self) -> Iterator[None]:
        policy = self.logits.detach().clone()
        with torch.no_grad():
            self.logits.copy_(self.copy)
            yield
            self.logits.copy_(policy)

    def renew_reference(self) -> None:
        self.copy = self.logits.detach().clone()

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"logits": self.logits}


@pytest.fixture
def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(1)
    chosen, rejected = (torch.randint(VOCABULARY, (PAIRS, TOKENS), generator=generator) for _ in range(2))
    return Pairs([f"prompt {row}" for row in range(PAIRS)], chosen, rejected)


def train(folder: Path, pairs: Pairs, loss: Any = dpo, **settings: Any) -> Unigram:
    chosen = {"steps": None, "epochs": 2, "batch_size": 4, "pairs_per_forward": 4, "checkpoint_every": 1, **settings}
    model = Unigram()
    train_on_pairs(model, pairs, loss, Optimizer(learning_rate=0.1, epsilon=0.01), folder, Schedule(**chosen), 3)
    return model


def lines(folder: Path) -> list[dict[str, Any]]:
    return store.read_jsonl(folder / "metrics.jsonl")


def test_batches_go_through_all_pairs_in_new_orders() -> None:
    by_epochs = Schedule(None, 2, 4, 1, 1).batches(PAIRS, 0)
    flat = [row for batch in by_epochs for row in batch]
    assert [len(batch) for batch in by_epochs] == [4, 4, 4, 2]
    assert sorted(flat[:PAIRS]) == sorted(flat[PAIRS:]) == list(range(PAIRS))
    assert flat[:PAIRS] != flat[PAIRS:]
    by_steps = Schedule(3, None, 4, 1, 1).batches(PAIRS, 0)
    assert by_steps == by_epochs[:3]
    assert Schedule(3, None, 4, 1, 1).batches(PAIRS, 1) != by_steps
    assert [len(batch) for batch in Schedule(2, None, 16, 1, 1).batches(PAIRS, 0)] == [16, 16]


@pytest.mark.parametrize("loss", [dpo, simpo])
def test_a_step_does_not_depend_on_how_many_pairs_a_forward_takes(tmp_path: Path, pairs: Pairs, loss: Any) -> None:
    at_once, one_by_one = (train(tmp_path / str(n), pairs, loss, pairs_per_forward=n) for n in (4, 1))
    assert torch.allclose(at_once.logits, one_by_one.logits, atol=1e-6)
    for one, two in zip(lines(tmp_path / "4"), lines(tmp_path / "1"), strict=True):
        assert one.pop("events") == two.pop("events") == []
        assert one == pytest.approx(two, abs=1e-5)


def test_one_forward_holds_chosen_and_rejected_and_the_reference_is_measured_once(tmp_path: Path, pairs: Pairs) -> None:
    model = train(tmp_path / "dpo", pairs, dpo)
    learning, fixed = ([rows for rows, is_learning in model.forwards if is_learning is kind] for kind in (True, False))
    assert learning == [8, 8, 8, 4]
    assert fixed == [8, 6]  # every pair, once, for both epochs
    assert lines(tmp_path / "dpo")[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    without = train(tmp_path / "simpo", pairs, simpo)
    assert [rows for rows, is_learning in without.forwards if not is_learning] == []


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_stopped_and_taken_up_again_is_the_same_training(
    tmp_path: Path, pairs: Pairs, ema_decay: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", pairs, ema_decay=ema_decay)
    seen = Unigram.token_log_likelihood

    def stopping(self: Unigram, *arguments: Any) -> torch.Tensor:
        if len(self.forwards) == 4:  # two for the reference, two steps
            raise KeyboardInterrupt
        return seen(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Unigram, "token_log_likelihood", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", pairs, ema_decay=ema_decay)
    again = train(tmp_path / "cut", pairs, ema_decay=ema_decay)
    assert torch.equal(again.logits, whole.logits)
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    taken_up = train(tmp_path / "cut", pairs, ema_decay=ema_decay)  # it is finished: nothing but the weights
    assert torch.equal(taken_up.logits, whole.logits)
    assert taken_up.forwards == []


def test_weights_count_and_the_unweighted_log_likelihoods_are_beside_them(tmp_path: Path, pairs: Pairs) -> None:
    seen: list[PairLogps] = []

    def loss(policy: PairLogps, reference: None) -> Any:
        seen.append(policy)
        return simpo(policy, None)

    weights = 1 + torch.rand(2, PAIRS, TOKENS)
    model = Unigram()
    before = model.logits.log_softmax(-1)
    train(
        tmp_path, pairs._replace(chosen_weights=weights[0], rejected_weights=weights[1]), loss, epochs=1, batch_size=7
    )
    order = Schedule(None, 1, 7, 4, 1).batches(PAIRS, 3)[0][:4]
    logps = before[torch.arange(TOKENS), pairs.chosen[order]]  # (4, T)
    assert torch.allclose(seen[0].chosen, (weights[0][order] * logps).sum(1), atol=1e-5)
    assert torch.allclose(seen[0].chosen_length, weights[0][order].sum(1))
    assert torch.allclose(seen[0].plain.chosen, logps.sum(1), atol=1e-5)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(tmp_path: Path, pairs: Pairs) -> None:
    def broken(policy: PairLogps, reference: None) -> Any:
        output = simpo(policy, None)
        return output._replace(loss=output.loss * torch.nan)

    with pytest.raises(ValueError, match="the loss of step 0 is not finite"):
        train(tmp_path, pairs, broken)
    batch = load_file(tmp_path / "non-finite-00000/batch.safetensors")
    assert batch["chosen"].shape == (4, TOKENS)
    assert len(json.loads((tmp_path / "non-finite-00000/batch.json").read_text())["prompts"]) == 4


def files(folder: Path) -> dict[str, bytes]:
    """What training wrote but for the clock."""
    kept = [path for path in sorted(folder.rglob("*")) if path.suffix in (".safetensors", ".json", ".jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if path.name != "timing.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize("pairs_per_forward", [1, 3])
def test_several_processes_write_what_one_writes(tmp_path: Path, pairs_per_forward: int) -> None:
    """A step of four pairs has four forwards or two: three processes have one too few, or one too many."""
    settings = {"pairs_per_forward": pairs_per_forward, "ema_decay": 0.5}
    for count in (1, 2, 3):
        ended = several.run(several.train, count, tmp_path / f"said-{count}", tmp_path / str(count), False, settings)
        assert [one.code for one in ended] == [0] * count, ended
    one, two, three = (files(tmp_path / str(count)) for count in (1, 2, 3))
    assert {"metrics.jsonl", "checkpoints/step-00004/ema.safetensors"} <= set(one)
    assert one == two == three


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_keeps_the_batch(tmp_path: Path) -> None:
    settings = {"pairs_per_forward": 1}
    ended = several.run(several.train, 2, tmp_path / "said", tmp_path / "run", True, settings)
    assert [one.code for one in ended] == [1, 1]
    assert "process 1 of 2: the loss of step 0 is not finite in 1 of 1 terms" in ended[0].said
    batch = load_file(tmp_path / "run/process-1/non-finite-00000/batch.safetensors")
    assert batch["chosen"].shape == (1, TOKENS)


def write_tables(folder: Path, *, parts: int) -> None:
    """Pairs a, b and c, of which b has no masks; the candidates a0, a1, ... hold their own number as tokens."""
    names = ["a", "b", "c"]
    rows = {
        name: [{**dict.fromkeys(store.PAIRS.names), "prompt": name, "chosen_id": f"{name}0", "rejected_id": f"{name}1"}]
        for name in names
    }
    candidates = {
        name: [
            {**dict.fromkeys(store.CANDIDATES.names), "id": f"{name}{side}", "tokens": [index, side]} for side in (0, 1)
        ]
        for index, name in enumerate(names)
    }
    masks = {
        name: [
            {"candidate_id": f"{name}{side}", "height": 1, "width": 2, "mask": [0.5, side], "objects": ["x"]}
            for side in (0, 1)
        ]
        for name in names
        if name != "b"
    }
    for table, by_name, schema in (
        ("preferences", rows, store.PAIRS),
        ("candidates", candidates, store.CANDIDATES),
        ("masks", masks, store.MASKS),
    ):
        chunks = [names] if parts == 1 else [["c"], ["a"], ["b"]]
        for part, chunk in enumerate(chunks):
            found = [row for name in chunk for row in by_name.get(name, [])]
            store.write_table(folder / table, part, found, schema)


def test_pairs_are_read_with_their_tokens_and_weights_whatever_part_they_stand_in(tmp_path: Path) -> None:
    for parts in (1, 3):
        write_tables(tmp_path / str(parts), parts=parts)
        tables = [tmp_path / str(parts) / name for name in ("preferences", "candidates", "masks")]
        plain = read_pairs(*tables, ones)
        assert plain.prompts == ["a", "b", "c"]
        assert plain.chosen.tolist() == [[0, 0], [1, 0], [2, 0]]
        assert plain.rejected.tolist() == [[0, 1], [1, 1], [2, 1]]
        assert plain.chosen_weights is None
        masked = read_pairs(*tables, partial(object_mask, alpha=2.0))
        assert masked.prompts == ["a", "c"]
        assert masked.rejected_weights is not None
        assert masked.rejected_weights.tolist() == [[2.0, 3.0], [2.0, 3.0]]  # 1 + 2 m
