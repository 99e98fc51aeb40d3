"""Training the picture tokenizer of the micro token model: a real `JanusVQVAE`, 64x64 pictures to 8x8 codes and back.

Read this to rebuild it. As it stands in transformers it cannot be trained from nothing: its codebook is looked up
without normalisation, and from a random start it collapses. Here features and codes have unit length, as the original
model looks codes up, and the codebook starts from k-means of the features of an encoder that already reconstructs.
The kernels of the convolutions learn by Muon: with Adam alone nothing is reconstructed in the same time.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import JanusVQVAE, JanusVQVAEConfig

from selfportrait.micro.autoencoder import pixels_of
from selfportrait.micro.scenes import scatter
from selfportrait.micro.world import render

__all__ = ["GRID", "PictureTokenizerTrainer", "decode", "new_picture_tokenizer", "save", "tokens_of", "vq_config"]

GRID = 8  # codes across and down
CODES, CODE_WIDTH = 2048, 8
WIDTH, MULTIPLIERS = (
    64,
    (1, 1, 1, 2),
)  # two channels a group in GroupNorm: with one, colours depend on the whole picture
BATCH = 16
MUON_RATE, ADAM_RATE, WARMUP = 5e-3, 1e-3, 100
BEFORE_CODES = 0.18  # share of the updates before there are codes
COMMITMENT = 0.25
KMEANS_PICTURES, KMEANS_ROUNDS = 2_000, 20
UNUSED_FOR = 200  # updates after which a code moves to a feature of the batch


def vq_config(*, token_width: int) -> JanusVQVAEConfig:
    """The architecture; `token_width` is the width of the language model."""
    return JanusVQVAEConfig(
        embed_dim=CODE_WIDTH,
        num_embeddings=CODES,
        latent_channels=WIDTH,
        base_channels=WIDTH,
        channel_multiplier=list(MULTIPLIERS),
        num_res_blocks=0,
        num_patches=GRID,
        projection_dim=token_width,
        image_token_embed_dim=token_width,
    )


def new_picture_tokenizer(*, token_width: int, seed: int) -> JanusVQVAE:
    """An untrained tokenizer."""
    torch.manual_seed(seed)
    return JanusVQVAE(vq_config(token_width=token_width))


def features_of(model: JanusVQVAE, pictures: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W) in [-1, 1] into features of unit length (B, C, h, w)."""
    return normalize(model.quant_conv(model.encoder(pictures)).float(), dim=1)


def nearest(model: JanusVQVAE, features: Tensor) -> Tensor:
    """The code nearest in direction to each feature (B, C, h, w): ids (B, h * w)."""
    codes = normalize(model.quantize.embedding.weight, dim=1)
    return (features.flatten(2).mT @ codes.T).argmax(-1)


@torch.no_grad()
def tokens_of(model: JanusVQVAE, pictures: Tensor) -> Tensor:
    """The codes (B, T) of pictures (B, 3, H, W) in [-1, 1]."""
    return nearest(model, features_of(model, pictures))


