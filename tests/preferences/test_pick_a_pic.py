"""Pick-a-Pic's Parquet: which columns and files are read, and what each strange row comes to."""

import io
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from given_pairs import Given, png
from PIL import Image

from selfportrait.preferences.pick_a_pic import PickAPic

PUBLISHED = pa.schema(
    [
        ("are_different", pa.bool_()), ("best_image_uid", pa.string()), ("caption", pa.string()),
        ("created_at", pa.timestamp("ns")), ("has_label", pa.bool_()), ("image_0_uid", pa.string()),
        ("image_0_url", pa.string()), ("image_1_uid", pa.string()), ("image_1_url", pa.string()),
        ("jpg_0", pa.binary()), ("jpg_1", pa.binary()), ("label_0", pa.float64()), ("label_1", pa.float64()),
        ("model_0", pa.string()), ("model_1", pa.string()), ("ranking_id", pa.int64()), ("user_id", pa.int64()),
        ("num_example_per_prompt", pa.int64()), ("__index_level_0__", pa.int64()),
    ]
)  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    """A row in which the first picture is the better one."""
    usual = {"caption": "a circle", "has_label": True, "jpg_0": png("red"), "jpg_1": png("blue")}
    return {**dict.fromkeys(PUBLISHED.names), **usual, "label_0": 1.0, "label_1": 0.0, **changes}


def write(file: Path, rows: list[dict[str, Any]], *, schema: pa.Schema = PUBLISHED, group: int = 2) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, row_group_size=group)
    return file


def make(folder: Path, given: list[Given]) -> PickAPic:
    """Three rows a file, two a row group; every other row has the chosen picture second."""
    rows = []
    for number, one in enumerate(given):
        pictures = [one.chosen, one.rejected][:: -1 if number % 2 else 1]
        uids = [str(hash_of(data)) for data in pictures]
        cells = {"jpg_0": pictures[0], "jpg_1": pictures[1], "image_0_uid": uids[0], "image_1_uid": uids[1]}
        label = float(number % 2 == 0)
        rows.append(row(caption=one.prompt, label_0=label, label_1=1 - label, ranking_id=number, **cells))
    for start in range(0, len(rows), 3):
        write(folder / f"train-{start // 3:05d}-of-00003-0a1b.parquet", rows[start : start + 3])
    return PickAPic(path=str(folder))


def hash_of(data: bytes) -> int:
    return sum((index + 1) * byte for index, byte in enumerate(data))


def one(tmp_path: Path, **changes: Any):
    """The only row of a file, and what a reading counts."""
    source = PickAPic(path=str(write(tmp_path / "p.parquet", [row(), row(**changes)])))
    reading = iter(source)
    pairs = list(reading)
    return (pairs[1] if len(pairs) > 1 else None), reading.counts["dropped"]


