"""The aesthetic predictor against a forward written by hand, with the norm that is easily forgotten."""

from pathlib import Path

import pytest
import torch
from tiny_judges import new_clip

from selfportrait.judges._linear_head import linear_head
from selfportrait.judges._pictures import cropped
from selfportrait.judges.aesthetic import Aesthetic


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, torch.Tensor]]:
    """A published file with random weights: its path and its tensors."""
    torch.manual_seed(0)
    state = {f"layers.{key}": 3 * value for key, value in linear_head(16).state_dict().items()}
    path = tmp_path_factory.mktemp("heads") / "head.pth"
    torch.save(state, path)
    return str(path), state


def test_by_hand(clip_folder: Path, head, prompts, pictures) -> None:
    """With nothing between the layers the head is w . x + b of the unit vector x."""
    path, state = head
    assert sorted(state) == sorted(f"layers.{layer}.{end}" for layer in (0, 2, 4, 6, 7) for end in ("weight", "bias"))
    found = Aesthetic(path=path, clip=str(clip_folder), device="cpu", batch_size=2)(prompts, pictures)
    w, b = torch.eye(16), torch.zeros(16)
    for layer in (0, 2, 4, 6, 7):
        w, b = state[f"layers.{layer}.weight"] @ w, state[f"layers.{layer}.weight"] @ b + state[f"layers.{layer}.bias"]
    with torch.no_grad():
        pixels = torch.stack([cropped(picture, 32) for picture in pictures])
        x = new_clip().get_image_features(pixels).pooler_output
    expected = (x / x.square().sum(1, keepdim=True).sqrt()) @ w[0] + b
    assert [score.value for score in found] == pytest.approx(expected.tolist(), abs=1e-5)
    without_norm = x @ w[0] + b
    assert not torch.allclose(without_norm, expected, atol=1e-2)


def test_batches_repeats_and_prompts_change_no_score(clip_folder: Path, head, prompts, pictures, counted) -> None:
    judge = Aesthetic(path=head[0], clip=str(clip_folder), device="cpu", batch_size=3)
    seen = counted(judge._network.encoder.vision_model, "pixel_values")
    together = [score.value for score in judge(prompts, pictures)]
    assert seen == [3, 1]
    assert together[0] == together[4]  # the same pixels, other prompts
    alone = [judge([prompts[0]], [picture])[0].value for picture in pictures]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_head_of_another_width_is_refused(clip_folder: Path, tmp_path: Path, prompts, pictures) -> None:
    torch.save({f"layers.{key}": value for key, value in linear_head(24).state_dict().items()}, tmp_path / "h.pth")
    judge = Aesthetic(path=str(tmp_path / "h.pth"), clip=str(clip_folder), device="cpu")
    with pytest.raises(ValueError, match=r"1 of another shape \(0.weight \(1024, 24\) instead of \(1024, 16\)\)"):
        judge(prompts, pictures)
