"""The embedded checkpoints as they are shipped: complete, small, documented, and able to draw what they are for."""

from pathlib import Path

import pytest
from transformers import JanusForConditionalGeneration, JanusProcessor

from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.micro import checkpoints, examination
from selfportrait.micro.scenes import prompts
from selfportrait.models.janus import Janus
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3

MAX_MEGABYTES = {"micro-janus": 25}


@pytest.mark.parametrize("name", checkpoints.names())
def test_a_checkpoint_is_small_and_says_how_good_it_is(name: str) -> None:
    folder = Path(checkpoints.embedded(name))
    assert sum(file.stat().st_size for file in folder.rglob("*")) < MAX_MEGABYTES.get(name, 15) * 1e6
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


@pytest.mark.parametrize(("component", "least"), [(SD, 10), (SD3, 14)])
def test_the_models_of_shapes_draw_shapes(component: type[SD] | type[SD3], least: int) -> None:
    """Single objects are right two times in three (micro-sd) and four in five (micro-sd3)."""
    some = [prompt for prompt, _ in zip(prompts("color", held_out=True, seed=0), range(24), strict=False)]
    model = component().load()
    images = model.sample(model.encode([prompt.text for prompt in some]), list(range(24))).images
    assert sum(score.value == 1 for score in MicroQuestions()(some, images)) >= least


@pytest.fixture(scope="module")
def micro_janus() -> Janus:
    return Janus(path="micro-janus", train="full", batch_size=64).load()


def test_plain_transformers_loads_the_token_model() -> None:
    folder = checkpoints.embedded("micro-janus")
    model, info = JanusForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    processor = JanusProcessor.from_pretrained(folder)
    asked = processor(text="three red circles", generation_mode="image", return_tensors="pt")
    codes = model.generate(**asked, generation_mode="image", do_sample=False)
    assert codes.shape == (1, 64)
    assert model.decode_image_tokens(codes).shape == (1, 64, 64, 3)


def test_the_token_model_gives_pictures_back(micro_janus: Janus) -> None:
    """95 in 100 is what is asked for; of 5 x 12 a wrong 6 would be bad luck at 97."""
    found = examination.reconstruction(micro_janus, count=12)
    assert sum(right.right for right in found.values()) >= 54


def test_the_token_model_sees_what_it_drew(micro_janus: Janus) -> None:
    """93 % is what is asked for, of many more questions; an untrained model is at 50."""
    found = examination.answering(micro_janus, count=8)["all"]
    assert found.asked > 100
    assert found.share > 0.85


def test_the_token_model_writes(micro_janus: Janus) -> None:
    found = examination.writing(micro_janus, count=14)
    assert found.keys() == {"caption", "perturb", "densify", "questions"}
    assert sum(right.right for right in found.values()) >= 36  # of 56
