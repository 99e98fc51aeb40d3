"""A vision-language model behind a server that speaks OpenAI's chat API: vLLM, SGLang, `transformers serve`.

Read this to see what is tried again, what becomes a missing reply, and what stops the run.
"""

import base64
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Annotated, Any

from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)
from PIL import Image
from pydantic import Field

from selfportrait import images
from selfportrait.asking.pictures import FAILED, Reply, Request

__all__ = ["Endpoint"]

REFUSED = (AuthenticationError, PermissionDeniedError, NotFoundError)  # every further request would be too


class Endpoint:
    """Send each request to a server, `parallel` at a time, at temperature 0, and take what it replies.

    A request that times out (`timeout_s` without a byte), breaks off, is turned away for the moment or ends in a server
    error is sent again up to `retries` times, with growing pauses; after that, and where the answer cannot be read, the
    reply is missing, with the reason. A key that is refused and a model that is not there stop the run.
    `url` ends in /v1; the key is read from the environment variable that `key_env` names, and may be absent.
    """

    def __init__(
        self,
        *,
        url: Annotated[str, Field(pattern=r"^https?://")],
        model: Annotated[str, Field(min_length=1)],
        key_env: str = "OPENAI_API_KEY",
        max_tokens: Annotated[int, Field(ge=1)] = 64,
        timeout_s: Annotated[float, Field(gt=0)] = 60.0,
        retries: Annotated[int, Field(ge=0, le=20)] = 4,
        parallel: Annotated[int, Field(ge=1, le=256)] = 8,
    ) -> None:
        self.url, self.model, self.key_env, self.max_tokens = url, model, key_env, max_tokens
        self.timeout_s, self.retries, self.parallel = timeout_s, retries, parallel

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order; raises ValueError where the server refuses the key or knows no such model."""
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(self._reply, requests))

    def _reply(self, request: Request) -> Reply:
        try:
            answer = self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[{"role": "user", "content": [_part(part) for part in request]}],
                temperature=0,
                max_tokens=self.max_tokens,
            )
        except REFUSED as error:
            raise ValueError(
                f"the server {self.url} answered {error.status_code} when asked for the model {self.model}: check "
                f"vlm.url, vlm.model and the key in the environment variable {self.key_env}"
            ) from error
        except APITimeoutError:
            return Reply(None, f"{FAILED}: timed out")
        except APIStatusError as error:
            return Reply(None, f"{FAILED}: status {error.status_code}")
        except APIConnectionError:
            return Reply(None, f"{FAILED}: the connection broke")
        return _read(answer.content)

    @cached_property
    def _client(self) -> OpenAI:
        key = os.environ.get(self.key_env) or "none"  # a server of one's own asks for none, and the client for some
        return OpenAI(base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=self.retries)


def _part(part: str | Image.Image) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = base64.b64encode(images.to_png(part)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _read(answer: bytes) -> Reply:
    """The text of a completion; missing where the answer is anything else."""
    try:
        text = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Reply(None, f"{FAILED}: the answer is no completion")
    return Reply(text) if isinstance(text, str) else Reply(None, f"{FAILED}: the answer holds no text")
