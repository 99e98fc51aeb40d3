"""What a Janus checkpoint is on disk: its folder, its weights, its adapters.

Read this to see what is checked before weights load.
"""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import JanusConfig, JanusForConditionalGeneration, JanusProcessor

from selfportrait.micro.checkpoints import MODEL as MODEL_FILE
from selfportrait.micro.checkpoints import names

__all__ = [
    "LORA_TARGETS",
    "check_folder",
    "load_adapter",
    "load_config",
    "load_model",
    "load_processor",
    "save_adapter",
]

MODEL = "JanusForConditionalGeneration"
EXAMPLE = "deepseek-community/Janus-Pro-1B"
UNCONVERTED = "multi_modality"  # the model type of deepseek-ai's own folders
PARTS = {
    "language_model": "reads and writes text",
    "vision_model": "sees pictures",
    "generation_head": "draws pictures",
    "vqmodel": "turns tokens into pictures",
}
LORA_TARGETS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"  # the vision tower has a q_proj too
ADAPTER_FILE = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
LOAD_ERRORS = (HfHubHTTPError, OSError, SafetensorError, ValueError)


def check_folder(path: str) -> None:
    """Refuse a folder that holds no Janus, or half of one, before anything loads; a hub id passes."""
    folder = Path(path)
    if not folder.is_dir():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise FileNotFoundError(
                f"model.path = {path}: there is no such folder; give the folder of a {MODEL} with config.json, or "
                f"{' or '.join([f'a hub id such as {EXAMPLE}', *names(MODEL_FILE)])}"
            )
        return
    index = folder / "model_index.json"
    if not (folder / "config.json").is_file():
        if index.is_file():
            raise ValueError(f"model.path = {path} holds a {_read(index, path).get('_class_name')}; {_fits()}")
        raise FileNotFoundError(
            f"model.path = {path}: the folder has no config.json; give a folder that {MODEL}.save_pretrained wrote"
        )
    _check_config(_read(folder / "config.json", path), path)
    _check_parts(folder, path)
    for name in ("tokenizer_config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"model.path = {path}: {name} is missing; give a folder that JanusProcessor.save_pretrained wrote to "
                "as well"
            )


def _check_config(config: dict[str, Any], path: str) -> None:
    """Refuse the configuration of another model; raises ValueError that names it and what fits."""
    kind = config.get("model_type")
    if kind == "janus":
        return
    name = next(iter(config.get("architectures") or ()), None) or f"model of type {kind!r}"
    hint = f"; {EXAMPLE} is the same model in the format of transformers" if kind == UNCONVERTED else ""
    raise ValueError(f"model.path = {path} holds a {name}; {_fits()}{hint}")


def _fits() -> str:
    return f"the model 'janus' fits a {MODEL} only"


def _read(file: Path, path: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"it holds {content!r:.40}, no object")
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"model.path = {path}: {file.name} cannot be read ({error}); download it again") from error
    return content


def _check_parts(folder: Path, path: str) -> None:
    """Refuse a checkpoint whose weights lack a part: transformers would stand random numbers in for it."""
    names = _weight_names(folder, path)
    for part, what in PARTS.items():
        if not any(part in name for name in names):
            raise ValueError(
                f"model.path = {path}: the weights have no {part}, the part that {what}; give a complete {MODEL}"
            )


def _weight_names(folder: Path, path: str) -> list[str]:
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        return list(_read(index, path).get("weight_map", {}))
    if not single.is_file():
        raise FileNotFoundError(
            f"model.path = {path}: the folder has no model.safetensors; give a folder with weights as safetensors"
        )
    try:
        with safe_open(single, framework="pt") as file:
            return list(file.keys())
    except SafetensorError as error:
        raise ValueError(
            f"model.path = {path}: model.safetensors cannot be read ({error}); download it again"
        ) from error


def load_config(path: str) -> JanusConfig:
    """Load the configuration; raises ValueError for another model's."""
    try:
        _check_config(JanusConfig.get_config_dict(path)[0], path)
        return JanusConfig.from_pretrained(path)
    except LOAD_ERRORS as error:
        raise _explained(error, path, "the configuration") from error


def load_processor(path: str) -> JanusProcessor:
    """Load the tokenizer and the picture processor."""
    try:
        return JanusProcessor.from_pretrained(path)
    except (*LOAD_ERRORS, AttributeError, TypeError) as error:  # the latter two where a part is missing
        raise _explained(error, path, "the processor") from error


def load_model(path: str, dtype: torch.dtype) -> JanusForConditionalGeneration:
    """Load all weights, from safetensors alone; raises ValueError where one is missing or does not fit."""
    try:
        model, info = JanusForConditionalGeneration.from_pretrained(
            path,
            config=load_config(path),
            dtype=dtype,
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except LOAD_ERRORS as error:
        raise _explained(error, path, "the weights") from error
    if info["missing_keys"]:
        raise ValueError(
            f"model.path = {path}: {len(info['missing_keys'])} weights are missing, {min(info['missing_keys'])} among "
            f"them; give a complete {MODEL}"
        )
    return model


def _explained(error: Exception, path: str, what: str) -> Exception:
    """One sentence about a part that cannot be loaded."""
    if str(error).startswith("model.path"):
        return error
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ValueError(
        f"model.path = {path}: {what} cannot be loaded ({reason}); give a complete folder of {MODEL} and "
        "JanusProcessor, or check the hub id and the network"
    )


def save_adapter(model: JanusForConditionalGeneration, folder: Path) -> None:
    """Write the LoRA weights as PeftModel.from_pretrained reads them; equal adapters make equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file(
        {PEFT_PREFIX + name: value.detach().cpu().contiguous() for name, value in sorted(state.items())},
        folder / ADAPTER_FILE,
        metadata={"format": "pt"},
    )
    model.peft_config["default"].save_pretrained(folder)


def load_adapter(model: JanusForConditionalGeneration, folder: Path, settings: str) -> None:
    """Take up LoRA weights that `save_adapter` wrote; raises ValueError where they do not fit the model's settings."""
    if not (folder / ADAPTER_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {ADAPTER_FILE}; give the folder in which a LoRA run saved its model"
        )
    try:
        saved = {name.removeprefix(PEFT_PREFIX): value for name, value in load_file(folder / ADAPTER_FILE).items()}
        own = get_peft_model_state_dict(model, save_embedding_layers=False)
        if saved.keys() != own.keys():
            raise RuntimeError(f"it adapts other layers, {min(saved.keys() ^ own.keys())} among them")
        set_peft_model_state_dict(model, saved)
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(
            f"the LoRA weights in {folder} do not fit {settings} ({reason}); use the model settings they were trained "
            "with"
        ) from error
