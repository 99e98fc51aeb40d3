"""The run folder: atomic and repeatable writes, refusals, resume, and kills at any moment."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from selfportrait import images, store
from selfportrait.store import Run

CONFIG = {"settings": {"seed": 0, "loss": {"name": "gpo", "guard": 0.1}}, "versions": {"torch": "2"}, "hardware": {}}
RED = Image.new("RGB", (4, 4), "red")


def changed(**settings: Any) -> dict[str, Any]:
    return {**CONFIG, "settings": {**CONFIG["settings"], **settings}}


def candidate(index: int) -> dict[str, Any]:
    return {
        "id": f"c{index}",
        "prompt_id": "p",
        "prompt": "a red square",
        "index": index,
        "seed": 2**63 - 1,
        "step": 0,
        "image": RED,
        "latent": [0.1, -0.5],
        "tokens": None,
    }


def score(index: int, value: float | None = 0.5) -> dict[str, Any]:
    return {"candidate_id": f"c{index}", "judge": "count", "value": value, "reason": None, "details": "{}"}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Runs


def test_a_run_starts_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with Run.open(folder, CONFIG) as run:
        assert run.config == CONFIG
        assert run.path("round-0", "scores") == folder / "round-0" / "scores"
    before = tree(folder)
    with Run.open(str(folder), {**CONFIG, "versions": {"torch": "3"}, "hardware": {"gpus": []}}):
        assert tree(folder) == before
    assert Run.read(folder).config == CONFIG


def test_a_run_of_another_config_is_refused_and_untouched(tmp_path: Path) -> None:
    Run.open(tmp_path, CONFIG).close()
    before = tree(tmp_path)
    other = changed(seed=1, loss={"name": "gpo", "guard": None, "beta": 2})
    with pytest.raises(ValueError, match="belongs to another config") as caught:
        Run.open(tmp_path, other)
    said = "(loss.beta = unset there, 2 here, loss.guard = 0.1 there, null here, seed = 0 there, 1 here)"
    assert said in str(caught.value)
    assert tree(tmp_path) == before


def test_only_three_differences_are_named(tmp_path: Path) -> None:
    Run.open(tmp_path, CONFIG).close()
    with pytest.raises(ValueError, match="and 2 more"):
        Run.open(tmp_path, changed(a=1, b=2, c=3, d=4, e=5))


def test_settings_are_compared_as_json(tmp_path: Path) -> None:
    Run.open(tmp_path, changed(betas=(0.9, 0.99))).close()
    Run.open(tmp_path, changed(betas=[0.9, 0.99])).close()


def test_a_setting_that_is_new_and_not_used_makes_no_other_run(tmp_path: Path) -> None:
    Run.open(tmp_path, CONFIG).close()
    before = tree(tmp_path)
    Run.open(tmp_path, changed(recipe={"evaluate_every": None}, watch=None)).close()
    assert tree(tmp_path) == before
    with pytest.raises(ValueError, match=r"recipe\.evaluate_every = unset there, 5 here"):
        Run.open(tmp_path, changed(recipe={"evaluate_every": 5}))


def test_a_setting_that_was_used_is_not_given_up(tmp_path: Path) -> None:
    Run.open(tmp_path, changed(recipe={"evaluate_every": 5})).close()
    for recipe in ({"evaluate_every": None}, {}):
        with pytest.raises(ValueError, match=r"recipe\.evaluate_every = 5 there"):
            Run.open(tmp_path, changed(recipe=recipe))


@pytest.mark.parametrize("name", ["thesis.tex", ".git", ".hidden"])
def test_a_folder_that_is_no_run_is_refused_and_untouched(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="not empty and no run folder"):
        Run.open(tmp_path, CONFIG)
    assert tree(tmp_path) == {name: b"mine"}
    with pytest.raises(FileNotFoundError, match="no run folder"):
        Run.read(tmp_path)


def test_what_a_kill_before_the_first_file_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.tmp").write_text('{"sett')
    Run.open(tmp_path, CONFIG).close()
    assert set(tree(tmp_path)) == {".lock", "config.json"}


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(ValueError, match="is a file"):
        Run.open(tmp_path / "f", CONFIG)


def test_a_corrupt_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is corrupt"):
        Run.open(tmp_path, CONFIG)


def test_one_process_writes_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    code = (
        "import json, sys, time; from selfportrait.store import Run\n"
        "run = Run.open(sys.argv[1], json.loads(sys.argv[2])); print('open', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(CONFIG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(ValueError, match="Another process is writing"):
            Run.open(tmp_path, CONFIG)
        holder.send_signal(signal.SIGKILL)
    Run.open(tmp_path, CONFIG).close()


def test_a_closed_run_lets_go_in_the_same_process(tmp_path: Path) -> None:
    run = Run.open(tmp_path, CONFIG)
    with pytest.raises(ValueError, match="Another process"):
        Run.open(tmp_path, CONFIG)
    run.close()
    run.close()
    Run.open(tmp_path, CONFIG).close()


# Tables


def test_a_table_round_trips_in_order(tmp_path: Path) -> None:
    store.write_table(tmp_path / "t", 1, [candidate(2)], store.CANDIDATES)
    path = store.write_table(tmp_path / "t", 0, [candidate(0), candidate(1)], store.CANDIDATES)
    assert path == tmp_path / "t" / "part-00000.parquet"
    rows = store.read_table(tmp_path / "t").to_pylist()
    assert [row["id"] for row in rows] == ["c0", "c1", "c2"]
    assert rows[0]["image"] == {"bytes": images.to_png(RED), "path": None}
    assert rows[0]["seed"] == 2**63 - 1
    assert store.read_table(tmp_path / "t", ["id", "index"]).column_names == ["id", "index"]


def test_missing_scores_stay_missing(tmp_path: Path) -> None:
    store.write_table(tmp_path, 0, [score(0, None), score(1)], store.SCORES)
    assert store.read_table(tmp_path)["value"].to_pylist() == [None, 0.5]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    encoded = {**candidate(0), "image": images.to_png(RED)}
    a = store.write_table(tmp_path / "a", 0, [candidate(0)], store.CANDIDATES).read_bytes()
    b = store.write_table(tmp_path / "b", 0, [encoded], store.CANDIDATES).read_bytes()
    assert a == b


def test_the_schema_names_the_picture_column_as_datasets_does(tmp_path: Path) -> None:
    path = store.write_table(tmp_path, 0, [candidate(0)], store.CANDIDATES)
    metadata = json.loads(pq.read_schema(path).metadata[b"huggingface"])
    assert metadata == {"info": {"features": {"image": {"_type": "Image"}}}}


def test_datasets_decodes_the_pictures(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = store.write_table(tmp_path, 0, [candidate(0)], store.CANDIDATES)
    table = datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert table[0]["image"].getpixel((0, 0)) == (255, 0, 0)


def test_a_file_written_piece_by_piece_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with store.writing(path) as file:
        file.write(b"one ")
        assert not path.exists()
        file.write(b"two")

    def stopped() -> None:
        with store.writing(path) as file:
            file.write(b"three")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    assert tree(tmp_path) == {"deep/file": b"one two"}


def test_rows_with_other_columns_are_our_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="columns"):
        store.write_table(tmp_path, 0, [{**score(0), "vlaue": 1.0}], store.SCORES)
    assert tree(tmp_path) == {}


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    store.write_table(tmp_path, 0, [], store.PROMPTS)
    assert store.read_table(tmp_path).schema.names == store.PROMPTS.names


def test_no_part_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the stage"):
        store.read_table(tmp_path / "none")


def test_every_damage_to_a_part_is_seen(tmp_path: Path) -> None:
    store.write_table(tmp_path, 0, [candidate(0)], store.CANDIDATES)
    whole = store.write_table(tmp_path, 1, [candidate(1)], store.CANDIDATES)
    data = whole.read_bytes()
    flipped = bytearray(data)
    flipped[data.index(b"\x89PNG") + 20] ^= 1
    for damaged in (b"", data[:100], data[:-1], data[len(data) // 2 :], b"\0" * len(data), bytes(flipped)):
        whole.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"part-00001\.parquet is corrupt .* delete it, the stage will redo it"):
            store.read_table(tmp_path)


def test_a_gap_between_parts_is_seen(tmp_path: Path) -> None:
    for index in (0, 2):
        store.write_table(tmp_path, index, [score(index)], store.SCORES)
    with pytest.raises(ValueError, match=r"part-00001\.parquet is missing"):
        store.read_table(tmp_path)


def test_a_part_with_other_columns_is_named(tmp_path: Path) -> None:
    store.write_table(tmp_path, 0, [score(0)], store.SCORES)
    store.write_table(tmp_path, 1, [], store.PROMPTS)
    with pytest.raises(ValueError, match=r"part-00001\.parquet has other columns"):
        store.read_table(tmp_path)


def test_dropping_parts_leaves_the_earlier_ones(tmp_path: Path) -> None:
    for index in range(12):
        store.write_table(tmp_path, index, [score(index)], store.SCORES)
    store.drop_parts_from(tmp_path, 9)
    store.drop_parts_from(tmp_path / "none", 0)
    assert [path.name for path in store.parts(tmp_path)] == [f"part-{index:05d}.parquet" for index in range(9)]


# Files


def test_json_is_sorted_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    store.write_json(path, {"b": 1, "a": "grün"})
    assert path.read_text() == '{\n  "a": "grün",\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match=r"a\.json cannot be written: JSON has no NaN"):
        store.write_json(path, {"a": float("nan")})
    assert store.read_json(path) == {"a": "grün", "b": 1}


def test_jsonl_appends_and_truncates(tmp_path: Path) -> None:
    path = tmp_path / "training" / "metrics.jsonl"
    store.truncate_jsonl(path, lambda _: True)
    assert store.read_jsonl(path) == []
    for step in range(4):
        store.append_jsonl(path, {"step": step, "loss": 0.5})
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"step": 4, "lo')
    assert [record["step"] for record in store.read_jsonl(path)] == [0, 1, 2, 3]
    store.truncate_jsonl(path, lambda _: True)
    assert path.read_bytes() == whole
    store.truncate_jsonl(path, lambda record: record["step"] < 2)
    assert [record["step"] for record in store.read_jsonl(path)] == [0, 1]
    with pytest.raises(ValueError, match="NaN"):
        store.append_jsonl(path, {"loss": float("inf")})


def test_a_corrupt_line_that_is_not_the_last_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n{"a"\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl is corrupt at line 2"):
        store.truncate_jsonl(path, lambda _: True)


def test_a_full_disk_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"a": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"The disk is full, .*a\.json was not written: free some space") as caught:
        store.write_json(path, {"a": 2})
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="The disk is full"):
        store.append_jsonl(tmp_path / "m.jsonl", {"a": 1})
    assert tree(tmp_path) == {"a.json": b'{\n  "a": 1\n}\n', "m.jsonl": b""}


def test_other_failures_are_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        store.write_bytes(tmp_path / "a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_killed_writers_leave_only_whole_parts(tmp_path: Path) -> None:
    code = (
        "import itertools, sys; from pathlib import Path; from selfportrait import store\n"
        "row = {'candidate_id': 'c' * 100_000, 'judge': 'j', 'value': 1.0, 'reason': None, 'details': '{}'}\n"
        "folder = Path(sys.argv[1]); start = len(store.parts(folder)); print('go', flush=True)\n"
        "for index in itertools.count(start):\n"
        "    store.write_table(folder, index, [row] * 20, store.SCORES)\n"
        "    store.append_jsonl(folder / 'm.jsonl', {'step': index})\n"
    )
    for delay in (0.0, 0.013, 0.05):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"go\n"
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        store.truncate_jsonl(tmp_path / "m.jsonl", lambda _: True)
        if store.parts(tmp_path):
            assert store.read_table(tmp_path).num_rows == 20 * len(store.parts(tmp_path))
