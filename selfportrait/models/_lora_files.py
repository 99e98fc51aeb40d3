"""LoRA weights of a pipeline's denoiser in the file that diffusers' `load_lora_weights` reads.

Read this to see why equal adapters make equal bytes.
"""

import json
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError

from selfportrait import store

__all__ = ["load", "save"]

LORA_FILE = "pytorch_lora_weights.safetensors"


def save(pipeline: Any, part: str, folder: Path) -> None:
    """Write the adapters of a part of the pipeline, such as its transformer."""
    network = getattr(pipeline, part)
    settings = network.peft_config["default"].to_dict()  # alpha above all
    settings["target_modules"] = sorted(settings["target_modules"])  # a set, in another order in every process
    adapters = {f"{part}_lora_layers": get_peft_model_state_dict(network), f"{part}_lora_adapter_metadata": settings}
    pipeline.save_lora_weights(folder, safe_serialization=True, **adapters)
    _sort_metadata(folder / LORA_FILE)


def load(pipeline: Any, part: str, folder: Path, settings: str) -> None:
    """Take up adapters that `save` wrote; `settings` says in an error what they should have fitted."""
    if not (folder / LORA_FILE).is_file():
        raise FileNotFoundError(f"{folder} holds no {LORA_FILE}; give the folder in which a LoRA run saved its model")
    try:
        found = pipeline.lora_state_dict(folder, weight_name=LORA_FILE, use_safetensors=True)
        state = found[0] if isinstance(found, tuple) else found  # of a UNet with scales, which our files have not
        state = {name.removeprefix(f"{part}."): value for name, value in state.items()}
        set_peft_model_state_dict(getattr(pipeline, part), state)
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(
            f"the LoRA weights in {folder} do not fit {settings} ({reason}); "
            "use the model settings they were trained with"
        ) from error


def _sort_metadata(path: Path) -> None:
    """Order the metadata of a safetensors file, which come in a random order: equal models make equal files."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    store.write_bytes(path, len(text).to_bytes(8, "little") + text + content[start:])
