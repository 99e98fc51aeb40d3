"""The whole page: complete, self-contained, safe with hostile texts, and useful for a run that was cut off."""

import json
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfportrait.report import write_report

HOSTILE = "<script>alert('x')</script> \"&amp; $\\frac"
VOID = {"meta", "img", "link", "br", "input"}


class Page(HTMLParser):
    """Collects what a browser would fetch, read aloud or run, and checks that the tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(run: Path) -> Page:
    return Page(write_report(run).read_text("utf-8"))


def rewrite(folder: Path, column: str, value: str) -> None:
    """Give every row of a table the same text in one column."""
    for part in folder.glob("part-*.parquet"):
        table = pq.read_table(part)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, pa.array([value] * len(table))), part)


def test_it_shows_what_ran_and_the_numbers_of_the_summary(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    text = " ".join(Page((finished / "report.html").read_text("utf-8")).text.split())
    assert (
        "micro-sd3 trained on its own pictures: in each of 3 steps it drew 16 candidates for each of 8 numeracy" in text
    )
    assert f"{summary['before']['numeracy']['accuracy'] * 100:.1f} %" in text
    assert f"{summary['change']['numeracy']['difference'] * 100:+.1f}" in text
    assert "The whole interval is above zero" in text
    assert "1.8 GB" in text
    assert "not finished" not in text


def test_it_is_one_file_that_runs_nothing_and_fetches_nothing(finished: Path) -> None:
    page = Page((finished / "report.html").read_text("utf-8"))
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "base", "form"}
    for tag, attributes in page.attributes:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/")
        if "href" in attributes or "xlink:href" in attributes:
            assert (attributes.get("href") or attributes.get("xlink:href") or "").startswith("#")


def test_it_can_be_read_without_seeing_it(finished: Path) -> None:
    page = Page((finished / "report.html").read_text("utf-8"))
    assert page.open == []
    ids = Counter(attributes["id"] for _, attributes in page.attributes if "id" in attributes)
    assert max(ids.values()) == 1
    targets = {(attributes["href"] or "")[1:] for tag, attributes in page.attributes if tag == "a"}
    assert targets <= ids.keys()
    assert all(attributes.get("alt") for tag, attributes in page.attributes if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.attributes if tag == "svg")
    assert page.tags["h1"] == 1


def test_the_same_run_gives_the_same_bytes_and_nothing_else(finished: Path, run: Path) -> None:
    before = {path.name for path in run.iterdir()}
    assert write_report(run).read_bytes() == (finished / "report.html").read_bytes()
    assert {path.name for path in run.iterdir()} == {*before, "report.html"}


def test_texts_of_a_run_are_never_markup(run: Path) -> None:
    for when in ("before", "after"):
        for column in ("prompt", "category", "reason"):
            rewrite(run / "round-0" / "evaluation" / when, column, HOSTILE)
    rewrite(run / "round-0" / "candidates", "prompt", HOSTILE)
    rewrite(run / "round-0" / "scores", "reason", HOSTILE)
    for name in ("config.json", "summary.json"):
        text = (run / name).read_text()
        for word in ("relation", "micro-sd3", "numeracy", "evaluate before", "diversity_collapse"):
            text = text.replace(json.dumps(word), json.dumps(HOSTILE + word))
        (run / name).write_text(text)
    page = read(run)
    assert page.tags["script"] == 0
    assert page.open == []
    assert HOSTILE in page.text
    assert any(HOSTILE in (attributes.get("alt") or "") for _, attributes in page.attributes)


@pytest.mark.parametrize(
    ("missing", "sentences"),
    [
        (["round-0/evaluation/after", "round-0/preferences"], ["Nothing to compare yet", "No group yet"]),
        (["round-0/evaluation", "round-0/training"], ["No evaluation picture yet", "No step was logged yet"]),
        (["round-0/candidates", "round-0/scores"], ["no picture"]),
    ],
)
def test_a_missing_piece_is_named_and_the_rest_is_shown(run: Path, missing: list[str], sentences: list[str]) -> None:
    for name in missing:
        shutil.rmtree(run / name)
    page = read(run)
    assert all(sentence in page.text for sentence in sentences)
    assert "The whole interval is above zero" in page.text
    assert page.open == []


def test_a_run_that_has_only_begun_says_so_in_every_section(run: Path) -> None:
    shutil.rmtree(run / "round-0")
    (run / "summary.json").unlink()
    text = read(run).text
    for sentence in ("not finished", "was not measured", "No evaluation", "No step", "No group", "No time"):
        assert sentence in text


def test_a_run_before_its_last_evaluation_shows_the_first(run: Path) -> None:
    (run / "summary.json").unlink()
    shutil.rmtree(run / "round-0" / "evaluation" / "after")
    (run / "round-0" / "evaluation" / "after.json").unlink()
    text = " ".join(read(run).text.split())
    assert "Not measured after training yet" in text
    assert "– not drawn" in text
    assert "in the logged steps so far" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupt_part_is_named_and_no_report_is_written(run: Path) -> None:
    part = run / "round-0" / "evaluation" / "after" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"after/part-00000\.parquet is corrupt"):
        write_report(run)
    assert not (run / "report.html").exists()
