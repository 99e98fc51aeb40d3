"""Which marked tests run, and the tiny pipelines that several of them draw with.

Tests that need a GPU or a network run only when the command line asks for them by name.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ASKED_FOR = ("gpu", "network")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the hub out of tests that did not ask for it; read before any test imports it."""
    if "network" not in _expression(config):
        os.environ["HF_HUB_OFFLINE"] = "1"
    if config.getoption("numprocesses", default=None):  # threads of several workers would wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["SELFPORTRAIT_SCORES"] = tempfile.mkdtemp(prefix="selfportrait-scores-")  # none of the user's own


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` or `network` unless `-m` names the mark, whatever else it says."""
    unasked = [mark for mark in ASKED_FOR if mark not in _expression(config)]
    for item in items:
        for mark in unasked:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=f"runs with: pytest -m {mark}"))


def _expression(config: pytest.Config) -> str:
    return str(config.getoption("markexpr", default=""))


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `StableDiffusion3Pipeline` of the embedded architecture with random weights, without T5."""
    from selfportrait.micro import denoisers  # here: most tests need no diffusers

    folder = tmp_path_factory.mktemp("models") / "tiny-sd3"
    denoisers.save(_untrained(), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd3_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a small T5 encoder, which real checkpoints have."""
    import torch
    from diffusers import StableDiffusion3Pipeline
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    from selfportrait.micro import denoisers

    parts = _untrained().components
    width = parts["transformer"].config.joint_attention_dim
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    parts["tokenizer_3"] = T5Tokenizer(vocab=letters + [(letter, -3.0) for letter in denoisers.LETTERS], extra_ids=0)
    torch.manual_seed(1)
    parts["text_encoder_3"] = T5EncoderModel(
        T5Config(vocab_size=32, d_model=width, d_kv=16, d_ff=32, num_layers=1, num_heads=2)
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-sd3-t5"
    denoisers.save(StableDiffusion3Pipeline(**parts), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `StableDiffusionPipeline` with random weights and the scheduler of Stable Diffusion 1.5."""
    from diffusers import PNDMScheduler

    folder = tmp_path_factory.mktemp("models") / "tiny-sd"
    _unet_pipeline(PNDMScheduler(skip_prk_steps=True, **SD_LEVELS)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same that predicts velocity, and whose last timestep is pure noise."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        **SD_LEVELS,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-sd-v"
    _unet_pipeline(scheduler).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `StableDiffusionXLPipeline` with random weights and the scheduler of Stable Diffusion XL."""
    from diffusers import EulerDiscreteScheduler

    levels = {name: value for name, value in SD_LEVELS.items() if name != "set_alpha_to_one"}
    folder = tmp_path_factory.mktemp("models") / "tiny-sdxl"
    _unet_pipeline(EulerDiscreteScheduler(timestep_spacing="leading", **levels), is_xl=True).save_pretrained(folder)
    return folder


SD_LEVELS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
}


def _unet_pipeline(scheduler: Any, *, is_xl: bool = False) -> Any:
    import torch
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer, vae = _untrained().tokenizer, _untrained().vae
    vae.register_to_config(shift_factor=None)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length, projection_dim=24, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(2)
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    added |= {"projection_class_embeddings_input_dim": 6 * 8 + 24, "cross_attention_dim": 64}
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **(added if is_xl else {"cross_attention_dim": 32}),
    )  # fmt: skip
    parts = {"vae": vae, "unet": unet, "scheduler": scheduler, "tokenizer": tokenizer}
    parts["text_encoder"] = CLIPTextModel(config)
    if is_xl:
        second = {"text_encoder_2": CLIPTextModelWithProjection(config), "tokenizer_2": tokenizer}
        return StableDiffusionXLPipeline(**parts, **second, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _untrained():
    import torch

    from selfportrait.micro import autoencoder, flow

    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder()
    vae.register_to_config(shift_factor=0.1, scaling_factor=0.9)  # as after training: neither is 0 or 1
    return flow.new_pipeline(vae, spells=False, seed=0)


class ScriptedModel:
    """A unified model that says what a function says: `texts` of (conversation, seed), `answers` of (image, question).

    It remembers how many it was asked for at once, and the last decoding.
    """

    def __init__(self, texts: Callable[[Any, int], str] | None, answers: Callable[[Any, str], Any] | None) -> None:
        self.texts, self.answers = texts, answers
        self.sizes: list[int] = []
        self.asked: list[Any] = []
        self.decoding: dict[str, Any] = {}

    def write(self, conversations: Sequence[Any], seeds: Sequence[int], **decoding: Any) -> list[str]:
        assert self.texts is not None
        self.sizes.append(len(seeds))
        self.asked += conversations
        self.decoding = decoding
        return [self.texts(conversation, seed) for conversation, seed in zip(conversations, seeds, strict=True)]

    def answer(self, images: Sequence[Any], questions: Sequence[str]) -> tuple[Any, Any]:
        import torch

        assert self.answers is not None
        self.sizes.append(len(questions))
        self.asked += questions
        pairs = [self.answers(image, question) for image, question in zip(images, questions, strict=True)]
        return torch.tensor([yes for yes, _ in pairs]), torch.tensor([no for _, no in pairs])


@pytest.fixture
def scripted() -> Callable[..., ScriptedModel]:
    """A scripted model: scripted(lambda conversation, seed: ...) or scripted(answers=lambda image, question: ...)."""

    def make(texts: Any = None, answers: Any = None) -> ScriptedModel:
        return ScriptedModel((lambda *_: texts) if isinstance(texts, str) else texts, answers)

    return make


JANUS_SPECIAL = {
    "bos_token": "<｜begin▁of▁sentence｜>",
    "eos_token": "<｜end▁of▁sentence｜>",
    "pad_token": "<｜▁pad▁｜>",
    "image_token": "<image_placeholder>",
    "boi_token": "<begin_of_image>",
    "eoi_token": "<end_of_image>",
}


@pytest.fixture(scope="session")
def tiny_janus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `JanusForConditionalGeneration` with random weights: 4 layers, pictures of 4x4 tokens of 64."""
    import torch
    from transformers import (
        JanusConfig,
        JanusForConditionalGeneration,
        JanusProcessor,
        JanusVisionConfig,
        JanusVQVAEConfig,
        LlamaConfig,
    )
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

    tokenizer = _janus_tokenizer()
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=320,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.2,
        ).to_dict(),
        vision_config=JanusVisionConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8, projection_dim=48,
            num_image_tokens=16, mlp_ratio=2.0, initializer_range=0.2,
        ).to_dict(),
        vq_config=JanusVQVAEConfig(
            embed_dim=8, num_embeddings=64, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 1, 1],
            num_res_blocks=1, projection_dim=48, image_token_embed_dim=48, initializer_range=0.2,
        ).to_dict(),
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-janus"
    JanusForConditionalGeneration(config).save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    resize = JanusImageProcessorPil(size={"height": 32, "width": 32}, image_mean=half, image_std=half)
    JanusProcessor(resize, tokenizer, num_image_tokens=16, use_default_system_prompt=True).save_pretrained(folder)
    return folder


def _janus_tokenizer():
    """Bytes and a few words, among them no and yes, with Janus' special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = byte_level, decoders.ByteLevel()
    words = ["a red circle left of two blue circles", "yes Yes no No", "You are a helpful assistant that sees pictures"]
    special = [*JANUS_SPECIAL.values(), "<|User|>", "<|Assistant|>"]
    tokenizer.train_from_iterator(
        words * 9,
        trainers.BpeTrainer(
            vocab_size=330, special_tokens=special, initial_alphabet=byte_level.alphabet(), show_progress=False
        ),
    )
    begin = special[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    usual = {name: JANUS_SPECIAL[name] for name in ("bos_token", "eos_token", "pad_token")}
    extra = {name: value for name, value in JANUS_SPECIAL.items() if name not in usual}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=extra, **usual)
