"""From what a user calls a model to a loaded one: a folder, a hub id, an embedded name, or a run.

Read this to learn which weights `selfportrait sample` and `selfportrait evaluate` use.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from selfportrait import config, store
from selfportrait.micro import checkpoints

__all__ = ["Source", "resolve"]

PIPELINES = {"StableDiffusionPipeline": "sd", "StableDiffusionXLPipeline": "sd"}  # every other is sd3's to refuse
ADVICE = "put the file back from where the folder came, or name another model"


@dataclass(frozen=True)
class Source:
    """A model that is known to be there but not loaded; `adapter` holds LoRA weights that a run trained."""

    section: config.Section
    adapter: Path | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the pictures it draws, as JSON has it."""
        return {**self.section.resolved, "adapter": None if self.adapter is None else str(self.adapter)}

    def load(self) -> Any:
        """Load the weights."""
        model = self.section.build()
        model.load()
        if self.adapter is not None:
            model.load_adapter(self.adapter)
        return model


def resolve(name: str, overrides: Mapping[str, Any]) -> Source:
    """Find a model; `overrides` are settings of its component. A run's own settings hold where they say nothing.

    Raises FileNotFoundError or ValueError where there is no such model, or the run has not saved one yet.
    """
    folder = Path(name)
    if folder.name == "model" and _run_settings(folder.parent) is not None:
        folder = folder.parent
    settings = _run_settings(folder)
    if settings is None:
        return Source(
            config.bind_section("model", {"name": _component(name), "path": name, "train": "full", **overrides})
        )
    saved = folder / "model"
    if not saved.is_dir():
        raise FileNotFoundError(
            f"The run {folder} has no model yet: finish it with selfportrait improve CONFIG --run {folder}"
        )
    if any((saved / file).is_file() for file in (checkpoints.PIPELINE, checkpoints.MODEL)):
        made_for = checkpoints.sampling(
            checkpoints.embedded(str(settings.get("path")))
        )  # what the run began with, which its folder does not say
        chosen = {key: value for key, value in settings.items() if value is not None}
        sampler = {key: value for key, value in (made_for._asdict() if made_for else {}).items() if key in settings}
        whole = {**sampler, **chosen, "path": str(saved), "train": "full"}
        return Source(config.bind_section("model", {**whole, **overrides}))
    return Source(config.bind_section("model", {**settings, **overrides}), adapter=saved)


def _component(name: str) -> str:
    """The component that fits: janus for a model of transformers, sd or sd3 for a pipeline, by its class.

    What cannot be told is left to sd3 to refuse.
    """
    index = _file(name, checkpoints.PIPELINE)
    if index is not None:
        return PIPELINES.get(_class_name(index), "sd3")
    model = _file(name, checkpoints.MODEL)
    return "janus" if model is not None and _is_model(model) else "sd3"


def _class_name(index: Path) -> str:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
    except ValueError:  # the component says it better
        return ""
    return str(found.get("_class_name")) if isinstance(found, dict) else ""


def _file(name: str, file: str) -> Path | None:
    """A file of a folder, an embedded checkpoint or a repository of the hub; None where that has none."""
    folder = Path(checkpoints.embedded(name))
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    try:
        return Path(hf_hub_download(name, file))
    except (HFValidationError, HfHubHTTPError, OSError):  # what else is wrong with it, the component will say
        return None


def _is_model(file: Path) -> bool:
    found = store.read_json(file, ADVICE)
    return isinstance(found, dict) and "model_type" in found


def _run_settings(folder: Path) -> dict[str, Any] | None:
    """The model section of a run's config.json; None where the folder is no run."""
    path = folder / "config.json"
    found = store.read_json(path, ADVICE) if path.is_file() else None
    settings = found.get("settings") if isinstance(found, dict) else None
    model = settings.get("model") if isinstance(settings, dict) else None
    return model if isinstance(model, dict) else None
