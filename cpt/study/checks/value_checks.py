"""Everything about a run that can be known to be wrong before it starts; each mistake is one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from cpt.config import StudyConfig
from cpt.corpora import bitext
from cpt.errors import UserError, config_error, nearest
from cpt.evals.benchmark_location import LAYOUTS, is_remote
from cpt.evals.benchmarks.harness import download
from cpt.evals.benchmarks.harness.lm_eval_task import HARNESS
from cpt.evals.benchmarks.harness.tasks.data import place as folder_name
from cpt.evals.suite import BENCHMARKS
from cpt.languages import ENGLISH, language
from cpt.machine import processes_of
from cpt.models.base_model import BaseModel
from cpt.models.toy import PREFIX
from cpt.results.tracking.trackio import Trackio
from cpt.study.checks.data_checks import content_mistakes, mixing_mistakes, text_mistakes
from cpt.study.state.run import Run
from cpt.tokens.budget import UNITS
from cpt.tokens.recipe import KINDS as MIXINGS
from cpt.tokens.run_sequences import PACKINGS
from cpt.train.engines import ENGINES
from cpt.train.schedules import FORMS, KINDS

LARGEST = 1e12
PAPER_SHOTS = 3
_CHOICES = {
    "train.precision": ("fp32", "bf16"),
    "train.packing": tuple(PACKINGS),
    "mixing.kind": tuple(MIXINGS),
    "mixing.unit": UNITS,
    "mixing.short": ("less", "repeat"),
    "mixing.code.unit": UNITS,
    "data_mix.form": bitext.FORMS,
    "data_mix.direction": bitext.DIRECTIONS,
    "schedule.kind": tuple(KINDS),
    "schedule.cooldown_form": tuple(FORMS),
    "schedule.decay_form": tuple(FORMS),
    "data_mix.name": ("mono", "bi"),
    "tracking.mode": ("none", "offline", "online", "trackio"),
    "model.weights": ("pretrained", "random"),
    "hardware.engine": tuple(ENGINES),
    "hardware.kernels": ("auto", "torch"),
    "hardware.backend": ("torch", "vllm"),
}
_POSITIVE = (
    "train.lr",
    "train.epochs",
    "train.global_batch",
    "train.sequence_length",
    "train.save_every",
    "train.clip",
    "mixing.budget_factor",
    "mixing.code.amount",
    "mixing.temperature",
    "mixing.max_epochs",
    "model.parameters",
    "hardware.micro_batch",
    "hardware.threads",
    "hardware.stop_seconds",
    "train.curve.bytes",
    "data_mix.pairs_per_document",
)


def check(run: Run) -> list[UserError]:
    """All mistakes of a run's configuration; content on disk and the hub only for a run that is to start."""
    config = run.config
    errors = [*_values(config), *_languages(config), *_benchmarks(config), *_paths(config)]
    if not run.trains and config.hardware.engine == "plain" and (processes := processes_of(config.hardware)) > 1:
        reason = "engine plain is one process; choose zero1-3 or fsdp2"
        errors.append(config_error("hardware.processes", processes, reason))
    if run.trains:
        errors += [*_combinations(config), *_schedule(config), *mixing_mistakes(config), *text_mistakes(config)]
    if not errors and not config.dry_run:
        errors += _content(run)
    return errors


