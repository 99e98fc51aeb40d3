"""Finding components, and what every component file must fulfil: a new file is checked without an edit here."""

import importlib
import inspect
import subprocess
import sys
import types
import typing

import pytest

from selfportrait import binding, components, config
from selfportrait.planners.base import Planner
from selfportrait.weights.base import LatentWeights

NEEDS = {"ocr": "rapidocr_onnxruntime", "endpoint": "openai"}  # optional packages, by component
COMPONENTS = [(slot, name) for slot in components.SLOTS for name in components.names(slot)]


def test_finds_a_component_by_its_file() -> None:
    assert components.find("prompts", "file").__name__ == "File"


def test_names_are_sorted_and_leave_out_base_and_private_files() -> None:
    names = components.names("prompts")
    assert "file" in names
    assert names == sorted(names)
    assert not {"base", "__init__"} & set(names)


@pytest.mark.parametrize(
    ("slot", "name", "sentence"),
    [
        ("prompts", "fiel", "Unknown component 'fiel' in prompts: did you mean 'file'?"),
        ("prompts", "zzzzzz", "Unknown component 'zzzzzz' in prompts: expected one of coco_counts, file"),
        ("prompts", "base", "Unknown component 'base' in prompts"),
        ("prompts", "../config", "Unknown component '../config' in prompts"),
        ("promts", "file", "Unknown slot 'promts': did you mean 'prompts'?"),
    ],
)
def test_unknown_names_get_the_nearest(slot: str, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="Unknown") as caught:
        components.find(slot, name)
    assert str(caught.value).startswith(sentence)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("selfportrait.prompts.file", "selfportrait.rows"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr("selfportrait.rows", raising=False)  # where `from selfportrait import rows` looks first
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'selfportrait\[file\]'"):
        components.find("prompts", "file")


def test_a_broken_import_inside_the_package_is_not_taken_for_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "selfportrait.prompts.file", raising=False)
    monkeypatch.setitem(sys.modules, "selfportrait.types", types.ModuleType("selfportrait.types"))
    with pytest.raises(ImportError, match="Prompt"):
        components.find("prompts", "file")


def test_summary_is_the_first_sentence() -> None:
    assert components.summary("prompts", "file") == (
        "Read prompts from .txt (one a line), or .jsonl, .csv or .parquet with a column text, prompt or caption."
    )


def test_summaries_import_neither_the_components_nor_torch() -> None:
    code = (
        "import sys; from selfportrait import components as c\n"
        "[c.summary(slot, name) for slot in c.SLOTS for name in c.names(slot)]\n"
        "assert 'torch' not in sys.modules and 'selfportrait.prompts.file' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("slot", "name"), COMPONENTS)
def test_every_component_says_what_it_is(slot: str, name: str) -> None:
    sentence = components.summary(slot, name)
    assert sentence.endswith(".")
    assert len(sentence) <= 200


@pytest.mark.parametrize(("slot", "name"), COMPONENTS)
def test_settings_are_keyword_only_typed_and_have_defaults_that_fit(slot: str, name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    component = components.find(slot, name)
    module = importlib.import_module(f"selfportrait.{slot}.{name}")
    assert module.__all__ == [component.__name__]
    hints = typing.get_type_hints(component.__init__ if inspect.isclass(component) else component, include_extras=True)
    for parameter in inspect.signature(component).parameters.values():
        assert parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            assert parameter.name in hints
            if parameter.default is not inspect.Parameter.empty:
                binding.check(parameter.name, hints[parameter.name], parameter.default)


def test_only_what_is_called_itself_has_to_take_what_a_recipe_gives() -> None:
    def recipe(planner: Planner, weights: LatentWeights) -> None: ...

    section = config.Section("recipe", recipe, {}, {})
    planner = config.bind_section("planner", {"name": "vlm"})  # waits for a vlm; once built it takes pairs
    config._check_calls(section, {"planner": planner})
    config._check_calls(section, {"weights": config.bind_section("weights", {"name": "instance_mask", "w_neg": 0.5})})
    with pytest.raises(ValueError, match="should be one of instance_mask; it takes tokens, maps"):
        config._check_calls(section, {"weights": config.bind_section("weights", {"name": "object_mask"})})
