"""A pair with its instances: boxes in both pictures, green where they agree with the preference and red in a conflict.

Read this to see how boxes and weights are drawn; the text around them is escaped by the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from selfportrait import components, images
from selfportrait.boxes import Box, Geometry, place
from selfportrait.report.environment import environment
from selfportrait.report.form import finite
from selfportrait.report.reading import LARGE, Picture, RunRecord, picture, read_object, read_table
from selfportrait.types import Instance
from selfportrait.weights.base import LatentWeights

__all__ = ["Found", "boxed", "found_instances", "render_pair", "shown", "weighed"]

AGREES, CONFLICT = (45, 164, 78), (207, 34, 46)
SIDE = 2 * LARGE  # pixels, so that lines and numbers are sharp at twice the width it is shown at


class Count(NamedTuple):
    """What was kept of pairs or instances, and why the rest was not: reasons with their numbers."""

    name: str
    kept: int
    dropped: list[tuple[str, int]]


@dataclass(frozen=True)
class Found:
    """What was found in the pairs of a run; `counts` is empty where the pairs brought their instances."""

    counts: list[Count]
    coverage: float | None
    conflict_rate: float | None
    examples: list[Markup]


def found_instances(run: RunRecord) -> Found | None:
    """The instances of a run's pairs, and the first pairs with them; None where it has none."""
    rows = read_table(run.round / "examples", ["prompt", "chosen", "rejected", "instances"])
    summary = read_object(run.round / "instances.json")
    if not rows and not summary:
        return None
    weights = _weights(run.settings.get("weights", {}))
    return Found(
        [_count(name, summary[name]) for name in ("pairs", "instances") if name in summary],
        finite(summary.get("coverage")),
        finite(summary.get("conflict_rate")),
        [_example(row, weights) for row in rows],
    )


def _count(name: str, found: Mapping[str, Any]) -> Count:
    return Count(name, found["kept"], sorted(found["dropped"].items(), key=lambda item: -item[1]))


def _weights(settings: Mapping[str, Any]) -> LatentWeights | None:
    """The weighting of the run."""
    if "name" not in settings:
        return None
    own = {name: value for name, value in settings.items() if name != "name"}
    return partial(components.find("weights", settings["name"]), **own)


def _example(row: Mapping[str, Any], weights: LatentWeights | None) -> Markup:
    instances = [
        Instance(**{**one, "chosen_box": tuple(one["chosen_box"]), "rejected_box": tuple(one["rejected_box"])})
        for one in row["instances"]
    ]
    chosen, rejected = (images.from_bytes(row[name]["bytes"]) for name in ("chosen", "rejected"))
    return render_pair(row["prompt"], chosen, rejected, instances, weights)


class Side(NamedTuple):
    """One picture of a pair as it is shown: with boxes, and with its weights where there are any."""

    name: str
    boxed: Picture
    weighed: Picture | None


def render_pair(
    prompt: str,
    chosen: Image.Image,
    rejected: Image.Image,
    instances: Sequence[Instance],
    weights: LatentWeights | None = None,
) -> Markup:
    """A pair as HTML: both pictures with numbered boxes, under them what `weights` makes of the whole pictures."""
    sides = [
        Side(
            name,
            _picture(boxed(image, [(getattr(one, f"{name}_box"), one.is_conflict) for one in instances])),
            None if weights is None else _picture(weighed(weights, instances, chosen, rejected, index)),
        )
        for index, (name, image) in enumerate((("chosen", chosen), ("rejected", rejected)))
    ]
    template = environment().get_template("instances.html.j2")
    return Markup(template.render(prompt=prompt, sides=sides, instances=instances))  # the template escapes every value


def shown(image: Image.Image) -> Image.Image:
    """The picture at about SIDE pixels: a small one enlarged by a whole factor, a large one reduced."""
    rgb = image.convert("RGB")
    if max(rgb.size) <= SIDE:
        return images.enlarge(rgb, SIDE // max(rgb.size))
    rgb.thumbnail((SIDE, SIDE))
    return rgb


def boxed(image: Image.Image, boxes: Sequence[tuple[Box, bool]]) -> Image.Image:
    """The picture as it is shown, each box with its number from 1 on; that of a conflict is red and marked with "!"."""
    canvas = shown(image)
    geometry, draw = Geometry.resizing(image.size, canvas.size), ImageDraw.Draw(canvas)
    font = ImageFont.load_default(18)
    for index, (box, is_conflict) in enumerate(boxes, start=1):
        placed = place(box, geometry)
        assert placed is not None, "nothing is cropped away"
        colour = CONFLICT if is_conflict else AGREES
        x0, y0, x1, y1 = placed[0], placed[1], placed[2] - 1, placed[3] - 1
        draw.rectangle((x0, y0, x1, y1), outline="white", width=4)  # white beside the colour: seen on any background
        draw.rectangle((x0, y0, x1, y1), outline=colour, width=3)
        _tag(draw, (x0, y0), f"{index}{'!' if is_conflict else ''}", colour, font)
    return canvas


def _tag(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    x, y = corner
    _, _, right, bottom = draw.textbbox((x + 4, y), text, font=font)
    draw.rectangle((x, y, right + 4, bottom + 4), fill=colour)
    draw.text((x + 4, y), text, fill="white", font=font)


def weighed(
    weights: LatentWeights, instances: Sequence[Instance], chosen: Image.Image, rejected: Image.Image, index: int
) -> Image.Image:
    """One of the pictures as it is shown, 0 the chosen and 1 the rejected, grey where it counts less than elsewhere."""
    canvas = shown((chosen, rejected)[index])
    both = Geometry.resizing(chosen.size, canvas.size), Geometry.resizing(rejected.size, canvas.size)
    found = weights(instances, *both, canvas.size)[index, 0].double()  # (H, W)
    return images.overlay(canvas, (found / found.max()).numpy())


def _picture(image: Image.Image) -> Picture:
    found = picture({"bytes": images.to_png(image)})
    return Picture(found.uri, LARGE, round(LARGE * image.height / image.width), is_small=False)
