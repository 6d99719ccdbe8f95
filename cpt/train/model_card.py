"""The model card, written from the ledger, so it cannot say anything the run did not do."""

from __future__ import annotations

from typing import Any

from cpt.config import StudyConfig
from cpt.keys import hub_name, shown_path
from cpt.languages import language, registry


def model_card(config: StudyConfig, name: str, run_id: str, consumed: dict[str, Any]) -> str:
    """Markdown with the front matter a model hub reads."""
    codes = sorted({source["language"] for source in consumed["sources"]} & set(registry()))
    toy = config.scale == "toy"
    warning = "**A toy model: synthetic languages, tiny weights. It is of no use outside tests.**\n\n" if toy else ""
    base = [f"base_model: {config.model.path}"] if config.model.path == config.model.hub else []
    head = ["---", *base, "language:", *(f"  - {code.split('_')[0]}" for code in codes)]
    head += ["tags:", "  - continual-pretraining", *(["  - toy"] if toy else []), "---", ""]
    lines = [
        f"# {hub_name(name)}",
        "",
        f"{warning}Continual pretraining of `{shown_path(config.model.path)}` on "
        f"{'parallel' if config.data_mix.name == 'bi' else 'monolingual'} text"
        f"{' and code' if config.code else ''} in {', '.join(language(code).name for code in codes)}.",
        "",
        f"- run `{run_id}`, seed {consumed['seed']}",
        f"- {consumed['steps']:,} steps, {consumed['tokens_seen']:,} tokens ({consumed['epochs']:.2f} epochs)",
        f"- peak learning rate {config.train.lr}, schedule {config.schedule.kind} laid out for "
        f"{config.schedule.epochs or config.train.epochs} epochs, {config.train.precision}",
        f"- trained on {consumed['processes']} × {consumed['device']}, engine {consumed['engine']}; {consumed['mfu']}",
        "",
        "| source | language | words seen | tokens seen | unique tokens |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {s['source']} | {s['language']} | {s['words_seen']:,} | {s['tokens_seen']:,} | {s['tokens_unique']:,} |"
        for s in consumed["sources"]
    ]
    return "\n".join([*head, *lines, ""])
