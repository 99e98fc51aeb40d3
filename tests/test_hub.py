"""Data sets by hub id: found in the hub's cache, absent with the command that gets them, and never downloaded."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from selfportrait import hub

NAME = "someone/some.pairs_v2"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and a folder to run in."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def downloaded(cache: Path) -> Path:
    """A snapshot as the hub's client lays it out, with one file."""
    repository = cache / "datasets--someone--some.pairs_v2"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "pairs.csv").write_text("prompt,chosen,rejected\n")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    return snapshot


def test_an_id_is_found_in_the_cache(cache: Path) -> None:
    assert hub.find(NAME) is None
    snapshot = downloaded(cache)
    assert hub.find(NAME) == snapshot


def test_a_folder_comes_before_the_cache(cache: Path) -> None:
    downloaded(cache)
    Path(NAME).mkdir(parents=True)
    assert hub.find(NAME) == Path(NAME)


@pytest.mark.parametrize("path", ["pairs", "../someone/pairs", "/pairs/x", "a/b/c", "./pairs", "../pairs"])
def test_what_is_no_id_is_a_path(path: str, cache: Path) -> None:
    assert hub.find(path) == Path(path)


def test_the_sentence_says_how_to_get_it() -> None:
    assert f"hf download {NAME} --repo-type dataset" in str(hub.absent("preferences.path", NAME))
