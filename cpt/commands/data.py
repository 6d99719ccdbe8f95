"""What `cpt data` does: list, verify and remove the shards and texts of a cache folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cpt.commands.arguments import DEFAULT_CACHE, Cache, runs_of
from cpt.console import amount, make_console
from cpt.errors import UserError, nearest
from cpt.files import locked, read_json
from cpt.growing import MARKER, marker, read_journal, verify

KINDS = {"shards": "shard", "texts": "text"}


@dataclass(frozen=True)
class Kept:
    """A shard or a text on disk."""

    folder: Path
    kind: str
    facts: dict[str, Any] | None
    """None for one that was begun and is not whole."""

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @property
    def source(self) -> str:
        return str(self.facts["source"]) if self.facts else "?"


def kept_in(cache: Path) -> list[Kept]:
    if not cache.is_dir():
        raise UserError(f"{cache}: no such folder; --cache names the one that studies prepare their data in")
    found = [
        Kept(folder, kind, marker(folder))
        for name, kind in KINDS.items()
        for folder in sorted((cache / name).glob("*"))
        if folder.is_dir()
    ]
    return sorted(found, key=lambda kept: (kept.kind, kept.source, kept.key))


def chosen(cache: Path, keys: list[str]) -> list[Kept]:
    """Those named by key or source; all where none is named."""
    everything = kept_in(cache)
    if not keys:
        return everything
    known = {name for kept in everything for name in (kept.key, kept.source)}
    for key in keys:
        if key not in known:
            raise UserError(f"no shard or text '{key}' in {cache}{nearest(key, known)}; `cpt data` lists them")
    return [kept for kept in everything if {kept.key, kept.source} & set(keys)]


def list_data(cache: Path, console: Console) -> int:
    everything = kept_in(cache)
    table = Table(title=f"Data in {cache}", title_justify="left")
    for name in ("key", "kind", "source"):
        table.add_column(name, no_wrap=True)
    for name in ("documents", "words", "tokens", "bytes", "whole", "tokenizer"):
        table.add_column(name, justify="left" if name == "tokenizer" else "right", no_wrap=True)
    for kept in everything:
        facts = kept.facts
        if facts is None:
            pieces = len(read_journal(kept.folder))
            table.add_row(kept.key, kept.kind, "", f"{pieces} pieces", "", "", amount(kept.bytes, "B"), "begun", "")
            continue
        tokens = f"{sum(facts['tokens'].values()):,}" if "tokens" in facts else ""
        whole = "whole" if facts["whole"] else "as needed"
        counts = (f"{facts['documents']:,}", f"{sum(facts['words'].values()):,}", tokens, amount(kept.bytes, "B"))
        table.add_row(kept.key, kept.kind, kept.source, *counts, whole, facts.get("tokenizer", ""))
    console.print(table)
    size = sum(kept.bytes for kept in everything)
    console.print(f"{len(everything)} in all, {amount(size, 'B')}")
    return 0


def verify_data(cache: Path, keys: list[str], console: Console) -> int:
    """Read every byte again; exit code 1 when one is not what was written."""
    wrong = []
    todo = [kept for kept in chosen(cache, keys) if kept.facts]
    for kept in track(todo, "Verifying", console=console, transient=True, disable=not console.is_terminal):
        for problem in verify(kept.folder):
            wrong.append(f"{kept.source}: {problem}")
    for line in wrong:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(todo)} verified, {len(wrong)} damaged stretches")
    if wrong:
        console.print("Remove what is damaged with `cpt data remove <key>`; the next launch makes it again.")
    return int(bool(wrong))


def users(runs: Path, kept: Kept) -> Iterator[str]:
    """Runs that were prepared from it and are not trained yet."""
    for path in runs.glob("*/*/prepare.done"):
        trained = (path.parent / "train.done").exists()
        if not trained and kept.key in {fact.get(kept.kind) for fact in read_json(path)["sources"]}:
            yield path.parent.name


def show_data(cache: Path, keys: list[str], console: Console) -> int:
    """What cleaning removed of a text, step by step, with samples; lines that could not be read."""
    for kept in chosen(cache, keys):
        facts = kept.facts
        if facts is None or (kept.kind == "shard" and not facts["unreadable"]):
            continue
        console.print(f"{kept.kind} {kept.key} of {kept.source}: {facts['documents']:,} documents", style="bold")
        lines = [f"  could not be read: {line}" for line in facts["samples"]]
        for step, counts in facts.get("cleaning", {}).get("steps", {}).items():
            for what in ("removed", "noted"):
                lines += [f"  {step} {what} {a['records']:,}: {why}" for why, a in counts[what].items()]
            lines += [f"    {sample['why']}: {sample['text']}" for sample in counts["samples"]]
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def remove_data(cache: Path, runs: Path, keys: list[str], force: bool, console: Console) -> int:
    """Remove what is named; what a run still needs only when forced, for making it again costs time."""
    if not keys:
        raise UserError("name what to remove, by key or source; `cpt data` lists them")
    removed = left = 0
    for kept in chosen(cache, keys):
        needed = sorted(set(users(runs, kept)))
        if needed and not force and not any(verify(kept.folder)):
            left += 1
            some = ", ".join(needed[:3]) + (f" and {len(needed) - 3} more" if len(needed) > 3 else "")
            console.print(f"kept {kept.key} ({kept.source}): {some} still to be trained on it; --force removes it")
            continue
        with locked(kept.folder.with_name(f"{kept.key}.lock"), wait=False) as mine:
            if not mine:
                left += 1
                console.print(f"kept {kept.key} ({kept.source}): it is being made just now")
                continue
            removed += kept.bytes
            (kept.folder / MARKER).unlink(missing_ok=True)  # from here on nobody takes what is left for whole
            shutil.rmtree(kept.folder)
            console.print(f"removed {kept.key} ({kept.source})")
    console.print(f"{amount(removed, 'B')} freed")
    return int(left > 0)


def command(
    ctx: typer.Context,
    action: Annotated[Literal["list", "show", "verify", "remove"], typer.Argument()] = "list",
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY ...]", help="Keys or sources; none: all.")] = None,
    cache: Cache = DEFAULT_CACHE,
    force: Annotated[bool, typer.Option("--force", help="Remove also what a run still trains on.")] = False,
) -> int:
    """List, show, verify or remove prepared data."""
    console, names = make_console(), keys or []
    if action == "list":
        return list_data(cache, console)
    if action == "show":
        return show_data(cache, names, console)
    if action == "verify":
        return verify_data(cache, names, console)
    return remove_data(cache, runs_of(ctx), names, force, console)
