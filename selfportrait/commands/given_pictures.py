"""Pictures that are there already, for `evaluate --images`, and pictures as the official scorers want them.

Read this to see which folders are understood: a benchmark's own layout, or an earlier evaluation of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selfportrait import images, measures, store
from selfportrait.benchmarks._layouts import untiled
from selfportrait.benchmarks.base import Benchmark
from selfportrait.config import Section
from selfportrait.evaluations import Evaluation, evaluations
from selfportrait.report.reading import read_table
from selfportrait.stages.evaluation import PROMPTS_PER_PART, Pictures, Shown
from selfportrait.types import Prompt

__all__ = ["Given", "check_layouts", "given_pictures", "write_layouts"]


class Given(NamedTuple):
    """A folder of pictures that are there already: in a benchmark's own layout, or of an earlier evaluation."""

    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the pictures, as JSON has it."""
        return {"images": str(self.folder)}


def given_pictures(source: Given, section: Section, benchmark: Benchmark) -> Pictures:
    """The pictures of a folder; raises FileNotFoundError or ValueError where it holds none of the benchmark."""
    name = section.resolved["name"]
    if not source.folder.is_dir():
        raise FileNotFoundError(f"--images {source.folder}: there is no such folder")
    earlier = evaluations(source.folder).get(name)
    if earlier is not None:
        return lambda prompts: _of_evaluation(earlier, benchmark, prompts)
    if not isinstance(benchmark, measures.Layout):
        raise ValueError(f"--images {source.folder}: it is no evaluation of {name}, which has no layout of its own")
    folder = source.folder / name if (source.folder / name).is_dir() else source.folder
    if not any((folder / path).is_file() for prompt in benchmark.prompts() for path in benchmark.named(prompt)):
        first = benchmark.named(benchmark.prompts()[0])[0]
        raise FileNotFoundError(f"--images {source.folder}: it holds no picture of {name}, such as {first}")
    return lambda prompts: [_of_layout(folder, benchmark, prompt) for prompt in prompts]


def _of_evaluation(earlier: Evaluation, benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[list[Shown]]:
    """The pictures of an earlier evaluation, to have them judged by somebody else."""
    columns = ["prompt_id", "prompt", "index", "seed", "image"]
    rows = read_table(earlier.table, columns, only=("prompt_id", [prompt.id for prompt in prompts]))
    by_place = {(row["prompt_id"], row["prompt"], row["index"]): row for row in rows}
    return [
        [_shown(by_place.get((prompt.id, prompt.text, index))) for index in range(len(benchmark.seeds(prompt)))]
        for prompt in prompts
    ]


def _shown(row: Mapping[str, Any] | None) -> Shown:
    data = None if row is None or row["image"] is None else row["image"]["bytes"]
    if row is None or data is None:
        return Shown(None, None, "the earlier evaluation has no such picture")
    return Shown(images.from_bytes(data), row["seed"])


def _of_layout(folder: Path, benchmark: Any, prompt: Prompt) -> list[Shown]:
    """The pictures of a prompt by their published names; one name for several is a grid."""
    names = benchmark.named(prompt)
    found = {name: _read(folder, name) for name in dict.fromkeys(names)}
    if len(found) == len(names):
        return [found[name] for name in names]
    grid = found[names[0]]
    if grid.image is None:
        return [grid] * len(names)
    return [Shown(image, None) for image in untiled(grid.image, len(names))]


def _read(folder: Path, name: str) -> Shown:
    path = folder / name
    if not path.is_file():
        return Shown(None, None, f"there is no {name}")
    try:
        return Shown(images.from_bytes(path.read_bytes()), None)
    except ValueError as error:
        return Shown(None, None, f"{name}: {error}")


def check_layouts(built: Mapping[str, Any]) -> None:
    """Refuse a benchmark that has no layout of its own, before anything is drawn; raises ValueError."""
    for name, benchmark in built.items():
        if not isinstance(benchmark, measures.Layout):
            raise ValueError(f"--layout: {name} has no layout of its own; leave --layout out, or {name}")


def write_layouts(built: Mapping[str, Any], run: Path, folder: Path) -> None:
    """Write the pictures of finished evaluations as the official scorers expect them, a folder a benchmark.

    A prompt that lacks a picture is left out.
    """
    found = evaluations(run)
    for name, benchmark in built.items():
        prompts = benchmark.prompts()
        for start in range(0, len(prompts), PROMPTS_PER_PART):
            chunk = prompts[start : start + PROMPTS_PER_PART]
            for prompt, several in zip(chunk, _of_evaluation(found[name], benchmark, chunk), strict=True):
                there = [one.image for one in several if one.image is not None]
                if len(there) == len(several):
                    _write_all(folder / name, benchmark.files(prompt, there))
        _write_all(folder / name, benchmark.index(prompts))


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        if folder.resolve() not in path.resolve().parents:
            raise ValueError(f"{name} leads out of {folder}: take the benchmark's file as it was published")
        store.write_bytes(path, data)
