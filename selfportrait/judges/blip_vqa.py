"""BLIP-VQA: a picture's answers to its prompt's noun phrases, as T2I-CompBench (https://arxiv.org/abs/2307.06350) asks.

Read this before comparing numbers: the published ones need the published weights, 480 pixels and spaCy's phrases.
"""

import importlib
import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoTokenizer, BlipConfig, BlipForQuestionAnswering

from selfportrait.asking.phrases import noun_phrases
from selfportrait.judges._batches import distinct, number, pair_values
from selfportrait.judges._blip import TEXT, VISION_BASE, of_blip
from selfportrait.judges._checkpoints import (
    Origin,
    Place,
    State,
    check_path,
    is_weights_file,
    load_exactly,
    pretrained,
    pretrained_network,
    read_weights,
)
from selfportrait.judges._pictures import judge_readable, pixel_hash, readable, squared
from selfportrait.types import Prompt, Score

__all__ = ["BlipVqa"]

ORIGIN = Origin(
    "BLIP-VQA",
    "https://huggingface.co/Salesforce/blip-vqa-capfilt-large or "
    "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/model_base_vqa_capfilt_large.pth",
    "BSD-3-Clause",
)
BERT = "google-bert/bert-base-uncased"
OFFICIAL_SIZES = {"vision_config": {**VISION_BASE, "image_size": 480}, "text_config": TEXT}
TOKENS = 35
WORDS = 50
PHRASES = 8
NO_PHRASES = ("top", "the side", "the left", "the right")
_REMOVED = re.compile(r'[.!"()*#:;~]')


class Loaded(NamedTuple):
    """The network, its tokenizer, the frame of a picture, and the ids of the tokens that matter."""

    network: Any
    tokenizer: Any
    image_size: int
    encode_id: int
    decode_id: int
    yes_id: int
    no_id: int


