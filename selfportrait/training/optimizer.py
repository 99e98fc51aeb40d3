"""AdamW or Adafactor with fp32 master weights, linear warm-up, cosine decay and a clipped gradient norm.

Read this to see what one update does to the weights once the gradients are there.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import Parameter

__all__ = ["ActiveOptimizer", "Optimizer"]

LOW_PRECISION = (torch.bfloat16, torch.float16)
FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}
WEIGHT_SIZE = "RMS"  # Adafactor notes it at every step, and does not go on from it
OF_ADAMW = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW or Adafactor at a constant learning rate after a linear warm-up, or one that decays; gradients clipped.

    `adafactor` is that of the published code on Stable Diffusion XL: the learning rate as it is given, neither relative
    to the weights nor to the step, no first moment, a decay of 1 - t^-0.8, updates clipped at a mean square of 1. It
    keeps a mean for each row and column of a matrix (of a kernel, for a convolution) instead of two numbers a weight,
    and has no use for beta1, beta2 and epsilon.
    With decay_steps the rate falls after the warm-up along half a cosine, to final_learning_rate at that step and
    beyond; who trains for fewer steps stops on the way. weight_decay is 0 here where AdamW's usual default is 0.01: at
    the learning rates of preference optimisation decay only pulls a finished model towards zero. max_grad_norm None
    clips nothing.
    """

    name: Literal["adamw", "adafactor"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-5
    beta1: Annotated[float, Field(ge=0, lt=1)] = OF_ADAMW["beta1"]
    beta2: Annotated[float, Field(ge=0, lt=1)] = OF_ADAMW["beta2"]
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = OF_ADAMW["epsilon"]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay_steps: Annotated[int, Field(ge=1)] | None = None
    final_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0

    def __post_init__(self) -> None:
        if self.decay_steps is None and self.final_learning_rate:
            raise ValueError(
                f"optimizer.final_learning_rate = {self.final_learning_rate:g}: the rate stays as it is without "
                "optimizer.decay_steps; give the step at which it is reached"
            )
        unused = [name for name, default in OF_ADAMW.items() if getattr(self, name) != default]
        if self.name == "adafactor" and unused:
            raise ValueError(
                f"optimizer.{unused[0]} = {getattr(self, unused[0]):g}: Adafactor has no {unused[0]}; leave it out, or "
                "give optimizer.name = adamw"
            )

    def start(self, parameters: Mapping[str, Parameter]) -> "ActiveOptimizer":
        """Attach to the parameters of one model; raises ValueError when there are none."""
        return ActiveOptimizer(self, parameters)


class ActiveOptimizer:
    """An optimizer at work on named parameters.

    A bfloat16 or float16 parameter gets a float32 master copy that the updates accumulate in, because an update of a
    learning rate such as 4e-8 rounds to nothing in the parameter itself; it is written back after every step.
    Gradients are accumulated in the parameter's own precision. float16 gradients are not scaled: train float16
    checkpoints in float32 or bfloat16.
    """

    def __init__(self, settings: Optimizer, parameters: Mapping[str, Parameter]) -> None:
        if not parameters:
            raise ValueError("the optimizer got no parameters; choose a model setting that leaves some trainable.")
        self.settings = settings
        self.parameters = dict(parameters)
        self.masters = {
            name: Parameter(parameter.detach().float())
            for name, parameter in parameters.items()
            if parameter.dtype in LOW_PRECISION
        }
        self.num_steps = 0
        self.inner = (_adafactor if settings.name == "adafactor" else _adamw)(settings, list(self.weights.values()))

    @property
    def weights(self) -> dict[str, Parameter]:
        """The weights in the precision they are trained in: masters where there are some, else the parameters."""
        return {name: self.masters.get(name, parameter) for name, parameter in self.parameters.items()}

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        rate, warm, end = self.settings.learning_rate, self.settings.warmup_steps, self.settings.decay_steps
        if self.num_steps < warm:
            return rate * (self.num_steps + 1) / warm
        if end is None:
            return rate
        done = min(1.0, (self.num_steps - warm) / max(1, end - warm))
        final = self.settings.final_learning_rate
        return final + (rate - final) * (1 + math.cos(math.pi * done)) / 2

    def step(self) -> Tensor:
        """Clip, update, write masters back; return the gradient norm before clipping, a detached scalar.

        Raises ValueError, with no weight touched, when the norm is not finite.
        """
        weights = self.weights
        for name, master in self.masters.items():
            gradient = self.parameters[name].grad
            master.grad = None if gradient is None else gradient.float()
        gradients = [weight.grad for weight in weights.values() if weight.grad is not None]
        grad_norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(grad_norm):
            raise ValueError(
                f"step {self.num_steps} was not taken: the gradient norm is {grad_norm.item()}, expected a finite "
                "number; lower the learning rate or train in float32."
            )
        limit = self.settings.max_grad_norm
        if limit is not None and grad_norm > limit:  # a pass over all gradients, left out where it would multiply by 1
            torch.nn.utils.clip_grads_with_norm_(weights.values(), limit, grad_norm)
        for group in self.inner.param_groups:
            group["lr"] = self.learning_rate
        self.inner.step()
        self._write_back()
        self.num_steps += 1
        return grad_norm

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.parameters.values(), *self.masters.values()):
            tensor.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a resumed run needs as flat tensors, on the optimizer's own memory: save before stepping."""
        state = {"num_steps": torch.tensor(self.num_steps)}
        state |= {f"master.{name}": master.detach() for name, master in self.masters.items()}
        for name, weight in self.weights.items():
            own = {key: value for key, value in self.inner.state[weight].items() if key != WEIGHT_SIZE}
            state |= {f"{key}.{name}": torch.as_tensor(value).detach() for key, value in own.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state; raises ValueError when it belongs to other parameters."""
        remaining = dict(state)
        steps = remaining.pop("num_steps", None)
        for name, weight in self.weights.items():
            for key, place in self._places(name, weight, remaining):
                value = remaining.pop(key, None)
                if value is None or value.shape != place.shape:
                    raise ValueError(
                        f"the optimizer state does not fit the model: {key} is "
                        f"{'missing' if value is None else f'of shape {tuple(value.shape)}'}, expected shape "
                        f"{tuple(place.shape)}; resume with the model settings the run was started with."
                    )
                with torch.no_grad():
                    place.copy_(value)
        if steps is None or remaining:
            raise ValueError(
                f"the optimizer state does not fit the model: {next(iter(remaining), 'num_steps')} is "
                f"{'missing' if steps is None else 'unknown'}; resume with the model settings the run was started with."
            )
        self.num_steps = int(steps)
        if self.settings.name == "adafactor":
            for own in self.inner.state.values():
                own["step"] = int(own["step"])  # where AdamW has a tensor
        self._write_back()

    def _places(self, name: str, weight: Parameter, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Yield the keys a parameter's state is saved under and the tensors it is loaded into."""
        if name in self.masters:
            yield f"master.{name}", self.masters[name]
        self.inner.state.pop(weight, None)
        if f"step.{name}" not in state:  # no gradient has reached this parameter yet
            return
        made = _factors(weight) if self.settings.name == "adafactor" else _moments(weight, self.inner.defaults["fused"])
        self.inner.state[weight] = made
        for key, place in made.items():
            yield f"{key}.{name}", place

    def _write_back(self) -> None:
        """Round the masters into the parameters."""
        with torch.no_grad():
            for name, master in self.masters.items():
                self.parameters[name].copy_(master)
                master.grad = None


def _adamw(settings: Optimizer, weights: list[Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        weights,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=all(weight.device.type in FUSED_DEVICES for weight in weights),
    )


def _adafactor(settings: Optimizer, weights: list[Parameter]) -> torch.optim.Optimizer:
    """The one of transformers: that of torch always takes its steps relative to the weights."""
    from transformers.optimization import Adafactor  # takes seconds, which a run with AdamW need not spend

    made: Any = Adafactor(
        weights,
        lr=settings.learning_rate,
        scale_parameter=False,
        relative_step=False,
        clip_threshold=1.0,
        weight_decay=settings.weight_decay,
    )
    assert isinstance(made, torch.optim.Optimizer)
    return made


def _moments(weight: Parameter, is_fused: bool) -> dict[str, Tensor]:
    """An empty state of AdamW for a weight."""
    step = torch.zeros((), dtype=torch.float32, device=weight.device if is_fused else "cpu")
    moments = {key: torch.zeros_like(weight, memory_format=torch.preserve_format) for key in ("exp_avg", "exp_avg_sq")}
    return {"step": step, **moments}


def _factors(weight: Parameter) -> dict[str, Tensor]:
    """An empty state of Adafactor for a weight: a number a row and a column of its last two dimensions."""
    shape, step = weight.shape, torch.zeros((), dtype=torch.int64)
    if weight.ndim < 2:
        return {"step": step, "exp_avg_sq": weight.new_zeros(shape)}
    rows, columns = weight.new_zeros(shape[:-1]), weight.new_zeros((*shape[:-2], shape[-1]))
    return {"step": step, "exp_avg_sq_row": rows, "exp_avg_sq_col": columns}
