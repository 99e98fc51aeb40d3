"""What the embedded pipelines share while they are trained: captions, text encoders, pictures, and one update.

Read this with flow.py and unet.py, which say what a denoiser is and what it learns. The captions are not all true: like
captions of the web they overlook things, so the trained models draw too many, and have that to improve.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DiffusionPipeline
from transformers import CLIPTextConfig, CLIPTokenizer

from selfportrait.micro.autoencoder import pixels_of
from selfportrait.micro.language import NUMBERS, PLACES, RELATIONS, say
from selfportrait.micro.scenes import claim, is_held_out, lay_out, place_word, with_one_more
from selfportrait.micro.world import BACKGROUNDS, COLOURS, SHAPES, Scene, render

__all__ = [
    "TOKENS",
    "Batch",
    "Trainer",
    "TrainingSet",
    "make_training_set",
    "new_tokenizer",
    "save",
    "text_config",
    "vocabulary",
]

TOKENS = 18
EMPTY_PROMPTS = 0.1
OVERLOOKED = 0.4  # share of counting captions that say one fewer than there is
ENCODED_AT_ONCE = 25  # pictures; full-resolution activations of more leave a CPU's cache
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def vocabulary() -> list[str]:
    words = [
        "a",
        "an",
        "and",
        "on",
        "at",
        "in",
        "the",
        "background",
        "small",
        "large",
        *NUMBERS,
        *COLOURS,
        *BACKGROUNDS,
    ]
    words += [part for phrase in (*RELATIONS, *PLACES) for part in phrase.split()]
    words += [form for shape in SHAPES for form in (shape, shape + ("es" if shape == "cross" else "s"))]
    return list(dict.fromkeys(words))


def _split(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding of a word: apply each merge in order of rank."""
    parts = [*word[:-1], word[-1] + "</w>"]
    for pair in merges:
        index = 0
        while index < len(parts) - 1:
            if (parts[index], parts[index + 1]) == pair:
                parts[index : index + 2] = ["".join(pair)]
            index += 1
    return parts


def new_tokenizer(words: list[str]) -> CLIPTokenizer:
    """A CLIP tokenizer that knows these words whole and spells every other word by letters."""
    symbols = [*LETTERS, '"', ",", "."]
    tokens = dict.fromkeys(form for symbol in symbols for form in (symbol, symbol + "</w>"))
    merges: list[tuple[str, str]] = []
    for word in words:
        while len(parts := _split(word, merges)) > 1:
            merges.append((parts[0], parts[1]))
            tokens[parts[0] + parts[1]] = None
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=TOKENS,
        pad_token="<|endoftext|>",  # noqa: S106
    )


