"""A vision-language model behind a server of our own that also misbehaves: every failure is a reason, never a guess."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

pytest.importorskip("openai")

from selfportrait.instance_judges.base import Comparison, Seen, Verdict
from selfportrait.instance_judges.vlm import Vlm
from selfportrait.vlms.endpoint import Endpoint

RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
Answer = tuple[int, bytes]  # status and body


def completion(text: object) -> Answer:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@contextmanager
def server(answer: Callable[[int, dict], Answer | None], *, announced: int = 0) -> Iterator[tuple[str, list[dict]]]:
    """A server on this machine: `answer` gets the number of the request and its body; None hangs until the end.

    `announced` bytes are promised beyond the body, so that the connection breaks off in the middle.
    """
    seen: list[dict] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "key": self.headers["Authorization"], **body})
            found = answer(len(seen), body)
            if found is None:
                closing.wait(10)
                return
            self.send_response(found[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(found[1]) + announced))
            self.end_headers()
            self.wfile.write(found[1])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", seen
    finally:
        closing.set()
        running.shutdown()
        running.server_close()


def vlm(url: str, **settings) -> Endpoint:
    return Endpoint(url=url, model="looker", **{"retries": 0, "timeout_s": 5.0, **settings})


def reply(
    answer: Callable[[int, dict], Answer | None], *, announced: int = 0, **settings
) -> tuple[str | None, str | None]:
    with server(answer, announced=announced) as (url, _):
        (found,) = vlm(url, **settings)([["hello"]])
    return found.text, found.reason


def test_words_and_pictures_arrive_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKER_KEY", "secret")
    with server(lambda *_: completion("Image A is better")) as (url, seen):
        (found,) = vlm(url, key_env="LOOKER_KEY", max_tokens=7)([["Image A:", RED, "Image B:", BLUE, "Which?"]])
    assert found == ("Image A is better", None)
    (body,) = seen
    assert (body["path"], body["key"]) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("looker", 0, 7)
    (message,) = body["messages"]
    parts = message["content"]
    assert [part.get("text") for part in parts] == ["Image A:", None, "Image B:", None, "Which?"]
    for part, colour in ((parts[1], (255, 0, 0)), (parts[3], (0, 0, 255))):
        data = part["image_url"]["url"].removeprefix("data:image/png;base64,")
        assert Image.open(io.BytesIO(base64.b64decode(data))).getpixel((3, 3)) == colour


def test_without_a_key_a_server_that_asks_for_none_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKER_KEY", raising=False)
    assert reply(lambda *_: completion("yes"), key_env="LOOKER_KEY") == ("yes", None)


def test_replies_keep_the_order_of_requests_in_parallel() -> None:
    def slow_first(_: int, body: dict) -> Answer:
        text = body["messages"][0]["content"][0]["text"]
        time.sleep(0.1 if text == "0" else 0)
        return completion(text)

    with server(slow_first) as (url, _):
        assert [one.text for one in vlm(url, parallel=4)([[str(index)] for index in range(6)])] == list("012345")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, b"oops"), "no reply: status 500"),
        ((503, b""), "no reply: status 503"),
        ((429, b'{"error": {"message": "slow down"}}'), "no reply: status 429"),
        ((400, b'{"error": {"message": "too many pictures"}}'), "no reply: status 400"),
        ((200, completion("Image A is better")[1][:-9]), "no reply: the answer is no completion"),
        ((200, b"<html>Bad gateway</html>"), "no reply: the answer is no completion"),
        ((200, b""), "no reply: the answer is no completion"),
        ((200, b"\xff\xfe\x00"), "no reply: the answer is no completion"),
        ((200, b"[1, 2]"), "no reply: the answer is no completion"),
        ((200, b'{"choices": []}'), "no reply: the answer is no completion"),
        ((200, b'{"choices": [{"message": null}]}'), "no reply: the answer is no completion"),
        (completion(None), "no reply: the answer holds no text"),
        (completion(["Image A is better"]), "no reply: the answer holds no text"),
    ],
)
def test_what_is_no_reply_is_missing_with_its_reason(answer: Answer, reason: str) -> None:
    assert reply(lambda *_: answer) == (None, reason)


def test_a_server_that_says_nothing_times_out() -> None:
    start = time.monotonic()
    assert reply(lambda *_: None, timeout_s=0.2) == (None, "no reply: timed out")
    assert time.monotonic() - start < 5


def test_a_connection_that_breaks_off_is_missing() -> None:
    assert reply(lambda *_: completion("Image A is better"), announced=99)[0] is None
    assert vlm("http://127.0.0.1:9/v1")([["hello"]]) == [(None, "no reply: the connection broke")]


def test_a_failure_that_passes_is_tried_again_and_one_that_stays_only_so_often() -> None:
    with server(lambda number, _: (500, b"oops") if number < 2 else completion("yes")) as (url, seen):
        assert vlm(url, retries=1)([["hello"]]) == [("yes", None)]
        assert len(seen) == 2
    with server(lambda *_: (500, b"oops")) as (url, seen):
        assert vlm(url, retries=1)([["hello"]]) == [(None, "no reply: status 500")]
        assert len(seen) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_an_unknown_model_stops_the_run(status: int) -> None:
    with (
        server(lambda *_: (status, b'{"error": {"message": "no"}}')) as (url, seen),
        pytest.raises(ValueError, match=rf"answered {status} when asked for the model looker: check vlm.url"),
    ):
        vlm(url, retries=3)([["hello"]])
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("text", "better", "reason"),
    [("Image B is better.", "B", None), ("Both are lovely", None, "unparsable"), ("", None, "unparsable")],
)
def test_a_judge_over_it_reads_the_line_and_guesses_nothing(text: str, better: str | None, reason: str | None) -> None:
    with server(lambda *_: completion(text)) as (url, _):
        pair = Comparison("a cat", "cat", Seen(RED, (0, 0, 8, 8)), Seen(BLUE, (0, 0, 8, 8)))
        assert Vlm(vlm(url), side=16)([pair]) == [Verdict(better, reason, text)]
