"""`selfportrait pairs`: what is counted, what is written, and that it is read back as the same pairs."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_pick_a_pic
import test_run
from given_pairs import BROKEN, DROPPED, GIVEN, KEPT, Given, png

from selfportrait.cli import main
from selfportrait.commands import preferences
from selfportrait.preferences.pick_a_pic import PickAPic

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [["pairs", "check"], ["pairs", "export"], ["pairs", "agreement"]])
def test_help_has_examples(command: list[str], capsys: Capture) -> None:
    assert main([*command, "--help"]) == 0
    assert "Examples" in capsys.readouterr().out


def test_check_counts_pairs_and_reasons(capsys: Capture) -> None:
    test_pick_a_pic.make(Path("pickapic"), GIVEN)
    assert main(["pairs", "check", "pick_a_pic", "--set", "path=pickapic"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{len(KEPT)} pairs",
        "1 dropped: empty prompt",
        "1 dropped: identical pictures",
    ]
    assert main(["pairs", "check", "pick_a_pic", "--set", "path=pickapic", "--decode", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"kept": len(KEPT) - 1, "dropped": {**DROPPED, "unreadable picture": 1}}
    assert f"warning: row {BROKEN} is left out: " in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "pick_a_pick", "--set", "path=x"], "did you mean 'pick_a_pic'?"),
        (["check", "pick_a_pic"], "preferences.path is missing"),
        (["check", "pick_a_pic", "--set", "path=x", "--set", "spilt=y"], "did you mean 'split'?"),
        (["check", "pick_a_pic", "--set", "path=x", "--set", "limit=0"], "should be at least 1"),
        (["check", "pick_a_pic", "--set", "path=none"], "There is no none"),
        (["export", "none", "out.parquet"], "none is no run folder"),
        (["export", "run", "out.csv"], "out.csv is no .parquet file"),
        (["export", "run", "there.parquet"], "there.parquet is there already"),
        (["export", "run", "out.parquet", "--round", "5"], "has no round 5; it has [0, 1]"),
        (["export", "dropped", "out.parquet"], "dropped gives no pair"),
    ],
)
def test_refuses_in_one_sentence_and_writes_nothing(arguments: list[str], sentence: str, capsys: Capture) -> None:
    test_run.make(Path("run"), GIVEN)
    test_run.make(Path("dropped"), GIVEN[2:4])
    Path("there.parquet").write_bytes(b"mine")
    before = sorted(Path().rglob("*"))
    assert main(["pairs", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert sentence in line
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_an_exported_run_is_read_back_as_the_same_pairs(plain: list[str], capsys: Capture) -> None:
    run = test_run.make(Path("run"), GIVEN)
    assert main(["pairs", "export", "run", "out.parquet", *plain]) == 0
    assert capsys.readouterr().out == "5 pairs in out.parquet\n"
    back = PickAPic(path="out.parquet")
    assert list(back) == list(run)
    assert [pair.index for pair in back] == list(range(5))
    assert [(one.chosen.tobytes(), one.rejected.tobytes()) for one in iter(back).decoded()] == [
        (one.chosen.tobytes(), one.rejected.tobytes()) for one in iter(run).decoded()
    ]


def test_an_exported_file_has_the_columns_of_pick_a_pic() -> None:
    many = [Given(f"prompt {n}", png("red", (5, n + 1)), png("blue")) for n in range(40)]
    test_run.make(Path("run"), many)
    assert main(["pairs", "export", "run", "out.parquet"]) == 0
    assert main(["pairs", "export", "run", "plain.parquet", "--plain"]) == 0
    schema, rows = pq.read_schema("out.parquet"), pq.read_table("out.parquet").to_pylist()
    published = test_pick_a_pic.PUBLISHED
    assert set(schema.names) <= set(published.names)
    assert pq.read_schema("plain.parquet") == pa.schema([published.field(name) for name in schema.names])
    metadata = json.loads(schema.metadata[b"huggingface"])
    assert metadata == {"info": {"features": {"jpg_0": {"_type": "Image"}, "jpg_1": {"_type": "Image"}}}}
    for number, row in enumerate(rows):
        assert row["ranking_id"] == number
        assert row["label_0"] + row["label_1"] == 1
        chosen = 0 if row["label_0"] == 1 else 1
        assert row[f"jpg_{chosen}"] == {"bytes": many[number].chosen, "path": None}
        assert row["best_image_uid"] == row[f"image_{chosen}_uid"]
    assert 10 < sum(row["label_0"] for row in rows) < 30  # the chosen picture is on either side


def test_only_some_rounds_are_exported() -> None:
    test_run.make(Path("run"), GIVEN)
    assert main(["pairs", "export", "run", "out.parquet", "--round", "1"]) == 0
    assert [pair.prompt for pair in PickAPic(path="out.parquet")] == ["a broken one", "odd modes", "a red circle"]


def test_the_same_run_gives_the_same_bytes_in_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferences, "ROWS_PER_GROUP", 2)
    test_run.make(Path("run"), GIVEN)
    for name in ("a.parquet", "b.parquet"):
        assert main(["pairs", "export", "run", name]) == 0
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()
    metadata = pq.read_metadata("a.parquet")
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [2, 2, 1]


def test_datasets_decodes_the_pictures() -> None:
    datasets = pytest.importorskip("datasets")
    test_run.make(Path("run"), GIVEN[:1])
    assert main(["pairs", "export", "run", "out.parquet"]) == 0
    table = datasets.load_dataset("parquet", data_files="out.parquet", cache_dir="cache")["train"]
    assert {table[0][f"jpg_{side}"].getpixel((0, 0)) for side in (0, 1)} == {(255, 0, 0), (0, 0, 255)}