def test_the_second_picture_may_be_the_chosen_one(tmp_path: Path) -> None:
    found, dropped = one(tmp_path, label_0=0.0, label_1=1.0)
    assert (found.chosen.data(), found.rejected.data()) == (png("blue"), png("red"))
    assert found.chosen.where.endswith("p.parquet, row 2, jpg_1")
    assert dropped == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_0": 0.5, "label_1": 0.5}, "tie"),
        ({"label_0": None, "label_1": None}, "no label"),
        ({"label_0": math.nan, "label_1": math.nan}, "no label"),
        ({"has_label": False}, "no label"),
        ({"has_label": False, "label_0": 7.0}, "no label"),
        ({"label_0": 1.0, "label_1": 1.0}, "labels contradict each other"),
        ({"label_0": 0.0, "label_1": 0.5}, "labels contradict each other"),
        ({"caption": ""}, "empty prompt"),
        ({"caption": " \n"}, "empty prompt"),
        ({"caption": None}, "empty prompt"),
        ({"jpg_0": None}, "no picture"),
        ({"jpg_1": b""}, "no picture"),
        ({"jpg_1": png("red")}, "identical pictures"),
        ({"image_0_uid": "u", "image_1_uid": "u"}, "identical pictures"),
    ],
)
def test_a_row_that_is_no_pair_is_dropped_and_counted(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    assert one(tmp_path, **changes) == (None, {reason: 1})


@pytest.mark.parametrize("value", [0.25, -1.0, 2.0, math.inf])
def test_another_label_is_refused_with_its_row(value: float, tmp_path: Path) -> None:
    file = write(tmp_path / "p.parquet", [row(), row(), row(label_1=value)])
    with pytest.raises(ValueError, match=r"expected 0, 0\.5 or 1") as caught:
        list(PickAPic(path=str(file)))
    assert str(caught.value).startswith(f"{file}, row 3: label_1 = {value}, expected")


def test_has_label_may_be_null_and_only_four_columns_are_needed(tmp_path: Path) -> None:
    assert one(tmp_path, has_label=None)[1] == {}
    few = pa.schema([PUBLISHED.field(name) for name in ("caption", "jpg_0", "jpg_1", "label_0")])
    source = PickAPic(path=str(write(tmp_path / "few.parquet", [row(), row(label_0=0.0)], schema=few)))
    assert [pair.chosen.data() for pair in source] == [png("red"), png("blue")]


def test_without_uids_pictures_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    found, _ = one(tmp_path)
    other, _ = one(tmp_path, image_0_uid="u0", image_1_uid="u1")
    assert len(found.chosen.key) == 64
    assert (other.chosen.key, other.rejected.key) == ("u0", "u1")


def test_columns_of_image_features_large_types_and_texts_are_read(tmp_path: Path) -> None:
    picture = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
    schema = pa.schema(
        [("caption", pa.large_string()), ("jpg_0", picture), ("jpg_1", pa.large_binary()), ("label_0", pa.int64())]
    )
    rows = [row(jpg_0={"bytes": png("red"), "path": None}), row(jpg_0=None), row(jpg_0={"bytes": None, "path": "a"})]
    reading = iter(PickAPic(path=str(write(tmp_path / "p.parquet", rows, schema=schema))))
    assert [pair.chosen.data() for pair in reading] == [png("red")]
    assert reading.counts == {"kept": 1, "dropped": {"no picture": 2}}


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    schema = pa.schema([("prompt", pa.string()), ("jpg_0", pa.binary()), ("label_0", pa.float64())])
    file = write(tmp_path / "p.parquet", [], schema=schema)
    with pytest.raises(ValueError, match="has no column caption and jpg_1; it has prompt, jpg_0, label_0: "):
        PickAPic(path=str(file))


@pytest.mark.parametrize(
    ("name", "kind"), [("jpg_1", pa.string()), ("caption", pa.binary()), ("jpg_0", pa.list_(pa.int8()))]
)
def test_a_column_of_another_type_is_refused(name: str, kind: pa.DataType, tmp_path: Path) -> None:
    fields = [field if field.name != name else pa.field(name, kind) for field in PUBLISHED]
    file = write(tmp_path / "p.parquet", [], schema=pa.schema(fields))
    with pytest.raises(ValueError, match=f"the column {name} is "):
        PickAPic(path=str(file))


def test_one_of_several_splits_has_to_be_chosen(tmp_path: Path) -> None:
    for number, split in enumerate(["train", "train", "validation_unique", "test"]):
        write(tmp_path / f"data/{split}-{number:05d}-of-00004-abc123.parquet", [row(caption=f"{split} {number}")])
    with pytest.raises(ValueError, match="holds the splits test, train, validation_unique: give preferences.split one"):
        PickAPic(path=str(tmp_path))
    with pytest.raises(ValueError, match="split = 'val': .* holds the splits test, train, validation_unique"):
        PickAPic(path=str(tmp_path), split="val")
    assert [pair.prompt for pair in PickAPic(path=str(tmp_path), split="train")] == ["train 0", "train 1"]
    assert [pair.prompt for pair in PickAPic(path=str(tmp_path / "data"), split="test")] == ["test 3"]
    write(tmp_path / "data/mine.parquet", [row()])
    with pytest.raises(ValueError, match="validation_unique and files of no split"):
        PickAPic(path=str(tmp_path))


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give preferences.path"):
        PickAPic(path=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"holds no \.parquet file"):
        PickAPic(path=str(tmp_path))
    (tmp_path / "p.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(ValueError, match="is not a Parquet file that can be read"):
        PickAPic(path=str(tmp_path))


def test_a_file_that_is_corrupt_in_the_middle_is_named(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    table = pa.Table.from_pylist([row(caption=f"a circle {n}") for n in range(50)], schema=PUBLISHED)
    pq.write_table(table, file, write_page_checksum=True, use_dictionary=False, compression="none")
    data = bytearray(file.read_bytes())
    data[data.index(b"a circle 7")] ^= 1
    file.write_bytes(data)
    source = PickAPic(path=str(file))
    with pytest.raises(ValueError, match=r"p\.parquet is not a Parquet file that can be read .*: get it again"):
        list(source)


def test_row_groups_before_the_start_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in range(2):
        write(tmp_path / f"p-{part}.parquet", [row(caption=f"{part}-{n}") for n in range(10)], group=3)
    source, asked = PickAPic(path=str(tmp_path)), []
    plain = pq.ParquetFile.iter_batches

    def watched(self, *arguments, row_groups, **settings):
        asked.append(list(row_groups))
        return plain(self, *arguments, row_groups=row_groups, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert [pair.prompt for pair in source.rows(8, 14)] == ["0-8", "0-9", "1-0", "1-1", "1-2", "1-3"]
    assert asked == [[2, 3], [0, 1]]  # rows 6 to 8 and 9 of the first file, 0 to 2 and 3 to 5 of the second


@pytest.mark.parametrize("group", [1, 3, 31, 32, 33, 100])
def test_row_groups_of_any_size_are_read_whole(group: int, tmp_path: Path) -> None:
    """Batches are of 32 rows."""
    file = write(tmp_path / "p.parquet", [row(caption=str(n)) for n in range(100)], group=group)
    source = PickAPic(path=str(file))
    for start, stop in [(0, 100), (31, 34), (32, 33), (64, 100), (99, 100)]:
        assert [pair.prompt for pair in source.rows(start, stop)] == [str(n) for n in range(start, stop)]


def test_an_enormous_picture_is_refused_when_it_is_decoded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    found, _ = one(tmp_path, jpg_0=buffer.getvalue())
    with pytest.raises(ValueError, match=r"row 2, jpg_0: .* 9000x9000 pixels"):
        found.chosen.read()


def test_a_data_set_that_was_not_downloaded_fails_when_it_is_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = PickAPic(path="someone/elsewhere")
    with pytest.raises(FileNotFoundError, match="hf download someone/elsewhere --repo-type dataset"):
        list(source)
    with pytest.raises(FileNotFoundError, match="hf download"):
        _ = source.num_rows
