"""A vision-language model behind a server of our own that also misbehaves: every failure is a reason, never a guess."""

import base64
import io
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from a_server import Answer, completion, server
from PIL import Image

pytest.importorskip("openai")

from selfportrait.asking.verdicts import NEITHER, YesNo
from selfportrait.instance_judges.base import Comparison, Seen, Verdict
from selfportrait.instance_judges.vlm import Vlm
from selfportrait.vlms.endpoint import Endpoint

RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")


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


# Yes and no


def weighed(likeliest: object, text: str = "Yes") -> Answer:
    """A completion with the likeliest first tokens, as OpenAI's API and vLLM give them."""
    logprobs = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": likeliest}]}
    choice = {"message": {"role": "assistant", "content": text}, "logprobs": logprobs, "finish_reason": "length"}
    return 200, json.dumps({"choices": [choice]}).encode()


def tokens(**chances: float) -> list[dict]:
    return [{"token": token, "logprob": math.log(chance), "bytes": None} for token, chance in chances.items()]


def yes_no(answer: Callable[[int, dict], Answer | None], **settings) -> YesNo:
    with server(answer) as (url, _):
        (found,) = vlm(url, **settings).yes_no([["Is it red?", RED]])
    return found


def test_probabilities_are_those_of_the_first_token() -> None:
    with server(lambda *_: weighed(tokens(Yes=0.5, yes=0.1, No=0.3))) as (url, seen):
        (found,) = vlm(url).yes_no([["Is it red?", RED]])
    assert found[:2] == pytest.approx((0.6, 0.3))
    assert (seen[0]["max_tokens"], seen[0]["logprobs"], seen[0]["top_logprobs"]) == (1, True, 20)
    assert seen[0]["temperature"] == 0


def test_neither_yes_nor_no_is_missing() -> None:
    assert yes_no(lambda *_: weighed(tokens(Maybe=0.9), "Maybe")) == (None, None, NEITHER)


def test_the_older_form_of_log_probabilities_is_read() -> None:
    old = {"tokens": ["Yes"], "top_logprobs": [{"Yes": math.log(0.75), " No": math.log(0.125)}]}
    body = {"choices": [{"message": {"content": "Yes"}, "logprobs": old}]}
    assert yes_no(lambda *_: (200, json.dumps(body).encode()))[:2] == pytest.approx((0.75, 0.125))


@pytest.mark.parametrize(
    "odd",
    [None, [], {}, {"content": None}, {"content": []}, {"content": [{}]}, {"content": [{"top_logprobs": []}]}, "Yes",
     {"content": [{"top_logprobs": [{"token": "Yes"}]}]},
     {"content": [{"top_logprobs": [{"token": "Yes", "logprob": "x"}]}]},
     {"top_logprobs": [3]}],
)  # fmt: skip
def test_without_log_probabilities_the_reply_is_read_and_that_is_said_once(
    odd: object, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(_: int, body: dict) -> Answer:
        text = "No." if body["messages"][0]["content"][0]["text"] == "Is it blue?" else "Yes"
        return 200, json.dumps({"choices": [{"message": {"content": text}, "logprobs": odd}]}).encode()

    with server(answer) as (url, seen), caplog.at_level(logging.WARNING):
        found = vlm(url, parallel=1).yes_no([["Is it red?"], ["Is it blue?"], ["Is it red?"]])
    assert [one[:2] for one in found] == [(1, 0), (0, 1), (1, 0)]
    assert [record.message for record in caplog.records if "gives no log-probabilities" in record.message] == [
        f"the server {url} gives no log-probabilities: yes and no are read from its replies, as 1 and 0"
    ]
    assert ["logprobs" in body for body in seen] == [True, False, False, False]


def test_a_server_that_refuses_log_probabilities_is_asked_without() -> None:
    refuses = lambda _, body: (400, b'{"error": {}}') if "logprobs" in body else completion("No, it is not")  # noqa: E731
    assert yes_no(refuses) == (0, 1, None)
    assert yes_no(lambda *_: (400, b'{"error": {}}')) == (None, None, "no reply: status 400")


def test_once_there_were_probabilities_a_reply_without_is_missing_and_never_1_or_0() -> None:
    answers = lambda number, _: weighed(tokens(Yes=0.5, No=0.5)) if number == 1 else completion("Yes")  # noqa: E731
    with server(answers) as (url, seen):
        first, second = vlm(url, parallel=1).yes_no([["a"], ["b"]])
    assert first.ratio == 0.5
    assert second == (None, None, "no reply: the answer holds no log-probabilities")
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, b"oops"), "no reply: status 500"),
        ((429, b"{}"), "no reply: status 429"),
        ((200, weighed(tokens(Yes=0.5))[1][:-9]), "no reply: the answer is no completion"),
        ((200, b"null"), "no reply: the answer is no completion"),
        (completion(None), "no reply: the answer holds no text"),
        (completion("Perhaps"), "unparsable: 'Perhaps' is neither yes nor no"),
        (
            weighed([{"token": "Yes", "logprob": math.nan}]),
            "unparsable: p(yes) = nan, p(no) = 0.0 are no probabilities",
        ),
    ],
)
def test_what_is_no_answer_is_missing_with_its_reason(answer: Answer, reason: str) -> None:
    assert yes_no(lambda *_: answer) == (None, None, reason)