class BlipVqa:
    """Score a picture by the product over its prompt's noun phrases of p(yes) for the question "<phrase>?", in [0, 1].

    p(yes) is that of the answer's first word, divided by p(yes) + p(no), and rounded to 4 digits as the product is; the
    first 8 phrases count. `phrases` "rules" finds them with this package's own rules, "spacy" with spaCy's
    en_core_web_sm, as published. A prompt without any has no score. `path` is a hub id or folder of transformers, whose
    weights see 384 pixels, or the published .pth file (480). `image_size` asks for another number of pixels.
    Source: BLIPvqa_eval of https://github.com/Karine-Huang/T2I-CompBench. Differs from the source: nothing with the
    published file and "spacy"; texts of a batch are never padded, because that changes the library's answers.
    """

    def __init__(
        self,
        *,
        path: str = "Salesforce/blip-vqa-capfilt-large",
        tokenizer: str | None = None,
        image_size: Annotated[int, Field(ge=16)] | None = None,
        phrases: Literal["rules", "spacy"] = "rules",
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        check_path(path, ORIGIN)
        self.path, self.image_size = path, image_size
        self.tokenizer = tokenizer or (BERT if is_weights_file(path) else path)
        self.phrases: Callable[[str], list[str]] = noun_phrases if phrases == "rules" else _Spacy()
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; each phrase's p(yes) is in the details."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        by_text = {text: self._phrases(text) for text in dict.fromkeys(texts)}
        phrases = [by_text[text] for text in texts]
        answers = self.answer(pictures, [[f"{phrase}?" for phrase in several] for several in phrases])
        return [_score(*one) for one in zip(texts, phrases, answers, strict=True)]

    def _phrases(self, text: str) -> list[str]:
        return [phrase for phrase in self.phrases(text) if phrase not in NO_PHRASES][:PHRASES]

    def answer(self, images: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> list[list[float]]:
        """The probabilities of yes, unrounded, one list a picture for its list of questions.

        Questions are lower-cased and stripped of punctuation as BLIP was trained with. Of a picture that cannot be
        read they are NaN.
        """
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} pictures and {len(questions)} lists of questions: give one list a picture")
        pictures = {index: one for index, one in enumerate(readable(images)) if isinstance(one, Image.Image)}
        first, numbers = distinct([pixel_hash(one) for one in pictures.values()])
        number_of = dict(zip(pictures, numbers, strict=True))
        asked = [[plain_question(question) for question in several] for several in questions]
        kept = list(pictures.values())
        found = pair_values(
            [kept[index] for index in first],
            [(number_of[index], question) for index in pictures for question in asked[index]],
            encode=self._encode,
            value=self._p_yes,
            bucket=lambda text: len(self._ids(text)),
            batch_size=self.place.batch_size,
        )
        return [
            [found[number_of[index], question] if index in pictures else math.nan for question in several]
            for index, several in enumerate(asked)
        ]

    @torch.inference_mode()
    def _encode(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        network, size = self._loaded.network, self._loaded.image_size
        pixels = torch.stack([squared(one, size) for one in pictures]).to(self.place.device, self.place.dtype)
        states: torch.Tensor = network.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
        return states

    @torch.inference_mode()
    def _p_yes(self, states: torch.Tensor, questions: Sequence[str]) -> torch.Tensor:
        """P(yes) / (P(yes) + P(no)) of the first token of an answer; questions all of one length."""
        loaded, device = self._loaded, self.place.device
        ids = torch.tensor([self._ids(question) for question in questions], device=device)  # (B, L)
        ids[:, 0] = loaded.encode_id
        everything = torch.ones_like(ids)
        read = loaded.network.text_encoder(
            input_ids=ids,
            attention_mask=everything,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=device),
        ).last_hidden_state  # (B, L, D)
        start = torch.full((len(ids), 1), loaded.decode_id, device=device)
        logits = loaded.network.text_decoder(
            input_ids=start, encoder_hidden_states=read, encoder_attention_mask=everything
        ).logits[:, 0]  # (B, V)
        either: torch.Tensor = logits[:, [loaded.yes_id, loaded.no_id]].float().softmax(1)[:, 0]
        return either

    def _ids(self, question: str) -> list[int]:
        ids: list[int] = self._loaded.tokenizer(question, truncation=True, max_length=TOKENS)["input_ids"]
        return ids

    @cached_property
    def _loaded(self) -> Loaded:
        tokenizer = pretrained(AutoTokenizer.from_pretrained, self.tokenizer, ORIGIN)
        if is_weights_file(self.path):
            network = network_of(read_weights(self.path, ORIGIN), OFFICIAL_SIZES, self.path).to(self.place.dtype)
        else:
            network = pretrained_network(BlipForQuestionAnswering, self.path, ORIGIN, self.place.dtype)
        text = network.config.text_config
        yes_id, no_id = tokenizer.convert_tokens_to_ids(["yes", "no"])
        return Loaded(
            network.to(self.place.device).eval(),
            tokenizer,
            self.image_size or network.config.vision_config.image_size,
            text.vocab_size - 1,  # [ENC], 30523, which the library's tokenizer leaves out
            text.bos_token_id,  # [DEC], 30522
            yes_id,
            no_id,
        )


class _Spacy:
    """The noun chunks of spaCy's small English model, as they stand in the text."""

    def __init__(self) -> None:
        try:
            self._parse: Any = importlib.import_module("spacy").load("en_core_web_sm")
        except (ImportError, OSError) as error:
            raise ValueError(
                "judge.phrases = 'spacy' needs spaCy and its English model: pip install spacy, then "
                "python -m spacy download en_core_web_sm"
            ) from error

    def __call__(self, text: str) -> list[str]:
        return [chunk.text for chunk in self._parse(text).noun_chunks]


def plain_question(question: str) -> str:
    """A question as BLIP reads it: lower case, without the characters .!"()*#:;~, at most 50 words."""
    stripped = _REMOVED.sub("", question.lower()).rstrip(" ")
    return " ".join(stripped.split(" ")[:WORDS])


def _score(text: str, phrases: list[str], answers: list[float]) -> Score:
    if not phrases:
        return Score(None, f"no noun phrase to ask about in the prompt {text!r}")
    rounded = [round(answer, 4) for answer in answers]
    questions = [{"text": f"{phrase}?", "p_yes": one} for phrase, one in zip(phrases, rounded, strict=True)]
    return number(round(math.prod(rounded), 4), {"questions": questions})


def network_of(state: State, sizes: dict[str, Any], path: str) -> Any:
    """The network of those sizes with weights in the names of BLIP's repository."""
    found = of_blip(state)
    bias, again = "text_decoder.cls.predictions.bias", "text_decoder.cls.predictions.decoder.bias"
    if bias in found:
        found.setdefault(again, found[bias])  # one tensor with two names, of which a file may hold one
    return load_exactly(BlipForQuestionAnswering(BlipConfig(**sizes)), found, path, ORIGIN)
