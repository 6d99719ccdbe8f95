"""The first stage of runs: their data on disk, and a marker in each run's folder that says what it is."""

from __future__ import annotations

from typing import Any

from cpt.study.state.run import Run
from cpt.tokens.budget import amounts_to
from cpt.tokens.encode import WORDS
from cpt.tokens.prepare_shards import Preparation, prepare
from cpt.tokens.recipe import Taken
from cpt.tokens.run_sequences import sequences
from cpt.tokens.sequences import Sequences
from cpt.tokens.shards import Shard


def prepare_runs(runs: list[Run], preparation: Preparation) -> list[Sequences]:
    """Whatever these runs need and nobody has made yet; what is done already is only opened."""
    found: list[Sequences] = []
    wanted = [run.wanted for run in runs]

    def opened(number: int, taken: list[Taken]) -> None:
        run, shards = runs[number], wanted[number].shards(preparation)
        mix = sequences(run.config, taken, shards)
        found.append(mix)
        if not run.done("prepare"):
            facts = []
            for entry in taken:
                source, text = entry.item.source, preparation.text(entry.item.source)
                kept = {"shard": preparation.folder(source, run.model).name, "text": text.folder.name if text else ""}
                facts += facts_of(entry, shards[source.name], kept)
            run.finish("prepare", epoch_tokens=mix.epoch_tokens, packing=mix.losses(), sources=facts)

    prepare(wanted, preparation, opened)
    return found


def facts_of(entry: Taken, shard: Shard, kept: dict[str, str]) -> list[dict[str, Any]]:
    """What an epoch takes of a source, by language: for the plan, and for people; `kept` says where it is."""
    amounts = {unit: amounts_to(shard, entry.point, unit) for unit in ("words", "bytes", "tokens")}
    return [
        {
            "source": entry.item.source.name,
            "role": entry.item.role,
            "language": code,
            "budget": entry.item.words.get(code) if entry.budgeted else None,
            "unit": entry.unit,
            "available": shard.total(WORDS)[code] if shard.whole else None,
            **{unit: round(found[code]) for unit, found in amounts.items()},
            "epochs": entry.epochs,
            **kept,
        }
        for code in shard.languages
    ]
