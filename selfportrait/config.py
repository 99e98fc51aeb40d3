"""Configs: YAML and key=value in, checked settings and built components out.

Read this to learn what sections there are, and what a run writes into its config.json: every section is checked before
any weight loads, by `binding.py`.
"""

import functools
import importlib.metadata
import inspect
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic

from selfportrait import __version__, binding, components, processes, strict_yaml

__all__ = ["SECTIONS", "Config", "Section", "bind", "bind_section", "header", "load", "names"]

SECTIONS = {
    "recipe": "recipes",
    "model": "models",
    "prompts": "prompts",
    "preferences": "preferences",
    "perturbation": "perturbations",
    "densification": "densifications",
    "questions": "questions",
    "judge": "judges",
    "planner": "planners",
    "detector": "detectors",
    "instance_judge": "instance_judges",
    "vlm": "vlms",
    "selection": "selection",
    "draw": "draws",
    "weights": "weights",
    "loss": "losses",
    "optimizer": "training",  # not a slot: there is one optimizer, and its section has no name
    "benchmark": "benchmarks",
    "watch": "judges",  # several of them, by names of their own
}
WATCH = "watch"
_CONFIGS = Path(__file__).parent / "configs"
_SAME_JUDGE = ("weight", "mean", "std", "batch_size", "device")  # settings that make no other judge of it
_SEED = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
_PACKAGES = ("torch", "diffusers", "transformers", "peft")


# Reading


def names() -> list[str]:
    """Return the names of the configs that come with the package."""
    return sorted(path.stem for path in _CONFIGS.glob("*.yaml"))


def header(path_or_name: str) -> str:
    """Return the comment a config opens with, without its hash signs: what it is, its command, time and numbers."""
    lines = []
    for line in _text(_path(path_or_name)).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines)


