"""The page of a run in rounds: every section from its own data, safe with hostile texts, whole without any of them."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfportrait import store
from selfportrait.report import write_report
from selfportrait.report.calibration import calibrations
from selfportrait.report.headline import what_ran
from selfportrait.report.pictures import read_pairs
from selfportrait.report.preferences import choose, example_pairs
from selfportrait.report.progress import events, training_charts
from selfportrait.report.prompts import example_prompts
from selfportrait.report.reading import accuracies, evaluation, read_run, shown_rounds
from selfportrait.report.rounds import courses
from selfportrait.report.wording import Piece, compared, edited
from selfportrait.report.yields import yields
from selfportrait.training import pair_health

HOSTILE = "</p><script>alert('x')</script> \"&amp; {{ 7 * 7 }}"
SECTIONS = {"rounds", "prompts", "calibration", "yield", "pairs"}


def page(run: Path) -> str:
    return write_report(run).read_text("utf-8")


def text(html: str) -> str:
    """What can be read on the page."""
    return " ".join(re.sub(r"<[^>]*>", " ", html.split("</head>")[1]).split())


def section_ids(html: str) -> set[str]:
    return set(re.findall(r'<section id="([^"]+)"', html))


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def rewrite(folder: Path, **columns: Any) -> None:
    """Give every row of a table the same value in some columns."""
    for part in folder.glob("part-*.parquet"):
        table = pq.read_table(part)
        for name, value in columns.items():
            place = table.column_names.index(name)
            cells = pa.array([value] * len(table), table.schema.field(name).type)
            table = table.set_column(place, table.schema.field(name), cells)
        pq.write_table(table, part)


# The whole page


def test_every_section_is_there_and_linked(in_rounds: Path) -> None:
    html = (in_rounds / "report.html").read_text("utf-8")
    assert section_ids(html) >= SECTIONS
    assert "groups" not in section_ids(html)
    targets = set(re.findall(r'<a href="#([^"]+)"', html))
    assert targets <= set(re.findall(r' id="([^"]+)"', html))
    assert targets >= SECTIONS
    assert "Not recorded" not in html


def test_its_size_is_bounded_and_said(in_rounds: Path) -> None:
    html = (in_rounds / "report.html").read_text("utf-8")
    pairs = html[html.index('<section id="pairs"') : html.index('<section id="training"')]
    pictures = pairs.count("<img ")
    assert pictures == (72 if "mask:" in pairs else 36)  # 3 rounds, 6 pairs, 2 sides, with or without a mask
    assert f"{pictures} pictures here in all" in pairs
    assert len(html) < 1_000_000


def test_the_steps_of_a_round_are_taken_in_each(rounds_run: Path) -> None:
    settings = json.loads((rounds_run / "config.json").read_text())
    settings["settings"]["recipe"]["steps"] = 12
    (rounds_run / "config.json").write_text(json.dumps(settings))
    ran = what_ran(read_run(rounds_run))
    assert (ran["steps_done"], ran["steps"]) == (36, 36)


def test_it_says_what_ran_and_how_each_round_changed_it(in_rounds: Path) -> None:
    summary = json.loads((in_rounds / "summary.json").read_text())
    words = text((in_rounds / "report.html").read_text("utf-8"))
    assert "taught itself to draw in 3 rounds" in words
    for one in summary["rounds"]:
        assert f"{one['overall']['accuracy'] * 100:.1f} %" in words
    assert f"{summary['round_changes'][0]['overall']['difference'] * 100:+.1f}" in words
    assert "before and after round 2" in words


def test_the_same_run_gives_the_same_bytes(rounds_run: Path, ospo: Path) -> None:
    assert page(rounds_run) == (ospo / "report.html").read_text("utf-8")


def test_texts_of_a_model_are_never_markup(rounds_run: Path) -> None:
    for index in range(3):
        folder = rounds_run / f"round-{index}"
        question = {"text": HOSTILE, "yes": True, "expected": True, "p_yes": 0.9, "p_no": 0.1}
        details = json.dumps({"questions": [question]})
        rewrite(folder / "prompts", text=HOSTILE, category=HOSTILE, questions=[{"text": HOSTILE, "answer": False}])
        rewrite(folder / "candidates", prompt=HOSTILE + "candidate")
        rewrite(folder / "scores", details=details)
        rewrite(folder / "preferences", prompt=HOSTILE + "short", rejected_prompt=HOSTILE + "perturbed")
        rewrite(folder / "masks", objects=[HOSTILE])
        change(folder / "yield.json", lambda one: one["scores"]["dropped"].update({HOSTILE: 3}))
        change(folder / "yield.json", lambda one: one.update({HOSTILE: {"kept": 1, "dropped": {}}}))
        change(folder / "calibration.json", lambda one: one.update(warning=HOSTILE))
        lines = (folder / "training" / "metrics.jsonl").read_text().replace("loss/simpo", "loss/<script>")
        (folder / "training" / "metrics.jsonl").write_text(lines)
    for name in ("config.json", "summary.json"):
        hostile = (rounds_run / name).read_text().replace("streams", "<script>").replace("relation", "<script>")
        (rounds_run / name).write_text(hostile)
    html = page(rounds_run)
    assert "<script" not in html
    assert "{{ 7 * 7 }}" in html
    assert html.count("&lt;script&gt;") > 50


@pytest.mark.parametrize(
    ("lost", "sections"),
    [
        (["prompts", "yield.json"], {"prompts", "yield"}),
        (["preferences", "calibration.json"], {"pairs", "calibration"}),
        (["candidates", "scores", "masks", "training", "evaluation"], set()),
    ],
)
def test_a_section_is_there_when_its_data_is(rounds_run: Path, lost: list[str], sections: set[str]) -> None:
    for path in [rounds_run / f"round-{index}" / name for index in range(3) for name in lost]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    html = page(rounds_run)
    assert SECTIONS - section_ids(html) == sections
    assert not {section for section in sections if f'href="#{section}"' in html}


def in_progress(run: Path) -> Path:
    """Make it one of which two rounds are finished, with prompts and pictures of the third, before any map is made."""
    (run / "summary.json").unlink()
    for lost in ("scores", "preferences", "masks", "training", "evaluation"):
        shutil.rmtree(run / "round-2" / lost)
    (run / "round-2" / "yield.json").unlink()
    (run / "round-2" / "calibration.json").unlink()
    for map_ in run.glob("round-*/evaluation/*.json"):
        map_.unlink()
    store.append_jsonl(run / "stages.jsonl", {"stage": "sample", "seconds": 60.0})
    return run


def test_a_run_in_progress_shows_what_it_has(rounds_run: Path) -> None:
    words = text(page(in_progress(rounds_run)))
    assert "This run is not finished" in words
    assert "rounds 2 of 3" in words
    assert "before and after round 1" in words
    assert "Round 2: 12 base prompts" in words
    assert "sample 1 min 0 s" in words


def test_a_run_in_progress_is_measured_from_its_pictures(rounds_run: Path) -> None:
    """The same accuracies as in the maps of a finished run, and changes of the same pictures."""
    expected = json.loads((rounds_run / "summary.json").read_text())
    run = read_run(in_progress(rounds_run))
    assert not run.is_finished
    assert len(run.summary["rounds"]) == 2
    for found, known in zip(run.summary["rounds"], expected["rounds"], strict=False):
        assert found["numeracy"]["accuracy"] == pytest.approx(known["numeracy"]["accuracy"])
    for key in ("difference", "pass_at_4_difference"):
        known = expected["round_changes"][0]["numeracy"][key]
        assert run.summary["round_changes"][0]["numeracy"][key] == pytest.approx(known)


def test_a_run_that_has_only_begun_has_a_page(rounds_run: Path) -> None:
    (rounds_run / "summary.json").unlink()
    for index in range(3):
        shutil.rmtree(rounds_run / f"round-{index}")
    html = page(rounds_run)
    assert not section_ids(html) & SECTIONS
    assert "not finished" in html


# Rounds


def test_after_is_the_last_round_that_was_measured_whole(rounds_run: Path) -> None:
    (rounds_run / "summary.json").unlink()
    part = store.parts(rounds_run / "round-2" / "evaluation" / "after")[0]
    pq.write_table(pq.read_table(part).slice(1), part)  # the run was cut off one picture before the end
    run = read_run(rounds_run)
    assert evaluation(run, "after") == rounds_run / "round-1" / "evaluation" / "after"
    assert accuracies(run, "after") == run.summary["rounds"][1]


def test_the_pictures_after_are_those_of_the_last_round(ospo: Path) -> None:
    run = read_run(ospo)
    last = {
        (row["prompt_id"], row["index"]): row["exact"]
        for row in store.read_table(ospo / "round-2" / "evaluation" / "after").to_pylist()
    }
    pairs = read_pairs(run)
    assert {(pair.prompt_id, pair.index): pair.after and pair.after["exact"] for pair in pairs} == last


def test_a_course_has_a_point_a_round_with_its_change(ospo: Path) -> None:
    found = courses(read_run(ospo))
    summary = json.loads((ospo / "summary.json").read_text())
    assert found is not None
    assert found.times == ["before", "round 0", "round 1", "round 2"]
    overall = found.rows[0]
    assert overall.name == "overall"
    assert [point.accuracy for point in overall.points] == [
        summary["before"]["overall"],
        *(one["overall"] for one in summary["rounds"]),
    ]
    assert [point.tone for point in overall.points[1:]] == ["good", "open", "open"]  # +18, +4 and 0, each +- 5


def test_pass_at_4_is_explained_only_where_it_is_drawn(rounds_run: Path) -> None:
    assert "The dashed line above it is pass@4" in text(page(rounds_run))

    def lose(summary: dict[str, Any]) -> None:
        for one in (summary["before"], summary["after"], *summary["rounds"]):
            for cell in one.values():
                cell["pass_at_4"] = None

    change(rounds_run / "summary.json", lose)
    html = page(rounds_run)
    assert not re.search("dashed|pass@4", text(html))
    assert "pass@4" not in html.split("</head>")[1].split('<section id="settings"')[0]  # nor in a chart's words


def test_a_course_without_changes_shows_the_accuracies(rounds_run: Path) -> None:
    change(rounds_run / "summary.json", lambda summary: summary.pop("round_changes"))
    found = courses(read_run(rounds_run))
    assert found is not None
    assert [point.change for point in found.rows[0].points] == [{}, {}, {}, {}]


def test_of_many_rounds_the_first_and_the_last_ones_are_shown(rounds_run: Path) -> None:
    for index in range(3, 7):
        shutil.copytree(rounds_run / "round-2", rounds_run / f"round-{index}")
    assert [one.index for one in shown_rounds(read_run(rounds_run))] == [0, 4, 5, 6]


def test_a_curve_has_a_line_a_round_and_terms_of_a_loss_their_own(ospo: Path) -> None:
    charts = {chart.title: chart for chart in training_charts(read_run(ospo))}
    assert list(charts)[-2:] == ["Loss: sft", "Loss: simpo"]
    svg = str(charts["Reward margin"].svg)
    assert all(name in svg for name in ("round 0", "round 1", "round 2"))


def test_an_event_says_of_which_round_it_is(rounds_run: Path) -> None:
    event = {"name": "chosen_forgotten", "step": 4, "value": 1.31, "threshold": 1.2}
    log = rounds_run / "round-1" / "training" / "metrics.jsonl"
    store.append_jsonl(log, {"step": 4, "events": [event]})
    said = {"name": "self_judge", "message": "It says yes.", "round": 2}
    health = [{"round": 1, **event}, said]
    change(rounds_run / "summary.json", lambda summary: summary.update(health=health))
    found = events(read_run(rounds_run))
    assert [one["step"] for one in found] == ["round 1, step 4", "round 2"]
    assert found[1]["text"] == "It says yes."
    assert "1.31 times that of the first steps; the alarm is at 1.20" in found[0]["text"]


@pytest.mark.parametrize("name", pair_health.EVENTS)
def test_every_alarm_of_pairs_has_a_sentence(rounds_run: Path, name: str) -> None:
    event = {"name": name, "step": 4, "value": 0.07, "threshold": 0.05}
    store.append_jsonl(rounds_run / "round-1" / "training" / "metrics.jsonl", {"step": 4, "events": [event]})
    (found,) = events(read_run(rounds_run))
    assert "0.07" in found["text"]
    assert name not in found["text"]


# Pairs


def rows(*margins: float, prompts: str = "abcdefghij") -> list[dict[str, Any]]:
    return [{"prompt_id": id_, "margin": margin} for id_, margin in zip(prompts, margins, strict=False)]


def test_pairs_are_chosen_by_margin_and_then_by_seed() -> None:
    some = rows(0.5, 0.9, 0.1, -0.2, 0.3, 0.4, 0.6)
    chosen = choose(some, random.Random(0))
    assert [(why, row["margin"]) for why, row in chosen[:3]] == [
        ("widest margin", 0.9),
        ("median margin", 0.4),  # of 0.9 0.6 0.5 0.4 0.3 0.1 -0.2
        ("narrowest margin", -0.2),
    ]
    assert [why for why, _ in chosen[3:]] == ["at random"] * 3
    assert choose(some, random.Random(0)) == chosen
    assert {row["margin"] for _, row in choose(some, random.Random(1))} != {row["margin"] for _, row in chosen}


def test_random_pairs_are_of_other_prompts_where_there_are_any() -> None:
    """Nine pairs of one prompt, as ranked_pairs makes them, and two of others."""
    some = rows(*(index / 10 for index in range(11)), prompts="aaaaaaabcaa")
    shown = [row["prompt_id"] for why, row in choose(some, random.Random(3)) if why == "at random"]
    assert sorted(shown) == ["a", "b", "c"]


def test_few_pairs_are_shown_once_each() -> None:
    assert [why for why, _ in choose(rows(0.5), random.Random(0))] == ["widest margin"]
    assert len(choose(rows(0.5, 0.5, 0.5), random.Random(0))) == 3


def test_a_pair_has_its_pictures_scores_answers_and_masks(ospo: Path) -> None:
    found = example_pairs(read_run(ospo))[0]
    rows = {row["margin"]: row for row in store.read_table(ospo / "round-0" / "preferences").to_pylist()}
    assert found.num_pairs == len(rows)
    widest = found.examples[0]
    row = rows[max(rows)]
    assert widest.margin == max(rows)
    assert [side.score for side in widest.sides] == [row["chosen_score"], row["rejected_score"]]
    assert all(side.picture.uri and side.masked and side.masked.uri for side in widest.sides)
    assert widest.sides[0].masked != widest.sides[1].masked
    asked = widest.asked[0]
    assert asked.chosen is not None
    assert asked.rejected is not None
    details = store.read_table(ospo / "round-0" / "scores").to_pylist()
    answers = {one["candidate_id"]: json.loads(one["details"])["questions"][0] for one in details}
    assert (asked.chosen.p_yes, asked.chosen.p_no) == tuple(answers[row["chosen_id"]][key] for key in ("p_yes", "p_no"))
    assert asked.rejected.p_yes == answers[row["rejected_id"]]["p_yes"]


def test_a_hard_negative_shows_its_short_prompt_and_what_it_was_drawn_from(ospo: Path) -> None:
    example = example_pairs(read_run(ospo))[0].examples[0]
    short = " ".join(piece.text for piece in example.perturbed)
    chosen, rejected = example.sides
    assert rejected.drawn_from is not None
    assert rejected.drawn_from.startswith(f"{short} on a plain grey ground")
    assert chosen.drawn_from is not None
    assert any(piece.kind == "new" for piece in example.perturbed) or any(
        piece.kind == "gone" for piece in example.prompt
    )


def test_a_question_decides_that_only_the_chosen_passes(ospo: Path) -> None:
    """Whatever the right answer is, yes or no."""
    asked = [one for found in example_pairs(read_run(ospo)) for example in found.examples for one in example.asked]
    assert {one.expected for one in asked} == {"yes", "no"}
    for one in asked:
        assert one.chosen is not None
        assert one.rejected is not None
        is_right = [(side.word == "yes") == (one.expected == "yes") for side in (one.chosen, one.rejected)]
        assert one.is_decisive == (is_right == [True, False])


def test_a_judge_that_gives_no_probabilities_is_shown_by_its_words(rounds_run: Path) -> None:
    details = json.dumps({"questions": [{"text": "Is it there?", "yes": True}]})
    rewrite(rounds_run / "round-2" / "scores", details=details)
    answered = example_pairs(read_run(rounds_run))[2].examples[0].asked[0].chosen
    assert answered == (None, None, "yes")
    assert '<span class="good">yes</span>' in page(rounds_run)


# Prompts


def test_a_family_has_its_slots_with_edits_and_both_detailed_prompts(ospo: Path) -> None:
    found = example_prompts(read_run(ospo))[0]
    assert (found.num_base, found.num_perturbed, found.num_detailed) == (12, 36, 72)
    assert len(found.families) == 4
    family = found.families[0]
    assert [version.role for version in family.versions] == ["slot 0, replace", "slot 1, swap", "slot 2, drop"]
    for version in family.versions:
        base, other = version.detailed
        assert base.startswith(family.text)
        assert other.startswith(" ".join(piece.text for piece in version.pieces if piece.kind != "gone"))
    assert family.questions[-1] == {"text": "Is there anything else in the picture?", "answer": False}


def test_a_prompt_of_another_role_is_shown_with_it(rounds_run: Path) -> None:
    table = store.read_table(rounds_run / "round-0" / "prompts").to_pylist()
    parent = table[0]["id"]
    rows = [{**table[0]}, {**table[0], "id": "x", "text": "another", "parent": parent, "role": "translated"}]
    for part in store.parts(rounds_run / "round-0" / "prompts"):
        part.unlink()
    store.write_table(rounds_run / "round-0" / "prompts", 0, rows, store.PROMPTS)
    version = example_prompts(read_run(rounds_run))[0].families[0].versions[0]
    assert (version.role, version.pieces) == ("translated", [Piece("another")])


def test_what_was_changed_in_a_prompt_is_marked() -> None:
    assert edited("a red circle and a cat", "a blue circle") == [
        Piece("a"),
        Piece("red", "gone"),
        Piece("blue", "new"),
        Piece("circle"),
        Piece("and a cat", "gone"),
    ]
    old, new = compared("two red circles", "two blue circles")
    assert [piece.text for piece in old if piece.kind == "gone"] == ["red"]
    assert [piece.text for piece in new if piece.kind == "new"] == ["blue"]
    old, new = compared("a purple ring and an orange cross", "an orange ring and a purple cross")  # a for an is none
    assert [piece.text for piece in old if piece.kind == "gone"] == ["purple", "orange"]
    assert " ".join(piece.text for piece in new) == "an orange ring and a purple cross"
    assert compared("two red circles", "") == ([Piece("two red circles")], [])


# Yield and calibration


def test_the_yield_adds_reasons_and_the_diagnosis_over_rounds(rounds_run: Path) -> None:
    quality = {"num_ambiguous": 3, "num_checked": 0, "num_false": 0}
    for index in range(3):
        (rounds_run / f"round-{index}" / "yield.json").unlink()
    store.write_json(
        rounds_run / "round-0" / "yield.json",
        {
            "preferences": {"kept": 30, "dropped": {"tie": 2}, **quality},
            "prompts": {"kept": 40, "dropped": {"not three fields": 10, "written before": 30}},
        },
    )
    store.write_json(rounds_run / "round-1" / "yield.json", {"prompts": {"kept": 60, "dropped": {"too long": 20}}})
    found = yields(read_run(rounds_run))
    assert found is not None
    assert found.rounds == ["round 0", "round 1"]
    assert [(stage.name, stage.kept) for stage in found.stages] == [("prompts", [40, 60]), ("pairs", [30, None])]
    assert [(reason.text, reason.counts) for reason in found.stages[0].reasons] == [
        ("written before", [30, 0]),
        ("too long", [0, 20]),
        ("not three fields", [10, 0]),
    ]
    assert found.stages[0].reasons[0].shares == [30 / 80, 0.0]
    assert found.ambiguous[0] is not None
    assert found.ambiguous[0].share == 0.1
    assert found.false[0] is not None
    assert found.false[0].share is None  # nothing could be checked
    assert found.ambiguous[1] is None
    page(rounds_run)


def test_a_warning_about_the_judge_stands_above_the_numbers(rounds_run: Path) -> None:
    change(rounds_run / "round-1" / "calibration.json", lambda one: one.update(warning="It says yes to anything."))
    html = page(rounds_run)
    assert html.index("Do not believe the scores of round 1") < html.index('<dl class="numbers">')
    assert html.count("It says yes to anything.") == 2


def test_a_calibration_without_an_exact_judge_lists_what_was_asked(rounds_run: Path) -> None:
    for index in range(3):
        missing = dict.fromkeys(("ranks_exact", "answers_exact", "ranks_error"))
        change(rounds_run / f"round-{index}" / "calibration.json", lambda one, missing=missing: one.update(missing))
    found = calibrations(read_run(rounds_run))
    assert found is not None
    assert len(found.measures) == 5
    assert found.measures[0].values == [0.81, 0.81, 0.81]
    assert "yes to 81.0 % of the questions" in found.sentence.replace("\N{NO-BREAK SPACE}", " ")
    assert found.warnings == []
