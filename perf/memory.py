"""Peak memory of a LoRA training step against bare forward and backward passes of the same network.

    python perf/memory.py [--model PATH] [--rows 32,128] [--train lora|full]

Each is measured in a process of its own, above what was resident once the model was loaded and warm: the peak
resident set on a CPU (Linux), the allocator's peak on a GPU. The exit code is 1 when a ratio is over its limit.
"""

import argparse
import ctypes
import gc
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from common import BATCHES, bare_passes, load, make_groups, make_learner, pipeline, show, update, verdict

from selfportrait.store import Run

LIMIT = 1.15
UPDATES = 3  # the first allocates the optimizer's moments, the others live beside them


def main() -> int:
    """Measure, print, and say by the exit code whether everything is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", help="a StableDiffusion3Pipeline; default: the embedded architecture, random weights"
    )
    parser.add_argument("--rows", default="32,128", help="batch sizes")
    parser.add_argument("--train", choices=["lora", "full"], default="lora")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=["update", "bare"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.rows.split(",")]
    if arguments.child:
        print(peak_of(arguments.child, arguments.model, arguments.train, sizes[0]))
        return 0
    with pipeline(arguments.model) as path:
        peaks = {
            size: [in_processes(kind, path, arguments.train, size, arguments.repeats) for kind in ("update", "bare")]
            for size in sizes
        }
    title = f"peak above the loaded model, {'GPU' if torch.cuda.is_available() else 'resident set'}"
    ratios = {size: ours / bare for size, (ours, bare) in peaks.items()}
    rows = [
        [
            f"update, {arguments.train}",
            str(size),
            *(f"{bytes_ / 2**20:.1f}" for bytes_ in peaks[size]),
            f"{ratio:.3f}",
            f"{LIMIT:.2f}",
            verdict(ratio, LIMIT),
        ]
        for size, ratio in ratios.items()
    ]
    show(title, ["what", "rows", "MiB", "bare MiB", "ratio", "limit", ""], rows)
    return int(max(ratios.values()) > LIMIT)


def in_processes(kind: str, path: str, train: str, rows: int, repeats: int) -> float:
    """The median peak over processes, in bytes."""
    command = [sys.executable, __file__, "--child", kind, "--model", path, "--train", train, "--rows", str(rows)]
    outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(repeats)]
    return statistics.median(float(output.split()[-1]) for output in outputs)


def peak_of(kind: str, path: str, train: str, rows: int) -> int:
    """What this process needs at its peak above what it holds when it starts, in bytes."""
    model = load(path, train=train)
    groups = make_groups(model, rows)
    bare = bare_passes(model, groups)
    bare_passes(model, make_groups(model, min(BATCHES)))()  # libraries load and threads start
    for parameter in model.trainable().values():
        parameter.grad = None
    with tempfile.TemporaryDirectory() as folder:
        before = start_watching()
        call = update(make_learner(model, ema=False), groups, Run(Path(folder))) if kind == "update" else bare
        for _ in range(UPDATES):
            call()
    return peak() - before


def start_watching() -> int:
    """Forget the peak so far; returns the bytes held now."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return status("VmRSS")


def peak() -> int:
    """The most bytes held since."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else status("VmHWM")


def status(field: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    sys.exit(main())
