"""Training the micro token model: one update learns from pictures to draw, from questions about some, and from texts.

Read this for how many questions share a picture: they follow it side by side, each seeing the picture and itself only,
as `models/janus.py` asks them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import JanusForConditionalGeneration

from selfportrait.micro import eyes
from selfportrait.micro.lessons import Drawings, Looks, Texts
from selfportrait.models import _decoder
from selfportrait.models._janus_words import Words

__all__ = ["LEARNING_RATE", "MUON_LEARNING_RATE", "Batch", "UnifiedTrainer"]

LEARNING_RATE, MUON_LEARNING_RATE = 1e-3, 2e-3
EMPTY_PROMPTS = 0.1  # share of drawings without their words, which guidance needs
SHARED, PADDING = -1, -2  # owners that are no text: the picture, which all see, and what nobody else sees
LISTS = 0.5  # weight of naming everything in a picture, against that of answering
CELLS = 0.5  # weight of saying what is in each cell
KINDS = 0.5  # weight of saying how many there are of a kind that is named, and where
HEADS = "heads."  # before the names of parameters that are not the model's


class Batch(NamedTuple):
    """How many of each kind an update learns from; `questions` of each picture that is looked at."""

    drawings: int
    looks: int
    questions: int
    texts: int


# By the update from which it holds: codes and words come first, then looking, and writing again while the rate falls.
BATCHES = {
    0: Batch(48, 12, 5, 8),
    1_250: Batch(44, 16, 5, 4),
    2_500: Batch(40, 16, 6, 12),
    4_000: Batch(32, 24, 6, 12),
}


class Packed(NamedTuple):
    """Texts that follow a picture in one row, without the padding between them: ids, owner and places are (B, P).

    `owner` is the number of the text that a token belongs to, `places` where it stands in it; `found` (B, N) is where
    each token of the padded texts went.
    """

    ids: Tensor
    owner: Tensor
    places: Tensor
    found: Tensor


def _packed(questions: Tensor, lengths: Tensor, lists: Tensor, list_lengths: Tensor) -> Packed:
    """Put questions (B, Q, L) of `lengths` (B, Q) and lists (B, M) of `list_lengths` (B,) into rows."""
    count, length = questions.shape[1:]
    device, width = questions.device, lists.shape[1]
    ids = torch.cat([questions.flatten(1), lists], 1)
    owner = torch.cat([torch.arange(count).repeat_interleave(length), torch.full((width,), count)]).to(device)
    places = torch.cat([torch.arange(length).repeat(count), torch.arange(width)]).to(device)
    ends = torch.cat([lengths.repeat_interleave(length, 1), list_lengths[:, None].expand(-1, width)], 1)
    is_text = places < ends
    order = (~is_text).int().argsort(dim=1, stable=True)[:, : int(is_text.sum(1).max())]  # texts first, in their order
    found = torch.zeros_like(ids).scatter(1, order, torch.arange(order.shape[1], device=device).expand_as(order))
    owner = owner.expand_as(ids).masked_fill(~is_text, PADDING)
    return Packed(ids.gather(1, order), owner.gather(1, order), places.expand_as(ids).gather(1, order), found)


class UnifiedTrainer:
    """The optimizer state; `step` is one update, `state` and `load_state` let a build go on where it was stopped.

    With `heads` of `eyes.new_heads` the features of pictures that are looked at also learn to say what is where, and
    the states at the kinds that a question names how many of them there are and where.
    """

    def __init__(
        self,
        model: JanusForConditionalGeneration,
        words: Words,
        *,
        steps: int,
        restart: int | None = None,
        batch: Batch | None = None,
        heads: torch.nn.ModuleDict | None = None,
        learning_rate: float = LEARNING_RATE,
        muon_learning_rate: float = MUON_LEARNING_RATE,
        ema_decay: float = 0.998,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.steps, self.seed, self.device, self.ema_decay = steps, seed, device, ema_decay
        self.restart = steps if restart is None else restart
        self._given_batch, self.batch = batch, batch or BATCHES[0]
        self.model, self.words = model.to(device).train(), words
        self.model.model.vqmodel.requires_grad_(False)
        self.decoder: Any = self.model.model.language_model
        self.num_words = self.model.config.text_config.vocab_size
        self.prefix = torch.tensor(words.questions([""])[0], device=device)
        self.heads = None if heads is None else heads.to(device)
        self.nouns = eyes.Nouns(words.tokenizer)
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if heads is not None:
            self.parameters |= {f"{HEADS}{name}": p for name, p in heads.named_parameters()}
        matrices = {n for n, p in self.parameters.items() if ".layers." in n and p.ndim == 2}
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (
                torch.optim.Muon(
                    [p for n, p in self.parameters.items() if n in matrices],
                    weight_decay=0.01,
                    adjust_lr_fn="match_rms_adamw",
                ),
                muon_learning_rate,
            ),
            (
                torch.optim.AdamW(
                    [p for n, p in self.parameters.items() if n not in matrices], betas=(0.9, 0.98), weight_decay=0.0
                ),
                learning_rate,
            ),
        ]
        self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def step(self, index: int, drawings: Drawings, looks: Looks, texts: Texts) -> dict[str, float]:
        """One update on a batch that (seed, index) alone decides; returns each kind's loss a token."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        self.batch = self._given_batch or next(b for first, b in reversed(BATCHES.items()) if first <= index)
        for optimizer, rate in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate * self._share(index)
            optimizer.zero_grad()
        losses: dict[str, Tensor] = {}
        parts: tuple[Callable[[], dict[str, Tensor]], ...] = (
            lambda: self._draw(drawings, generator),
            lambda: self._look(looks, generator),
            lambda: self._write(texts, generator),
        )
        for part in parts:
            with torch.autocast(self.device, torch.bfloat16):
                found = part()
            torch.stack(list(found.values())).sum().backward()
            losses |= {name: loss.detach() for name, loss in found.items()}
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), 1.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        decay = min(self.ema_decay, (1 + index) / (10 + index))
        torch._foreach_lerp_(list(self.ema.values()), [p.detach() for p in self.parameters.values()], 1 - decay)
        return {name: float(loss) for name, loss in losses.items()}

    def _share(self, index: int) -> float:
        """Linear warm-up, constant, then linear to zero over the last 40 %; after `restart` from 60 % to zero again."""
        if index < self.restart:
            return min((index + 1) / 200, 1.0) * min((self.restart - index) / (0.4 * self.restart), 1.0)
        since, left = index - self.restart, self.steps - index
        return 0.6 * min((since + 1) / 100, 1.0) * left / (self.steps - self.restart)

    def _rows(self, generator: torch.Generator, number: int, count: int) -> Tensor:
        return torch.randint(number, (count,), generator=generator)

    def _forward(self, states: Tensor, places: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The decoder's last states (B, S, D); without places and mask each row is read from its first token on."""
        if places is not None:
            return _decoder.forward(self.decoder, states, places, mask)
        places = torch.arange(states.shape[1], device=self.device)[None]
        return _decoder.forward(self.decoder, states, places, None)

    # Drawing

    def _draw(self, data: Drawings, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of codes, each predicted from the prompt and the codes before it."""
        rows = self._rows(generator, len(data.codes), self.batch.drawings)
        prompts, lengths, codes = data.prompts[rows].long(), data.lengths[rows], data.codes[rows].long()
        is_empty = torch.rand(len(rows), 1, generator=generator) < EMPTY_PROMPTS
        place = torch.arange(prompts.shape[1])[None]
        is_inner = (place > 0) & (place < lengths[:, None] - 1)
        prompts = prompts.masked_fill(is_empty & is_inner, self.words.pad)
        width = int(lengths.max()) + codes.shape[1]
        ids = torch.full((len(rows), width), self.words.pad)
        ids[:, : prompts.shape[1]] = prompts[:, :width]
        at = lengths[:, None] + torch.arange(codes.shape[1])  # where each code stands
        ids.scatter_(1, at, codes + self.num_words)
        hidden = self._forward(self._embed(ids[:, :-1].to(self.device)))
        before = (at - 1).to(self.device)[..., None].expand(-1, -1, hidden.shape[2])
        logits = self.model.model.generation_head(hidden.gather(1, before))
        return {"draw": F.cross_entropy(logits.float().flatten(0, 1), codes.flatten().to(self.device))}

    def _embed(self, ids: Tensor) -> Tensor:
        """Embed words, and after their ids the codes of pictures."""
        codes = torch.arange(self.model.config.vq_config.num_embeddings, device=self.device)
        table = [self.decoder.embed_tokens.weight, self.model.prepare_embeddings_for_image_generation(codes)]
        return F.embedding(ids, torch.cat([part.to(table[0].dtype) for part in table]))

    # Looking

    def _look(self, data: Looks, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of the answers to some of a picture's questions, of naming everything, and of what is where."""
        rows = self._rows(generator, len(data.pictures), self.batch.looks)
        chosen = torch.rand(len(rows), data.questions.shape[1], generator=generator).argsort(1)
        chosen = chosen[:, : self.batch.questions]
        questions = data.questions[rows[:, None], chosen].long().to(self.device)  # (B, Q, L)
        lists = data.lists[rows].long().to(self.device)  # (B, M)
        pixels = data.pictures[rows].to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        lengths, list_lengths = data.lengths[rows[:, None], chosen], data.list_lengths[rows]
        packed = _packed(questions, lengths.to(self.device), lists, list_lengths.to(self.device))
        features = self.model.model.get_image_features(pixels).pooler_output  # (B, patches, D)
        hidden = self._forward(*self._side_by_side(features, packed))[:, len(self.prefix) :]
        hidden = hidden.gather(1, packed.found[..., None].expand(-1, -1, hidden.shape[2]))  # (B, Q L + M, D)
        branches = hidden[:, : -lists.shape[1]].unflatten(1, questions.shape[1:])
        last = (lengths - 1).to(self.device)[..., None, None]
        asked = branches.gather(2, last.expand(-1, -1, 1, hidden.shape[2]))[:, :, 0]  # (B, Q, D)
        answers = data.answers[rows[:, None], chosen].to(self.device)
        named = hidden[:, -lists.shape[1] :]
        at = torch.arange(1, lists.shape[1])
        is_named = (at >= data.list_starts[rows][:, None]) & (at < list_lengths[:, None])
        is_named = is_named.to(self.device)
        losses = {
            "answer": F.cross_entropy(self.model.lm_head(asked).float().flatten(0, 1), answers.flatten()),
            "name": LISTS
            * F.cross_entropy(self.model.lm_head(named[:, :-1][is_named]).float(), lists[:, 1:][is_named]),
        }
        if self.heads is not None:
            cells = data.cells[rows].long().to(self.device)
            losses["cells"] = CELLS * eyes.cells_loss(self.heads, features, cells)
            losses["kinds"] = KINDS * eyes.kinds_loss(self.heads, branches, questions, cells, self.nouns)
        return losses

    def _side_by_side(self, features: Tensor, packed: Packed) -> tuple[Tensor, Tensor, Tensor]:
        """A picture's prefix with questions and list after it: states (B, S, D), places (B, S), and who sees whom."""
        prefix = self.decoder.embed_tokens(self.prefix).repeat(len(features), 1, 1)
        prefix = prefix.clone()
        prefix[:, self.prefix == self.model.config.image_token_id] = features.to(prefix.dtype)
        states = torch.cat([prefix, self.decoder.embed_tokens(packed.ids)], 1)
        start, count = len(self.prefix), len(features)
        owner = torch.cat([packed.owner.new_full((count, start), SHARED), packed.owner], 1)
        places = torch.cat([torch.arange(start, device=self.device).expand(count, -1), start + packed.places], 1)
        sees = (owner[:, None, :] == SHARED) | (owner[:, None, :] == owner[:, :, None])
        return states, places, (sees & torch.ones_like(sees[0]).tril())[:, None]

    # Writing

    def _write(self, data: Texts, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of what is to be written, the end of the turn included."""
        rows = self._rows(generator, len(data.ids), self.batch.texts)
        ids = data.ids[rows].long()
        at = torch.arange(1, ids.shape[1])
        is_written = (at >= data.starts[rows][:, None]) & (at < data.ends[rows][:, None])
        ids, is_written = ids.to(self.device), is_written.to(self.device)
        hidden = self._forward(self.decoder.embed_tokens(ids[:, :-1]))
        return {"write": F.cross_entropy(self.model.lm_head(hidden[is_written]).float(), ids[:, 1:][is_written])}

    # What is kept

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Weights, their average and the optimizers' moments as named tensors, for a checkpoint."""
        moments = {
            f"{index}.{number}.{key}": value
            for index, (optimizer, _) in enumerate(self.optimizers)
            for number, state in optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
        weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
        return {"weights": weights, "ema": self.ema, "moments": moments}

    @torch.no_grad()
    def load_state(self, saved: dict[str, dict[str, Tensor]]) -> None:
        """Go on from a checkpoint."""
        for name, parameter in self.parameters.items():
            parameter.copy_(saved["weights"][name])
            self.ema[name].copy_(saved["ema"][name])
        for index, (optimizer, _) in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in saved["moments"].items():
                owner, number, moment = key.split(".")
                if int(owner) == index:
                    state.setdefault(int(number), {})[moment] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def averaged(self) -> dict[str, Tensor]:
        """The model's averaged weights."""
        return {name: value for name, value in self.ema.items() if not name.startswith(HEADS)}

    @torch.no_grad()
    def use_ema(self) -> None:
        """Put the averaged weights into the model."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.ema[name])
