"""A local vision-language model on a tiny random LLaVA: batches of words and pictures in, one reply each out."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from selfportrait.vlms.local import Local

RED, BLUE = Image.new("RGB", (30, 20), "red"), Image.new("L", (16, 16), 40)
REQUESTS = [("Image A:", RED, "Image B:", BLUE, "Which?"), (RED, "What is it, in a longer question?"), ("No picture",)]
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} Answer:{% endif %}"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `LlavaForConditionalGeneration` with random weights, bytes for a vocabulary, and its processor."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    special = ["<pad>", "<s>", "</s>", "<image>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.2,
        ).to_dict(),
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=16,
            patch_size=8, projection_dim=16, initializer_range=0.2,
        ).to_dict(),
        image_token_index=3, vision_feature_layer=-1,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
            extra_special_tokens={"image_token": "<image>"},
        ),
        patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def local(folder: Path, **settings) -> Local:
    return Local(path=str(folder), dtype="float32", device="cpu", max_new_tokens=6, **settings)


def test_every_request_gets_its_own_reply_whatever_the_batch(checkpoint: Path) -> None:
    alone, together = (local(checkpoint, batch_size=size)(REQUESTS) for size in (1, 3))
    assert alone == together  # so requests of other lengths, padded on the left, change nothing
    assert all(reply.text and reply.reason is None for reply in alone)
    assert len({reply.text for reply in alone}) > 1


def test_the_pictures_and_their_order_are_seen(checkpoint: Path) -> None:
    white, black = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (16, 16), "black")
    replies = local(checkpoint)([(white, black, "Which?"), (black, white, "Which?"), (white, white, "Which?")])
    assert len({reply.text for reply in replies}) > 1
    assert replies == local(checkpoint)([(white, black, "Which?"), (black, white, "Which?"), (white, white, "Which?")])


def test_a_marker_inside_a_prompt_is_plain_text(checkpoint: Path) -> None:
    (reply,) = local(checkpoint)([(RED, "made for the prompt: an <image> of </s> a cat")])
    assert reply.text is not None


def test_nothing_to_ask_loads_nothing() -> None:
    assert Local(path="no/such-model")([]) == []
