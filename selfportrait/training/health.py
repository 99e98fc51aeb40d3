"""Tripwires before and during training, and an alarm for collapse that never stops a run.

Read this when a run ended with one of these sentences, or to see what "collapse" means in the metrics.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Parameter

__all__ = [
    "Monitor",
    "NonFiniteLoss",
    "check_changed",
    "check_finite",
    "check_gradient",
    "check_trainable",
    "check_unchanged",
    "diversity",
    "fingerprint",
]

log = logging.getLogger(__name__)


class NonFiniteLoss(ValueError):
    """The loss became NaN or infinite; the message names the folder that holds the batch."""


def check_trainable(parameters: Mapping[str, Parameter]) -> None:
    """Raise ValueError unless there are parameters and each of them asks for a gradient."""
    frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    if frozen or not parameters:
        raise ValueError(
            f"nothing can be trained: {len(frozen)} of {len(parameters)} trainable parameters are frozen"
            f"{f' (such as {frozen[0]})' if frozen else ''}, expected at least one and none frozen; "
            "check what the model's train setting makes trainable."
        )


def check_gradient(parameters: Mapping[str, Parameter]) -> None:
    """Raise ValueError after a backward pass that brought no gradient, only zeros, or one that is not finite."""
    gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    if not gradients:
        raise ValueError(
            f"no gradient reached the policy: none of its {len(parameters)} trainable parameters has one after the "
            "backward pass; the loss must be computed from the policy's own log-likelihoods, outside no_grad."
        )
    norms = torch.stack([gradient.detach().float().norm().cpu() for gradient in gradients.values()])
    if not torch.isfinite(norms).all():
        name = list(gradients)[int((~torch.isfinite(norms)).nonzero()[0])]
        raise ValueError(
            f"the gradient of {name} is not finite after the first backward pass; train in float32 or bfloat16."
        )
    if not norms.any():
        raise ValueError(
            f"the gradient is zero in all {len(gradients)} parameters that have one; "
            "are all advantages zero, or is every candidate stopped by the guard?"
        )


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, types, shapes and bytes of named tensors, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_changed(before: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError when a step left every trained weight as `before`, their earlier fingerprint, saw it."""
    if fingerprint(tensors) == before:
        raise ValueError(
            f"the optimizer step changed none of the {len(tensors)} trained parameters; "
            "raise the learning rate, or check that the optimizer holds these very parameters."
        )


def check_unchanged(before: str, tensors: Mapping[str, Tensor], *, what: str = "reference") -> None:
    """Raise ValueError when training changed weights that must stay as `before`, their earlier fingerprint, saw."""
    if fingerprint(tensors) != before:
        raise ValueError(
            f"training changed the {what}: its {len(tensors)} tensors are not what they were at the start; "
            "it must be a frozen copy or the model with its adapters off, and shares no trained weight."
        )


def check_finite(
    loss: Tensor, folder: Path, *, step: int, batch: Mapping[str, Tensor], details: Mapping[str, Any]
) -> None:
    """Raise NonFiniteLoss when any loss is NaN or infinite, after saving what it was computed from.

    The batch goes to folder/non-finite-<step>/batch.safetensors, the details (prompts, seeds, settings; JSON) and the
    losses to batch.json beside it.
    """
    if torch.isfinite(loss).all():
        return
    target = folder / f"non-finite-{step:05d}"
    target.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in batch.items()
    }
    save_file(tensors, target / "batch.safetensors")
    record = {"step": step, "loss": [str(value) for value in loss.detach().flatten().tolist()], **details}
    (target / "batch.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    raise NonFiniteLoss(
        f"the loss of step {step} is not finite in {int((~torch.isfinite(loss)).sum())} of {loss.numel()} terms; "
        f"the batch is saved in {target}; lower the learning rate, set a guard, or train in float32."
    )


@torch.no_grad()
def diversity(latents: Tensor) -> Tensor:
    """Average the distance between the candidates of a group over pairs and groups: (P, G, ...) -> scalar.

    The distance is the root mean square over latent elements: two independent unit normal latents are sqrt(2) apart.
    """
    flat = latents.flatten(2).float()  # (P, G, D)
    num_prompts, group_size, num_elements = flat.shape
    assert group_size > 1, "one candidate has no distance to another"
    distances: Tensor = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")  # (P, G, G)
    mean: Tensor = distances.sum() / (num_prompts * group_size * (group_size - 1) * num_elements**0.5)
    return mean


