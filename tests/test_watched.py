"""What judges that watch come to, from hand-written tables: means, paired changes, missing scores, and the alarm."""

import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from selfportrait import store, watched
from selfportrait.watched import Gain

Scores = dict[str, list[float | None]]  # prompt -> scores of its pictures
UP, FLAT = Gain(0.1), Gain(0.0)


def write(run: Path, when: str, index: int = 0, **judges: Scores) -> None:
    """A watch table of some judges, a part a prompt."""
    prompts = next(iter(judges.values()))
    for part, prompt in enumerate(prompts):
        rows = [
            {"prompt_id": prompt, "index": place, "seed": place, "judge": name, "value": value}
            | {"reason": "too dark" if value is None else None, "details": "{}"}
            for name, scores in judges.items()
            for place, value in enumerate(scores[prompt])
        ]
        store.write_table(run / f"round-{index}" / "watch" / when, part, rows, store.WATCH)


def evaluate(run: Path, when: str, *right: bool, index: int = 0) -> None:
    rows = [
        {"prompt_id": f"p{place}", "prompt": "p", "category": "c", "index": 0, "seed": 0, "exact": exact}
        | {"score": float(exact), "reason": None, "details": "{}", "image": Image.new("RGB", (2, 2))}
        for place, exact in enumerate(right)
    ]
    store.write_table(run / f"round-{index}" / "evaluation" / when, 0, rows, store.EVALUATION)


def test_means_and_changes_by_hand(tmp_path: Path) -> None:
    # a: .2 and .4 are .3, then .7; b: 1, then .8. Means .65 and .75; changes +.4 and -.2, so +.1 between -.2 and +.4.
    write(tmp_path, "before", judge={"a": [0.2, 0.4], "b": [1.0, 1.0]})
    write(tmp_path, "after", judge={"a": [0.7, 0.7], "b": [0.8, 0.8]})
    one = watched.read(tmp_path, 1)["judge"]
    assert one["is_trained"]
    assert one["before"]["mean"] == pytest.approx(0.65)
    assert one["after"] == pytest.approx({"mean": 0.75, "low": 0.7, "high": 0.8, "n": 4, "missing": 0})
    assert one["change"] == pytest.approx({"difference": 0.1, "low": -0.2, "high": 0.4})
    assert one["rounds"] == [{**one["after"], "change": one["change"]}]


def test_a_missing_score_is_left_out_and_counted_and_never_0(tmp_path: Path) -> None:
    write(tmp_path, "before", eye={"a": [0.5, None], "b": [0.5, 0.5], "c": [None, None]})
    write(tmp_path, "after", eye={"a": [0.5, 0.5], "b": [None, None], "c": [0.9, 0.9]})
    one = watched.read(tmp_path, 1)["eye"]
    assert (one["before"]["mean"], one["before"]["n"], one["before"]["missing"]) == (0.5, 3, 3)
    assert (one["after"]["mean"], one["after"]["n"], one["after"]["missing"]) == (pytest.approx(0.7), 4, 2)
    assert one["change"] == {"difference": 0.0, "low": 0.0, "high": 0.0}  # of a alone


def test_a_judge_that_said_nothing_has_no_number(tmp_path: Path) -> None:
    for when in ("before", "after"):
        write(tmp_path, when, blind={"a": [None], "b": [None]})
    one = watched.read(tmp_path, 1)["blind"]
    assert one["after"] == {"mean": None, "low": None, "high": None, "n": 0, "missing": 2}
    assert one["change"] is None
    assert watched.events({"blind": one}, UP, 0, 3) == []
    json.dumps(one, allow_nan=False)


def test_a_round_that_is_half_looked_through_is_left_out(tmp_path: Path) -> None:
    assert watched.read(tmp_path, 1) == {}
    write(tmp_path, "before", eye={"a": [1.0], "b": [1.0]})
    assert watched.read(tmp_path, 1) == {}
    write(tmp_path, "after", eye={"a": [2.0], "b": [2.0]})
    write(tmp_path, "after", 1, eye={"a": [9.0]})
    assert [round_["mean"] for round_ in watched.read(tmp_path, 2)["eye"]["rounds"]] == [2.0]


