"""Checkpoint files: what is opened, what is refused, and what a sentence about one says."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from selfportrait.judges._checkpoints import Origin, check_path, load_exactly, pretrained, read_weights, renamed
from selfportrait.judges.aesthetic import Aesthetic
from selfportrait.judges.blip_vqa import BlipVqa
from selfportrait.judges.clip_score import ClipScore
from selfportrait.judges.hps import Hps
from selfportrait.judges.image_reward import ImageReward
from selfportrait.judges.pick_score import PickScore
from selfportrait.types import Prompt

ORIGIN = Origin("a thing", "https://example.org/thing", "MIT")
STATE = {"a.weight": torch.tensor([1.0, 2.0])}


def test_tables_of_tensors_are_read_however_they_are_wrapped(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "b.pth")
    torch.save({"epoch": 3, "state_dict": STATE}, tmp_path / "c.pt")
    torch.save({"model": STATE}, tmp_path / "d.bin")
    for path in tmp_path.iterdir():
        found = read_weights(str(path), ORIGIN)
        assert list(found) == ["a.weight"]
        assert torch.equal(found["a.weight"], STATE["a.weight"])


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("opened"),))


def test_code_in_a_file_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Trap()}, "trap.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    torch.save(torch.nn.Linear(1, 1), "module.pth")
    for name in ("trap.pth", "plain.pth", "module.pth"):
        with pytest.raises(ValueError, match="is not opened because that could run code"):
            read_weights(name, ORIGIN)
    assert not Path("opened").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.safetensors", b"\x05"), ("b.safetensors", b""), ("c.pt", b""), ("d.pt", b"PK\x03\x04 and no more")],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"is no checkpoint that can be read|holds more than tensors") as caught:
        read_weights(str(tmp_path / name), ORIGIN)
    assert "\n" not in str(caught.value)


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    for name in ("list.pt", "numbers.pt"):
        with pytest.raises(ValueError, match="expected tensors by name"):
            read_weights(str(tmp_path / name), ORIGIN)


def test_a_file_that_is_nowhere_says_where_to_get_it(tmp_path: Path) -> None:
    for path in ("nowhere.pt", str(tmp_path / "a/b.pt"), "owner/repository/file.pt"):
        with pytest.raises(FileNotFoundError, match=r"get a thing from https://example.org/thing \(MIT\)"):
            read_weights(path, ORIGIN)


@pytest.mark.parametrize("path", ["nowhere.pth", "./models/x", "/no/such/folder", "weights/nowhere.pt"])
@pytest.mark.parametrize("judge", [ClipScore, PickScore, Hps, ImageReward, Aesthetic, BlipVqa])
def test_a_path_that_is_not_there_is_found_out_before_anything_loads(judge, path: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no .*https://"):
        judge(path=path)


def test_hub_ids_are_left_to_the_hub() -> None:
    for path in ("owner/name", "owner/name/file.pt", "owner/name/folder/file.safetensors"):
        check_path(path, ORIGIN)


@pytest.mark.parametrize("judge", [ClipScore, PickScore, Hps, ImageReward, Aesthetic, BlipVqa])
def test_what_the_hub_has_not_is_one_sentence(judge, pictures) -> None:
    with pytest.raises(FileNotFoundError, match=r"https://.*give its path") as caught:
        judge(device="cpu")([Prompt("p", "a cat")], pictures[:1])  # the hub is out of reach in tests
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    from transformers import CLIPModel

    with pytest.raises(FileNotFoundError, match="give its path"):
        pretrained(CLIPModel.from_pretrained, str(tmp_path), ORIGIN)


def test_names_are_replaced_in_turn_and_some_dropped() -> None:
    state = {"m.x.weight": torch.zeros(1), "m.x.ids": torch.zeros(1)}
    assert list(renamed(state, {r"^m\.": "n.", r"^n\.x": "y"}, dropped="ids$")) == ["y.weight"]


def test_half_precision_is_stored_wide() -> None:
    network = load_exactly(
        torch.nn.Linear(1, 1), {"weight": torch.ones(1, 1).half(), "bias": torch.ones(1)}, "x", ORIGIN
    )
    assert network.weight.dtype is torch.float32


def test_many_wrong_names_are_counted_and_three_named() -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(3)))
    with pytest.raises(ValueError, match=r"tensors 6 missing \(0.weight, 0.bias, 1.weight, ...\);"):
        load_exactly(network, {}, "x", ORIGIN)


@pytest.mark.parametrize("kind", ["lacking", "narrow", "other"])
def test_a_folder_of_another_network_is_refused(kind, tmp_path, clip_folder, blip_folder, prompts, pictures) -> None:
    """The library alone would go on with random weights."""
    if kind == "other":
        folder = blip_folder
    else:
        folder = tmp_path / "clip"
        shutil.copytree(clip_folder, folder)
        state = load_file(folder / "model.safetensors")
        weight = state.pop("visual_projection.weight")
        more = {"visual_projection.weight": weight[:8].contiguous()} if kind == "narrow" else {}
        save_file({**state, **more}, folder / "model.safetensors", metadata={"format": "pt"})
    judge = ClipScore(path=str(folder), device="cpu")
    with pytest.raises(ValueError, match=r"is not a CLIP.*https://") as caught:
        judge(prompts, pictures)
    assert "\n" not in str(caught.value)
