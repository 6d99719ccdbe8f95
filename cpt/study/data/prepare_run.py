"""The stage prepare of runs: their shards on disk, and a marker in each run's folder that describes them."""

from __future__ import annotations

from typing import Any

from cpt.study.state.run import Run
from cpt.tokens.budget import amounts_to
from cpt.tokens.encode import WORDS
from cpt.tokens.prepare_shards import Preparation, prepare
from cpt.tokens.recipe import Allocation
from cpt.tokens.run_sequences import sequences
from cpt.tokens.sequences import Sequences
from cpt.tokens.shards import Shard


def prepare_runs(runs: list[Run], preparation: Preparation) -> list[Sequences]:
    """Make the missing shards of these runs, and mark each run as prepared."""
    mixes: list[Sequences] = []
    prepared = prepare([run.data_request for run in runs], preparation)
    for run, (allocations, shards) in zip(runs, prepared, strict=True):
        mix = sequences(run.config, allocations, shards)
        mixes.append(mix)
        if not run.state.done("prepare"):
            facts = []
            for entry in allocations:
                source, text = entry.item.source, preparation.text(entry.item.source)
                folders = {
                    "shard": preparation.folder(source, run.model).name,
                    "text": text.folder.name if text else "",
                }
                facts += facts_of(entry, shards[source.name], folders)
            run.state.finish("prepare", epoch_tokens=mix.epoch_tokens, packing=mix.losses(), sources=facts)
    return mixes


def facts_of(entry: Allocation, shard: Shard, folders: dict[str, str]) -> list[dict[str, Any]]:
    """The amounts of a source in an epoch, by language, and the folders of its shard and text."""
    amounts = {unit: amounts_to(shard, entry.point, unit) for unit in ("words", "bytes", "tokens")}
    return [
        {
            "source": entry.item.source.name,
            "role": entry.item.role,
            "language": code,
            "budget": entry.item.budget_by_language.get(code) if entry.budgeted else None,
            "unit": entry.unit,
            "available": shard.total(WORDS)[code] if shard.whole else None,
            **{unit: round(by_language[code]) for unit, by_language in amounts.items()},
            "epochs": entry.epochs,
            **folders,
        }
        for code in shard.languages
    ]
