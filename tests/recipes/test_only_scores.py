"""A run whose benchmark knows no right and wrong: everything it shows is a score, in the judge's own unit."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import settings_for, start_run

from selfportrait import cli, store
from selfportrait.benchmarks.base import Row
from selfportrait.benchmarks.micro import Micro
from selfportrait.commands.improve import show_result
from selfportrait.types import Prompt


class Darkness(Micro):
    """Gives a picture 20 to 21, by how dark it is."""

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        rows = super().measure(prompts, images)
        scores = [21 - float(np.asarray(image).mean()) / 255 for several in images for image in several]
        for row, score in zip(rows, scores, strict=True):
            row["exact"], row["score"] = None, score
        return rows


@pytest.fixture(scope="module")
def run(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    benchmark = Darkness(categories=("numeracy", "color"), prompts_per_category=2)
    folder = tmp_path_factory.mktemp("runs") / "scored"
    return start_run(folder, settings_for(tiny_sd3, recipe={"steps": 1}), benchmark=benchmark)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def section(run: store.Run, name: str) -> str:
    html = run.path("report.html").read_text("utf-8")
    return words(html[html.index(f'<section id="{name}"') :].split("</section>")[0])


def test_the_terminal_shows_scores(run: store.Run, capsys: pytest.CaptureFixture[str]) -> None:
    summary = store.read_json(run.path("summary.json"))
    overall = summary["after"]["overall"]
    assert 20 < overall["accuracy"] < 21
    show_result(run.folder)
    out = capsys.readouterr().out
    assert "Mean score by micro of 16 held-out pictures" in out
    assert f"{overall['accuracy']:.2f} ({overall['low']:.2f}–{overall['high']:.2f})" in out
    assert not re.search("%,|, %|exact|points|pass@4", out.lower())


def test_the_comparison_shows_scores(run: store.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(run.folder)]) == 0
    out = capsys.readouterr().out
    before = store.read_json(run.path("summary.json"))["before"]["overall"]["accuracy"]
    assert "Mean score by micro of 16 held-out pictures" in out
    assert f"{before:.2f}" in out
    assert not re.search(", %|exact|points", out.lower())


def test_the_page_shows_scores(run: store.Run) -> None:
    summary = store.read_json(run.path("summary.json"))
    result = section(run, "result")
    assert "numeracy mean score" in result
    assert "of 8 held-out pictures, by micro" in result
    assert f"{summary['before']['numeracy']['accuracy']:.2f}" in result
    categories = section(run, "categories")
    assert "Mean score by category" in categories
    assert "rose fell" in categories
    row = store.read_table(run.path("round-0", "evaluation", "after")).to_pylist()[0]
    assert f"– score {row['score']:.2f}" in section(run, "pictures")
    for name in ("result", "pictures", "largest", "categories"):
        assert not re.search(r"\d.?%|exact|points|pass@4|accuracy", section(run, name).replace("95 %", "")), name
