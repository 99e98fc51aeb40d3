"""Tiny checkpoints as files, and pictures to judge."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_judges.py

from tiny_judges import BERT_WORDS, clip_tokenizer, new_blip, new_clip, noise  # noqa: E402

from selfportrait.types import Prompt  # noqa: E402


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Five pictures, of which the last shows the same pixels as the first."""
    sizes = [(64, 64), (80, 48), (48, 80), (33, 65)]
    found = [noise(width, height, seed) for seed, (width, height) in enumerate(sizes)]
    return [*found, found[0].copy()]


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    """Five prompts of several lengths, of which the second and the third are the same."""
    texts = ["a red cat", "a green dog and a blue bird", "a green dog and a blue bird", "a cow", "one horse"]
    return [Prompt(str(index), text) for index, text in enumerate(texts)]


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIPModel and its tokenizer as transformers save them."""
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    new_clip().save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT's tokenizer with a small vocabulary."""
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    BertTokenizer(vocab={word: index for index, word in enumerate(BERT_WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def blip_folder(tmp_path_factory: pytest.TempPathFactory, bert_folder: Path) -> Path:
    """A BlipForQuestionAnswering and its tokenizer as transformers save them."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-blip"
    new_blip().save_pretrained(folder)
    AutoTokenizer.from_pretrained(bert_folder).save_pretrained(folder)
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[int]]:
    """Count the rows that go through a module: a list to which each forward appends its batch."""

    def count(module: torch.nn.Module, argument: str) -> list[int]:
        rows: list[int] = []
        forward = module.forward

        def counting(*args: Any, **kwargs: Any) -> Any:
            rows.append(len(kwargs[argument] if argument in kwargs else args[0]))
            return forward(*args, **kwargs)

        monkeypatch.setattr(module, "forward", counting)
        return rows

    return count
