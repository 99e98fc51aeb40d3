"""Kill a run with SIGKILL at random moments, start it again each time, and compare it with one left in peace.

    python perf/kill_ten_times.py CONFIG [key=value ...] [--kills 10] [--seed 0] [--folder DIR]

Both runs must end with the same tables, metrics, evaluations, checkpoints and weights, byte by byte. What depends on
the clock or the machine's memory is left out: stages.jsonl, timing.jsonl, TensorBoard's files, report.html (which shows
them), and time_s and peak_memory_mb in summary.json. A finished run in DIR/peaceful is used again. The exit code is 1
when anything differs.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

OF_THE_CLOCK = ("stages.jsonl", "timing.jsonl", "report.html", ".lock")
TENSORBOARD = "tensorboard"
SUMMARY, SUMMARY_OF_THE_CLOCK = "summary.json", ("time_s", "peak_memory_mb")


def main() -> int:
    """Run in peace, run with kills, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a config's name or path")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to change")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--folder", type=Path, help="where both runs go; default: a new temporary folder")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="selfportrait-kill-"))
    command = [sys.executable, "-m", "selfportrait", "improve", arguments.config, *arguments.overrides, "--run"]

    peaceful, killed = folder / "peaceful", folder / "killed"
    start = time.monotonic()
    subprocess.run([*command, str(peaceful)], check=True)
    seconds = time.monotonic() - start
    print(f"in peace: {seconds:.0f} s, {progress(peaceful)} files of progress in {peaceful}", flush=True)
    kills = run_with_kills(
        [*command, str(killed)],
        killed,
        kills=arguments.kills,
        end=progress(peaceful),
        jitter_s=seconds / (4 * arguments.kills),
        seed=arguments.seed,
        say=_say,
    )
    found = differences(peaceful, killed)
    print("\n".join(found) or f"no difference in {len(_files(peaceful))} files after {kills} kills")
    print(f"left out: {', '.join(OF_THE_CLOCK)}, {TENSORBOARD}/, {SUMMARY}: {', '.join(SUMMARY_OF_THE_CLOCK)}")
    if kills < arguments.kills:
        print(f"the run was killed only {kills} times, it ended before; take another --seed")
    return int(bool(found) or kills < arguments.kills)


def run_with_kills(
    command: Sequence[str],
    folder: Path,
    *,
    kills: int,
    end: int,
    jitter_s: float,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Start the command, kill it, start it again, and let it finish after `kills` kills; returns how many there were.

    The moments are random points of progress, which does not depend on how fast the machine is just now: up to
    `jitter_s` after there are as many files as drawn from 0 to `end`, the progress of a finished run.
    """
    chance = random.Random(seed)
    points = sorted(chance.randrange(end) for _ in range(kills))
    for kill, point in enumerate(points):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None and not (_is_opened(process, folder) and progress(folder) >= point):
                time.sleep(0.01)
            process.wait(timeout=chance.uniform(0, jitter_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            say(f"kill {kill + 1} at {progress(folder)} of {end} files of progress")
            continue
        finally:
            process.kill()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended by itself with {process.returncode}")
        return kill
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return kills


def progress(folder: Path) -> int:
    """How many files of tables, metrics and checkpoints there are; a finished run has the most."""
    return sum(path.suffix in (".parquet", ".jsonl", ".safetensors") for path in folder.glob("round-*/**/*"))


def _is_opened(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether the process holds the run folder's lock, where the system tells; the file is there otherwise."""
    lock, opened = folder / ".lock", Path(f"/proc/{process.pid}/fd")
    if not opened.exists():
        return lock.exists()
    try:
        return lock.exists() and any(entry.exists() and entry.samefile(lock) for entry in opened.iterdir())
    except OSError:  # the process ended, or closed a file meanwhile
        return False


def differences(first: Path, second: Path) -> list[str]:
    """Say which files of two finished run folders differ, but for what depends on the clock."""
    ours, theirs = _files(first), _files(second)
    missing = [f"only in one of them: {name}" for name in sorted(ours.keys() ^ theirs.keys())]
    return missing + [f"differs: {name}" for name in sorted(ours.keys() & theirs.keys()) if ours[name] != theirs[name]]


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in OF_THE_CLOCK]
    return {
        str(path.relative_to(folder)): _content(path)
        for path in paths
        if TENSORBOARD not in path.relative_to(folder).parts
    }


def _content(path: Path) -> bytes:
    if path.name != SUMMARY:
        return path.read_bytes()
    summary = json.loads(path.read_bytes())
    return json.dumps({key: value for key, value in summary.items() if key not in SUMMARY_OF_THE_CLOCK}).encode()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
