"""From the prompts of pairs to what the model makes of them: each text once in a run, on the disk.

Read this to see what lies in texts/: a part of a table with the texts, and beside it a safetensors file with what they
are encoded into, of which training reads the rows that a forward needs and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from selfportrait import store
from selfportrait.models.base import Denoises, EncodedText
from selfportrait.stages._tensors import Place, Tensors, places, write_tensors
from selfportrait.stages.parts import shared_out

__all__ = ["StoredTexts", "encode_texts"]

ROWS_A_PART = 32  # with T5 a row of Stable Diffusion 3.5 has 5 MiB in float32
TEXTS = pa.schema({"text": pa.string()})


def encode_texts(model: Denoises, prompts: Sequence[str], folder: Path) -> None:
    """Encode each distinct prompt into a row of texts/, in the order in which they first come.

    Raises ValueError where the folder holds other texts.
    """
    texts = list(dict.fromkeys(prompts))
    parts = [texts[start : start + ROWS_A_PART] for start in range(0, len(texts), ROWS_A_PART)]
    with shared_out("encoding prompts", folder, [len(part) for part in parts]) as missing:
        for index in missing:
            write_tensors(folder, index, model.encode(parts[index])._asdict())
            store.write_table(folder, index, [{"text": text} for text in parts[index]], TEXTS)
    if store.read_table(folder)["text"].to_pylist() != texts:
        raise ValueError(f"{folder} holds other texts than the pairs' prompts: delete it, the stage will redo it")


class StoredTexts:
    """What lies in texts/, by text and on the model's device: the texts in memory, what they became on the disk."""

    def __init__(self, folder: Path, model: Denoises) -> None:
        self._device = next(iter(model.trainable().values())).device
        self._tensors = Tensors(folder)
        self._places: dict[str, Place] = {}
        for index in range(len(store.parts(folder))):
            texts = store.read_part(folder, index)["text"].to_pylist()
            self._places |= zip(texts, places(index, len(texts)), strict=True)

    def __call__(self, texts: Sequence[str]) -> EncodedText:
        """Fetch the rows of some texts, as `model.encode` would give them."""
        rows = [self._places[text] for text in texts]
        return EncodedText(*(self._tensors.read(name, rows).to(self._device) for name in EncodedText._fields))
