"""A vision-language model in this process: any image-text-to-text checkpoint of transformers with a chat template.

Read this to see how a request becomes a conversation; planner and judge share one model, so its weights load once.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoModelForImageTextToText, AutoProcessor

from selfportrait.asking.pictures import Reply, Request

__all__ = ["Local"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Local:
    """Let a checkpoint reply to requests, the likeliest token each time, `batch_size` requests at once.

    `path` is a folder or a hub id; weights are read as safetensors, at first use. A reply ends at `max_new_tokens`, and
    one that was cut there is what it is: whoever asked finds it unparsable.
    """

    def __init__(
        self,
        *,
        path: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        dtype: Literal["float32", "bfloat16"] = "bfloat16",
        device: str = "auto",
        max_new_tokens: Annotated[int, Field(ge=1)] = 64,
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self.path, self.dtype, self.max_new_tokens, self.batch_size = path, DTYPES[dtype], max_new_tokens, batch_size
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order."""
        replies: list[Reply] = []
        for start in range(0, len(requests), self.batch_size):
            replies += map(Reply, self._write(requests[start : start + self.batch_size]))
        return replies

    @torch.inference_mode()
    def _write(self, requests: Sequence[Request]) -> list[str]:
        processor, model = self._loaded
        inputs = processor.apply_chat_template(
            [_conversation(request) for request in requests],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,  # a prompt that holds <image> or a chat's marker is plain text
            processor_kwargs={"padding": True, "padding_side": "left"},
        ).to(self.device, self.dtype)
        written = model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        texts: list[str] = processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return texts

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        processor = AutoProcessor.from_pretrained(self.path)
        model = AutoModelForImageTextToText.from_pretrained(self.path, dtype=self.dtype, use_safetensors=True)
        return processor, model.to(self.device).eval()


def _conversation(request: Request) -> list[dict[str, Any]]:
    content = [
        {"type": "image", "image": part.convert("RGB")}
        if isinstance(part, Image.Image)
        else {"type": "text", "text": part}
        for part in request
    ]
    return [{"role": "user", "content": content}]
