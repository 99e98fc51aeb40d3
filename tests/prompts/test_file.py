"""Prompts from files: what is read, and the sentence for what is not."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfportrait.prompts.file import File
from selfportrait.types import Prompt


def read(path: Path, content: bytes | str, category: str = "") -> list[Prompt]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return File(path=str(path), category=category)()


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        "a red circle\nzwei Kreise, grün",
        "a red circle\nzwei Kreise, grün\n",
        "a red circle\r\n  zwei Kreise, grün \r\n\r\n",
        "\ufeffa red circle\nzwei Kreise, grün\n",
    ],
)
def test_text_has_one_prompt_a_line(content: str, tmp_path: Path) -> None:
    prompts = read(tmp_path / "p.txt", content, category="mine")
    assert prompts == [
        Prompt(id=sha1("a red circle"), text="a red circle", category="mine"),
        Prompt(id=sha1("zwei Kreise, grün"), text="zwei Kreise, grün", category="mine"),
    ]


@pytest.mark.parametrize("column", ["text", "prompt", "caption"])
def test_tables_have_a_text_column(column: str, tmp_path: Path) -> None:
    rows = [{column: "a, b", "id": "1", "category": "x"}, {column: "c", "id": "", "category": ""}]
    expected = [Prompt(id="1", text="a, b", category="x"), Prompt(id=sha1("c"), text="c", category="mine")]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert read(tmp_path / "p.jsonl", lines, "mine") == expected
    assert read(tmp_path / "p.csv", f'{column},id,category\n"a, b",1,x\nc,,\n', "mine") == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert File(path=str(tmp_path / "p.parquet"), category="mine")() == expected


def test_a_csv_text_may_hold_a_line_break(tmp_path: Path) -> None:
    assert [prompt.text for prompt in read(tmp_path / "p.csv", 'text\n"a\nb"\nc\n')] == ["a\nb", "c"]


def test_duplicates_are_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [prompt.text for prompt in read(tmp_path / "p.txt", "a\nb\na\na \n")] == ["a", "b"]
    assert "2 of 4 prompts came again" in caplog.text


def test_the_source_gives_a_list_of_its_own_every_time(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a\n")
    source = File(path=str(tmp_path / "p.txt"))
    source().clear()
    assert len(source()) == 1


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("p.txt", "a\n\nb\n", "line 2 is empty"),
        ("p.txt", "\na\n", "line 1 is empty"),
        ("p.txt", "a\n \t\nb\n", "line 2 is empty"),
        ("p.txt", "", "is empty: expected at least one prompt"),
        ("p.txt", "\n \n", "is empty: expected at least one prompt"),
        ("p.txt", b"caf\xe9\n", "is not UTF-8 text (byte 3)"),
        ("p.txt", "a\n".encode("utf-16"), "is not UTF-8 text (byte 0)"),
        ("p.jsonl", '{"text": "a"}\n\n{"text": "b"}\n', "line 2 is empty"),
        ("p.jsonl", '{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("p.jsonl", '["a"]\n', "line 1 is not a JSON object"),
        ("p.jsonl", '{"words": "a"}\n', "line 1: no column text, prompt or caption among words"),
        ("p.jsonl", '{"text": 3}\n', "line 1: text = 3, expected text"),
        ("p.jsonl", '{"text": "a", "id": 1}\n{"text": "b", "id": 1}\n', "line 2: the id '1' comes again"),
        ("p.csv", "text,id\na,1\n\nb,2\n", "line 3 is empty"),
        ("p.csv", "text,id\na,1\nred, and blue,2\n", "line 3 has 3 columns, expected 2"),
        ("p.csv", "text,id\n,1\n", "line 2 is empty"),
        ("p.csv", 'text\n"a\n', "is not CSV"),
        ("p.csv", "text,id\n", "is empty: expected at least one prompt"),
        ("p.parquet", "PAR1 but no more", "is not a Parquet file"),
        ("p.parquet", "", "is not a Parquet file"),
        ("p.doc", "a\n", "is of no known kind: expected .txt, .jsonl, .csv, .parquet"),
    ],
)
def test_refuses_in_one_sentence(name: str, content: bytes | str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(tmp_path / name, content)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist or is not a file"):
            File(path=str(path))
