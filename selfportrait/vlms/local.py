"""A vision-language model in this process: any image-text-to-text checkpoint of transformers with a chat template.

Read this to see how a request becomes a conversation, and which tokens' probabilities are those of yes and no.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoModelForImageTextToText, AutoProcessor

from selfportrait import canvas
from selfportrait.asking.pictures import Reply, Request
from selfportrait.asking.verdicts import SURFACES, YesNo
from selfportrait.devices import device_of
from selfportrait.pretrained import loading
from selfportrait.vlms._memory import Memory, key

__all__ = ["Local"]

_Answer = TypeVar("_Answer", Reply, YesNo)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Local:
    """Let a checkpoint reply to requests, the likeliest token each time, `batch_size` requests at once.

    `path` is a folder or a hub id; weights are read as safetensors, at first use, and once for all who ask. A reply
    ends at `max_new_tokens`, and one that was cut there is what it is: whoever asked finds it unparsable. With `cache`,
    a file, what was answered once is not asked again; it goes by `path`, so take another file for other weights there.
    """

    def __init__(
        self,
        *,
        path: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        dtype: Literal["float32", "bfloat16"] = "bfloat16",
        device: str = "auto",
        max_new_tokens: Annotated[int, Field(ge=1)] = 64,
        batch_size: Annotated[int, Field(ge=1)] = 8,
        cache: str | None = None,
    ) -> None:
        self.path, self.dtype, self.max_new_tokens, self.batch_size = path, DTYPES[dtype], max_new_tokens, batch_size
        self.cache = cache
        self.device = device_of(device)

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order."""
        return self._each("reply", self._write, Reply, requests)

    def yes_no(self, requests: Sequence[Request]) -> list[YesNo]:
        """The probabilities that the answer's first token says yes and no, out of the whole vocabulary."""
        return self._each("yes or no", self._weigh, YesNo, requests)

    def _each(
        self,
        kind: str,
        ask: Callable[[Sequence[Request]], list[_Answer]],
        read: Callable[..., _Answer],
        requests: Sequence[Request],
    ) -> list[_Answer]:
        """Ask what is not kept, in batches."""
        found: dict[int, _Answer] = {}
        model = {"path": self.path, "dtype": str(self.dtype), "max_new_tokens": self.max_new_tokens}
        memory = self._memory
        names = [key(model, kind, request) if memory is not None else "" for request in requests]
        if memory is not None:
            found = {i: read(*kept) for i, name in enumerate(names) if (kept := memory.get(name)) is not None}
        rest = [index for index in range(len(requests)) if index not in found]
        for start in range(0, len(rest), self.batch_size):
            batch = rest[start : start + self.batch_size]
            for index, answer in zip(batch, ask([requests[index] for index in batch]), strict=True):
                found[index] = answer
                if memory is not None and answer.reason is None:
                    memory.put(names[index], list(answer))
        return [found[index] for index in range(len(requests))]

    @torch.inference_mode()
    def _weigh(self, requests: Sequence[Request]) -> list[YesNo]:
        _, model = self._loaded
        logits = model(**self._inputs(requests), logits_to_keep=1).logits[:, -1].float()  # (B, V)
        chances = logits.softmax(-1)
        yes, no = (chances[:, ids].sum(-1).tolist() for ids in self._ids)
        return list(map(YesNo.of, yes, no))

    @torch.inference_mode()
    def _write(self, requests: Sequence[Request]) -> list[Reply]:
        processor, model = self._loaded
        inputs = self._inputs(requests)
        written = model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        texts = processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return list(map(Reply, texts))

    def _inputs(self, requests: Sequence[Request]) -> Any:
        """The conversations as the model reads them, padded on the left: the last position is the answer's first."""
        processor, _ = self._loaded
        return processor.apply_chat_template(
            [_conversation(request) for request in requests],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,  # a prompt that holds <image> or a chat's marker is plain text
            processor_kwargs={"padding": True, "padding_side": "left"},
        ).to(self.device, self.dtype)

    @cached_property
    def _ids(self) -> list[list[int]]:
        """The tokens that say yes, and those that say no: the last one of each surface form."""
        tokenizer = self._loaded[0].tokenizer
        ids = [
            sorted({tokenizer.encode(form, add_special_tokens=False)[-1] for form in SURFACES[word]})
            for word in ("yes", "no")
        ]
        if set(ids[0]) & set(ids[1]):
            raise ValueError(
                f"the tokenizer of {self.path} ends yes and no in the same token: ask it for grades instead"
            )
        return ids

    @cached_property
    def _memory(self) -> Memory | None:
        return Memory(Path(self.cache)) if self.cache else None

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        with loading("vlms/local", self.path):
            processor = AutoProcessor.from_pretrained(self.path)
            model = AutoModelForImageTextToText.from_pretrained(self.path, dtype=self.dtype, use_safetensors=True)
        return processor, model.to(self.device).eval()


def _conversation(request: Request) -> list[dict[str, Any]]:
    content = [
        {"type": "image", "image": canvas.fit(part).picture}
        if isinstance(part, Image.Image)
        else {"type": "text", "text": part}
        for part in request
    ]
    return [{"role": "user", "content": content}]
