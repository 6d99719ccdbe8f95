"""Checks of a machine besides GPUs and disks: SLURM, limits of a process, text encoding, time, keys, network."""

from __future__ import annotations

import locale
import os
import resource
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rich.filesize import decimal

from cpt.doctor.check_result import Check, Result, error_line, redact
from cpt.processes import usable_cores
from cpt.study.cluster.queue import slurm_present

SLURM_SECONDS = 10.0
FILES_OPEN = 1024
SHARED_MEMORY = 1e9
EARLIEST = 2025
"""A clock before this year is wrong, and no server's certificate is valid for it."""


def check_slurm() -> list[Result]:
    """SLURM's commands, and whether its controller answers them."""
    if not slurm_present():
        return [Result("SLURM", "ok", "not on this machine: studies run here (hardware=local)")]
    try:
        version = _output("sbatch", "--version")
        partitions = _output("sinfo", "--noheader", "--format=%P").split()
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error_line(error)
        detail = f"sbatch is here and gives no answer: {redact(str(detail).strip().splitlines()[0])}"
        return [Result("SLURM", "warn", detail, "ask whether the cluster is under maintenance (sinfo)")]
    default = next((name.rstrip("*") for name in partitions if name.endswith("*")), None)
    detail = f"{version}, {len(set(partitions))} partitions, default {default or 'none'}"
    return [Result("SLURM", "ok", detail)]


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_SECONDS, check=True)  # noqa: S603
    return done.stdout.strip()


def check_limit(shared: Path = Path("/dev/shm")) -> list[Result]:  # noqa: S108
    """Open files and shared memory: what processes of one node talk through."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft < FILES_OPEN
    advice = f"ulimit -n {min(hard, 65536)}, in the job's setup too" if few else ""
    results = [Result("open files", "warn" if few else "ok", f"{soft:,} at a time, of {hard:,}", advice)]
    if not shared.exists():
        return results
    size = shutil.disk_usage(shared).total
    small = size < SHARED_MEMORY
    advice = "processes of a node share data there: start the container with --shm-size=8g or --ipc=host"
    detail = f"{decimal(size)} at {shared}"
    return [*results, Result("shared memory", "warn" if small else "ok", detail, advice if small else "")]


def check_text() -> list[Result]:
    encoding = locale.getencoding() if not sys.flags.utf8_mode else "utf-8"
    plain = encoding.lower().replace("-", "") == "utf8"
    detail = f"{encoding} (LC_ALL={os.environ.get('LC_ALL', '')} LANG={os.environ.get('LANG', '')})"
    advice = "" if plain else "export LC_ALL=C.UTF-8 or PYTHONUTF8=1: languages are written in many scripts"
    return [Result("text", "ok" if plain else "warn", detail, advice)]


def check_time() -> list[Result]:
    now = datetime.now().astimezone()
    late = now.year >= EARLIEST
    return [Result("time", "ok" if late else "fail", f"{now:%Y-%m-%d %H:%M:%S %Z}", "" if late else "set the clock")]


def check_processor() -> list[Result]:
    return [Result("cores", "ok", f"{usable_cores()} usable of {os.cpu_count()}")]


CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Endpoint:
    """Who is asked, and where a connection to it begins: there, or at the proxy that many clusters have before it."""

    host: str
    port: int
    proxy: bool = False


def first_stop(url: str) -> Endpoint:
    parts, by_proxy = urlsplit(url), False
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        parts, by_proxy = urlsplit(proxy if "//" in proxy else f"http://{proxy}"), True
    return Endpoint(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), by_proxy)


def check_hub() -> list[Result]:
    """The hub's key and its server, as its own library is set."""
    from huggingface_hub import constants, get_token

    where = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the hub's stored login"
    advice = "models and data under terms, and cpt push, need `hf auth login` or HF_TOKEN"
    key = Result("hub: key", "ok", f"present ({where})") if get_token() else Result("hub: key", "warn", "none", advice)
    off = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else ""
    return [key, check_connection("hub", constants.ENDPOINT, off, "models and data are fetched from it")]


def check_tracking() -> list[Result]:
    """W&B's key and server, as its own library is set."""
    for name, value in {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}.items():
        os.environ.setdefault(name, value)  # it speaks while it looks for a key
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    settings: Any = wandb_setup.singleton().settings
    url: str = settings.base_url
    where = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY") else "netrc or W&B's settings"
    try:
        known = wbauth.authenticate_session(host=url, source="cpt", prompt=False, update_session=False) is not None
    except Exception as error:  # a key of another form than its own is refused
        key = Result("W&B: key", "fail", f"{where}: {error_line(error)}", "copy it again, whole (`wandb login`)")
    else:
        advice = "tracking=wandb falls back to offline; `wandb login`, or set WANDB_API_KEY where jobs see it"
        key = Result("W&B: key", "ok", f"present ({where})") if known else Result("W&B: key", "warn", "none", advice)
    off = f"WANDB_MODE={settings.mode}" if settings.mode in ("offline", "disabled") else ""
    return [key, check_connection("W&B", url, off, "curves are mirrored there under tracking=wandb alone")]


def check_connection(name: str, url: str, off: str, use: str) -> Result:
    """Whether a connection can be made; nothing is sent."""
    host = urlsplit(url).hostname or url
    if off:
        return Result(f"{name}: network", "ok", f"not tried: {off} keeps {host} out of reach")
    server = first_stop(url)
    detail = f"{host} by the proxy {server.host}:{server.port}" if server.proxy else f"{server.host}:{server.port}"
    try:
        socket.create_connection((server.host, server.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        advice = f"{use}; without it prepare where there is a network (prepare_only=true), or use local folders"
        return Result(f"{name}: network", "warn", f"{detail} cannot be reached ({error_line(error)})", advice)
    return Result(f"{name}: network", "ok", f"{detail} answers")


NETWORK_CHECKS: dict[str, Check] = {"hub": check_hub, "W&B": check_tracking}
