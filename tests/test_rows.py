"""Lines of a user's file, read one by one."""

import itertools
from pathlib import Path

import pytest

from selfportrait import rows


def texts(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [row["text"] for _, row in rows.read(path, ())]


@pytest.mark.parametrize("content", ["", "\n\n", " \r\n\t\n", "\ufeff", "\ufeff\n"])
def test_a_file_of_nothing_has_no_rows(content: str, tmp_path: Path) -> None:
    assert texts(tmp_path / "p.txt", content) == []


def test_empty_lines_count_except_at_the_end(tmp_path: Path) -> None:
    assert texts(tmp_path / "p.txt", "\ufeff\na\n\n\nb \n \n\n") == ["", "a", "", "", "b"]
    assert texts(tmp_path / "p.txt", "a \r\nb\r\n") == ["a \r", "b"]
    assert texts(tmp_path / "p.txt", "a\u2028b\x0bc") == ["a\u2028b\x0bc"]  # only a line feed ends a line


def test_a_byte_that_is_no_utf8_is_counted_from_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not UTF-8 text \(byte 6\)"):
        texts(tmp_path / "p.txt", "ä\ncaf\xe9".encode("latin-1").replace(b"\xe4", "ä".encode()))


def test_rows_before_a_broken_line_are_given(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"a": 1}\n{"a": 2}\noops\n')
    assert list(itertools.islice(rows.read(tmp_path / "p.jsonl", ()), 2)) == [(1, {"a": 1}), (2, {"a": 2})]
