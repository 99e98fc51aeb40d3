"""The page of a run of pairs that has one round and plans no other: it speaks of training."""

import json
import re
import shutil
from pathlib import Path

from selfportrait import store
from selfportrait.report import write_report
from selfportrait.report.form import percent, points
from selfportrait.report.progress import events
from selfportrait.report.reading import read_run

EVENT = {"name": "chosen_forgotten", "step": 4, "value": 1.31, "threshold": 1.2}
KEYS = ("accuracy", "low", "high", "pass_at_4")


def page(run: Path) -> str:
    """Its body without the settings, which are shown as they are."""
    return write_report(run).read_text("utf-8").split("</head>")[1].split('<section id="settings"')[0]


def said(html: str) -> str:
    """What can be read on a page or is read aloud, without the paths in the run folder."""
    labels = re.findall(r' (?:alt|aria-label)="([^"]*)"', html)
    words = " ".join([re.sub(r"<[^>]*>", " ", html), *labels]).split()
    return " ".join(word for word in words if not word.startswith("round-0/"))


def test_the_word_round_is_in_paths_only(one_round: Path) -> None:
    log = one_round / "round-0" / "training" / "metrics.jsonl"
    store.append_jsonl(log, {"step": 4, "events": [EVENT]})
    told = json.loads((one_round / "round-0" / "calibration.json").read_text())
    told |= {"warning": "It says yes to anything.", "num_missing": 3}
    store.write_json(one_round / "round-0" / "calibration.json", told)
    html = page(one_round)
    assert not re.findall(r"\brounds?\b.{,40}", said(html), re.IGNORECASE)
    assert "before and after training:" in html
    assert "Do not believe the scores of this run." in html
    assert "This run: 12 base prompts" in html
    assert "round-0/preferences" in html


def test_nor_is_it_while_the_run_goes_on(one_round: Path) -> None:
    (one_round / "summary.json").unlink()
    for lost in ("after", "after.json"):
        path = one_round / "round-0" / "evaluation" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert not re.findall(r"\brounds?\b.{,40}", said(page(one_round)), re.IGNORECASE)


def test_every_category_has_its_numbers_with_intervals(one_round: Path) -> None:
    """What the section of rounds would show is in that of the categories."""
    html = page(one_round)
    assert "#rounds" not in html
    table = said(html.split('<section id="categories"')[1].split("</section>")[0])
    summary = json.loads((one_round / "summary.json").read_text())
    for cell in (*summary["before"].values(), *summary["after"].values()):
        accuracy, low, high, passed = (" ".join(percent(cell[key]).split()) for key in KEYS)
        assert f"{accuracy} ({low} to {high})" in table
        assert passed in table
    for change in summary["change"].values():
        difference, low, high = (points(change[key]) for key in ("difference", "low", "high"))
        assert f"{difference} ({low} to {high})" in table


def test_an_event_has_its_step_alone(one_round: Path) -> None:
    store.append_jsonl(one_round / "round-0" / "training" / "metrics.jsonl", {"step": 4, "events": [EVENT]})
    assert [one["step"] for one in events(read_run(one_round))] == ["4"]


def test_of_several_that_are_planned_the_first_is_a_round(rounds_run: Path) -> None:
    (rounds_run / "summary.json").unlink()
    for index in (1, 2):
        shutil.rmtree(rounds_run / f"round-{index}")
    words = said(page(rounds_run))
    assert "rounds 1 of 3" in words
    assert "before and after round 0:" in words
    assert "Round by round" in words
