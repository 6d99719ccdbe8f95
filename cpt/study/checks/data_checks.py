"""Mistakes about data that can be known before a run starts: its mix, its text, its cleaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from itertools import islice

from cpt.config import MixingConfig, StudyConfig
from cpt.corpora.chunks import START, chunks_from
from cpt.corpora.cleaning import STEPS
from cpt.corpora.cleaning.step import checked
from cpt.corpora.corpus_location import TOY
from cpt.corpora.document import CODE
from cpt.corpora.reading import LAYOUTS
from cpt.corpora.reading.layout import Unreadable
from cpt.corpora.reading.lines import check_pair
from cpt.corpora.source import Source
from cpt.errors import UserError, config_error, nearest
from cpt.languages import registry
from cpt.study.state.run import Run
from cpt.tokens.recipe import KINDS, REPLAY

_ALWAYS = ("kind", "budget_factor", "unit", "tokenizer", "code", "replay", "stages")
"""Settings of a mixing that every kind reads, or that are asked for apart."""


def mixing_mistakes(config: StudyConfig) -> Iterator[UserError]:
    """Values out of range, settings the kind does not read, stages that do not fit together."""
    settings = config.mixing
    if settings.kind not in KINDS:
        return
    reads = KINDS[settings.kind]
    for field in fields(MixingConfig):
        value = getattr(settings, field.name)
        repeating = settings.short == "repeat" or settings.stages or settings.replay.share
        repeats = bool(repeating) and field.name == "max_epochs"
        if field.name in (*_ALWAYS, *reads) or repeats or value == field.default:
            continue
        having = " and ".join(name for name, kind in KINDS.items() if field.name in kind)
        reason = f"mixing.kind={settings.kind} has no such setting, only {having}"
        yield config_error(f"mixing.{field.name}", value, reason)
    if settings.total is not None and not settings.total > 0:
        yield config_error("mixing.total", settings.total, "expected an amount above 0, or null for the budgets' sum")
    if settings.total is None and settings.kind != "explicit" and settings.unit != "words":
        yield config_error("mixing.total", "null", f"the budgets are in words; give a total in {settings.unit}")
    capped = settings.short == "repeat" or "max_epochs" in reads or settings.replay.share > 0 or settings.stages
    if capped and settings.max_epochs < config.train.epochs:
        reason = f"training reads every source train.epochs={config.train.epochs:g} times"
        yield config_error("mixing.max_epochs", settings.max_epochs, f"{reason}; give at least that many")
    for key, share in (("mixing.code.share", settings.code.share), ("mixing.replay.share", settings.replay.share)):
        if share is not None and not 0 <= share < 1:
            yield config_error(key, share, "expected a share of an epoch, from 0 to below 1")
    yield from _stages(config)


def _stages(config: StudyConfig) -> Iterator[UserError]:
    stages = config.mixing.stages
    if stages and config.train.packing != "masked":
        reason = "stages are laid out to the token, which this packing drops some of; choose masked"
        yield config_error("train.packing", config.train.packing, reason)
    ends = [stage.until for stage in stages]
    if stages and not (ends == sorted(set(ends)) and ends[0] > 0 and ends[-1] == 1):
        reason = "expected rising shares of the training, the last of them 1"
        yield config_error("mixing.stages", f"until {', '.join(f'{end:g}' for end in ends)}", reason)
    known = {*config.lang_category.words, CODE, REPLAY}
    for number, stage in enumerate(stages):
        key = f"mixing.stages[{number}].factors"
        for name, factor in stage.factors.items():
            if name not in known:
                reason = f"no source has it; known: {', '.join(sorted(known))}{nearest(name, known)}"
                yield config_error(key, name, reason)
            if not 0 <= factor < 1e6:
                yield config_error(f"{key}.{name}", factor, "expected a factor of 0 or more")
        if known and all(stage.factors.get(name, 1.0) == 0 for name in known - {CODE, REPLAY}):
            yield config_error(key, stage.factors, "nothing would be left to train on")


def text_mistakes(config: StudyConfig) -> Iterator[UserError]:
    """What says where text comes from must be there, be read, and be no toy where numbers are real."""
    corpora, folder = config.corpora, config.paths.corpora
    patterns = [corpora.monolingual.files, corpora.bitext.files, corpora.code.files, corpora.general.files]
    patterns += [other.files for other in corpora.other.values()]
    if config.scale != "toy" and any(pattern.startswith(TOY) for pattern in patterns):
        reason = f"toy text at scale={config.scale}: its numbers would pass as real ones"
        yield config_error("corpora", corpora.name, f"{reason}; choose corpora=hub or corpora=folder")
    if corpora.name == "folder" and folder is None and not config.dry_run:
        yield config_error("paths.corpora", "null", "corpora=folder reads a folder of text (docs/data.md)")
    if folder is not None and not any(folder in pattern for pattern in patterns):
        yield config_error("paths.corpora", folder, f"corpora={corpora.name} does not read it; add corpora=folder")
    yield from _other_names(config)
    for name, given in config.cleaning.steps.items():
        key = f"cleaning.steps.{name}"
        if name not in STEPS:
            known = ", ".join(STEPS)
            yield config_error(key, given, f"no such step{nearest(str(name), STEPS)}; known: {known}")
            continue
        try:
            checked(key, STEPS[name], given)
        except UserError as error:
            yield error


def _other_names(config: StudyConfig) -> Iterator[UserError]:
    """Sources that are named apart must be ones that can be asked for."""
    for name in config.corpora.other:
        kind, _, codes = name.partition("/")
        parts = codes.split("-") if kind == "bi" else [codes]
        known = name == CODE or (kind in ("mono", "general", "bi") and all(code in registry() for code in parts))
        if not known or len(parts) != 1 + (kind == "bi"):
            reason = "expected code, mono/<language>, general/<language> or bi/<source>-<target>"
            yield config_error("corpora.other", name, reason)
        elif (
            kind == "bi"
            and codes not in config.lang_category.pairs
            and "-".join(parts[::-1]) in config.lang_category.pairs
        ):
            yield config_error("corpora.other", name, f"the pair is named bi/{'-'.join(parts[::-1])}")


def content_mistakes(run: Run) -> Iterator[UserError]:
    """What only the files can tell: each source is there and begins with what its layout promises."""
    for item in run.recipe:
        try:
            _look_at(item.source)
        except UserError as error:
            yield error
    if run.library.cleaning:
        try:
            run.library.cleaning()
        except UserError as error:
            yield error


def _look_at(source: Source) -> None:
    found = _first_look(source)
    if found:
        raise UserError(found)


@cache
def _first_look(source: Source) -> str:
    """What is wrong with a source, seen at its start; asked once for all runs of a launch."""
    try:
        source.check()
        if source.remote:
            return ""
        for volume in source.volumes():
            if volume.layout == "moses":
                check_pair(volume)
        files = ", ".join(stored.name for volume in source.volumes()[:3] for stored in volume.files)
        first = list(islice(chunks_from(source.volumes(), START), 1))
        if not first:
            return f"{files}: empty; a run cannot train on {source.name} without text"
        for _, volume, chunk in first:
            records = list(LAYOUTS[volume.layout].records(volume, chunk))
            bad = [record for record in records if isinstance(record, Unreadable)]
            if 2 * len(bad) > len(records):
                named = ", ".join(volume.fields)
                return (
                    f"{bad[0].where}: {bad[0].why}; most of {source.name} cannot be read as {volume.layout} with "
                    f"{named} (corpora.<kind>.layout and corpora.<kind>.fields say otherwise)"
                )
    except UserError as error:
        return str(error)
    return ""
