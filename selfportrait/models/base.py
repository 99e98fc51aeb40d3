"""What a model offers to the rest: small protocols, so that a recipe asks for what it needs and no more.

Read this before adding a model family. A model never sees a loss. `Writes` and `Answers` are defined with the requests
in words, in `selfportrait/asking/`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import torch
from PIL import Image

from selfportrait.asking.base import Answers, Turn, Writes
from selfportrait.types import Draw

__all__ = [
    "Answers",
    "Attends",
    "Away",
    "Conditioning",
    "Denoises",
    "Draws",
    "DrawsTokens",
    "EncodedText",
    "Samples",
    "Sizes",
    "TokenModel",
    "Tokenizes",
    "Transition",
    "Turn",
    "Writes",
    "YesNo",
    "num_factors",
    "transition_logp",
]

Away = AbstractContextManager[Callable[[], AbstractContextManager[None]]]
"""As long as it lasts something is put away; what it gives makes contexts inside which that is back."""
LEAST_STD = 1e-4  # the last step of a sampler may have next to no noise


class Conditioning(Protocol):
    """Prompts as a model was given them, a row each; what is inside is the model's own business."""

    def repeat(self, count: int) -> Self:
        """Each prompt `count` times in a row: (B * count, ...)."""
        ...

    def rows(self, index: torch.Tensor | slice) -> Self:
        """The conditioning of some rows."""
        ...


class EncodedText(NamedTuple):
    """The conditioning of a diffusion or flow model: context (B, T, D) and pooled (B, P)."""

    context: torch.Tensor
    pooled: torch.Tensor

    def repeat(self, count: int) -> "EncodedText":
        """Each prompt `count` times in a row: (B * count, ...)."""
        return EncodedText(*(part.repeat_interleave(count, 0) for part in self))

    def rows(self, index: torch.Tensor | slice) -> "EncodedText":
        """The conditioning of some rows."""
        return EncodedText(*(part[index] for part in self))


class Samples(NamedTuple):
    """Pictures and what they were made of: clean latents (B, C, H, W) or token ids (B, T)."""

    images: list[Image.Image]
    content: torch.Tensor


class YesNo(NamedTuple):
    """How likely the next word is yes, and how likely it is no, among all words of the vocabulary: (B,) each."""

    p_yes: torch.Tensor
    p_no: torch.Tensor


class Transition(NamedTuple):
    """Where a step of a stochastic sampler leads: a Gaussian of this mean (B, C, H, W) and standard deviation (B,)."""

    mean: torch.Tensor
    std: torch.Tensor


