"""The micro token model before training: a real `JanusForConditionalGeneration` with its processor.

Read this for its sizes and its vocabulary. The language model reads text, sees pictures through a small vision encoder,
and draws with the codes of the picture tokenizer.
"""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAE,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from selfportrait.asking.questions import whole_question
from selfportrait.asking.yes_no import put
from selfportrait.micro.language import say
from selfportrait.micro.picture_tokenizer import GRID, vq_config
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim
from selfportrait.micro.world import SIDE
from selfportrait.micro.writing import TASKS, examples
from selfportrait.models._janus_words import SPELLINGS, SYSTEM

__all__ = ["CONTEXT", "new_model", "new_processor", "save"]

WIDTH, LAYERS, HEADS, FEED_FORWARD = 192, 6, 6, 512
VISION_WIDTH, VISION_LAYERS, VISION_HEADS = 128, 4, 4
CONTEXT = 512
VOCABULARY = 640
SPECIAL = {
    "bos_token": "<｜begin▁of▁sentence｜>",
    "eos_token": "<｜end▁of▁sentence｜>",
    "pad_token": "<｜▁pad▁｜>",
    "image_token": "<image_placeholder>",
    "boi_token": "<begin_of_image>",
    "eoi_token": "<end_of_image>",
}
SPEAKERS = ("<|User|>", "<|Assistant|>")
_ANSWER_SHORTLY = put("").strip()  # what every question ends with


def new_processor() -> JanusProcessor:
    """The tokenizer and the picture processor, laid out as Janus' own.

    Byte-pair encoding knows every word of the micro language whole; the two sentences that every question about a
    picture repeats are one token each.
    """
    tokenizer = _tokenizer()
    half = [0.5, 0.5, 0.5]
    pictures = JanusImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=half, image_std=half)
    return JanusProcessor(pictures, tokenizer, num_image_tokens=GRID**2, use_default_system_prompt=True)


def _tokenizer() -> PreTrainedTokenizerFast:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = byte_level, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*SPECIAL.values(), *SPEAKERS],
        initial_alphabet=byte_level.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(sentence, normalized=False) for sentence in (SYSTEM, _ANSWER_SHORTLY)])
    begin = SPECIAL["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    usual = {name: SPECIAL[name] for name in ("bos_token", "eos_token", "pad_token")}
    extra = {name: value for name, value in SPECIAL.items() if name not in usual}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=extra, **usual)


def _corpus() -> Iterator[str]:
    """Texts from which the words are learnt: the answers by themselves, prompts, and every task's turns."""
    for spellings in SPELLINGS.values():
        yield from spellings * 100
    rng = random.Random("vocabulary")
    for category in SHAPE_CATEGORIES:
        for text in (say(claim(category, rng)) for _ in range(400)):
            yield from (f": {text}\n\n", f"\n{whole_question(text)}")
    for task in TASKS:
        if task == "answer":  # its questions are in "questions" too
            continue
        for example in islice(examples(task, seed=0), 400):
            yield from (f": {turn.text}\n\n" for turn in example.conversation)
            yield f": {example.target}"


def new_model(processor: JanusProcessor, tokenizer: JanusVQVAE, *, seed: int) -> JanusForConditionalGeneration:
    """The model with a trained picture tokenizer and nothing else trained."""
    words = processor.tokenizer
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=FEED_FORWARD,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=CONTEXT,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        ).to_dict(),
        vision_config=JanusVisionConfig(
            hidden_size=VISION_WIDTH,
            num_hidden_layers=VISION_LAYERS,
            num_attention_heads=VISION_HEADS,
            image_size=SIDE,
            patch_size=SIDE // GRID,
            projection_dim=WIDTH,
            num_image_tokens=GRID**2,
        ).to_dict(),
        vq_config=vq_config(token_width=WIDTH).to_dict(),
        image_token_id=words.convert_tokens_to_ids(SPECIAL["image_token"]),
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = JanusForConditionalGeneration(config)
    model.model.vqmodel.load_state_dict(tokenizer.state_dict())
    return model


def save(model: JanusForConditionalGeneration, processor: JanusProcessor, folder: Path) -> None:
    """Save model and processor as transformers lays them out, the weights in half precision."""
    model.generation_config.generation_kwargs = {"boi_token_id": processor.tokenizer.boi_token_id}
    model.generation_config._from_model_config = False  # or transformers makes it again from the model's, without those
    for part in (model.config.text_config, model.config.vision_config, model.config.vq_config):
        part.dtype = None  # of a model that was loaded in another precision
    model.eval().half().save_pretrained(folder)
    processor.save_pretrained(folder)