def _get(config: StudyConfig, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _values(config: StudyConfig) -> Iterator[UserError]:
    for key, known in _CHOICES.items():
        value = str(_get(config, key))
        if value not in known:
            yield config_error(key, value, f"expected one of {', '.join(known)}{nearest(value, known)}")
    for key in _POSITIVE:
        number = _get(config, key)
        if not (isinstance(number, int | float) and 0 < number < LARGEST):
            yield config_error(key, number, f"expected a number above 0 and below {LARGEST:.0e}")
    for key in ("hardware.slots", "hardware.processes", "hardware.preparing"):
        if (count := _get(config, key)) is not None and int(str(count)) < 1:
            yield config_error(key, count, "expected at least 1, or null for this machine's own")
    if config.train.keep_last < 1:
        yield config_error("train.keep_last", config.train.keep_last, "expected at least 1 checkpoint to go on from")
    for key in ("train.keep_every", "train.curve.every"):
        if (count := _get(config, key)) is not None and int(str(count)) < 1:
            yield config_error(key, count, "expected a number of steps of at least 1, or null for none")
    if not all(0 <= share <= 1 for share in config.train.curve.at):
        yield config_error("train.curve.at", config.train.curve.at, "expected shares of the training, from 0 to 1")
    if not 0 <= config.seed < 2**32:
        yield config_error("seed", config.seed, "expected a whole number from 0 to below 2^32")
    for key in ("train.beta1", "train.beta2", "train.weight_decay"):
        if not 0 <= float(str(_get(config, key))) < 1:
            yield config_error(key, _get(config, key), "expected a number from 0 to below 1")
    assumed = config.model.tokens_per_word
    if "default" not in assumed or not all(0 < value < LARGEST for value in assumed.values()):
        yield config_error("model.tokens_per_word", assumed, "expected numbers above 0, with one named default")
    if config.evals.bootstrap < 100:
        yield config_error("evals.bootstrap", config.evals.bootstrap, "expected at least 100 resamples for an interval")
    for name, reason in config.hardware.required.items():
        if getattr(config.hardware, name, None) in (None, ""):
            yield config_error(f"hardware.{name}", "null", reason)
    if config.hardware.backend == "vllm" and find_spec("vllm") is None:
        reason = "vllm is not installed here; it needs an environment of its own (docs/evaluation.md); torch needs none"
        yield config_error("hardware.backend", "vllm", reason)
    if config.tracking.mode == "trackio" and (obstacle := Trackio(Path(config.paths.runs)).obstacle()):
        yield config_error("tracking.mode", "trackio", obstacle)
    for key in ("study", "model.label", "data_mix.label", "lang_category.label"):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", str(_get(config, key))):
            reason = "it names a folder: letters, digits and . _ + - only, the first a letter or digit"
            yield config_error(key, _get(config, key), reason)
    for key in ("model.path", "paths.runs", "paths.cache"):
        if not _get(config, key):
            yield config_error(key, "", "a value is needed")


def _combinations(config: StudyConfig) -> Iterator[UserError]:
    yield from _hardware(config)
    if config.scale != "toy":
        for key in ("model.path", "mixing.code.tokenizer", "mixing.tokenizer"):
            if str(_get(config, key)).startswith(PREFIX):
                reason = f"a toy stand-in at scale={config.scale}: its numbers would pass as real ones"
                yield config_error(key, _get(config, key), reason)
    if config.data_mix.name == "bi" and not config.lang_category.pairs:
        yield config_error("data", "bi", f"langcat={config.lang_category.name} has no pairs (lang_category.pairs)")
    if config.mixing.unit == "tokens" and not config.mixing.tokenizer:
        yield config_error("mixing.tokenizer", "", "a unit of tokens needs the model whose tokenizer counts them")
    if config.mixing.code.share is None and config.mixing.code.unit == "tokens" and not config.mixing.code.tokenizer:
        yield config_error(
            "mixing.code.tokenizer", "", "a budget of tokens needs the model whose tokenizer counts them"
        )


def _hardware(config: StudyConfig) -> Iterator[UserError]:
    """How a step is split must fit the global batch, and an engine must be able to do what it is asked for."""
    hardware, batch = config.hardware, config.train.global_batch
    engine, processes = hardware.engine, processes_of(hardware)
    each = max(hardware.micro_batch, 1) * max(processes, 1)
    if engine == "plain" and processes > 1:
        yield config_error("hardware.processes", processes, "engine plain is one process; choose zero1-3 or fsdp2")
    elif batch > 0 and batch % each:
        split = f"hardware.micro_batch={hardware.micro_batch}"
        split += f" times hardware.processes={processes}" if processes > 1 else ""
        yield config_error("train.global_batch", batch, f"not divisible by {split}; give a micro-batch that divides it")
    if hardware.offload and not engine.startswith("zero"):
        yield config_error("hardware.offload", "true", f"engine {engine} keeps it on the device; choose zero2")
    if hardware.compile and engine.startswith("zero"):
        yield config_error("hardware.compile", "true", "ZeRO's own hooks break compiled layers; choose plain or fsdp2")


def _schedule(config: StudyConfig) -> Iterator[UserError]:
    """Values out of range, settings the kind does not have, and phases that do not fit together."""
    schedule, training = config.schedule, config.train.epochs
    if schedule.epochs is not None and not training <= schedule.epochs < LARGEST:
        reason = f"training goes on for train.epochs={training:g}; a schedule cannot be shorter than the training"
        yield config_error("schedule.epochs", f"{schedule.epochs:g}", reason)
    wrong = []
    for name in ("warmup", "cooldown", "decay"):
        if not 0 <= (share := getattr(schedule, name)) < 1:
            reason = "expected a share of the schedule, from 0 to below 1"
            wrong.append(config_error(f"schedule.{name}", share, reason))
    for name in ("start", "floor", "level"):
        if not 0 <= (share := getattr(schedule, name)) <= 1:
            wrong.append(config_error(f"schedule.{name}", share, "expected a share of train.lr, from 0 to 1"))
    yield from wrong
    if wrong or schedule.kind not in KINDS:
        return
    for field in fields(schedule):
        value = getattr(schedule, field.name)
        if field.name not in KINDS[schedule.kind].reads and value != field.default:
            having = " and ".join(name for name, kind in KINDS.items() if field.name in kind.reads)
            reason = f"schedule.kind={schedule.kind} has no such setting, only {having}"
            yield config_error(f"schedule.{field.name}", value, reason)
            return
    if (phases := schedule.warmup + schedule.cooldown + schedule.decay) > 1 + 1e-9:
        reason = f"with schedule.cooldown={schedule.cooldown:g} and schedule.decay={schedule.decay:g} it makes "
        yield config_error(
            "schedule.warmup", schedule.warmup, f"{reason}{phases:g} of the schedule, more than all of it"
        )
    if schedule.floor > schedule.level:
        reason = f"above schedule.level={schedule.level:g}, from which the rate is to fall"
        yield config_error("schedule.floor", schedule.floor, reason)
    if schedule.decay and schedule.decay_form == "exponential" and schedule.floor == 0:
        reason = "an exponential decay never reaches 0; give a share of train.lr above it"
        yield config_error("schedule.floor", schedule.floor, reason)
    if schedule.warmup and not schedule.cooldown and schedule.level < 1:
        reason = f"the rate would jump from its peak to schedule.level={schedule.level:g}; give a share above 0"
        yield config_error("schedule.cooldown", schedule.cooldown, reason)


def _languages(config: StudyConfig) -> Iterator[UserError]:
    category = config.lang_category
    if not category.words:
        yield config_error("lang_category.words", category.words, "a language category needs at least one language")
    for code, amount in category.words.items():
        yield from _language(f"lang_category.words.{code}", code)
        if amount <= 0:
            yield config_error(f"lang_category.words.{code}", amount, "expected a budget above 0 words")
    for code in category.related or ():
        yield from _language("lang_category.related", code)
        if code in category.words:
            yield config_error("lang_category.related", code, "it is trained on, so it cannot be an unseen relative")
    for pair, amounts in category.pairs.items():
        key = f"lang_category.pairs.{pair}"
        codes = pair.split("-")
        if len(codes) != 2 or len(amounts) != 2 or min(amounts) <= 0:
            yield config_error(key, amounts, "expected `source-target: [words, words]`, both above 0")
            continue
        for code in codes:
            yield from _language(key, code)
            if code not in category.words:
                reason = "a language of a pair needs a monolingual budget in lang_category.words too"
                yield config_error(key, code, reason)


def _language(key: str, code: str) -> Iterator[UserError]:
    try:
        language(code)
    except UserError as error:
        yield config_error(key, code, str(error))


def _benchmarks(config: StudyConfig) -> Iterator[UserError]:
    if not config.evals.benchmarks:
        reason = f"a run is compared by what is measured: choose from {', '.join(BENCHMARKS)}"
        yield config_error("evals", "[]", reason)
    unknown = set(config.protocol) - {"paper", "sound"}
    for protocol in sorted(unknown):
        yield config_error("protocol", protocol, f"expected paper or sound{nearest(protocol, ('paper', 'sound'))}")
    for name, benchmark in config.evals.benchmarks.items():
        key = f"evals.benchmarks.{name}"
        if name not in BENCHMARKS:
            yield config_error("evals", name, f"no such benchmark{nearest(name, BENCHMARKS)}")
            continue
        for protocol in (each for each in benchmark.protocol if each not in unknown):
            known = BENCHMARKS[name].protocols
            if protocol not in known:
                reason = f"expected {' or '.join(known) or 'none'}{nearest(protocol, known)}"
                yield config_error(f"{key}.protocol", protocol, reason)
        if "paper" in benchmark.protocol and benchmark.shots != PAPER_SHOTS:
            reason = f"protocol paper has {PAPER_SHOTS}; choose protocol=[sound] for another number"
            yield config_error(f"{key}.shots", benchmark.shots, reason)
        if BENCHMARKS[name].protocols and not benchmark.protocol:
            yield config_error(f"{key}.protocol", "[]", f"expected {' or '.join(BENCHMARKS[name].protocols)}")
        if benchmark.shots < 0 or benchmark.batch < 1 or (benchmark.items is not None and benchmark.items < 2):
            yield config_error(key, "", "expected shots of 0 or more, a batch of 1 or more, and at least 2 items")


def _paths(config: StudyConfig) -> Iterator[UserError]:
    for name in ("corpora", "heldout", "sib200", "flores200", "harness"):
        where = getattr(config.paths, name)
        if where is None or (name in LAYOUTS and is_remote(where)) or (name == "harness" and where == download.HUB):
            continue
        if not Path(where).is_dir():
            also = f", and not `{download.HUB}`" if name == "harness" else ""
            yield config_error(f"paths.{name}", where, f"no such folder{also}")
    if config.paths.glotlid is not None and not Path(config.paths.glotlid).is_file():
        yield config_error("paths.glotlid", config.paths.glotlid, "no such file")
    for benchmark in () if config.dry_run else config.evals.benchmarks:
        name = BENCHMARKS[benchmark].paths_key.partition("/")[0] if benchmark in BENCHMARKS else ""
        toy = config.scale == "toy" and name != "harness"
        if name and not toy and getattr(config.paths, name) is None:
            yield config_error(f"paths.{name}", "null", f"evals has {benchmark}, which reads its files from there")


def _content(run: Run) -> list[UserError]:
    """What only the disk or the hub can tell."""
    config = run.config
    errors = [*_models(run), *_places(run)]
    try:
        errors += content_mistakes(run) if run.trains else []
    except UserError as error:
        errors.append(error)
    if not errors and (config.paths.sib200 or config.paths.flores200 or config.paths.heldout):
        errors += coverage_mistakes(run, fetched=False)
    return errors


def _places(run: Run) -> Iterator[UserError]:
    """Benchmarks whose files cannot be had, by what is known before they are fetched."""
    for place in filter(None, (run.benchmark_location(name) for name in LAYOUTS)):
        try:
            place.check()
        except UserError as error:
            yield error
    for name in run.config.evals.benchmarks if run.config.paths.harness == download.HUB else ():
        try:
            if name in HARNESS:
                download.check(name, run.languages, download.folder_of(run.cache, folder_name(name)))
        except UserError as error:
            yield error


def _models(run: Run) -> Iterator[UserError]:
    """The base model, and the one whose tokenizer counts code."""
    code, config = run.config.mixing.code, run.config
    models = [run.model if run.trains else run.evaluated_model]
    counting = []
    if run.trains and config.mixing.unit == "tokens":
        counting.append(config.mixing.tokenizer)
    if run.trains and config.code and code.share is None and code.unit == "tokens":
        counting.append(code.tokenizer)
    models += [BaseModel(path, "main", run.world) for path in counting if path != config.model.path]
    for model in models:
        try:
            model.check()
        except UserError as error:
            yield error


def coverage_mistakes(run: Run, fetched: bool = True) -> Iterator[UserError]:
    """Languages a benchmark's folder lacks: skipped and said, an error when strict; without English always one.

    What is brought into the cache is asked about only once all of it is `fetched`: a kill may have left a part.
    """
    there, missing = run.suite.units(run.languages)
    found = {unit.task for unit in there}
    for task, folder in run.suite.folders.items():
        key, _, inside = BENCHMARKS[task].paths_key.partition("/")
        where, lacking = getattr(run.config.paths, key), [unit for unit in missing if unit.task == task]
        if not (where and lacking):
            continue
        brought = run.cache in folder.parents
        if task not in found and not brought:
            expected = run.suite.benchmarks[task].files(lacking[0])[0]
            yield config_error(f"paths.{key}", where, f"no files of {task} there; expected such as {expected}")
        elif folder.is_dir() and (fetched or not brought):
            for unit in lacking:
                if run.config.evals.strict or unit.language == ENGLISH:
                    yield config_error(f"paths.{key}", where, f"{inside or 'it'} has no files for {unit.language}")
