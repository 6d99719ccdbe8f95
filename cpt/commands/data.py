"""`cpt data`: list, show, verify and remove the shards and texts of a cache folder."""

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
from cpt.growing_folder import MARKER, marker, read_journal, verify

KINDS = {"shards": "shard", "texts": "text"}


@dataclass(frozen=True)
class CacheEntry:
    """A shard or a text on disk."""

    folder: Path
    kind: str
    facts: dict[str, Any] | None
    """None for an entry that is incomplete."""

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @property
    def source(self) -> str:
        return str(self.facts["source"]) if self.facts else "?"


def cache_entries(cache: Path) -> list[CacheEntry]:
    if not cache.is_dir():
        raise UserError(f"{cache}: no such folder; --cache names the folder in which studies prepare data")
    entries = [
        CacheEntry(folder, kind, marker(folder))
        for name, kind in KINDS.items()
        for folder in sorted((cache / name).glob("*"))
        if folder.is_dir()
    ]
    return sorted(entries, key=lambda entry: (entry.kind, entry.source, entry.key))


def selected(cache: Path, keys: list[str]) -> list[CacheEntry]:
    """The entries with these keys or sources; all if none are given."""
    entries = cache_entries(cache)
    if not keys:
        return entries
    known = {name for entry in entries for name in (entry.key, entry.source)}
    for key in keys:
        if key not in known:
            raise UserError(f"no shard or text '{key}' in {cache}{nearest(key, known)}; `cpt data` lists them")
    return [entry for entry in entries if {entry.key, entry.source} & set(keys)]


def list_data(cache: Path, console: Console) -> int:
    entries = cache_entries(cache)
    table = Table(title=f"Data in {cache}", title_justify="left")
    for name in ("key", "kind", "source"):
        table.add_column(name, no_wrap=True)
    for name in ("documents", "words", "tokens", "bytes", "whole", "tokenizer"):
        table.add_column(name, justify="left" if name == "tokenizer" else "right", no_wrap=True)
    for entry in entries:
        facts = entry.facts
        if facts is None:
            pieces = len(read_journal(entry.folder))
            table.add_row(entry.key, entry.kind, "", f"{pieces} pieces", "", "", amount(entry.bytes, "B"), "begun", "")
            continue
        tokens = f"{sum(facts['tokens'].values()):,}" if "tokens" in facts else ""
        whole = "whole" if facts["whole"] else "as needed"
        counts = (f"{facts['documents']:,}", f"{sum(facts['words'].values()):,}", tokens, amount(entry.bytes, "B"))
        table.add_row(entry.key, entry.kind, entry.source, *counts, whole, facts.get("tokenizer", ""))
    console.print(table)
    size = sum(entry.bytes for entry in entries)
    console.print(f"{len(entries)} in all, {amount(size, 'B')}")
    return 0


def verify_data(cache: Path, keys: list[str], console: Console) -> int:
    """Compare all files with their checksums; exit code 1 if one differs."""
    wrong = []
    todo = [entry for entry in selected(cache, keys) if entry.facts]
    for entry in track(todo, "Verifying", console=console, transient=True, disable=not console.is_terminal):
        for problem in verify(entry.folder):
            wrong.append(f"{entry.source}: {problem}")
    for line in wrong:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(todo)} verified, {len(wrong)} damaged pieces")
    if wrong:
        console.print("Remove what is damaged with `cpt data remove <key>`; the next launch makes it again.")
    return int(bool(wrong))


def waiting_runs(runs: Path, entry: CacheEntry) -> Iterator[str]:
    """Runs that were prepared from an entry and are not trained yet."""
    for path in runs.glob("*/*/prepare.done"):
        trained = (path.parent / "train.done").exists()
        if not trained and entry.key in {fact.get(entry.kind) for fact in read_json(path)["sources"]}:
            yield path.parent.name


def show_data(cache: Path, keys: list[str], console: Console) -> int:
    """Print what each cleaning step removed, with samples, and the lines that could not be read."""
    for entry in selected(cache, keys):
        facts = entry.facts
        if facts is None or (entry.kind == "shard" and not facts["unreadable"]):
            continue
        console.print(f"{entry.kind} {entry.key} of {entry.source}: {facts['documents']:,} documents", style="bold")
        lines = [f"  could not be read: {line}" for line in facts["samples"]]
        for step, counts in facts.get("cleaning", {}).get("steps", {}).items():
            for what in ("removed", "noted"):
                lines += [f"  {step} {what} {a['records']:,}: {why}" for why, a in counts[what].items()]
            lines += [f"    {sample['why']}: {sample['text']}" for sample in counts["samples"]]
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def remove_data(cache: Path, runs: Path, keys: list[str], force: bool, console: Console) -> int:
    """Remove the named entries; those that a run still needs only with --force, because preparing them takes time."""
    if not keys:
        raise UserError("name what to remove, by key or source; `cpt data` lists them")
    removed = left = 0
    for entry in selected(cache, keys):
        needed = sorted(set(waiting_runs(runs, entry)))
        if needed and not force and not any(verify(entry.folder)):
            left += 1
            some = ", ".join(needed[:3]) + (f" and {len(needed) - 3} more" if len(needed) > 3 else "")
            console.print(f"kept {entry.key} ({entry.source}): {some} still to be trained on it; --force removes it")
            continue
        with locked(entry.folder.with_name(f"{entry.key}.lock"), wait=False) as mine:
            if not mine:
                left += 1
                console.print(f"kept {entry.key} ({entry.source}): it is being made now")
                continue
            removed += entry.bytes
            (entry.folder / MARKER).unlink(missing_ok=True)  # from here on the rest no longer counts as complete
            shutil.rmtree(entry.folder)
            console.print(f"removed {entry.key} ({entry.source})")
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