def text_config(tokenizer: CLIPTokenizer, *, width: int, layers: int, **settings: Any) -> CLIPTextConfig:
    """The configuration of a small CLIP text encoder with heads of 32."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=TOKENS,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )


class TrainingSet(NamedTuple):
    """Token ids (N, T) and scaled latents (N, C, H, W) of training prompts and their pictures."""

    tokens: torch.Tensor
    latents: torch.Tensor


def _examples(categories: dict[str, float], rng: random.Random) -> Iterator[tuple[str, Scene]]:
    while True:
        category = rng.choices(list(categories), list(categories.values()))[0]
        if category == "text" and rng.random() < 0.5:  # any letters, so that unseen words can be spelt
            letters = "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 5)))
            yield f'the word "{letters}"', Scene(word=place_word(letters, rng))
            continue
        drawn = claim(category, rng)
        if not is_held_out(text := say(drawn)):
            is_overlooked = category == "numeracy" and rng.random() < OVERLOOKED
            yield text, lay_out(with_one_more(drawn, rng) if is_overlooked else drawn, rng)


@torch.no_grad()
def make_training_set(
    pipeline: DiffusionPipeline,
    categories: dict[str, float],
    *,
    size: int,
    seed: int,
    device: str = "cpu",
    on_step: Callable[[int], None],
) -> TrainingSet:
    """Draw and encode `size` examples of training prompts; categories map to their shares."""
    vae = pipeline.vae.to(device).eval()
    rng = random.Random(f"flow-{seed}")
    examples = _examples(categories, rng)
    tokens, latents = [], []
    for _ in range(0, size, 250):
        texts, scenes = zip(*(next(examples) for _ in range(250)), strict=True)
        pictures = pixels_of([render(scene) for scene in scenes]).to(device)
        mean = torch.cat([vae.encode(part).latent_dist.mean for part in pictures.split(ENCODED_AT_ONCE)])
        latents.append(((mean - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor).half().cpu())
        tokens.append(pipeline.tokenizer(list(texts), padding="max_length", return_tensors="pt").input_ids)
        on_step(250)
    return TrainingSet(torch.cat(tokens), torch.cat(latents))


class Batch(NamedTuple):
    """What one update looks at: token ids (B, T), clean latents and noise (B, C, H, W), and times u (B,) in (0, 1)."""

    tokens: torch.Tensor
    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor


class Trainer:
    """The optimizer state of a pipeline's denoiser and text encoders; `step` is one update.

    `loss` says what they learn of a batch. Matrices of which `is_block` says so of their name learn by Muon, everything
    else by AdamW.
    """

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module],
        loss: Callable[[Batch], torch.Tensor],
        is_block: Callable[[str], bool],
        empty: torch.Tensor,
        *,
        steps: int,
        batch: int = 128,
        learning_rate: float = 1e-3,
        muon_learning_rate: float = 2e-3,
        ema_decay: float = 0.9985,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.steps, self.batch, self.seed, self.device, self.ema_decay = steps, batch, seed, device, ema_decay
        self.loss, self.empty = loss, empty.to(device)
        self.parameters = {
            f"{prefix}.{name}": parameter
            for prefix, module in modules.items()
            for name, parameter in module.to(device).train().named_parameters()
        }
        matrices = {name for name, p in self.parameters.items() if is_block(name) and p.ndim == 2}
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                [p for name, p in self.parameters.items() if name in matrices],
                lr=muon_learning_rate,
                weight_decay=0.01,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(
                [p for name, p in self.parameters.items() if name not in matrices],
                lr=learning_rate,
                betas=(0.9, 0.98),
                weight_decay=0.0,
                fused=True,
            ),
        ]
        self.base_rates = [muon_learning_rate, learning_rate]
        self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def _rate(self, step: int) -> float:
        """Linear warm-up over 200 steps, then constant, then linear to zero over the last 40 %."""
        return min((step + 1) / 200, 1.0) * min((self.steps - step) / (0.4 * self.steps), 1.0)

    def step(self, index: int, data: TrainingSet) -> float:
        """One update on a batch that (seed, index) alone decides; returns the loss."""
        loss = self.loss(self._batch(index, data))
        for optimizer, rate in zip(self.optimizers, self.base_rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * self._rate(index)
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        decay = min(self.ema_decay, (1 + index) / (10 + index))
        torch._foreach_lerp_(list(self.ema.values()), [p.detach() for p in self.parameters.values()], 1 - decay)
        return float(loss.detach())

    def _batch(self, index: int, data: TrainingSet) -> Batch:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        rows = torch.randint(len(data.tokens), (self.batch,), generator=generator)
        latents = data.latents[rows].float().to(self.device)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        times = torch.randn(self.batch, generator=generator).sigmoid().to(self.device)
        is_empty = (torch.rand(self.batch, 1, generator=generator) < EMPTY_PROMPTS).to(self.device)
        return Batch(torch.where(is_empty, self.empty, data.tokens[rows].to(self.device)), latents, noise, times)

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Weights, their average and the optimizers' moments as named tensors, for a checkpoint."""
        moments = {
            f"{index}.{number}.{key}": value
            for index, optimizer in enumerate(self.optimizers)
            for number, state in optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
        weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
        return {"weights": weights, "ema": self.ema, "moments": moments}

    @torch.no_grad()
    def load_state(self, saved: dict[str, dict[str, torch.Tensor]]) -> None:
        """Go on from a checkpoint."""
        for name, parameter in self.parameters.items():
            parameter.copy_(saved["weights"][name])
            self.ema[name].copy_(saved["ema"][name])
        for index, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in saved["moments"].items():
                owner, number, moment = key.split(".")
                if int(owner) == index:
                    state.setdefault(int(number), {})[moment] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def use_ema(self) -> None:
        """Put the averaged weights into the pipeline."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.ema[name])


def save(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Save the pipeline as diffusers lays it out, the large parts in half precision.

    The text encoders stay in float32: transformers loads each checkpoint in the precision it was saved in, diffusers
    in float32, and the two must agree in a plain `from_pretrained`.
    """
    for module in pipeline.components.values():
        if isinstance(module, torch.nn.Module):
            module.eval()
    pipeline.vae.register_to_config(_name_or_path="")  # not the builder's folders
    for name in ("vae", "transformer", "unet"):
        if name in pipeline.components:
            pipeline.components[name].half()
    pipeline.save_pretrained(folder)
