"""Whether the file systems under runs and cache have room, can be written and locked, and how fast they are."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from cpt.doctor.check_result import Result, error_line

NETWORKED = re.compile(
    r"9p|afs|beegfs|ceph|cifs|glusterfs|gpfs|lustre|nfs4?|orangefs|panfs|pvfs2|smb3|virtiofs|wekafs|"
    r"fuse\.(ceph|dfuse|glusterfs|juicefs|s3fs|sshfs).*"
)
SPACE = (1e9, 10e9)
"""Bytes free below which a study fails, and below which its user should know."""
FILES = (1_000, 20_000)
PROBE_BYTES = 8 << 20
SLOW_RATE, SLOW_SYNC, SKEW = 20e6, 0.1, 5.0
"""Bytes a second, seconds for a small file, and seconds that its clock may differ by, from which to speak of it."""


@dataclass(frozen=True)
class Mount:
    """A file system, as the kernel lists it."""

    point: str
    kind: str
    options: str = ""

    @property
    def networked(self) -> bool:
        return NETWORKED.fullmatch(self.kind) is not None


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: an examination makes no folders."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def mount_of(path: Path, lines: Iterable[str]) -> Mount | None:
    """The last mount whose point is the longest above a path, among the lines of /proc/self/mountinfo."""
    best: Mount | None = None
    for line in lines:
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
        kind, _, *options = after.split()
        if path.is_relative_to(point) and (best is None or len(point) >= len(best.point)):
            best = Mount(point, kind, ",".join([before.split()[5], *options]))
    return best


def mounted(path: Path) -> Mount | None:
    table = Path("/proc/self/mountinfo")
    return mount_of(path.resolve(), table.read_text(encoding="utf-8").splitlines()) if table.exists() else None


def check_disk(name: str, folder: Path, cluster: bool) -> list[Result]:
    """Space, kind, speed and locks of the file system that a folder lies on, or will."""
    path = existing(folder)
    mount = mounted(path)
    results = [check_space(name, path, mount), check_file_system(name, path, mount, cluster)]
    try:
        with tempfile.TemporaryDirectory(dir=path, prefix=".cpt-doctor-") as trial:
            return [*results, _check_speed(name, Path(trial)), _check_locks(name, Path(trial), mount)]
    except OSError as error:
        advice = "choose another folder, or have the right to write there"
        return [*results, Result(f"{name}: writing", "fail", f"{path}: {error_line(error)}", advice)]


def check_space(name: str, path: Path, mount: Mount | None) -> Result:
    space, table = shutil.disk_usage(path).free, os.statvfs(path)
    detail = f"{decimal(space)} free at {path}"
    short = [space < limit for limit in SPACE]
    if table.f_files:  # some file systems make them as needed and count none
        detail += f", {table.f_favail:,} files more"
        short = [few or table.f_favail < limit for few, limit in zip(short, FILES, strict=True)]
    advice = "free some, or choose another folder (paths.runs, paths.cache)" if any(short) else ""
    if mount and mount.networked:
        detail += "; a quota may leave less"
    return Result(f"{name}: room", "fail" if short[0] else "warn" if short[1] else "ok", detail, advice)


def check_file_system(name: str, path: Path, mount: Mount | None, cluster: bool) -> Result:
    """On a cluster all nodes must see these folders; anywhere they should outlive the machine's memory."""
    if mount is None:
        return Result(f"{name}: file system", "ok", "unknown here")
    detail = f"{mount.kind} at {mount.point}, {'networked' if mount.networked else 'of this machine'}"
    if mount.kind in ("tmpfs", "ramfs"):
        return Result(
            f"{name}: file system", "warn", detail, "it is memory and gone with the next start: choose a disk"
        )
    if cluster and not mount.networked:
        advice = "see that every node of the cluster has this same folder; jobs would not find it otherwise"
        return Result(f"{name}: file system", "warn", detail, advice)
    return Result(f"{name}: file system", "ok", detail)


def _check_speed(name: str, trial: Path) -> Result:
    content = os.urandom(1 << 20)
    begun = time.perf_counter()
    with (trial / "large").open("wb") as file:
        for _ in range(PROBE_BYTES // len(content)):
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rate = PROBE_BYTES / (time.perf_counter() - begun)
    times = []
    for number in range(8):
        begun = time.perf_counter()
        with (trial / f"small-{number}").open("wb") as file:
            file.write(content[:4096])
            file.flush()
            os.fsync(file.fileno())
        times.append(time.perf_counter() - begun)
    skew = (trial / "small-7").stat().st_mtime - time.time()
    small = statistics.median(times)
    detail = f"{rate / 1e6:,.0f} MB/s, a small file in {small * 1e3:,.1f} ms, both to the disk"
    if abs(skew) > SKEW:
        detail += f"; its clock is {abs(skew):,.0f} s {'ahead' if skew > 0 else 'behind'}"
        advice = "have the clocks set (NTP): what is alive is told by the time of files"
        return Result(f"{name}: speed", "warn", detail, advice)
    if rate < SLOW_RATE or small > SLOW_SYNC:
        advice = "choose a faster file system: checkpoints are gigabytes, and every step writes a line"
        return Result(f"{name}: speed", "warn", detail, advice)
    return Result(f"{name}: speed", "ok", detail)


def _check_locks(name: str, trial: Path, mount: Mount | None) -> Result:
    """Locks keep two launches apart; some parallel file systems are mounted without them."""
    advice = "have it mounted with locks (on Lustre -o flock), or choose another folder"
    with (trial / "lock").open("a") as one, (trial / "lock").open("a") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Result(f"{name}: locks", "fail", f"flock does not work: {error_line(error)}", advice)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if mount and "localflock" in mount.options.split(","):
                return Result(f"{name}: locks", "warn", "they hold within one node alone (localflock)", advice)
            return Result(f"{name}: locks", "ok", "flock keeps a second one out")
    return Result(f"{name}: locks", "fail", "flock lets two in at a time", advice)
