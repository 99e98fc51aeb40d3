"""Endpoint and judge against a server that others wrote: `transformers serve` with a tiny random LLaVA.

It runs where the server's packages are there: pip install 'transformers[serving]'; with SELFPORTRAIT_SERVER it runs
that command, such as /other/venv/bin/transformers.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("openai")

from PIL import Image

from selfportrait.judges.vlm import Vlm
from selfportrait.types import Prompt, Question
from selfportrait.vlms.endpoint import Endpoint
from selfportrait.vlms.local import Local

GIVEN = os.environ.get("SELFPORTRAIT_SERVER")
IS_THERE = bool(GIVEN) or all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_THERE, reason="needs pip install 'transformers[serving]', or SELFPORTRAIT_SERVER"),
]
PICTURE = Image.new("RGB", (40, 40), "red")


@pytest.fixture(scope="module")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    command = GIVEN or shutil.which("transformers", path=str(Path(sys.executable).parent)) or "transformers"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [command, "serve", str(checkpoint), "--device", "cpu", "--dtype", "float32", "--port", str(port)],
            stdout=said, stderr=said, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        )  # fmt: skip
    try:
        _wait(process, port, log)
        yield Endpoint(url=f"http://127.0.0.1:{port}/v1", model=str(checkpoint), max_tokens=6, retries=1, parallel=2)
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen, port: int, log: Path) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
        else:
            return
    pytest.fail(log.read_text())


def test_it_replies_what_the_same_checkpoint_says_here(served: Endpoint, checkpoint: Path) -> None:
    requests = [(PICTURE, "Is it red?"), (PICTURE.rotate(90), "What is it, in a longer question?")]
    here = Local(path=str(checkpoint), dtype="float32", device="cpu", max_new_tokens=6)(requests)
    there = served(requests)
    assert all(reply.reason is None for reply in there)
    assert [reply.text.strip() for reply in there if reply.text] == [reply.text.strip() for reply in here if reply.text]


def test_random_words_are_missing_judgements_and_no_zeros(served: Endpoint) -> None:
    prompts = [Prompt(text, text, questions=(Question("Is it red?"),)) for text in ("a cat", "a red square")]
    for ask in ("prompt", "questions", "grade"):
        for score in Vlm(vlm=served, ask=ask)(prompts, [PICTURE] * 2):
            assert score.value is None
            assert (score.reason or "").startswith("unparsable")


def test_a_model_that_it_does_not_have_is_no_score(served: Endpoint) -> None:
    (reply,) = Endpoint(url=served.url, model="no-such/model", retries=0)([["hello"]])
    assert reply.text is None
    assert (reply.reason or "").startswith("no reply: status")
