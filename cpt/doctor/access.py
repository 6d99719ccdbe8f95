"""Keys that are there, never what they are, and whether the servers they are for can be reached from here."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cpt.doctor.findings import Examination, Finding, in_a_line

CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Server:
    """Who is asked, and where a connection to it begins: there, or at the proxy that many clusters have before it."""

    host: str
    port: int
    proxy: bool = False


def first_stop(url: str) -> Server:
    parts, by_proxy = urlsplit(url), False
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        parts, by_proxy = urlsplit(proxy if "//" in proxy else f"http://{proxy}"), True
    return Server(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), by_proxy)


def hub_findings() -> list[Finding]:
    """The hub's key and its server, as its own library is set."""
    from huggingface_hub import constants, get_token

    where = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the hub's stored login"
    advice = "models and data under terms, and cpt push, need `hf auth login` or HF_TOKEN"
    key = (
        Finding("hub: key", "ok", f"present ({where})") if get_token() else Finding("hub: key", "warn", "none", advice)
    )
    off = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else ""
    return [key, reach_finding("hub", constants.ENDPOINT, off, "models and data are fetched from it")]


def tracking_findings() -> list[Finding]:
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
        key = Finding("W&B: key", "fail", f"{where}: {in_a_line(error)}", "copy it again, whole (`wandb login`)")
    else:
        advice = "tracking=wandb falls back to offline; `wandb login`, or set WANDB_API_KEY where jobs see it"
        key = Finding("W&B: key", "ok", f"present ({where})") if known else Finding("W&B: key", "warn", "none", advice)
    off = f"WANDB_MODE={settings.mode}" if settings.mode in ("offline", "disabled") else ""
    return [key, reach_finding("W&B", url, off, "curves are mirrored there under tracking=wandb alone")]


def reach_finding(name: str, url: str, off: str, use: str) -> Finding:
    """Whether a connection can be made; nothing is sent."""
    place = urlsplit(url).hostname or url
    if off:
        return Finding(f"{name}: network", "ok", f"not tried: {off} keeps {place} out of reach")
    server = first_stop(url)
    found = f"{place} by the proxy {server.host}:{server.port}" if server.proxy else f"{server.host}:{server.port}"
    try:
        socket.create_connection((server.host, server.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        advice = f"{use}; without it prepare where there is a network (prepare_only=true), or use local folders"
        return Finding(f"{name}: network", "warn", f"{found} cannot be reached ({in_a_line(error)})", advice)
    return Finding(f"{name}: network", "ok", f"{found} answers")


EXAMINATIONS: dict[str, Examination] = {"hub": hub_findings, "W&B": tracking_findings}
