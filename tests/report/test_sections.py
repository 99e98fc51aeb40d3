"""What the sections say, on small cases worked out by hand."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from selfportrait.report import form, units
from selfportrait.report.charts import Line, line_chart
from selfportrait.report.groups import example_groups
from selfportrait.report.headline import headline, other_categories
from selfportrait.report.pictures import Pair, count_changes, first_pictures, largest_changes, read_pairs
from selfportrait.report.progress import costs, events, training_charts
from selfportrait.report.reading import Round, RunRecord, picture, read_run


def record(*, metrics: Any = (), timing: Any = (), **parts: Any) -> RunRecord:
    """A run of one round without tables."""
    one = Round(0, Path("nowhere") / "round-0", list(metrics), list(timing))
    empty = {"folder": Path("nowhere"), "config": {}, "summary": {}, "rounds": (one,), "is_finished": True}
    return RunRecord(**(empty | parts))


def pair(prompt: str, index: int, before: bool | None, after: bool | None) -> Pair:
    rows = [{"exact": exact, "reason": None} for exact in (before, after)]
    return Pair(prompt, prompt, "numeracy", index, index, rows[0], rows[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (form.percent(0.4214), "42.1 %"),
        (form.points(0.092), "+9.2"),
        (form.points(-0.004), "−0.4"),
        (form.points(-0.0004), "0.0"),
        (form.signed(-1.234), "−1.23"),
        (form.number(7680), "7,680"),
        (form.number(float("nan")), "–"),
        (form.percent(None), "–"),
        (form.duration(9.04), "9.0 s"),
        (form.duration(75.2), "1 min 15 s"),
        (form.duration(7265), "2 h 1 min"),
        (form.memory(1536.0), "1.5 GB"),
        (form.memory(800), "800 MB"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text.replace("\N{NO-BREAK SPACE}", " ") == expected


@pytest.mark.parametrize(
    ("low", "high", "tone", "word"),
    [(0.01, 0.2, "good", "improvement"), (-0.2, -0.01, "bad", "worse"), (-0.1, 0.1, "open", "chance")],
)
def test_the_verdict_follows_the_interval(low: float, high: float, tone: str, word: str) -> None:
    change = {"overall": {"difference": 0.05, "low": low, "high": high}}
    found = headline(record(summary={"after": {"overall": {"accuracy": 0.5}}, "change": change}))
    assert found.tone == tone
    assert word in found.verdict


def test_the_worst_of_the_other_categories_is_shown_and_overall_is_none_of_them() -> None:
    before = {name: {"accuracy": 0.5} for name in ("color", "shape", "numeracy", "overall")}
    change = {"color": -0.01, "shape": 0.02, "numeracy": -0.3, "overall": -0.1}
    summary = {"before": before, "change": {name: {"difference": value} for name, value in change.items()}}
    config = {"settings": {"prompts": {"category": "numeracy"}, "seed": 3}}
    assert other_categories(record(config=config, summary=summary))["category"] == "color"


def test_changes_are_counted_over_pictures_judged_both_times() -> None:
    pairs = [pair("a", 0, False, True), pair("a", 1, True, False), pair("b", 0, False, True), pair("b", 1, True, True)]
    pairs.append(Pair("c", "c", "numeracy", 0, 0, {"exact": False, "reason": None}, None))
    pairs.append(pair("d", 0, None, True))  # not judged before: no change that anyone could have seen
    changes = count_changes(pairs)["numeracy"]
    assert (changes.gained, changes.lost) == (2, 1)


def test_largest_changes_are_ordered_by_gain_then_by_the_benchmark() -> None:
    pairs = [pair("one", index, False, index == 0) for index in range(2)]
    pairs += [pair("two", index, False, True) for index in range(2)]
    pairs += [pair("also two", index, False, True) for index in range(2)]
    pairs += [pair("worse", 0, True, False), pair("same", 0, True, True)]
    largest = largest_changes(record(), pairs)
    assert [item.prompt for item in largest.gained] == ["two", "also two", "one"]
    assert [item.prompt for item in largest.lost] == ["worse"]


def test_first_pictures_are_the_first_prompts_at_their_first_seed(finished: Path) -> None:
    run = read_run(finished)
    blocks = first_pictures(run, read_pairs(run))
    assert [block.category for block in blocks] == ["numeracy", "color", "shape", "relation", "text", "complex"]
    assert [len(block.prompts) for block in blocks] == [8, 4, 4, 4, 4, 4]
    assert "seed 1000," in blocks[0].prompts[0].before[0].alt
    assert "seed 1004," in blocks[0].prompts[1].after[0].alt


def test_groups_come_from_the_first_middle_and_last_step_best_first(finished: Path) -> None:
    groups = example_groups(read_run(finished))
    assert [(group.when, group.step) for group in groups] == [
        ("First step", 1),
        ("Middle step", 2),
        ("Last step", 3),
        ("Skipped", 1),
    ]
    first = groups[0].members
    assert len(first) == 16
    judged = [member.score for member in first if member.score is not None]
    assert judged == sorted(judged, reverse=True)
    assert first[-1].score is None
    assert first[-1].reason == "no component was found"
    assert max(member.bar_percent for member in first) == 50.0
    assert all(member.advantage == 0 for member in groups[3].members)


def test_a_step_with_several_updates_is_averaged_and_gaps_are_left_out() -> None:
    metrics = [{"step": 1, "loss": 1.0}, {"step": 1, "loss": 3.0}, {"step": 2, "loss": None}, {"step": 3, "loss": 5.0}]
    charts = {chart.title: chart for chart in training_charts(record(metrics=metrics))}
    assert "loss 2.000 at step 1, 5.000 at step 3" in str(charts["Loss"].svg)
    assert charts["Reward"].svg is None
    assert charts["Reward"].missing == ["reward/mean"]


def test_an_event_of_steps_and_summary_is_told_once() -> None:
    event = {"name": "error_runaway", "step": 4, "value": 1.62, "threshold": 1.5}
    found = events(record(metrics=[{"step": 4, "events": [event]}], summary={"health": [event, "something else"]}))
    assert [row["step"] for row in found] == ["4", ""]
    assert "is 1.62 times that of the first steps; the alarm is at 1.50" in found[0]["text"]
    assert found[1]["text"] == "something else"


def test_time_comes_from_the_summary_or_else_from_the_steps() -> None:
    timing = [{"step": 1, "sample_s": 2.0, "train_s": 4.0}, {"step": 2, "sample_s": 4.0, "train_s": 4.0}]
    finished = costs(record(timing=timing, summary={"time_s": {"train": 30.0, "evaluate": 10.0, "total": 40.0}}))
    assert [(stage.name, stage.share) for stage in finished.stages] == [("train", 0.75), ("evaluate", 0.25)]
    assert finished.total == 40.0
    cut_off = costs(record(timing=timing))
    assert cut_off.is_partial
    assert [(part.name, part.seconds) for part in cut_off.stages] == [("sample", 6.0), ("train", 8.0)]
    assert [(part.name, part.seconds) for part in cut_off.step] == [("sample", 3.0), ("train", 4.0)]


def test_a_chart_takes_its_colours_from_the_page() -> None:
    svg = str(line_chart("Two lines", [Line("a", {1: 0.0, 2: 1.0}), Line("$b_1$", {1: 1.0, 2: 0.0})], "in words"))
    assert "var(--after)" in svg
    assert "var(--second)" in svg
    assert "#0969da" not in svg
    assert "$b_1$" in svg
    assert '<svg role="img" aria-label="in words"' in svg


def test_a_large_picture_is_reduced_and_a_broken_one_is_none() -> None:
    file = io.BytesIO()
    Image.effect_noise((1024, 512), 90).save(file, "PNG")
    large = picture({"bytes": file.getvalue(), "path": None})
    assert (large.width, large.height, large.is_small) == (192, 96, False)
    assert large.uri is not None
    assert len(large.uri) < 200_000
    assert picture({"bytes": b"no image", "path": None}).uri is None
    assert picture(None).uri is None


def test_the_trained_category_needs_a_measurement() -> None:
    config = {"settings": json.loads('{"seed": 0, "prompts": {"name": "file", "category": "letters"}}')}
    assert record(config=config, summary={"before": {"overall": {}}}).trained_category == "overall"


def test_a_picture_with_a_score_alone_changes_by_its_score() -> None:
    rows = [{"exact": None, "score": value, "reason": None} for value in (0.25, 0.75)]
    rose = Pair("a", "a", "x", 0, 0, *rows)
    fell = Pair("b", "b", "x", 0, 0, *rows[::-1])
    assert (rose.change, fell.change) == (0.5, -0.5)
    assert rose.is_score
    changes = count_changes([rose, fell, Pair("c", "c", "x", 0, 0, rows[0], None)])["x"]
    assert (changes.gained, changes.lost) == (1, 1)
    assert not pair("d", 0, None, True).is_score


@pytest.mark.parametrize(
    ("unit", "value", "change"),
    [(units.SHARE, "41.2 %", "+9.2"), (units.SCORE, "0.4120", "+0.0920")],
)
def test_a_unit_writes_values_and_changes(unit: units.Unit, value: str, change: str) -> None:
    assert unit.value(0.412).replace("\N{NO-BREAK SPACE}", " ") == value
    assert unit.bare(0.412) == value.split()[0]
    assert unit.change(0.092) == change
    assert (unit.value(None), unit.change(float("nan"))) == ("–", "–")
    assert units.SCORE.value(21.456) == "21.46"
    for judge in ("pick_score", {"name": "pick_score", "path": "here"}):
        assert units.judged_by({"benchmark": {"name": "prompts", "judge": judge}}) == "pick_score"
    assert units.judged_by({"benchmark": {"name": "hpd_v2"}}) == "hpd_v2"
