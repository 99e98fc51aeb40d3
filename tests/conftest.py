"""Which marked tests run, and the tiny pipelines that several of them draw with.

Tests that need a GPU or a network run only when the command line asks for them by name.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ASKED_FOR = ("gpu", "network")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the hub out of tests that did not ask for it; read before any test imports it."""
    if "network" not in _expression(config):
        os.environ["HF_HUB_OFFLINE"] = "1"


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
    from selfportrait.micro import flow  # here: most tests need no diffusers

    folder = tmp_path_factory.mktemp("models") / "tiny-sd3"
    flow.save(_untrained(), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd3_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a small T5 encoder, which real checkpoints have."""
    import torch
    from diffusers import StableDiffusion3Pipeline
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    from selfportrait.micro import flow

    parts = _untrained().components
    width = parts["transformer"].config.joint_attention_dim
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    parts["tokenizer_3"] = T5Tokenizer(vocab=letters + [(letter, -3.0) for letter in flow.LETTERS], extra_ids=0)
    torch.manual_seed(1)
    parts["text_encoder_3"] = T5EncoderModel(
        T5Config(vocab_size=32, d_model=width, d_kv=16, d_ff=32, num_layers=1, num_heads=2)
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-sd3-t5"
    flow.save(StableDiffusion3Pipeline(**parts), folder)
    return folder


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