def load(path_or_name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a config by the name of one that comes with the package or by its path, with overrides such as `a.b=1e-5`.

    An override that changes a section's `name` drops that section's other settings: they belonged to another component.
    """
    path = _path(path_or_name)
    settings = strict_yaml.parse(_text(path), str(path))
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds {binding.kind(settings)}, expected sections such as `model: {{name: sd3}}`")
    changes = [_split(override) for override in overrides]
    for keys, value in sorted(changes, key=lambda change: change[0][-1] != "name"):
        binding.put(settings, keys, value)
    return settings


def _path(path_or_name: str) -> Path:
    packaged = _CONFIGS / f"{path_or_name}.yaml"
    if path_or_name in names():
        return packaged
    path = Path(path_or_name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise FileNotFoundError(f"The config {path_or_name} is not a file: give the path of a YAML file, or a name")
    raise ValueError(f"Unknown config {path_or_name!r}: {components.nearest(path_or_name, names())}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _split(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(f"The override {override!r} cannot be read: expected key=value, such as loss.guard=0.1")
    return keys, strict_yaml.parse(text, f"The value of the override {override!r}")


# Checking


@dataclass(frozen=True)
class Section:
    """One component and all its settings, checked, with defaults filled in."""

    key: str
    component: Callable[..., Any]
    settings: dict[str, Any]
    resolved: dict[str, Any]

    @property
    def takes_policy(self) -> bool:
        """Whether the component can be built only where there is a model to hand to it."""
        return "policy" in binding.run_time(self.component) and inspect.isclass(self.component)

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that are not their component's default, as JSON has them."""
        return {
            setting: self.resolved[setting]
            for setting, parameter in binding.settings_of(self.component).items()
            if self.settings[setting] != parameter.default
        }

    def build(self) -> Any:
        """Call a builder with its settings; bind the settings of a function that a recipe calls at run time."""
        if binding.run_time(self.component):
            return functools.partial(self.component, **self.settings)
        return self.component(**self.settings)


@dataclass(frozen=True)
class Config:
    """A whole run, checked: `config.recipe(run=run, **config.build())` starts it."""

    seed: int
    sections: dict[str, Section]
    watch: dict[str, Section] = field(default_factory=dict)

    @property
    def recipe(self) -> Callable[..., Any]:
        """The recipe with its settings bound; its positional parameters are what `build` returns, and the run."""
        section = self.sections["recipe"]
        return functools.partial(section.component, **section.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by section, as JSON has it."""
        found = {"seed": self.seed, **{key: section.resolved for key, section in self.sections.items()}}
        watch = {label: section.resolved for label, section in self.watch.items()}
        return {**found, WATCH: watch} if watch else found

    def build(self) -> dict[str, Any]:
        """Build every component the recipe takes, by the name of its parameter; with the seed where it takes that."""
        built = {key: section.build() for key, section in self.sections.items() if key != "recipe"}
        if self.watch:
            from selfportrait.stages import Watcher  # here, so that listing configs does not wait for torch

            built[WATCH] = {label: Watcher(section.build(), section) for label, section in self.watch.items()}
        takes_seed = "seed" in binding.run_time(self.sections["recipe"].component)
        return {**built, "seed": self.seed} if takes_seed else built

    def resolved(self) -> dict[str, Any]:
        """Return what config.json holds: settings, versions of packages and hardware; nothing that reads the clock."""
        return {"settings": self.settings, "versions": _versions(), "hardware": _hardware()}


def bind(settings: Mapping[str, Any]) -> Config:
    """Check every section against the signature of its component.

    Raises ValueError for an unknown or missing section, component or setting, and for a value that does not fit.
    """
    for key in settings:
        if key not in SECTIONS and key != "seed":
            raise ValueError(f"Unknown section {key!r}: {components.nearest(key, [*SECTIONS, 'seed'])}")
    present = {key: value for key, value in settings.items() if key != "seed" and value is not None}
    if "recipe" not in present:
        raise ValueError(f"The section recipe is missing: expected recipe.name, {_choices('recipe')}")
    recipe = bind_section("recipe", present.pop("recipe"))
    _check_sections(recipe, present)
    sections = {key: bind_section(key, present[key]) for key in SECTIONS if key in present and key != WATCH}
    _check_calls(recipe, sections)
    watch = _bind_watch(present[WATCH], sections.get("judge")) if WATCH in present else {}
    seed = binding.check("seed", _SEED, settings.get("seed", 0))
    return Config(seed=seed, sections={"recipe": recipe, **sections}, watch=watch)


def bind_section(key: str, settings: Any) -> Section:
    """Check one section, such as `judge` with `{"name": "ocr", "enlarge": 4}`, against the component it names.

    `watch.second` is a section of its own, by the slot of `watch`.
    """
    if not isinstance(settings, dict):
        hint = "" if key == "optimizer" else f", such as {key}.name=..."
        raise ValueError(f"{key} = {settings!r}: should be a section of settings{hint}")
    given = dict(settings)
    name = None if key == "optimizer" else _component_name(key, given)
    component = _optimizer() if name is None else components.find(_slot(key), name)
    values, resolved = binding.bind(key, name, component, given)
    return Section(key, component, values, resolved if name is None else {"name": name, **resolved})


def _component_name(key: str, given: dict[str, Any]) -> str:
    name = given.pop("name", None)
    if name is None:
        raise ValueError(f"{key}.name is missing: {_choices(key)}")
    if not isinstance(name, str):
        raise ValueError(f"{key}.name = {name!r}: should be text, {_choices(key)}")
    return name


def _choices(key: str) -> str:
    return f"one of {', '.join(components.names(_slot(key)))}"


def _slot(key: str) -> str:
    return SECTIONS[key.partition(".")[0]]


def _bind_watch(given: Any, judge: Section | None) -> dict[str, Section]:
    """Check the judges that watch, by name or by another word with a `name`, as the parts of `weighted` are given."""
    if not isinstance(given, dict) or not given:
        raise ValueError(f"{WATCH} = {given!r}: should be judges by name, such as {WATCH}: {{clip_score: {{}}}}")
    sections = {}
    for label, settings in given.items():
        key = f"{WATCH}.{label}"
        if label == "judge":
            raise ValueError(f"{key}: that is what the run's own judge is called beside them; give it another name")
        if settings is not None and not isinstance(settings, dict):
            raise ValueError(f"{key} = {settings!r}: should be a section of settings, such as {{}} for the defaults")
        section = bind_section(key, {"name": label, **(settings or {})})
        if binding.run_time(section.component):
            raise ValueError(
                f"{key}: the judge {section.resolved['name']} is the model in training, which changes with what it "
                "judges; watch with another"
            )
        if judge is not None and _same(section.resolved) in _trained_on(judge.resolved):
            raise ValueError(
                f"{key}: the run trains on this very judge, so it is not held out; leave it out, since the run's own "
                "judge is shown beside those that watch, or give another judge"
            )
        sections[label] = section
    return sections


def _trained_on(judge: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A run's judge and, of a weighted one, those that count in it."""
    parts = judge.get("parts")
    return [_same(judge), *map(_same, parts.values() if isinstance(parts, dict) else ())]


def _same(judge: Mapping[str, Any]) -> dict[str, Any]:
    """What two sections of the same judge have in common."""
    return {key: value for key, value in judge.items() if key not in _SAME_JUDGE}


def _optimizer() -> Callable[..., Any]:
    module = importlib.import_module("selfportrait.training.optimizer")
    optimizer: Callable[..., Any] = module.Optimizer
    return optimizer


def _check_sections(recipe: Section, present: Mapping[str, Any]) -> None:
    name = recipe.resolved["name"]
    parameters = binding.run_time(recipe.component)
    takes = [key for key in parameters if key not in ("run", "seed")]
    assert set(takes) <= set(SECTIONS), f"recipe {name} takes {takes}, which are not all sections"
    for key in present:
        if key not in takes:
            raise ValueError(f"The recipe {name} takes no section {key}: remove it; it takes {', '.join(takes)}")
    for key in takes:
        if key not in present and parameters[key].default is inspect.Parameter.empty:
            hint = "" if key == "optimizer" else f": expected {key}.name, {_choices(key)}"
            raise ValueError(f"The section {key} is missing, the recipe {name} needs it{hint}")


def _check_calls(recipe: Section, sections: Mapping[str, Section]) -> None:
    hints = binding.hints(recipe.component)
    for key, section in sections.items():
        is_function = inspect.isfunction(section.component)
        if is_function and inspect.isclass(hints[key]) and "__call__" in vars(hints[key]):
            binding.check_call(f"{key}.name", SECTIONS[key], section.resolved["name"], hints[key])


# Where it ran


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"selfportrait": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _hardware() -> dict[str, Any]:
    import torch  # here, so that listing components and configs does not wait for it

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "gpus": gpus,
        "processes": processes.count(),
    }
