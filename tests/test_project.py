"""What is true of the project as a whole: its dependencies, version, configs, pages and the size of its files."""

import ast
import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import selfportrait
from selfportrait import config

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "selfportrait"
MAX_FILE_BYTES = 500 * 1024


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def distribution(requirement: str) -> str:
    """Return the normalized name that a requirement opens with: "PyYAML>=6" is pyyaml."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {distribution(name): version for name, version in pinned}


def declared() -> set[str]:
    extras = project()["optional-dependencies"].values()
    requirements = [*project()["dependencies"], *(requirement for extra in extras for requirement in extra)]
    return {distribution(requirement) for requirement in requirements} - {"selfportrait"}


def test_torch_is_pinned_without_a_build_tag() -> None:
    assert pins()["torch"] == "2.13.0"


def test_every_direct_dependency_is_pinned() -> None:
    assert declared() - pins().keys() == set()


def test_torchvision_is_not_needed() -> None:
    assert "torchvision" not in declared() | pins().keys()


def test_core_needs_no_optional_package() -> None:
    core = {distribution(requirement) for requirement in project()["dependencies"]}
    assert core & {"rapidocr-onnxruntime", "onnxruntime", "opencv-python", "pytest"} == set()


def test_installed_version_is_the_packages() -> None:
    assert importlib.metadata.version("selfportrait") == selfportrait.__version__


def test_license_is_apache() -> None:
    assert project()["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_configs_ship_inside_the_package() -> None:
    assert "gpo-micro-counting" in config.names()


@pytest.mark.parametrize("name", config.names())
def test_config_opens_with_its_command(name: str) -> None:
    assert re.search(rf"selfportrait improve {re.escape(name)}(?![\w-])", config.header(name))


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_method_page_names_code_that_exists(page: Path) -> None:
    """Every `file.py:name` or `file.py:Class.name` of a method's page is there, so the page reads off the code."""
    references = re.findall(r"`(\w+/\w+\.py):([\w.]+)`", page.read_text(encoding="utf-8"))
    assert references, f"{page.name} names no code"
    assert [f"{file}:{name}" for file, name in references if not is_defined(PACKAGE / file, name.split("."))] == []


def is_defined(file: Path, name: list[str]) -> bool:
    """Look for a function or class, or for a method in a class, without importing the file."""
    if not file.is_file():
        return False
    nodes: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    for part in name:
        definitions = (ast.FunctionDef, ast.ClassDef)
        found = [node for node in nodes if isinstance(node, definitions) and node.name == part]
        if not found:
            return False
        nodes = found[0].body
    return True


METHODS = [f"docs/methods/{page.name}" for page in sorted((ROOT / "docs" / "methods").glob("*.md"))]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *METHODS,
        "docs/benchmarks.md",
        "docs/judges.md",
        "docs/judges-that-look.md",
        "docs/gpo-ablations.md",
        "docs/glossary.md",
    ],
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_files_stay_small() -> None:
    """Only the embedded checkpoints may be larger than 500 kB."""
    files = [file for folder in ("selfportrait", "tests", "docs", "perf") for file in (ROOT / folder).rglob("*")]
    checkpoints = PACKAGE / "micro" / "checkpoints"
    ours = [file for file in files if file.is_file() and checkpoints not in file.parents]
    assert [str(file.relative_to(ROOT)) for file in ours if file.stat().st_size > MAX_FILE_BYTES] == []