def found(tmp_path: Path, own: float, eye: list[float]) -> dict:
    """Three prompts, of which the run's own judge rises by `own` and another changes by `eye`."""
    names = ["a", "b", "c"]
    write(tmp_path, "before", judge={name: [1.0] for name in names}, eye={name: [1.0] for name in names})
    after = {name: [1.0 + change] for name, change in zip(names, eye, strict=True)}
    write(tmp_path, "after", judge={name: [1.0 + own] for name in names}, eye=after)
    return watched.read(tmp_path, 1)


@pytest.mark.parametrize(
    ("own", "eye", "benchmark", "says"),
    [
        (
            0.25,
            [-0.1, -0.1, -0.2],
            FLAT,
            "the run's own judge rose by +0.25, but eye, which trains nothing, fell by 0.13",
        ),
        (0.0, [-0.1, -0.1, -0.2], UP, "the benchmark rose by +10.0 points, but eye"),
        (-0.5, [-0.1, -0.1, -0.2], Gain(0.1, is_score=True), "the benchmark rose by +0.1, but eye"),
        (0.25, [-0.1, -0.1, -0.2], UP, "rose by +0.25 and the benchmark rose by +10.0 points, but eye"),
        (0.25, [-0.9, -0.9, 0.1], UP, None),  # it fell, but its interval reaches above 0
        (0.0, [-0.1, -0.1, -0.2], FLAT, None),  # nothing rose: the run is worse, and nobody is fooled
        (0.25, [0.1, 0.1, 0.2], UP, None),
    ],
)
def test_the_alarm_needs_a_rise_and_a_fall_beyond_its_interval(
    tmp_path: Path, own: float, eye: list[float], benchmark: Gain, says: str | None
) -> None:
    told = watched.events(found(tmp_path, own, eye), benchmark, 0, 7)
    if says is None:
        assert told == []
        return
    (event,) = told
    assert (event["name"], event["step"], event["judge"], event["threshold"]) == ("reward_hacking", 7, "eye", 0.0)
    assert event["value"] == pytest.approx(-0.4 / 3)
    assert says in event["message"]


def test_the_note_stands_behind_the_last_step_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found(tmp_path, 0.25, [-0.1, -0.1, -0.2])
    evaluate(tmp_path, "before", False, False, True)
    evaluate(tmp_path, "after", True, False, True)
    metrics = tmp_path / "round-0" / "training" / "metrics.jsonl"
    steps = [{"step": 0, "loss": 1.0, "events": []}, {"step": 1, "loss": 0.5, "events": []}]
    for step in steps:
        store.append_jsonl(metrics, step)
    logging.getLogger("selfportrait").propagate = True
    with caplog.at_level(logging.WARNING, "selfportrait"):
        watched.note(tmp_path, 0)
    once = metrics.read_bytes()
    *first, line = store.read_jsonl(metrics)
    assert first == steps
    assert line["step"] == 2
    assert line["watch/eye"] == pytest.approx(1 - 0.4 / 3)
    assert line["watch/eye/before"] == 1.0
    assert line["watch/eye/difference"] == pytest.approx(-0.4 / 3)
    assert line["watch/eye/high"] == pytest.approx(-0.1)
    assert (line["watch/eye/missing"], line["watch/judge/difference"]) == (0, 0.25)
    assert [event["name"] for event in line["events"]] == ["reward_hacking"]
    assert "the benchmark rose by +33.3 points" in caplog.text
    assert watched.is_note(line)
    assert not watched.is_note(steps[0])
    with metrics.open("ab") as file:
        file.write(b'{"step": 2, "wat')  # the run was killed while it wrote
    watched.note(tmp_path, 0)
    assert metrics.read_bytes() == once
