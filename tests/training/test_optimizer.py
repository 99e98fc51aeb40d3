"""Updates against AdamW and Adafactor by hand, master weights, warm-up, clipping, and going on from a saved state."""

import pytest
import torch
from torch import nn

from selfportrait.training.optimizer import ActiveOptimizer, Optimizer


def start(dtype: torch.dtype = torch.float32, **settings) -> tuple[nn.Parameter, ActiveOptimizer]:
    parameter = nn.Parameter(torch.full((3,), 0.02, dtype=dtype))
    return parameter, Optimizer(**settings).start({"weight": parameter})


def take_steps(parameters: dict[str, nn.Parameter], optimizer: ActiveOptimizer, steps: range) -> None:
    """Steps with gradients that depend on the step alone."""
    for step in steps:
        optimizer.zero_grad()
        for name, parameter in parameters.items():
            generator = torch.Generator().manual_seed(1000 * step + len(name))
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        optimizer.step()


def model() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {
        "full": nn.Parameter(torch.randn(4, 3, generator=generator)),
        "half": nn.Parameter(torch.randn(5, generator=generator).bfloat16()),
        "conv": nn.Parameter(torch.randn(2, 3, 4, 4, generator=generator).to(memory_format=torch.channels_last)),
    }


def test_first_step_by_hand() -> None:
    # AdamW's first step is learning_rate * g / (|g| + epsilon): .1 down for any gradient g > 0.
    parameter, optimizer = start(learning_rate=0.1)
    parameter.grad = torch.tensor([0.3, 0.01, -0.2])
    norm = optimizer.step()
    assert parameter.tolist() == pytest.approx([-0.08, -0.08, 0.12], abs=1e-6)
    assert norm.item() == pytest.approx((0.09 + 0.0001 + 0.04) ** 0.5)
    assert not norm.requires_grad


def test_weight_decay_is_off_by_default() -> None:
    parameter, optimizer = start()
    parameter.grad = torch.zeros(3)
    optimizer.step()
    assert parameter.tolist() == torch.full((3,), 0.02).tolist()


def test_decay_by_hand() -> None:
    # Decay is decoupled from the gradient: a rate of 1 and a decay of .1 leave .9 of the weight.
    parameter, optimizer = start(learning_rate=1.0, weight_decay=0.1)
    parameter.grad = torch.zeros(3)
    optimizer.step()
    assert parameter.tolist() == pytest.approx([0.018] * 3)


def test_tiny_updates_vanish_without_master_weights() -> None:
    # The trap: in bfloat16, whose neighbours at .02 are 1.2e-4 apart, weight - 4e-8 is the weight.
    weight = torch.tensor(0.02, dtype=torch.bfloat16)
    assert (weight - 4e-8) == weight
    parameter, optimizer = start(torch.bfloat16, learning_rate=4e-8)
    before = optimizer.weights["weight"].detach().clone()
    for _ in range(3):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    moved = before.double() - optimizer.weights["weight"].double()
    # three steps of 4e-8, each rounded to float32's 1.9e-9 at .02
    assert moved.tolist() == pytest.approx([1.2e-7] * 3, abs=4e-9)
    assert torch.equal(parameter, torch.full((3,), 0.02, dtype=torch.bfloat16))
    assert parameter.dtype == torch.bfloat16


def test_masters_add_up_to_a_step_of_the_parameter() -> None:
    parameter, optimizer = start(torch.bfloat16, learning_rate=1e-5)
    for _ in range(12):  # bfloat16's neighbours at .02 are 2^-13 = 12.2e-5 apart
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert torch.equal(parameter, torch.full((3,), 0.02).bfloat16() - 2**-13)
    assert torch.equal(parameter, optimizer.weights["weight"].bfloat16())


def test_full_precision_has_no_copy() -> None:
    parameter, optimizer = start()
    assert optimizer.weights["weight"] is parameter
    assert not optimizer.masters


def test_warm_up_is_linear_then_constant() -> None:
    parameter, optimizer = start(learning_rate=0.4, warmup_steps=4)
    rates = []
    for _ in range(6):
        rates.append(optimizer.learning_rate)
        parameter.grad = torch.ones(3)
        before = parameter.detach().clone()
        optimizer.step()
        # a constant gradient makes every Adam step the learning rate
        assert (before - parameter).tolist() == pytest.approx([rates[-1]] * 3, rel=1e-4)
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_clipping_bounds_the_norm_and_reports_it_before() -> None:
    parameter, optimizer = start(max_grad_norm=1.0)
    parameter.grad = torch.tensor([3.0, 0.0, 4.0])
    assert optimizer.step().item() == pytest.approx(5.0)
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.0, 0.8], abs=1e-5)
    parameter, optimizer = start(max_grad_norm=None)
    parameter.grad = torch.tensor([3.0, 0.0, 4.0])
    assert optimizer.step().item() == pytest.approx(5.0)
    assert parameter.grad.tolist() == [3.0, 0.0, 4.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_is_not_finite_touches_nothing(bad: float, dtype: torch.dtype) -> None:
    parameter, optimizer = start(dtype)
    before = parameter.detach().clone()
    parameter.grad = torch.tensor([1.0, bad, 1.0], dtype=dtype)
    with pytest.raises(ValueError, match="step 0 was not taken: the gradient norm is"):
        optimizer.step()
    assert torch.equal(parameter, before)
    assert optimizer.num_steps == 0


def test_a_parameter_without_gradient_stays() -> None:
    parameters = model()
    before = parameters["half"].detach().clone()
    optimizer = Optimizer(weight_decay=0.1).start(parameters)
    parameters["full"].grad = torch.ones(4, 3)
    optimizer.step()
    assert torch.equal(parameters["half"], before)


def test_zero_grad_forgets() -> None:
    parameter, optimizer = start()
    parameter.grad = torch.ones(3)
    optimizer.zero_grad()
    assert parameter.grad is None


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
@pytest.mark.parametrize("cut", [0, 3])
def test_resumed_equals_uninterrupted(cut: int, name: str) -> None:
    settings = Optimizer(name=name, learning_rate=1e-2, warmup_steps=5, weight_decay=0.01)
    whole = model()
    take_steps(whole, settings.start(whole), range(7))
    cut_off = model()
    first = settings.start(cut_off)
    take_steps(cut_off, first, range(cut))
    saved = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in first.state_dict().items()}
    resumed = {name: nn.Parameter(parameter.detach().clone()) for name, parameter in cut_off.items()}
    second = settings.start(resumed)
    second.load_state_dict(saved)
    take_steps(resumed, second, range(cut, 7))
    for key in whole:
        assert torch.equal(whole[key], resumed[key]), key
        assert whole[key].stride() == resumed[key].stride()


