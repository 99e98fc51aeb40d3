"""Writes `report.html` from a run folder: one file, no script, no network, the same bytes for the same folder.

Read this first: it lists the sections of the page; each is prepared by the file named like it.
"""

from pathlib import Path
from typing import Any

import yaml

from selfportrait import store
from selfportrait.evaluations import evaluations
from selfportrait.report.calibration import calibrations
from selfportrait.report.environment import environment
from selfportrait.report.evaluation import write_evaluation
from selfportrait.report.groups import example_groups
from selfportrait.report.headline import category_rows, headline, other_categories, what_ran
from selfportrait.report.instances import found_instances
from selfportrait.report.pictures import count_changes, first_pictures, largest_changes, read_pairs
from selfportrait.report.preferences import example_pairs, margins
from selfportrait.report.progress import costs, events, held_out_chart, training_charts
from selfportrait.report.prompts import example_prompts, origin
from selfportrait.report.reading import RunRecord, read_run
from selfportrait.report.rounds import courses
from selfportrait.report.units import SCORE
from selfportrait.report.watch import watch
from selfportrait.report.yields import yields

__all__ = ["write_report"]


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into the folder of a run or of an evaluation, whole or not at all, and return its path.

    A run that was cut off gets a report too: a section without data says what is missing.
    Raises FileNotFoundError where there is no run, ValueError where a file of the run cannot be read.
    """
    if evaluations(run_folder):
        return write_evaluation(run_folder)
    text = environment().get_template("page.html.j2").render(_sections(read_run(run_folder)))
    path = run_folder / "report.html"
    store.write_bytes(path, text.encode())
    return path


def _sections(run: RunRecord) -> dict[str, Any]:
    """Everything the template shows, by the name it has there."""
    pairs = read_pairs(run)
    categories = category_rows(run, count_changes(pairs))
    return {
        "run": run,
        "what": what_ran(run),
        "headline": headline(run),
        "others": other_categories(run),
        "watch": watch(run),
        "unit_of_scores": SCORE,
        "first": first_pictures(run, pairs),
        "largest": largest_changes(run, pairs),
        "categories": categories,
        "charts": training_charts(run),
        "held_out": held_out_chart(run),
        "groups": [] if run.is_in_rounds else example_groups(run),
        **_sections_of_rounds(run),
        "events": events(run),
        "costs": costs(run),
        "config": yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=100),
    }


def _sections_of_rounds(run: RunRecord) -> dict[str, Any]:
    """What only a run in rounds has; each of them is empty or None, and not on the page, until its data is there."""
    preferences = example_pairs(run)
    return {
        "courses": courses(run),
        "calibrations": calibrations(run),
        "prompts": example_prompts(run),
        "prompts_origin": origin(run),
        "yields": yields(run),
        "instances": found_instances(run),
        "preferences": preferences,
        "has_masks": any(one.has_masks for one in preferences),
        "margins": margins(run) if preferences else None,
    }