@torch.no_grad()
def decode(model: JanusVQVAE, tokens: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] of codes (B, T)."""
    pictures: Tensor = model.decode(tokens)
    return pictures


def _batch(seed: int, step: int) -> Tensor:
    rng = random.Random(f"picture-tokenizer-{seed}-{step}")
    return pixels_of([render(scatter(rng, rng.randint(1, 14))) for _ in range(BATCH)])


class PictureTokenizerTrainer:
    """One update after another; `state` and `load_state` let a build go on where it was stopped."""

    def __init__(self, model: JanusVQVAE, *, steps: int, seed: int = 0, device: str = "cpu") -> None:
        self.model, self.steps, self.seed, self.device = model.to(device).train(), steps, seed, device
        self.first_with_codes = int(BEFORE_CODES * steps)
        self.parameters = [p for part in self._parts() for p in part.parameters()]
        self.kernels = [p for p in self.parameters if p.ndim == 4 and min(p.shape[:2]) > 3]
        self.matrices = [torch.nn.Parameter(p.data.view(len(p), -1)) for p in self.kernels]  # the same memory
        kernels = {id(p) for p in self.kernels}
        rest = [p for p in self.parameters if id(p) not in kernels]
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.Muon(self.matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"), MUON_RATE),
            (torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=0.0), ADAM_RATE),
        ]
        self.unused = torch.zeros(model.config.num_embeddings, device=device)

    def _parts(self) -> Iterator[torch.nn.Module]:
        model = self.model
        yield from (model.encoder, model.quant_conv, model.quantize, model.post_quant_conv, model.decoder)

    def step(self, index: int) -> float:
        """One update on squared plus half the absolute error, and on the codes once there are any; the mean error."""
        for optimizer, rate in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate * self._share(index)
        if index == self.first_with_codes:
            self._start_codes()
        pictures = _batch(self.seed, index).to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            features = features_of(self.model, pictures)
        codes_loss = torch.zeros((), device=self.device)
        if index >= self.first_with_codes:
            features, codes_loss = self._quantize(features)
        with torch.autocast(self.device, torch.bfloat16):
            drawn = self.model.decoder(self.model.post_quant_conv(features))
        error = drawn.float() - pictures
        loss = error.square().mean() + 0.5 * error.abs().mean() + codes_loss
        self._update(loss)
        return float(error.detach().abs().mean())

    def _share(self, index: int) -> float:
        """Linear warm-up, constant, then linear almost to zero over the second half."""
        return min((index + 1) / WARMUP, 1.0) * min((self.steps - index) / (0.5 * self.steps) + 0.02, 1.0)

    def _update(self, loss: Tensor) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = kernel.grad.view_as(matrix)
        for optimizer, _ in self.optimizers:
            optimizer.step()

    def _quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Replace features (B, C, h, w) by their codes; the gradient passes straight through."""
        tokens = nearest(self.model, features.detach())
        self._revive(tokens, features.detach())
        codes = normalize(self.model.quantize.embedding(tokens), dim=-1).mT.reshape(features.shape)
        own = (codes - features.detach()).square().sum(1).mean()
        commitment = (codes.detach() - features).square().sum(1).mean()
        return features + (codes - features).detach(), own + COMMITMENT * commitment

    @torch.no_grad()
    def _revive(self, tokens: Tensor, features: Tensor) -> None:
        """Move codes that nobody used for long onto features of this batch."""
        self.unused += 1
        self.unused[tokens.flatten().unique()] = 0
        dead = (self.unused > UNUSED_FOR).nonzero().flatten()
        flat = features.flatten(2).mT.flatten(0, 1)
        for place, code in enumerate(dead[: len(flat)].tolist()):
            self.model.quantize.embedding.weight[code] = flat[place * 7 % len(flat)]
            self.unused[code] = 0

    @torch.no_grad()
    def _start_codes(self) -> None:
        """Spherical k-means of the features of fresh pictures."""
        batches = range(1, KMEANS_PICTURES // BATCH + 1)
        flat = torch.cat([features_of(self.model, _batch(self.seed, -i).to(self.device)) for i in batches])
        flat = flat.flatten(2).mT.flatten(0, 1)
        chance = torch.Generator().manual_seed(self.seed)
        codes = flat[torch.randperm(len(flat), generator=chance)[: len(self.unused)].to(self.device)].clone()
        for _ in range(KMEANS_ROUNDS):
            owner = torch.cat([(part @ codes.T).argmax(-1) for part in flat.split(8192)])
            sums = torch.zeros_like(codes).index_add_(0, owner, flat)
            codes = torch.where(sums.norm(dim=1, keepdim=True) > 0, normalize(sums, dim=1), codes)
        self.model.quantize.embedding.weight.copy_(codes)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Everything that another process needs to go on."""
        moments = {
            f"{index}.{number}.{name}": value
            for index, (optimizer, _) in enumerate(self.optimizers)
            for number, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        weights = {name: value for name, value in self.model.state_dict().items()}
        return {"weights": weights, "moments": moments, "codes": {"unused": self.unused}}

    @torch.no_grad()
    def load_state(self, saved: dict[str, dict[str, Tensor]]) -> None:
        """Go on from `state`."""
        for name, value in self.model.state_dict().items():
            value.copy_(saved["weights"][name])
        self.unused.copy_(saved["codes"]["unused"])
        for index, (optimizer, _) in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in saved["moments"].items():
                owner, number, name = key.split(".")
                if int(owner) == index:
                    state.setdefault(int(number), {})[name] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def save(model: JanusVQVAE, folder: Path) -> None:
    """Save with codes of unit length, as every reader looks them up."""
    with torch.no_grad():
        model.quantize.embedding.weight.copy_(normalize(model.quantize.embedding.weight, dim=1))
    model.save_pretrained(folder)
