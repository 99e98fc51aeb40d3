"""The build of the token model at tiny sizes: all its parts in order, and going on after a stop."""

from pathlib import Path

import pytest
import torch
from transformers import JanusForConditionalGeneration

from selfportrait.micro import eyes, unified_build, unified_training
from selfportrait.micro.checkpoints import embedded
from selfportrait.micro.unified_build import Training
from selfportrait.micro.unified_training import Batch

TINY = Batch(drawings=2, looks=2, questions=2, texts=2)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of everything an update learns from."""
    monkeypatch.setattr(unified_build, "TEXTS", 12)
    monkeypatch.setattr(unified_training, "BATCHES", {0: TINY})


def build(out: Path) -> bytes:
    """Build from the embedded model's picture tokenizer; the bytes of the weights."""
    folder = out / ".build" / "picture-tokenizer"
    if not folder.exists():
        model = JanusForConditionalGeneration.from_pretrained(embedded("micro-janus"), dtype=torch.float32)
        model.model.vqmodel.save_pretrained(folder)
    last = (Training(3, TINY, 1.0), Training(2, TINY, 0.5))
    unified_build.build(out, steps=5, last=last, drawings=8, looks=4, own_pictures=(2, 2, 3))
    return (out / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_build_that_was_stopped_ends_with_the_same_bytes(
    tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = build(tmp_path / "straight")
    new_heads = eyes.new_heads

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(eyes, "new_heads", stopped)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "stopped")
    monkeypatch.setattr(eyes, "new_heads", new_heads)
    assert build(tmp_path / "stopped") == straight
