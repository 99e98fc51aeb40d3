"""Gradients of several backward passes; that several processes add them up alike is tested with their training."""

import pytest
import torch

from selfportrait.training import gradients


def parameters(*sizes: int, dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in sizes]


def test_one_process_runs_the_pass_and_autograd_adds() -> None:
    (weight,) = parameters(2)

    def backward() -> dict[str, torch.Tensor]:
        (3 * weight.sum()).backward()
        return {"loss": torch.tensor(0.5)}

    for _ in range(2):
        assert gradients.accumulate({"w": weight}, backward) == [{"loss": torch.tensor(0.5)}]
    assert gradients.accumulate({"w": weight}, None) == []
    assert weight.grad is not None
    assert weight.grad.tolist() == [6.0, 6.0]


def test_what_travels_at_once_is_of_one_type_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "TOGETHER", 5)
    learning = [*parameters(2, 3, 1, 9), *parameters(1, 1, dtype=torch.bfloat16)]
    assert list(gradients._buckets(learning, range(6))) == [[0, 1], [2], [3], [4, 5]]
    assert list(gradients._buckets(learning, [0, 2, 5])) == [[0, 2], [5]]
    assert list(gradients._buckets(learning, [])) == []