def test_a_silent_server_times_out_for_probabilities_too() -> None:
    assert yes_no(lambda *_: None, timeout_s=0.2) == (None, None, "no reply: timed out")


# What is kept


def test_what_was_answered_is_kept_and_failures_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKER_KEY", "very-secret")
    cache = tmp_path / "answers.jsonl"
    requests = [["Is it red?", RED], ["Is it blue?", RED], ["Is it red?", BLUE]]

    def answer(number: int, _: dict) -> Answer:
        return weighed(tokens(Yes=1 / (number + 1))) if number < 3 else (500, b"oops")

    with server(answer) as (url, seen):
        first = vlm(url, cache=str(cache), parallel=1, key_env="LOOKER_KEY").yes_no(requests)
        again = vlm(url, cache=str(cache), parallel=1, key_env="LOOKER_KEY")
        assert again.yes_no(requests[:2]) == first[:2]
        assert again.yes_no(requests[2:]) == [(None, None, "no reply: status 500")]
        assert len(seen) == 4
        assert again(requests[:1])[0].text is None  # a reply is another question than probabilities
        assert vlm(url, cache=str(cache), max_tokens=9).yes_no(requests[:1])[0].reason  # and so are other settings
    assert len(cache.read_text().splitlines()) == 2
    assert "secret" not in cache.read_text()


def test_the_key_is_in_no_message(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("LOOKER_KEY", "very-secret")
    caplog.set_level(logging.DEBUG)
    with server(lambda *_: (401, b'{"error": {"message": "no"}}')) as (url, _):
        with pytest.raises(ValueError, match="holds a name or a password for 127.0.0.1") as caught:
            vlm(url.replace("http://", "http://me:very-secret@"), key_env="LOOKER_KEY")
        assert "very-secret" not in str(caught.value)
        with pytest.raises(ValueError, match="answered 401") as caught:
            vlm(url, key_env="LOOKER_KEY")([["hello"]])
        assert "very-secret" not in str(caught.value)
    with server(lambda *_: completion("Yes")) as (url, _):
        vlm(url, key_env="LOOKER_KEY").yes_no([["hello"]])
    assert "very-secret" not in caplog.text


@pytest.mark.parametrize(
    "picture",
    [Image.new("RGB", (1, 1)), Image.new("RGB", (20000, 10)), Image.new("RGBA", (30, 30)), Image.new("P", (30, 30)),
     Image.new("I;16", (30, 30)), Image.new("CMYK", (30, 30))],
    ids=["1x1", "wide", "RGBA", "palette", "16 bits", "CMYK"],
)  # fmt: skip
def test_odd_pictures_arrive_as_usual_ones(picture: Image.Image) -> None:
    with server(lambda *_: completion("yes")) as (url, seen):
        assert vlm(url)([[picture]])[0].text == "yes"
    url = seen[0]["messages"][0]["content"][0]["image_url"]["url"]
    arrived = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert arrived.mode == "RGB"
    assert max(arrived.size) <= min(2048, 4 * min(arrived.size))
