"""Pairs of our own runs: where their pictures are, what they were made of, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from given_pairs import GIVEN, Given, png

from selfportrait import store
from selfportrait.preferences.run import Run

CONFIG = {"settings": {"model": {"name": "sd3", "path": "some/model"}}, "versions": {}, "hardware": {}}
PAIRS_PER_PART = 3


def make(folder: Path, given: list[Given]) -> Run:
    """The first four pairs in round 0, the others in round 1; candidates that are in no pair lie between them."""
    store.write_json(folder / "config.json", CONFIG)
    for index, rows in enumerate([given[:4], given[4:]]):
        for part, start in enumerate(range(0, len(rows), PAIRS_PER_PART)):
            write_part(folder / f"round-{index}", part, rows[start : start + PAIRS_PER_PART])
    return Run(path=str(folder))


def write_part(round_: Path, part: int, given: list[Given], **contents: Any) -> None:
    pairs, candidates = [], []
    for number, one in enumerate(given):
        ids = [f"p{part}-{number}-{side}" for side in range(3)]
        pictures = [one.chosen, png("grey"), one.rejected]
        candidates += [candidate(id, picture, **contents) for id, picture in zip(ids, pictures, strict=True)]
        pairs.append(
            {**dict.fromkeys(store.PAIRS.names), "prompt": one.prompt, "chosen_id": ids[0], "rejected_id": ids[2]}
        )
    store.write_table(round_ / "candidates", part, candidates, store.CANDIDATES)
    store.write_table(round_ / "preferences", part, pairs, store.PAIRS)


def candidate(id: str, picture: bytes | None, **contents: Any) -> dict[str, Any]:
    return {**dict.fromkeys(store.CANDIDATES.names), "id": id, "image": picture, **contents}


def test_rounds_come_one_after_the_other_or_are_chosen(tmp_path: Path) -> None:
    make(tmp_path, GIVEN)
    assert [pair.prompt for pair in Run(path=str(tmp_path), rounds=(0,))] == ["a red circle", "a circle, grün"]
    assert [pair.index for pair in Run(path=str(tmp_path), rounds=(1, 0))] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"has no round 2; it has \[0, 1\]"):
        Run(path=str(tmp_path), rounds=(0, 2))


def test_pictures_of_different_rounds_with_the_same_id_are_told_apart(tmp_path: Path) -> None:
    """The ids of candidates come again in every round; keys are made of what is in a picture."""
    make(tmp_path, GIVEN)
    pairs = list(Run(path=str(tmp_path)))
    assert pairs[0].chosen.key != pairs[2].chosen.key
    assert pairs[0].rejected.key == pairs[4].rejected.key  # the same blue picture


def test_what_a_picture_was_made_of_comes_with_it(tmp_path: Path) -> None:
    store.write_json(tmp_path / "config.json", CONFIG)
    write_part(tmp_path / "round-0", 0, GIVEN[:1], latent=[0.5, -1.25])
    write_part(tmp_path / "round-1", 0, GIVEN[:1], tokens=[3, 1, 2])
    write_part(tmp_path / "round-2", 0, GIVEN[:1])
    latent, tokens, nothing = (pair.rejected for pair in Run(path=str(tmp_path)))
    assert torch.equal(latent.content, torch.tensor([0.5, -1.25]))
    assert torch.equal(tokens.content, torch.tensor([3, 1, 2], dtype=torch.int32))
    assert nothing.content is None
    assert [picture.content_of for picture in (latent, tokens, nothing)] == ["some/model", "some/model", ""]


def test_only_the_parts_that_rows_are_in_are_read(tmp_path: Path) -> None:
    make(tmp_path, [*GIVEN[:2], *GIVEN[:2], *GIVEN[:2]])
    for path in (
        tmp_path / "round-0/candidates/part-00000.parquet",
        tmp_path / "round-1/candidates/part-00000.parquet",
    ):
        path.write_bytes(b"broken")
    assert [pair.index for pair in Run(path=str(tmp_path)).rows(3, 4)] == [3]
    with pytest.raises(ValueError, match="is corrupt"):
        list(Run(path=str(tmp_path)).rows(2, 4))


def test_a_round_that_is_being_written_may_lack_a_part(tmp_path: Path) -> None:
    make(tmp_path, GIVEN)
    (tmp_path / "round-0/preferences/part-00000.parquet").unlink()
    assert [row.index for row in Run(path=str(tmp_path)).rows()] == [0, 1, 2, 3]
    assert next(iter(Run(path=str(tmp_path)))).prompt == "a broken one"


def test_a_picture_that_was_not_kept_is_counted(tmp_path: Path) -> None:
    make(tmp_path, GIVEN[:2])
    ids = ["p0-0-0", "p0-0-2", "p0-1-0", "p0-1-2"]
    pictures = [png("red"), png("blue"), None, png("blue")]
    rows = [candidate(id, picture) for id, picture in zip(ids, pictures, strict=True)]
    store.write_table(tmp_path / "round-0/candidates", 0, rows, store.CANDIDATES)
    reading = iter(Run(path=str(tmp_path)))
    assert len(list(reading)) == 1
    assert reading.counts["dropped"] == {"no picture": 1}


def test_a_pair_without_its_candidate_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path, GIVEN[:2])
    store.write_table(tmp_path / "round-0/candidates", 0, [candidate("p0-0-0", png("red"))], store.CANDIDATES)
    with pytest.raises(ValueError, match="candidates, part 0 has no candidate p0-0-2, which is in a pair"):
        list(source)


def test_what_is_no_run_with_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no run folder"):
        Run(path=str(tmp_path))
    store.write_json(tmp_path / "config.json", CONFIG)
    with pytest.raises(FileNotFoundError, match="has no pairs: run selfportrait stage pair"):
        Run(path=str(tmp_path))
    store.write_table(tmp_path / "round-0/preferences", 0, [], store.PREFERENCES)
    with pytest.raises(ValueError, match="holds groups, not pairs"):
        Run(path=str(tmp_path))
    (tmp_path / "round-0/preferences/part-00000.parquet").write_bytes(b"broken")
    with pytest.raises(ValueError, match="is corrupt"):
        Run(path=str(tmp_path))


def test_a_config_without_a_model_is_no_obstacle(tmp_path: Path) -> None:
    make(tmp_path, GIVEN)
    (tmp_path / "config.json").write_text(json.dumps({"settings": {}}))
    assert next(iter(Run(path=str(tmp_path)))).chosen.content_of == ""
