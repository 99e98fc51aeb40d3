"""Imports point down: cli -> recipes -> slots, training -> types, store, images, seeds; slots are strangers."""

import ast
from pathlib import Path

import pytest

import selfportrait
from selfportrait import components

PACKAGE = Path(selfportrait.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FOUNDATION = {"types", "store", "images", "seeds", "boxes"}
LOWER_SLOTS = set(components.SLOTS) - {"recipes"}
UPPER = {"recipes", "cli", "config", "components", "doctor"}
COMPONENTS = [(slot, name) for slot in components.SLOTS for name in components.names(slot)]


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere, as their first name below the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("selfportrait.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "selfportrait":
                found |= {alias.name for alias in node.names}
            elif node.module and node.module.startswith("selfportrait."):
                found.add(node.module.split(".")[1])
    return found


def exports(path: Path) -> list[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def home(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own, found = home(path), imported(path)
    if own in FOUNDATION:
        assert found <= FOUNDATION
    elif own in LOWER_SLOTS:
        by_name = {"components"} if own in ("benchmarks", "judges") else set()  # they find their eyes by name
        assert not found & ((LOWER_SLOTS - {own}) | UPPER - by_name)
    elif own in ("training", "micro"):
        assert not found & {"recipes", "cli"}
    elif own == "recipes":
        assert not found & {"cli", "config", "components"}
    assert "cli" not in found or own in ("cli", "__main__")


@pytest.mark.parametrize(("slot", "name"), COMPONENTS)
def test_a_component_exports_exactly_one_public_name(slot: str, name: str) -> None:
    names = exports(PACKAGE / slot / f"{name}.py")
    assert len(names) == 1
    assert not names[0].startswith("_")


def test_an_upward_import_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "import selfportrait.losses.gpo\nfrom selfportrait import store\nfrom selfportrait.models import sd3\n"
    )
    assert imported(file) == {"losses", "store", "models"}