def is_measured(value: float | None) -> TypeGuard[float]:
    """Say whether a step measured a value: neither None nor NaN."""
    return value is not None and not math.isnan(value)


@dataclass
class Series:
    """A measured value against its own beginning: the first values, the last ones, and whether the alarm is on."""

    first: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    is_raised: bool = False

    def observe(self, value: float, window: int) -> float | None:
        """Take a value in; return the mean of the last `window` over that of the first, None until there are enough."""
        if len(self.first) < window:
            self.first.append(value)
            return None
        self.recent = [*self.recent, value][-window:]
        if len(self.recent) < window or not sum(self.first):  # nothing can be told relative to a start of 0
            return None
        return sum(self.recent) / sum(self.first)


class Monitor:
    """Watch for the ways in which preference training collapses, relative to the first `window` steps of a round.

    - `diversity_collapse`: candidates of a group become alike; mean pairwise latent distance below `min_diversity`
      times what it was.
    - `error_runaway`: below-average candidates are pushed away without end; the ratio of their denoising error to
      that of above-average ones above `max_error_ratio` times what it was.

    - `chosen_forgotten`: the denoising error of the chosen, or minus their log-likelihood a token, above
      `max_chosen_error` times what it was: the model learns what not to draw and forgets what to draw.

    All look at means over `window` steps. An event is raised when a limit is crossed, and again only after the value
    came back. Events go to the metrics and to the log; whether to stop is for people to decide.
    """

    def __init__(
        self,
        *,
        window: int = 5,
        min_diversity: float = 0.5,
        max_error_ratio: float = 1.5,
        max_chosen_error: float = 1.2,
    ) -> None:
        assert window >= 1
        self.window = window
        self.min_diversity = min_diversity
        self.max_error_ratio = max_error_ratio
        self.max_chosen_error = max_chosen_error
        self.series = {"diversity_collapse": Series(), "error_runaway": Series()}

    def observe(
        self,
        step: int,
        *,
        diversity: float | None = None,
        error_above: float | None = None,
        error_below: float | None = None,
        error_chosen: float | None = None,
    ) -> list[dict[str, Any]]:
        """Take one step's numbers in, None or NaN for one not measured; return its events.

        An event is a dict of name, step, value (relative to the start) and threshold.
        """
        events = []
        if is_measured(diversity):
            share = self.series["diversity_collapse"].observe(diversity, self.window)
            is_low = share is not None and share < self.min_diversity
            events += self._event("diversity_collapse", step, share, self.min_diversity, is_low)
        if is_measured(error_above) and is_measured(error_below) and error_above > 0:
            ratio = self.series["error_runaway"].observe(error_below / error_above, self.window)
            is_high = ratio is not None and ratio > self.max_error_ratio
            events += self._event("error_runaway", step, ratio, self.max_error_ratio, is_high)
        if is_measured(error_chosen):
            growth = self.series.setdefault("chosen_forgotten", Series()).observe(error_chosen, self.window)
            is_high = growth is not None and growth > self.max_chosen_error
            events += self._event("chosen_forgotten", step, growth, self.max_chosen_error, is_high)
        return events

    def _event(
        self, name: str, step: int, value: float | None, threshold: float, is_crossed: bool
    ) -> list[dict[str, Any]]:
        series = self.series[name]
        was_raised, series.is_raised = series.is_raised, is_crossed
        if was_raised or not is_crossed:
            return []
        log.warning("%s at step %d: %.3g times the start, threshold %.3g", name, step, value, threshold)
        return [{"name": name, "step": step, "value": value, "threshold": threshold}]

    def state(self) -> dict[str, Any]:
        """Return what it has seen as JSON, exact to the last bit, for the checkpoint."""
        return {name: asdict(series) for name, series in self.series.items()}

    def load_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from a saved state."""
        self.series = {name: Series(**series) for name, series in state.items()}
