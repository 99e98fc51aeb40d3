"""The embedded checkpoints as they are shipped: complete, small, documented, and able to draw what they are for."""

from pathlib import Path

import pytest

from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.micro import checkpoints
from selfportrait.micro.scenes import prompts
from selfportrait.models.sd3 import SD3

MAX_MEGABYTES = 15


@pytest.mark.parametrize("name", checkpoints.names())
def test_a_checkpoint_is_small_and_says_how_good_it_is(name: str) -> None:
    folder = Path(checkpoints.embedded(name))
    assert sum(file.stat().st_size for file in folder.rglob("*")) < MAX_MEGABYTES * 1e6
    assert not [file for file in folder.rglob("*") if file.suffix in {".bin", ".pt", ".pkl", ".ckpt"}]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "selfportrait micro build" in card
    assert "## Quality" in card
    assert checkpoints.sampling(str(folder)) is not None


def test_the_model_of_words_draws_words() -> None:
    """6 of 24 is half of what it reaches; an untrained model reaches 0."""
    ocr = pytest.importorskip("selfportrait.judges.ocr")
    some = [prompt for prompt, _ in zip(prompts("text", held_out=True, seed=0), range(24), strict=False)]
    model = SD3(path="micro-sd3-text").load()
    images = model.sample(model.encode([prompt.text for prompt in some]), list(range(24))).images
    assert sum(bool(score.details["exact"]) for score in ocr.Ocr()(some, images)) >= 6


def test_the_model_of_shapes_draws_shapes() -> None:
    """Single objects are right four times in five."""
    some = [prompt for prompt, _ in zip(prompts("color", held_out=True, seed=0), range(24), strict=False)]
    model = SD3(path="micro-sd3").load()
    images = model.sample(model.encode([prompt.text for prompt in some]), list(range(24))).images
    assert sum(score.value == 1 for score in MicroQuestions()(some, images)) >= 14
