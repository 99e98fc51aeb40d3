"""Counting everyday things: what a detector finds decides, and every prompt can be read and looked for."""

from collections.abc import Sequence

from PIL import Image

from selfportrait import components
from selfportrait.benchmarks.coco_counts import CocoCounts
from selfportrait.judges._wanted import read
from selfportrait.prompts.coco_counts import CocoCounts as Source
from selfportrait.types import Detection

PICTURE = Image.new("RGB", (32, 32))


class Three:
    """Finds three of everything."""

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        return [[Detection(name, 0.9, (0, 0, 4, 4)) for name in several for _ in range(3)] for several in names]


def test_a_picture_is_exact_when_every_number_is() -> None:
    benchmark = CocoCounts(detector=Three(), num_prompts=40, images_per_prompt=2)
    prompts = benchmark.prompts()
    verdicts = benchmark.measure(prompts, [[PICTURE] * 2] * 40)
    counts = [prompt.spec["counts"] for prompt in prompts for _ in range(2)]
    assert [one["exact"] for one in verdicts] == [set(several.values()) == {3} for several in counts]
    expected = [[max(0, 1 - abs(3 - count) / count) for count in several.values()] for several in counts]
    assert [one["score"] for one in verdicts] == [sum(several) / len(several) for several in expected]
    assert {one["exact"] for one in verdicts} == {True, False}


def test_a_prompt_reads_as_its_counts_to_a_detector_of_these_classes() -> None:
    """The text alone, as it comes back from a table, names the same things, and no place is taken for one."""
    label = components.find("detectors", "d_fine")().label
    for prompt in [*CocoCounts(detector=Three()).prompts(), *Source()()]:
        assert {name: one.count for one in read(prompt.text) if (name := label(one.name))} == prompt.spec["counts"]


def test_training_and_measuring_never_meet() -> None:
    benchmark = CocoCounts(detector=Three())
    assert all(benchmark.is_held_out(prompt.text) for prompt in benchmark.prompts())
    assert not any(benchmark.is_held_out(prompt.text) for prompt in Source()())
