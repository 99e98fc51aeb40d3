"""The part of a pipeline that removes noise and learns: by adapters or whole, as it is and as it was, and on disk.

Read this to see what training changes, what it must not, and where the reference's weights come from.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig

from selfportrait import seeds as keyed
from selfportrait.models import _lora_files, _pipeline
from selfportrait.models._away import away, is_away
from selfportrait.models._reference import adds_nothing, snapshot, swapped, without_adapters
from selfportrait.models.base import Away

__all__ = ["Denoiser"]


class Denoiser:
    """A pipeline's `part`, transformer or unet; `hold` hands it the pipeline once that is loaded."""

    def __init__(
        self, part: str, targets: Sequence[str], *, train: Literal["lora", "full"], rank: int, alpha: float
    ) -> None:
        self.part, self.targets = part, targets
        self.train, self.rank, self.alpha = train, rank, alpha
        self._base: dict[str, torch.Tensor] | None = None
        self._learns: dict[str, torch.nn.Parameter] | None = None

    @property
    def what_learns(self) -> str:
        """In words."""
        return f"LoRA of rank {self.rank} on attention" if self.train == "lora" else f"the whole {self.part}"

    def hold(self, pipeline: Any, path: str, *, gradient_checkpointing: bool) -> Any:
        """Freeze the pipeline but for its part, make that trainable and return it."""
        self.pipeline, self.path, self.network = pipeline, path, getattr(pipeline, self.part).eval()
        for module in self.frozen_modules().values():
            module.requires_grad_(False).eval()
        if gradient_checkpointing:
            self.network.enable_gradient_checkpointing()
        self.make_trainable(self.network)
        self._learns = None
        return self.network

    def make_trainable(self, network: Any) -> None:
        """Give a network adapters, or let the whole of it learn."""
        network.requires_grad_(self.train == "full")
        if self.train == "full":
            return
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, target_modules=list(self.targets), init_lora_weights="gaussian"
        )
        with torch.random.fork_rng():
            torch.manual_seed(keyed.derive("lora", self.rank))
            network.add_adapter(config)

    def frozen_modules(self) -> dict[str, torch.nn.Module]:
        """Every other network of the pipeline, by name."""
        modules = self.pipeline.components.items()
        return {name: part for name, part in modules if isinstance(part, torch.nn.Module) and name != self.part}

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn: the adapters' or all of the network's."""
        if self._learns is None:  # every step asks, and looking through a network takes as long as its loss
            self._learns = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        return dict(self._learns)

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that must not change: autoencoder, text encoders, and the network under its adapters."""
        return {
            f"{prefix}.{name}": parameter
            for prefix, module in {**self.frozen_modules(), self.part: self.network}.items()
            for name, parameter in module.named_parameters()
            if not parameter.requires_grad
        }

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the network is as it was loaded, or as it was when it last became the reference."""
        if self.train == "lora" and self._base is None:
            return without_adapters(self.network)
        return swapped(self.trainable(), self._base_weights())

    def renew_reference(self) -> None:
        """From now on, the reference is the network as it is now: a copy of what learns; new adapters need none."""
        learns = self.trainable()
        self._base = None if self.train == "lora" and adds_nothing(learns) else snapshot(learns)

    def _base_weights(self) -> dict[str, torch.Tensor]:
        """The loaded network's weights, read from disk again the first time that a full fine-tune needs them."""
        if self._base is None:
            module = type(self.network).from_pretrained(
                self.path, subfolder=self.part, torch_dtype=self.network.dtype, use_safetensors=True
            )
            self._base = {name: value.detach().to(self.network.device) for name, value in module.named_parameters()}
        return self._base

    def without_encoders(self) -> Away:
        """Inside, of the whole pipeline only the part that learns takes memory; it gives contexts with all of it."""
        return away(list(self.frozen_modules().values()), self.network.dtype)

    def check_encoders(self) -> None:
        """Refuse to use text encoders or autoencoder while they are put away; raises RuntimeError."""
        if any(is_away(module, self.network.device) for module in self.frozen_modules().values()):
            raise RuntimeError(
                "text encoders and autoencoder are put away while the model trains: encode, decode and save before "
                "`without_encoders` begins or after it ends"
            )

    def save(self, folder: Path) -> None:
        """Write a whole pipeline (full) or `pytorch_lora_weights.safetensors` for `load_lora_weights` (LoRA)."""
        if self.train == "full":
            self.check_encoders()
            _pipeline.reset_tokenizers(self.pipeline)
            self.pipeline.save_pretrained(folder, safe_serialization=True)
        else:
            _lora_files.save(self.pipeline, self.part, folder)

    def load_adapter(self, folder: Path) -> None:
        """Take up LoRA weights that `save` wrote."""
        _lora_files.load(self.pipeline, self.part, folder, f"model.lora_rank = {self.rank} of {self.path}")
