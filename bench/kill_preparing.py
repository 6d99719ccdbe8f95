"""Whether preparing survives being killed: at any moment, again and again, alone or two at once, to the same bytes.

    python bench/kill_preparing.py --compare shards --cache-key paths.cache --cache-key paths.runs \\
        -- python launch.py <overrides> prepare_only=true study={new}

`{new}` is another word at every start: two launches at once are of two studies, which share their data.

The command is carried out once undisturbed. Each trial then starts it in a fresh cache, kills its process group with
SIGKILL at a random moment and starts it again, until it ends by itself; in every second trial a second one does the
same in the same cache meanwhile. Every file of the compared folder must then be there with the same bytes, and no
other. It exits with 1 when one is not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 0.1
"""The latest moment is the undisturbed time and this much more after each kill, so that one attempt gets to its end."""


@dataclass(frozen=True)
class Preparing:
    """A command that prepares into a fresh folder, one below it for each of the cache's keys."""

    words: list[str]
    keys: list[str]
    compared: str
    ignored: list[str]

    def run(self, fresh: Path, log: Path, seconds: float | None = None) -> bool:
        """Whether it ended by itself, and well, before these seconds were over; whatever of it is left is killed."""
        words = [word.replace("{new}", uuid.uuid4().hex[:8]) for word in self.words]
        command = [*words, *(f"{key}={fresh / key}" for key in self.keys)]
        with log.open("ab") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)  # noqa: S603
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            last = log.read_text(errors="replace").splitlines()[-15:]
            sys.exit("\n".join([*last, f"the command ended by itself with code {code}; its last lines are above"]))
        return True

    def until_it_ends(self, fresh: Path, name: str, moments: random.Random, span: tuple[float, float]) -> list[float]:
        """The moments at which it was killed before it ended by itself."""
        (earliest, latest), kills = span, list[float]()
        while True:
            moment = moments.uniform(earliest, latest * (1 + PATIENCE * len(kills)))
            if self.run(fresh, fresh / f"log-{name}.txt", moment):
                return kills
            kills.append(moment)

    def files(self, fresh: Path) -> dict[str, str]:
        folder = fresh / self.keys[0] / self.compared
        found = (path for path in folder.rglob("*") if path.is_file() and not any(map(path.match, self.ignored)))
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", default=".", help="what is compared, below the first key's folder (default all)")
    parser.add_argument("--cache-key", action="append", help="is given a fresh folder (default paths.cache)")
    parser.add_argument("--ignore", action="append", default=["*.lock"], help="files not compared (*.lock, and these)")
    parser.add_argument("--times", type=int, default=20, help="trials (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--earliest", type=float, default=0.0, help="seconds before any kill: its imports (default 0)")
    parser.add_argument("command", nargs="+", help="what prepares, after --")
    return parser.parse_args()


def main(asked: argparse.Namespace) -> int:
    preparing = Preparing(asked.command, asked.cache_key or ["paths.cache"], asked.compare, asked.ignore)
    print(f"{shlex.join(asked.command)}\nseed {asked.seed}", flush=True)
    kills, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="kill-preparing-") as name:
        begin = time.monotonic()
        preparing.run(Path(name), Path(name) / "log.txt")
        seconds = time.monotonic() - begin
        expected = preparing.files(Path(name))
    if not expected or asked.earliest >= seconds:
        sys.exit(f"it wrote {len(expected)} files to compare, in {seconds:.1f} s: nothing to kill it in")
    print(f"undisturbed: {len(expected)} files in {seconds:.1f} s", flush=True)
    for trial in range(asked.times):
        names = ("first", "second") if trial % 2 else ("alone",)
        seeds = [random.Random(f"{asked.seed} {trial} {name}") for name in names]
        with tempfile.TemporaryDirectory(prefix="kill-preparing-") as folder, ThreadPoolExecutor(2) as pool:
            rest = [Path(folder)] * 2, names, seeds, [(asked.earliest, seconds)] * 2
            moments = list(pool.map(preparing.until_it_ends, *rest))
            found = preparing.files(Path(folder))
        wrong = sorted({path for path, _ in expected.items() ^ found.items()})
        kills, failed = kills + sum(map(len, moments)), failed + bool(wrong)
        told = "; ".join(
            f"{name} killed at {[round(one, 2) for one in m]}" for name, m in zip(names, moments, strict=True)
        )
        verdict = f"DIFFERENT: {wrong[:10]}" if wrong else "the same bytes"
        print(f"trial {trial + 1:2}: {told}: {verdict}", flush=True)
    print(f"{asked.times} trials, {kills} kills, {failed} with different bytes")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(arguments()))