def transition_logp(noisy: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """The log-density of where a step led, averaged over C, H and W, in float32: (B,).

    Equation: -(x - mean)^2 / (2 std^2) - log std - log sqrt(2 pi), with std at least 1e-4.
    Shapes: noisy and mean (B, C, H, W), std (B,).
    Source: SPO's ddim_with_logprob.py at 27a8642 and flow_grpo's sd3_sde_with_logprob.py at ac4c86e.
    """
    std = std.float().clamp(min=LEAST_STD)
    distance = ((noisy.float() - mean.float()) / std[:, None, None, None]).square().mean(dim=(1, 2, 3))  # (B,)
    return -distance / 2 - std.log() - math.log(2 * math.pi) / 2


@dataclass(frozen=True)
class Sizes:
    """What a model weighs by its configuration alone: numbers of parameters, and bytes.

    `source` says where the configuration is from; `parts` are parameters by part, without adapters, `num_trained` how
    many learn, `num_factors` their rows and columns as `num_factors` counts them, `what_learns` in words, and
    `num_tokens` how many places of the sequence a picture takes. Bytes: all weights; those that learn; keys and values
    of one token of a row while it draws; what one token of each row leaves for the backward pass, and what it takes of
    one row alone; decoding pictures; and of all weights those of encoders, which can be put away while the rest learns.
    The four before the last are estimates.
    """

    source: str
    parts: Mapping[str, int]
    num_trained: int
    num_factors: int
    what_learns: str
    num_tokens: int
    weight_bytes: int
    trained_bytes: int
    cache_bytes: int
    kept_bytes: int
    once_bytes: int
    decoding_bytes: int
    encoder_bytes: int = 0


def num_factors(parameters: Iterable[torch.nn.Parameter]) -> int:
    """Count rows and columns of the last two dimensions of what learns, and the numbers of a vector."""
    shapes = [parameter.shape for parameter in parameters if parameter.requires_grad]
    return sum(shape.numel() if len(shape) < 2 else shape[:-2].numel() * (shape[-2] + shape[-1]) for shape in shapes)


class Draws(Protocol):
    """A model that draws pictures and says how likely it was to draw one.

    `is_exact` tells whether its log-likelihoods are exact, as a token model's are, or an error at a draw.
    """

    is_exact: bool

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts; a text that was encoded lately is kept."""
        ...

    def sample(self, conditioning: Conditioning, seeds: Sequence[int]) -> Samples:
        """Draw one picture a row and seed."""
        ...

    def log_likelihood(
        self,
        content: torch.Tensor,
        conditioning: Conditioning,
        draw: Draw | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """How likely the model is to draw each row's content: (B,) in float32, differentiable in the policy's weights.

        A diffusion or flow model returns minus the mean (weighted) denoising error at a draw, which it needs. A token
        model returns the exact sum of its tokens' (weighted) log-probabilities, and knows no draw.
        """
        ...

    def load(self) -> object:
        """Bring the weights; everything before it is cheap."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the network is what it was before training, or at the last `renew_reference`, without gradient."""
        ...

    def renew_reference(self) -> None:
        """From now on, the reference is the policy as it is now: a round begins."""
        ...

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn, by name."""
        ...

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that training must leave alone, by name."""
        ...

    def save(self, folder: Path) -> None:
        """Write what a user takes away."""
        ...

    def sizes(self) -> Sizes | None:
        """What the model takes, before `load` and without a network; None where its configuration is not here."""
        ...


class Denoises(Draws, Protocol):
    """A model that draws by removing noise, and so can take any picture up to a noise level and back.

    A noise level is a sigma in [0, 1], 0 being clean: the share of noise of a flow model, the time t / T of one with
    timesteps. Rows may have different levels: sigma and to are (B,), everything else (B, C, H, W). What these methods
    compute is in float32, and with gradient unless the caller switches it off.
    """

    @property
    def picture_size(self) -> int:
        """Pixels of a picture's side, known before the weights are there."""
        ...

    def encode(self, prompts: Sequence[str]) -> EncodedText:
        """Encode prompts, each text alone; what was encoded lately is kept."""
        ...

    def without_encoders(self) -> Away:
        """Inside, only the network that learns takes memory on the device, and nothing can be encoded or decoded.

        It gives a context inside which everything is back. After it text encoders and autoencoder are what they were,
        bit for bit. On a CPU they are read from the disk again; raises ValueError where they are not there any more.
        """
        ...

    def latents(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Clean latents of pictures of that size, the same every time and whatever is beside them."""
        ...

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Pictures of clean latents."""
        ...

    def noised(self, content: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Clean latents with noise up to a level: the noisy latents at which a draw is evaluated."""
        ...

    def noise_in(self, noisy: torch.Tensor, content: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The noise with which `noised` returns these noisy latents, at a level above 0."""
        ...

    def step(
        self,
        noisy: torch.Tensor,
        conditioning: Conditioning,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
        label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The deterministic sampler's step from one level to another, down to draw or up to invert.

        `label` (B,) is the level that the network is told instead of the first, as published code has it.
        """
        ...

    def transition(
        self,
        noisy: torch.Tensor,
        conditioning: Conditioning,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
    ) -> Transition:
        """The stochastic sampler's step to a lower level, of which `transition_logp` is the log-density."""
        ...


class DrawsTokens(Draws, Protocol):
    """A model that draws tokens, and so can say how likely it was to draw each one of a picture."""

    def token_log_likelihood(self, content: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """The log-probability of each token of each row: (B, T) in float32, which `log_likelihood` is the sum of."""
        ...


class Attends(Protocol):
    """A model that shows where in a picture it looked at which words of the prompt."""

    def span(self, prompt: str, word: str) -> tuple[int, ...]:
        """The positions of an object's word in the encoded prompt; empty when it is not in there."""
        ...

    def attend(
        self, content: torch.Tensor, conditioning: Conditioning, spans: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """Map each row's objects, given as spans of the prompt, onto the picture: (B, objects, h, w) in [0, 1]."""
        ...


class Tokenizes(Draws, Protocol):
    """A model that turns pictures which somebody brings into the tokens it would draw them with."""

    @property
    def picture_size(self) -> int:
        """Pixels of a picture's side, known before the weights are there."""
        ...

    def tokenize(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """The tokens of each picture: (B, T)."""
        ...


class TokenModel(DrawsTokens, Attends, Tokenizes, Protocol):
    """A model that draws tokens and shows where it looked at which words."""