def test_the_first_steps_of_adafactor_by_hand() -> None:
    # The decay of step t is 1 - t^-.8: the first mean square is (.09, .0001, .04), an update g / |g|, whose own mean
    # square of 1 is not clipped. The second decay is 1 - 2^-.8 = .425651: for equal gradients nothing changes.
    parameter, optimizer = start(name="adafactor", learning_rate=0.1)
    for expected in ([-0.08, -0.08, 0.12], [-0.18, -0.18, 0.22]):
        parameter.grad = torch.tensor([0.3, 0.01, -0.2])
        optimizer.step()
        assert parameter.tolist() == pytest.approx(expected, abs=1e-6)


def test_adafactor_keeps_rows_and_columns() -> None:
    # g = (3 0; 4 0): rows' means (4.5, 8), columns' (12.5, 0); the estimate r c / mean(r) is 9 and 16 in the first
    # column, so the update is 1 there and its mean square .5; .1 down, after .1 x .01 of the weight.
    parameters = {"matrix": nn.Parameter(torch.full((2, 2), 1.0))}
    optimizer = Optimizer(name="adafactor", learning_rate=0.1, weight_decay=0.01, max_grad_norm=None).start(parameters)
    parameters["matrix"].grad = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    optimizer.step()
    assert parameters["matrix"].tolist() == [pytest.approx([0.899, 0.999])] * 2
    state = optimizer.state_dict()
    assert state["exp_avg_sq_row.matrix"].tolist() == pytest.approx([4.5, 8.0])
    assert state["exp_avg_sq_col.matrix"].tolist() == pytest.approx([12.5, 0.0])
    assert state.keys() == {"num_steps", "step.matrix", "exp_avg_sq_row.matrix", "exp_avg_sq_col.matrix"}


def test_settings_that_adafactor_would_ignore_are_refused() -> None:
    with pytest.raises(ValueError, match=r"optimizer\.beta2 = 0\.99: Adafactor has no beta2"):
        Optimizer(name="adafactor", beta2=0.99)
    state = Optimizer().start(model()).state_dict()
    parameters = model()
    adafactor = Optimizer(name="adafactor").start(parameters)
    take_steps(parameters, adafactor, range(1))
    with pytest.raises(ValueError, match="does not fit"):
        Optimizer().start(model()).load_state_dict(adafactor.state_dict() | state)


def test_resumed_keeps_masters_and_parameters_without_gradient() -> None:
    parameters = model()
    optimizer = Optimizer(learning_rate=1e-6).start(parameters)
    take_steps({"half": parameters["half"]}, optimizer, range(2))
    state = optimizer.state_dict()
    assert "step.full" not in state
    other = Optimizer(learning_rate=1e-6).start(model())
    other.load_state_dict(state)
    assert torch.equal(other.weights["half"], optimizer.weights["half"])
    assert not torch.equal(other.weights["half"], other.parameters["half"].float())
    assert other.state_dict().keys() == state.keys()


def test_state_of_another_model_is_said() -> None:
    parameters = model()
    optimizer = Optimizer().start(parameters)
    take_steps(parameters, optimizer, range(1))
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="master.half is missing"):
        Optimizer().start(model()).load_state_dict({k: v for k, v in state.items() if k != "master.half"})
    with pytest.raises(ValueError, match="exp_avg.full is of shape"):
        Optimizer().start(model()).load_state_dict(state | {"exp_avg.full": torch.zeros(2)})
    with pytest.raises(ValueError, match="exp_avg.extra is unknown"):
        Optimizer().start(model()).load_state_dict(state | {"exp_avg.extra": torch.zeros(2)})
    with pytest.raises(ValueError, match="got no parameters"):
        Optimizer().start({})


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    # warm-up in 2 steps; 4 more to the end: (1 + cos(0, 45, 90, 135, 180 degrees)) / 2 of the way from .1 to .02
    parameter, optimizer = start(learning_rate=0.1, warmup_steps=2, decay_steps=6, final_learning_rate=0.02)
    rates = []
    for _ in range(8):
        rates.append(optimizer.learning_rate)
        parameter.grad = torch.ones(3)
        optimizer.step()
    expected = [0.05, 0.1, 0.1, 0.02 + 0.08 * 0.853553, 0.06, 0.02 + 0.08 * 0.146447, 0.02, 0.02]
    assert rates == pytest.approx(expected, abs=1e-7)


def test_a_final_learning_rate_needs_a_step() -> None:
    with pytest.raises(ValueError, match=r"optimizer\.final_learning_rate = 1e-07: .*optimizer\.decay_steps"):
        Optimizer(final_learning_rate=1e-7)
