"""`selfportrait doctor`: what is installed, on what machine, and whether the parts work together.

Read this to see what the self-check covers: a scene, its judge, the embedded model's pictures and its gradient.
"""

import importlib.metadata
import os
import platform
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from selfportrait import __version__, components
from selfportrait.micro.checkpoints import names
from selfportrait.micro.language import say
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, lay_out
from selfportrait.micro.world import Scene, Word, render
from selfportrait.types import Draw, Prompt

__all__ = ["Check", "checks", "examine", "facts"]

MODEL = "micro-sd3"
FAILURES = (ValueError, OSError, ImportError, RuntimeError, AssertionError)  # what a broken installation raises


class Check(NamedTuple):
    """One part of the self-check; `work` returns what it found, or raises one of FAILURES."""

    name: str
    work: Callable[[], str]


def examine(echo: Callable[[str], None]) -> bool:
    """Tell the facts, run the checks, and return whether all passed."""
    for name, value in facts():
        echo(f"{name:<24}{value}")
    echo("")
    results = [_run(check, echo) for check in checks()]
    return all(results)


def facts() -> Iterator[tuple[str, str]]:
    """Versions, machine, optional packages and embedded models, as pairs."""
    yield "selfportrait", __version__
    yield "python", f"{platform.python_version()}, {platform.platform()}"
    required, optional = _requirements()
    for package in required:
        yield package, _version(package)
    for package, extra in optional:
        yield package, f"{_version(package)} (optional: pip install 'selfportrait[{extra}]')"
    yield "devices", ", ".join(_devices())
    yield "cores", f"{os.cpu_count()}, of which torch uses {torch.get_num_threads()}"
    yield "memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GB"
    yield "free disk here", f"{shutil.disk_usage('.').free / 2**30:.1f} GB"
    yield "embedded models", ", ".join(names()) or "none"


def checks() -> list[Check]:
    """The self-check, a few seconds in all; what is not installed or not embedded is left out."""
    found = [Check("the exact judge passes rendered scenes", _judge_scenes)]
    if _version("rapidocr-onnxruntime") != "not installed":
        found.append(Check("the text reader reads a word", _read_word))
    if MODEL in names():
        found.append(Check(f"{MODEL} draws and learns", _draw_and_learn))
    return found


def _run(check: Check, echo: Callable[[str], None]) -> bool:
    start = time.perf_counter()
    try:
        outcome, is_good = check.work(), True
    except FAILURES as error:
        outcome, is_good = " ".join(f"{type(error).__name__}: {error}".split()), False
    echo(f"{'pass' if is_good else 'FAIL'}  {check.name}: {outcome} ({time.perf_counter() - start:.1f} s)")
    return is_good


def _judge_scenes() -> str:
    rng = random.Random(0)
    claims = [claim(category, rng) for category in SHAPE_CATEGORIES]
    pictures = [render(lay_out(one, rng)) for one in claims]
    prompts = [Prompt(id=str(number), text=say(one)) for number, one in enumerate(claims)]
    scores = components.find("judges", "micro_questions")()(prompts, pictures)
    for prompt, score in zip(prompts, scores, strict=True):
        if score.value != 1.0:
            raise ValueError(f"{prompt.text!r} was scored {score.value} ({score.reason}), expected 1.0")
    return f"{len(scores)} of {len(scores)}"


def _read_word() -> str:
    score = components.find("judges", "ocr")()(
        [Prompt(id="0", text='the word "cat"')], [render(Scene(word=Word("cat")))]
    )[0]
    if not score.details.get("exact"):
        raise ValueError(f'read {score.details.get("read")!r} ({score.reason}), expected "cat"')
    return str(score.details["read"])


def _draw_and_learn() -> str:
    model = components.find("models", "sd3")(path=MODEL, train="full", num_inference_steps=4).load()
    conditioning = model.encode(["a red circle", "two blue stars"]).repeat(2)
    samples = model.sample(conditioning, [0, 1, 2, 3])
    if len(samples.images) != 4 or not bool(torch.isfinite(samples.content).all()):
        raise ValueError(
            f"drew {len(samples.images)} pictures with latents that may not be finite, expected 4 finite ones"
        )
    draw = Draw(torch.full((4,), 0.5), torch.randn(samples.content.shape, generator=torch.Generator().manual_seed(0)))
    model.log_likelihood(samples.content, conditioning, draw).mean().backward()
    norm = _gradient_norm(model)
    if not 0 < norm < float("inf"):
        raise ValueError(f"the gradient's norm is {norm}, expected a positive finite number")
    return f"4 pictures of {samples.images[0].width}x{samples.images[0].height}, gradient norm {norm:.3g}"


def _gradient_norm(model: Any) -> float:
    gradients = [parameter.grad for parameter in model.trainable().values() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0


def _devices() -> list[str]:
    gpus = [
        f"cuda:{index} {torch.cuda.get_device_name(index)}, "
        f"{torch.cuda.get_device_properties(index).total_memory / 2**30:.0f} GB"
        for index in range(torch.cuda.device_count())
    ]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _requirements() -> tuple[list[str], list[tuple[str, str]]]:
    """The packages that the installed selfportrait requires, and those of its extras other than dev."""
    required, optional = [], []
    for requirement in _declared():
        package = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if extra is None:
            required.append(package)
        elif extra[1] != "dev":
            optional.append((package, extra[1]))
    return required, optional


def _declared() -> list[str]:
    try:
        return importlib.metadata.requires("selfportrait") or []
    except importlib.metadata.PackageNotFoundError:  # it runs from its folder
        optional = ['rapidocr-onnxruntime; extra == "ocr"', 'openai; extra == "endpoint"']
        return ["torch", "diffusers", "transformers", "peft", *optional]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
