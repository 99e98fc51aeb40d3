"""Janus: any `JanusForConditionalGeneration` of transformers, by folder or hub id (Janus-Pro 1B and 7B among them).

Read this to see how a token model draws, says how likely a picture is, answers, writes and attends. Nothing here knows
a loss.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from peft import LoraConfig
from PIL import Image
from pydantic import Field
from torch.utils.checkpoint import checkpoint

from selfportrait import images as pictures
from selfportrait import seeds as keyed
from selfportrait.devices import device_of
from selfportrait.micro.checkpoints import Sampling, embedded, sampling
from selfportrait.models import _attention_maps as maps
from selfportrait.models import _janus, _janus_sizes, _tokens, _yes_no
from selfportrait.models._decoder import Continuation, forward, positions, visible
from selfportrait.models._janus_words import Words
from selfportrait.models._reference import adds_nothing, snapshot, swapped, without_adapters
from selfportrait.models._tokens import EncodedTokens
from selfportrait.models.base import Samples, Sizes, Turn, YesNo
from selfportrait.types import Draw

__all__ = ["Janus"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SAMPLING = Sampling(576, 5.0)  # of Janus and Janus-Pro
DECODED_AT_ONCE = 16  # pictures; full-resolution activations are the largest of all


class Janus:
    """A policy over a JanusForConditionalGeneration; `load` brings the weights, everything before it is cheap.

    `path` is a folder, a hub id or the name of the embedded checkpoint, micro-janus. Without `guidance_scale` and
    `temperature` that is drawn with as its card says, every other with Janus' own 5 and 1.
    `train` chooses LoRA adapters on the language model or the whole of it; what sees, encodes and decodes pictures is
    frozen. `temperature` 0 draws the likeliest token each time; nothing truncates the distribution. `batch_size`
    counts pictures, and guidance doubles their rows. `skip_layers` at both ends of the decoder are left out of
    attention maps; without it 5, or a quarter of a small model's layers.
    """

    is_exact = True

    def __init__(
        self,
        *,
        path: str = "deepseek-community/Janus-Pro-1B",
        train: Literal["lora", "full"] = "lora",
        lora_rank: Annotated[int, Field(ge=1)] = 16,
        lora_alpha: Annotated[float, Field(gt=0)] | None = None,
        guidance_scale: Annotated[float, Field(ge=1)] | None = None,
        temperature: Annotated[float, Field(ge=0)] | None = None,
        skip_layers: Annotated[int, Field(ge=0)] | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        gradient_checkpointing: bool = False,
        batch_size: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        self.path = embedded(path)
        self.train, self.rank, self.alpha = train, lora_rank, lora_alpha or lora_rank
        made_for = sampling(self.path) or SAMPLING
        self.guidance_scale = guidance_scale or made_for.guidance_scale
        self.temperature = made_for.temperature if temperature is None else temperature
        self.skip_layers = skip_layers
        self.dtype, self.batch_size, self.gradient_checkpointing = DTYPES[dtype], batch_size, gradient_checkpointing
        self.device = device_of(device)
        self._encoded: dict[str, list[int]] = {}
        self._base: dict[str, torch.Tensor] | None = None
        self._embedded: tuple[list[tuple[int, int]], torch.Tensor] | None = None
        _janus.check_folder(self.path)

    @cached_property
    def processor(self) -> Any:
        """The tokenizer and the picture processor of the checkpoint."""
        return _janus.load_processor(self.path)

    @cached_property
    def words(self) -> Words:
        """How the checkpoint is spoken to."""
        return Words(self.processor, self.config.text_config.max_position_embeddings)

    @cached_property
    def config(self) -> Any:
        """The configuration of the checkpoint."""
        return _janus.load_config(self.path)

    def load(self) -> "Janus":
        """Load the weights (safetensors only) and make the language model trainable."""
        self.model = _janus.load_model(self.path, self.dtype).to(self.device).eval()
        self.decoder = self.model.model.language_model
        self._make_trainable(self.model)
        self._kept_layers = maps.kept_layers(len(self.decoder.layers), self.skip_layers)
        return self

    def _make_trainable(self, model: Any) -> None:
        """Give a model adapters on its language model, or let the whole of that learn; nothing else does."""
        model.requires_grad_(False)
        if self.train == "full":
            model.model.language_model.requires_grad_(True)
            return
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, target_modules=_janus.LORA_TARGETS, init_lora_weights="gaussian"
        )
        with torch.random.fork_rng():
            torch.manual_seed(keyed.derive("lora", self.rank))
            model.add_adapter(config)

    def sizes(self) -> Sizes | None:
        """What the model takes, before `load`; None for a checkpoint of which no numbers are here."""
        found = _janus_sizes.known_config(self.path)
        if found is None:
            return None
        return _janus_sizes.measure(
            found,
            self.dtype,
            self._make_trainable,
            what_learns=f"LoRA of rank {self.rank} on the language model"
            if self.train == "lora"
            else "the whole language model",
            is_saving=self.gradient_checkpointing,
            decoded_at_once=min(self.batch_size, DECODED_AT_ONCE),
        )

    @property
    def num_tokens(self) -> int:
        """How many tokens a picture is."""
        return int(self.config.vq_config.num_patches**2)

    @property
    def picture_size(self) -> int:
        """How many pixels a picture's side has."""
        codes = self.config.vq_config
        return int(codes.num_patches * 2 ** (len(codes.channel_multiplier) - 1))

    # Drawing

    def encode(self, prompts: Sequence[str]) -> EncodedTokens:
        """Turn prompts into ids up to the token that begins a picture (B, P); a text met before costs nothing.

        Raises ValueError for a prompt that leaves no room for the picture.
        """
        for text in dict.fromkeys(prompts):
            if text not in self._encoded:
                self._encoded[text] = self.words.prompt(text, self.num_tokens)
        return _tokens.left_pad([self._encoded[text] for text in prompts], self.words.pad)

    @torch.no_grad()
    def sample(self, conditioning: EncodedTokens, seeds: Sequence[int]) -> Samples:
        """Draw one picture a row, token by token, from random numbers that only the row's seed decides.

        Rows of the same prompt share its keys and values. In float32 the other rows of a batch change a token only
        where two are tied to the last bits; in bfloat16 such ties are common, so there equal batches draw equal
        pictures.
        """
        tokens = torch.cat(
            [self._draw(conditioning.rows(part), seeds[part]) for part in _tokens.chunks(len(seeds), self.batch_size)]
        )
        return Samples(self.decode(tokens), tokens)

    def _draw(self, prompts: EncodedTokens, seeds: Sequence[int]) -> torch.Tensor:
        """The tokens (B, T) of one batch; conditional rows come first, unconditional ones after them."""
        is_guided = self.guidance_scale > 1
        if is_guided:
            without = _tokens.unconditional(prompts, self.words.pad)
            prompts = EncodedTokens(*(torch.cat(both) for both in zip(prompts, without, strict=True)))
        rows = Continuation(self.decoder, self.decoder.embed_tokens, prompts, self.num_tokens)
        head, table = self.model.model.generation_head, self._table()
        proj_out, vision_head = rows.packed(head.proj_out), rows.packed(head.vision_head)
        chance = [torch.Generator().manual_seed(seed) for seed in seeds]
        drawn: list[torch.Tensor] = []
        for step in range(self.num_tokens):
            if step:
                rows.step(F.embedding(drawn[-1].repeat(2 if is_guided else 1), table))
            features = head.activation_fn(proj_out(rows.hidden))
            if is_guided:  # before the last layer, which is linear
                features = _tokens.guided(features.float(), self.guidance_scale).to(features.dtype)
            drawn.append(_choose(vision_head(features).float(), chance, temperature=self.temperature))
        return torch.stack(drawn, 1)

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Picture tokens as the decoder reads them: (..., D)."""
        return F.embedding(tokens, self._table())

    def _table(self) -> torch.Tensor:
        """All picture tokens as the decoder reads them (V, D), made once for the weights as they are."""
        parts = self.model.model.generation_embeddings, self.model.model.generation_aligner
        state = [(weight.data_ptr(), weight._version) for part in parts for weight in part.parameters()]
        if self._embedded is None or self._embedded[0] != state:
            tokens = torch.arange(parts[0].num_embeddings, device=self.device)
            with torch.no_grad():
                self._embedded = state, self.model.prepare_embeddings_for_image_generation(tokens)
        return self._embedded[1]

    @torch.no_grad()
    def decode(self, tokens: torch.Tensor) -> list[Image.Image]:
        """Decode tokens (B, T) into RGB pictures."""
        parts = tokens.to(self.device).split(DECODED_AT_ONCE)
        return [pictures.from_tensor(pixels) for part in parts for pixels in self.model.model.vqmodel.decode(part)]

    @torch.no_grad()
    def tokenize(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Encode pictures into tokens (B, T): the codes nearest in direction, as the codebook was trained.

        transformers' own look-up compares lengths too, and finds others where the stored codes have not length 1.
        A picture that was drawn keeps its sampled tokens; decoding and encoding it again does not return them.
        """
        model, side = self.model.model.vqmodel, self.picture_size
        codes = F.normalize(model.quantize.embedding.weight.float(), dim=-1)  # (V, E)
        tokens = []
        for part in _tokens.chunks(len(images), DECODED_AT_ONCE):
            resized = [image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC) for image in images[part]]
            pixels = torch.stack([pictures.to_tensor(image) for image in resized]).to(self.device, self.dtype)
            found = model.quant_conv(model.encoder(pixels)).float().flatten(2).mT  # (B, T, E)
            tokens.append((found @ codes.T).argmax(-1))
        return torch.cat(tokens)

    def log_likelihood(
        self,
        content: torch.Tensor,
        conditioning: EncodedTokens,
        draw: Draw | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The log-probability of each row's tokens, sum_t w_t log p(y_t | prompt, y_<t), exact and without guidance.

        Shapes: content (token ids) and weights (B, T); returns (B,) in float32.
        """
        if draw is not None:
            raise ValueError("the log-likelihood of a token model is exact and knows no draw; pass draw=None")
        logps = self.token_log_likelihood(content, conditioning)
        return (logps if weights is None else logps * weights.to(logps)).sum(1)

    def token_log_likelihood(self, content: torch.Tensor, conditioning: EncodedTokens) -> torch.Tensor:
        """The log-probability of each token, log p(y_t | prompt, y_<t): token ids (B, T) to (B, T) in float32.

        The prompt's last token, which begins the picture, predicts the first of them; the picture's own head and
        vocabulary give the probabilities.
        """
        tokens = content.to(self.device)
        length = conditioning.ids.shape[1]
        states, places, seen = self._read(conditioning, tokens[:, :-1])
        is_saving = self.gradient_checkpointing and torch.is_grad_enabled()
        hidden = forward(self.decoder, states, places, seen, is_saving=is_saving)[:, length - 1 :]  # (B, T, D)
        if not is_saving:
            return self._logps(hidden, tokens)
        pairs = zip(hidden.split(1), tokens.split(1), strict=True)
        return torch.cat([checkpoint(self._logps, *pair, use_reentrant=False) for pair in pairs])

    def _logps(self, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return _tokens.token_logps(self.model.model.generation_head(hidden), tokens)

    def _read(
        self, prompts: EncodedTokens, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Prompts and picture tokens as one sequence: embedded (B, S, D), their positions, and what they may see."""
        states = torch.cat([self.decoder.embed_tokens(prompts.ids.to(self.device)), self._embed(tokens)], 1)
        mask = torch.cat([prompts.mask, torch.ones(tokens.shape, dtype=torch.bool)], 1)
        seen = visible(mask)
        return states, positions(mask).to(self.device), None if seen is None else seen.to(self.device)

    # Answering, writing, attending

    @torch.no_grad()
    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> YesNo:
        """The probability of yes and of no as the next word, (B,) each, one question of one picture a row.

        Among all words, not among the two, and the best of their spellings with and without a capital. Rows with the
        same picture share its encoding and everything before the question.
        """
        prefix, asked = self.words.questions(questions)
        rows_of: dict[tuple[object, ...], list[int]] = {}
        for row, image in enumerate(images):
            rows_of.setdefault((image.mode, image.size, image.tobytes()), []).append(row)
        groups = list(rows_of.values())
        p_yes, p_no = torch.zeros(len(asked)), torch.zeros(len(asked))
        for part in _tokens.chunks(len(groups), self.batch_size):
            states = self._show([images[rows[0]] for rows in groups[part]], prefix)
            ids = [[asked[row] for row in rows] for rows in groups[part]]
            logits = self.model.lm_head(_yes_no.last_states(self.decoder, states, ids, self.words.pad))
            order = torch.tensor([row for rows in groups[part] for row in rows])
            yes, no = _yes_no.yes_and_no(logits, self.words.answers(True), self.words.answers(False))
            p_yes[order], p_no[order] = yes.cpu(), no.cpu()
        return YesNo(p_yes, p_no)

    def _show(self, images: Sequence[Image.Image], prefix: list[int]) -> torch.Tensor:
        """The shared prefix of questions about each picture, embedded: (N, P, D)."""
        pixels = self.processor.image_processor([image.convert("RGB") for image in images], return_tensors="pt")
        features = self.model.model.get_image_features(pixels["pixel_values"].to(self.device, self.dtype)).pooler_output
        ids = torch.tensor(prefix, device=self.device)
        states: torch.Tensor = self.decoder.embed_tokens(ids).repeat(len(images), 1, 1)
        states[:, ids == self.config.image_token_id] = features.to(states.dtype)
        return states

    @torch.no_grad()
    def write(
        self,
        conversations: Sequence[Sequence[Turn]],
        seeds: Sequence[int],
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int = 256,
    ) -> list[str]:
        """Write the assistant's next turn of each conversation, from random numbers that only its seed decides."""
        rows = [self.words.conversation(turns, max_new_tokens) for turns in conversations]
        texts: list[str] = []
        for part in _tokens.chunks(len(rows), self.batch_size):
            prompts = _tokens.left_pad(rows[part], self.words.pad)
            written = self._continue(prompts, seeds[part], temperature, top_p, max_new_tokens)
            texts += map(self.words.text, written.tolist())
        return texts

    def _continue(
        self, prompts: EncodedTokens, seeds: Sequence[int], temperature: float, top_p: float, max_new_tokens: int
    ) -> torch.Tensor:
        """The ids that follow each prompt (B, N), until every row has met the one that ends a turn."""
        rows = Continuation(self.decoder, self.decoder.embed_tokens, prompts, max_new_tokens)
        lm_head = rows.packed(self.model.lm_head)
        chance = [torch.Generator().manual_seed(seed) for seed in seeds]
        written: list[torch.Tensor] = []
        is_done = torch.zeros(len(seeds), dtype=torch.bool, device=self.device)
        while len(written) < max_new_tokens and not bool(is_done.all()):
            if written:
                rows.step(self.decoder.embed_tokens(written[-1]))
            logits = lm_head(rows.hidden).float()
            written.append(_choose(logits, chance, temperature=temperature, top_p=top_p))
            is_done |= written[-1] == self.words.end
        return torch.stack(written, 1)

    def span(self, prompt: str, word: str) -> tuple[int, ...]:
        """The positions of an object's word in the encoded prompt; () where it is not in there."""
        return self.words.span(prompt, word)

    @torch.no_grad()
    def attend(
        self, content: torch.Tensor, conditioning: EncodedTokens, spans: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """Where each row's picture looks at its objects, given as spans of the prompt: (B, objects, h, w) in [0, 1].

        A row with fewer objects than another gets maps of zeros for the rest, and so does an empty span.
        """
        count, side = max(map(len, spans), default=0), self.config.vq_config.num_patches
        parts = []
        for part in _tokens.chunks(len(content), self.batch_size):
            prompts = conditioning.rows(part)
            states, places, seen = self._read(prompts, content[part].to(self.device))
            attention = maps.attention_to_prompt(
                self.decoder, states, places, seen, prompts.ids.shape[1], self._kept_layers
            )
            parts.append(maps.object_maps(attention, (~prompts.mask).sum(1), spans[part], count))
        return torch.cat(parts).view(len(content), count, side, side)

    # What learns, and what is kept

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the language model is as it was loaded, or as it was when it last became the reference."""
        if self.train == "lora" and self._base is None:
            return without_adapters(self.model)
        return swapped(self.trainable(), self._base_weights())

    def renew_reference(self) -> None:
        """From now on, the reference is the model as it is now: a copy of what learns; new adapters need none."""
        learns = self.trainable()
        self._base = None if self.train == "lora" and adds_nothing(learns) else snapshot(learns)

    def _base_weights(self) -> dict[str, torch.Tensor]:
        """The loaded weights, read from disk again the first time that a full fine-tune needs them."""
        if self._base is None:
            loaded = dict(_janus.load_model(self.path, self.dtype).named_parameters())
            self._base = {name: loaded[name].detach().to(self.device) for name in self.trainable()}
        return self._base

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn: the adapters' or all of the language model's."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that must not change: all that handles pictures, and the layers under adapters."""
        return {name: p for name, p in self.model.named_parameters() if not p.requires_grad}

    def save(self, folder: Path) -> None:
        """Write a whole folder for transformers (full) or an adapter's for peft (LoRA)."""
        if self.train == "lora":
            _janus.save_adapter(self.model, folder)
            return
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def load_adapter(self, folder: Path) -> None:
        """Take up LoRA weights that `save` wrote."""
        _janus.load_adapter(self.model, folder, f"model.lora_rank = {self.rank} of {self.path}")


def _choose(
    logits: torch.Tensor, chance: Sequence[torch.Generator], *, temperature: float, top_p: float = 1.0
) -> torch.Tensor:
    noise = _tokens.gumbel(chance, logits.shape[1]).to(logits.device) if temperature else None
    return _tokens.choose(logits, noise, temperature=temperature, top_p=top_p)
