"""Find components: a folder is a slot, a file in it is one component, the file's name is its name in a config.

Read this to learn how `judge: {name: ocr}` becomes `selfportrait/judges/ocr.py`; there is no registry to edit.
"""

import ast
import difflib
import importlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["SLOTS", "Part", "find", "names", "nearest", "part", "summary"]

SLOTS = (
    "models",
    "prompts",
    "preferences",
    "perturbations",
    "densifications",
    "questions",
    "judges",
    "planners",
    "detectors",
    "instance_judges",
    "vlms",
    "selection",
    "draws",
    "weights",
    "losses",
    "recipes",
    "benchmarks",
)


class Part(NamedTuple):
    """Marks a setting that is a component of another slot: `detector: Annotated[..., Part("detectors", "rt_detr")]`.

    A config gives its name, or a section with its name and settings; whoever builds it without a config gives it built,
    or None for the default with its own defaults. Without a default somebody has to say which.
    """

    slot: str
    default: str | None = None

    def build(self) -> Any:
        """The default, with its defaults."""
        assert self.default is not None, f"none of {self.slot} is the default"
        return find(self.slot, self.default)()


def part(hint: Any) -> Part | None:
    """The mark of a setting's type hint; None for a setting that is a plain value."""
    return next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Part)), None)


def names(slot: str) -> list[str]:
    """Return the names of a slot's components, sorted; `base.py` and `_x.py` are not components."""
    if slot not in SLOTS:
        raise ValueError(f"Unknown slot {slot!r}: {nearest(slot, SLOTS)}")
    files = (Path(__file__).parent / slot).glob("*.py")
    return sorted(file.stem for file in files if file.stem != "base" and not file.stem.startswith("_"))


def find(slot: str, name: str) -> Callable[..., Any]:
    """Import a component and return the one callable it exports.

    Raises ValueError for an unknown slot or name, and where a package the component needs is not installed.
    """
    _file(slot, name)
    try:
        module = importlib.import_module(f"selfportrait.{slot}.{name}")
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "selfportrait":
            raise
        raise ValueError(
            f"{slot}/{name} needs a package that cannot be imported ({error}): pip install 'selfportrait[{name}]'"
        ) from error
    (export,) = module.__all__
    component: Callable[..., Any] = getattr(module, export)
    return component


def summary(slot: str, name: str) -> str:
    """Return the first sentence of a component's docstring, read from its source without importing it."""
    tree = ast.parse(_file(slot, name).read_text(encoding="utf-8"))
    docstring = next((_docstring(node) for node in tree.body if _name(node) in _exports(tree)), "")
    paragraph = " ".join((docstring or ast.get_docstring(tree) or "").split("\n\n")[0].split())
    sentence = re.match(r".*?[.!?](?=\s+[A-Z]|$)", paragraph)
    return sentence.group() if sentence else paragraph


def nearest(name: str, options: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest option, or every option."""
    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(known)}" if known else "there is none to choose from"


def _file(slot: str, name: str) -> Path:
    known = names(slot)
    if name not in known:
        raise ValueError(f"Unknown component {name!r} in {slot}: {nearest(name, known)}")
    return Path(__file__).parent / slot / f"{name}.py"


def _exports(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(export) for export in ast.literal_eval(node.value)]
    return []


def _name(node: ast.stmt) -> str | None:
    return node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else None


def _docstring(node: ast.stmt) -> str:
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return ast.get_docstring(node) or ""
