"""A vision-language model behind a server that speaks OpenAI's chat API: vLLM, SGLang, `transformers serve`.

Read this to see what is tried again, what becomes a missing reply, and what stops the run.
"""

import base64
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

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

from selfportrait import canvas, images
from selfportrait.asking.pictures import FAILED, Reply, Request
from selfportrait.asking.verdicts import YesNo, of_text, of_tokens
from selfportrait.vlms._memory import Memory, key

__all__ = ["Endpoint"]

REFUSED = (AuthenticationError, PermissionDeniedError, NotFoundError)  # every further request would be too
NOT_OFFERED = (400, 422, 501)  # what servers say to a request for log-probabilities that they do not give
TOP_LOGPROBS = 20  # the most that OpenAI's API gives
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer", Reply, YesNo)


class Endpoint:
    """Send each request to a server, `parallel` at a time, at temperature 0, and take what it replies.

    A request that times out (`timeout_s` without a byte), breaks off, is turned away for the moment or ends in a server
    error is sent again up to `retries` times, with growing pauses; after that, and where the answer cannot be read, the
    reply is missing, with the reason. A key that is refused and a model that is not there stop the run.
    `url` ends in /v1; the key is read from the environment variable that `key_env` names, and may be absent. With
    `cache`, a file, what was answered once is not asked again; failures are not kept.
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
        cache: str | None = None,
    ) -> None:
        if "@" in urlsplit(url).netloc:
            raise ValueError(
                f"vlm.url holds a name or a password for {urlsplit(url).hostname}, which would end up in logs and in "
                f"config.json: put the key into the environment variable {key_env} instead"
            )
        self.url, self.model, self.key_env, self.max_tokens = url, model, key_env, max_tokens
        self.timeout_s, self.retries, self.parallel, self.cache = timeout_s, retries, parallel, cache
        self._gives_logprobs: bool | None = None  # not known before the first answer
        self._lock = threading.Lock()

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order; raises ValueError where the server refuses the key or knows no such model."""
        return self._each("reply", self._reply, Reply, requests)

    def yes_no(self, requests: Sequence[Request]) -> list[YesNo]:
        """The probabilities that the answer begins with yes and with no, out of its first token's 20 likeliest.

        Of a server that gives none the reply is read, and is 1 or 0; that is said once. Raises as a call does.
        """
        return self._each("yes or no", self._weigh, YesNo, requests)

    def _each(
        self, kind: str, ask: Callable[[Request], _Answer], read: Callable[..., _Answer], requests: Sequence[Request]
    ) -> list[_Answer]:
        memory, _ = self._memory, self._client  # made once, before there are threads
        model = {"url": self.url, "model": self.model, "max_tokens": self.max_tokens}

        def answer(request: Request) -> _Answer:
            if memory is None:
                return ask(request)
            name = key(model, kind, request)
            kept = memory.get(name)
            if kept is not None:
                return read(*kept)
            found = ask(request)
            if found.reason is None:
                memory.put(name, list(found))
            return found

        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(answer, requests))

    def _weigh(self, request: Request) -> YesNo:
        if self._gives_logprobs is not False:
            answer = self._complete(request, max_tokens=1, logprobs=True, top_logprobs=TOP_LOGPROBS)
            likeliest = _likeliest(answer) if isinstance(answer, bytes) else None
            if likeliest is not None:
                self._gives_logprobs = True
                return of_tokens(likeliest)
            failure = _read(answer).reason if isinstance(answer, bytes) else answer.reason
            is_offered = isinstance(answer, bytes) or answer.status not in NOT_OFFERED
            if self._gives_logprobs or (failure is not None and is_offered):
                return YesNo(None, None, failure or f"{FAILED}: the answer holds no log-probabilities")
        reply = self._reply(request)
        if reply.text is None:
            return YesNo(None, None, reply.reason)
        self._say_no_logprobs()
        return of_text(reply.text)

    def _say_no_logprobs(self) -> None:
        with self._lock:
            if self._gives_logprobs is None:
                self._gives_logprobs = False
                _log.warning(
                    "the server %s gives no log-probabilities: yes and no are read from its replies, as 1 and 0",
                    self.url,
                )

    def _reply(self, request: Request) -> Reply:
        answer = self._complete(request, max_tokens=self.max_tokens)
        return _read(answer) if isinstance(answer, bytes) else Reply(None, answer.reason)

    def _complete(self, request: Request, **settings: Any) -> "bytes | _Failure":
        try:
            answer = self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[{"role": "user", "content": [_part(part) for part in request]}],
                temperature=0,
                **settings,
            )
        except REFUSED as error:
            raise ValueError(
                f"the server {self.url} answered {error.status_code} when asked for the model {self.model}: check "
                f"vlm.url, vlm.model and the key in the environment variable {self.key_env}"
            ) from error
        except APITimeoutError:
            return _Failure("timed out")
        except APIStatusError as error:
            return _Failure(f"status {error.status_code}", error.status_code)
        except APIConnectionError:
            return _Failure("the connection broke")
        return bytes(answer.content)

    @cached_property
    def _client(self) -> OpenAI:
        key = os.environ.get(self.key_env) or "none"  # a server of one's own asks for none, and the client for some
        return OpenAI(base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=self.retries)

    @cached_property
    def _memory(self) -> Memory | None:
        return Memory(Path(self.cache)) if self.cache else None


class _Failure:
    """Why there is no answer, and its status where there was one."""

    def __init__(self, said: str, status: int = 0) -> None:
        self.reason, self.status = f"{FAILED}: {said}", status


def _part(part: str | Image.Image) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = base64.b64encode(images.to_png(canvas.fit(part).picture)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _read(answer: bytes) -> Reply:
    """The text of a completion; missing where the answer is anything else."""
    try:
        text = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Reply(None, f"{FAILED}: the answer is no completion")
    return Reply(text) if isinstance(text, str) else Reply(None, f"{FAILED}: the answer holds no text")


def _likeliest(answer: bytes) -> list[tuple[str, float]] | None:
    """The likeliest first tokens of a completion with their log-probabilities; None where it holds none.

    The older form, a mapping a token, is read too.
    """
    try:
        logprobs = json.loads(answer)["choices"][0]["logprobs"]
        if "content" in logprobs:
            tokens = [(token["token"], token["logprob"]) for token in logprobs["content"][0]["top_logprobs"]]
        else:
            tokens = list(dict(logprobs["top_logprobs"][0]).items())
        return [(str(token), float(logp)) for token, logp in tokens] or None
    except (ValueError, LookupError, TypeError):
        return None
