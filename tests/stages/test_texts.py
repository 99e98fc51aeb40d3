"""Prompts are encoded once into a table, which gives what the model gives, and a stage that was killed goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfportrait import processes, store
from selfportrait.models.base import EncodedText
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3
from selfportrait.stages import StoredTexts, encode_texts
from selfportrait.stages import texts as stage

PROMPTS = ["a star", "a ring", "a star", "a cross", "", "a ring", "two stars"]
DISTINCT = ["a star", "a ring", "a cross", "", "two stars"]


class Lengths:
    """A model that encodes a text into its length, and remembers what it was asked for."""

    def __init__(self, breaks_at: str | None = None) -> None:
        self.asked: list[str] = []
        self.breaks_at = breaks_at
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode(self, prompts: list[str]) -> EncodedText:
        if self.breaks_at in prompts:
            raise KeyboardInterrupt
        self.asked += prompts
        lengths = torch.tensor([float(len(text)) for text in prompts])
        return EncodedText(lengths[:, None, None].expand(-1, 2, 3), lengths[:, None])

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"weight": self.weight}


@pytest.fixture(autouse=True)
def _two_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "ROWS_A_PART", 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_text_is_encoded_once_in_the_order_of_the_pairs(tmp_path: Path) -> None:
    model = Lengths()
    encode_texts(model, PROMPTS, tmp_path)
    assert model.asked == DISTINCT
    assert store.read_table(tmp_path)["text"].to_pylist() == DISTINCT
    found = StoredTexts(tmp_path, model)(["two stars", "", "a star", ""])
    assert found.pooled.tolist() == [[9], [0], [6], [0]]
    assert found.context.shape == (4, 2, 3)
    encode_texts(model, PROMPTS, tmp_path)
    assert model.asked == DISTINCT


@pytest.mark.parametrize("breaks_at", DISTINCT)
def test_a_stage_that_was_killed_ends_with_the_same_bytes(tmp_path: Path, breaks_at: str) -> None:
    encode_texts(Lengths(), PROMPTS, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        encode_texts(Lengths(breaks_at), PROMPTS, tmp_path / "killed")
    again = Lengths()
    encode_texts(again, PROMPTS, tmp_path / "killed")
    assert len(again.asked) < len(DISTINCT) or breaks_at in DISTINCT[:2]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_tensors_without_their_part_are_made_again(tmp_path: Path) -> None:
    encode_texts(Lengths(), PROMPTS, tmp_path)
    whole = contents(tmp_path)
    (tmp_path / "part-00001.parquet").unlink()
    (tmp_path / "part-00001.safetensors").write_bytes(b"cut off")
    again = Lengths()
    encode_texts(again, PROMPTS, tmp_path)
    assert again.asked == DISTINCT[2:4]
    assert contents(tmp_path) == whole


def test_processes_share_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_texts(Lengths(), PROMPTS, tmp_path / "one")
    monkeypatch.setattr(processes, "wait", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    models = Lengths(), Lengths()
    for number in (1, 0):
        monkeypatch.setenv("RANK", str(number))
        if number:  # alone it finds a table with a gap
            with pytest.raises(ValueError, match="part-00000.parquet is missing"):
                encode_texts(models[number], PROMPTS, tmp_path / "two")
        else:
            encode_texts(models[number], PROMPTS, tmp_path / "two")
    assert [model.asked for model in models] == [[*DISTINCT[:2], *DISTINCT[4:]], DISTINCT[2:4]]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_other_texts_are_refused(tmp_path: Path) -> None:
    encode_texts(Lengths(), PROMPTS, tmp_path)
    for other in (["a ring", "a star"], PROMPTS[:3], [*PROMPTS, "a circle"]):
        with pytest.raises(ValueError, match="holds other texts than the pairs' prompts: delete it"):
            encode_texts(Lengths(), other, tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("family", "name"), [(SD, "tiny_sd"), (SD, "tiny_sdxl"), (SD3, "tiny_sd3"), (SD3, "tiny_sd3_t5")]
)
def test_the_table_gives_what_the_model_gives(
    family: Callable[..., Any], name: str, dtype: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = family(path=str(request.getfixturevalue(name)), dtype=dtype).load()
    encode_texts(model, PROMPTS, tmp_path)
    found, expected = StoredTexts(tmp_path, model)(PROMPTS[::-1]), model.encode(PROMPTS[::-1])
    for kept, given in zip(found, expected, strict=True):
        assert (kept.dtype, kept.shape) == (given.dtype, given.shape)
        assert torch.equal(kept, given)


@pytest.mark.parametrize("left", [None, 0, 100])
def test_tensors_that_are_lost_or_cut_off_are_named_and_made_again(tmp_path: Path, left: int | None) -> None:
    encode_texts(Lengths(), PROMPTS, tmp_path)
    before, file = contents(tmp_path), tmp_path / "part-00002.safetensors"
    if left is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"part-00002\.safetensors cannot be read .* and part-00002\.parquet"):
        StoredTexts(tmp_path, Lengths())(["two stars"])
    for name in (file.name, "part-00002.parquet"):
        (tmp_path / name).unlink(missing_ok=True)
    encode_texts(Lengths(), PROMPTS, tmp_path)
    assert contents(tmp_path) == before
