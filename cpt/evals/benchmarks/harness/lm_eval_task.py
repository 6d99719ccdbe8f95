"""lm-eval's tasks as benchmarks: lm-eval builds the prompts and scores the answers, our scorer answers.

A task is loaded from the YAML files that plain lm-eval also reads, for one language and folder. Its requests become our
questions, so answers are stored and resumed as usual; lm-eval's metrics then give one value per item.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import io
import logging
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from cpt.errors import UserError
from cpt.evals.benchmark import Benchmark, Encode, Item, Question, Unit, register
from cpt.evals.benchmarks.harness.tasks import data, metrics
from cpt.evals.metrics.bootstrap import ratio
from cpt.evals.metrics.measured import Measured, corpus_measured
from cpt.evals.questions import Choice, Continuation, ModelRequest

PROTOCOL = "lm-eval"
SHOT_SEED = 1234
"""lm-eval's default seed for examples, so that its own runs have the same prompts."""
LIMIT = 256
"""lm-eval's default limit of generated tokens."""
GROUP_KEYS = ("group", "group_alias", "task", "aggregate_metric_list", "metadata")
NAMES = {
    ("acc", "none"): "accuracy",
    ("acc_norm", "none"): "accuracy_norm",
    ("exact_match", "flexible-extract"): "exact_match",
    ("exact_match", "strict-match"): "exact_match_strict",
    ("rouge_l", "none"): "rouge_l",
    ("chrf++", "none"): "chrf++",
}
"""Our names for lm-eval's metrics and filters."""
SIGNATURES = {
    "accuracy_norm": "log-likelihood by characters of the ending",
    "exact_match": "last number of the answer",
    "exact_match_strict": "the answer in the form of the examples",
    "rouge_l": metrics.ROUGE_SIGNATURE,
}


class Harness(Benchmark):
    """A benchmark of lm-eval; `HARNESS` has a subclass for each."""

    protocols = (PROTOCOL,)

    def units(self, languages: list[str]) -> list[Unit]:
        known = data.codes(self.name)
        return [Unit(self.name, code, "", PROTOCOL) for code in languages if code in known]

    def files(self, unit: Unit) -> list[Path]:
        return data.files(self.name, unit.language, self.folder, shots=self.config.shots > 0)

    def check(self, unit: Unit) -> None:
        try:
            rows = data.rows(self.name, unit.language, "test", self.folder)
            drawn_from = data.SOURCES[self.name].shots
            examples = data.rows(self.name, unit.language, "shots", self.folder) if drawn_from else rows[1:]
        except (OSError, ValueError) as error:
            raise UserError(f"benchmark {self.name}, {unit.language}: {error}") from error
        if len(rows) < 2:
            raise UserError(f"{self.files(unit)[0]}: {len(rows)} rows; at least 2 are needed for a score")
        if len(examples) < self.config.shots:
            where = self.files(unit)[-1]
            raise UserError(f"{where}: {len(examples)} rows to draw from, too few for {self.config.shots} shots")

    def scoring_fingerprint(self, unit: Unit) -> str:
        return f"sacrebleu {importlib.metadata.version('sacrebleu')}"

    def prompt_fingerprint(self, unit: Unit) -> str:
        """lm-eval's version and the task files: both determine prompts and scores."""
        return f"lm-eval {importlib.metadata.version('lm_eval')}, tasks {_tasks_hash()}"

    def questions(self, unit: Unit, encode: Encode) -> list[Question]:
        return [Question(request, facts) for request, facts, _ in self._requests(self._task(unit))]

    def measure(self, unit: Unit, items: Sequence[Item]) -> list[Measured]:
        task = self._task(unit)
        expected = list(self._requests(task))
        if [item.request for item in items] != [request for request, _, _ in expected]:
            raise UserError(f"{self.folder}: {self.name} asks other questions than were answered; evaluate it again")
        for item, (_, _, instances) in zip(items, expected, strict=True):
            answers = [tuple(pair) for pair in item.answer] if isinstance(item.request, Choice) else [item.answer]
            for instance, answer in zip(instances, answers, strict=True):
                instance.resps = [answer]
        task.apply_filters()
        return [_measured(*metric_values) for metric_values in _values(task)]

    def _requests(self, task: Any) -> Iterator[tuple[ModelRequest, dict[str, Any], list[Any]]]:
        """Requests, with the document and its parts as facts, and lm-eval's instances."""
        for number, of_document in groupby(task.instances, key=lambda instance: instance.doc_id):
            for prompt, together in groupby(of_document, key=_prompt):
                instances = list(together)
                facts = {"document": number, "parts": [instance.idx for instance in instances]}
                yield _to_request(prompt, instances), facts, instances

    def _task(self, unit: Unit) -> Any:
        """The task with all its requests built."""
        from lm_eval.tasks import TaskManager

        config = {key: value for key, value in _group(self.name).items() if key not in GROUP_KEYS}
        member = data.member(self.name, unit.language)
        given = {**member["dataset_kwargs"], "folder": str(self.folder)}
        config |= {**member, "dataset_kwargs": given, "num_fewshot": self.config.shots}
        with _quiet():
            [task] = TaskManager(include_defaults=False).load(config)["tasks"].values()
            task.set_fewshot_seed(SHOT_SEED)
            task.build_all_requests(limit=self.config.items)
        return task


def _prompt(instance: Any) -> str:
    """The prompt without trailing spaces, which lm-eval counts to the ending."""
    text: str = instance.args[0]
    return text.rstrip() if instance.request_type == "loglikelihood" and text.strip() else text


def _to_request(prompt: str, instances: list[Any]) -> ModelRequest:
    first = instances[0]
    if first.request_type == "loglikelihood":
        return Choice(prompt, tuple(one.args[0][len(prompt) :] + one.args[1] for one in instances))
    assert first.request_type == "generate_until", f"unsupported request type {first.request_type}"
    options = first.args[1]
    drawn = options.get("do_sample", False)
    return Continuation(
        prompt,
        tokens=options.get("max_gen_toks", LIMIT),
        stops=tuple(options["until"]),
        temperature=float(options.get("temperature", 1.0)) if drawn else 0.0,
    )


def _values(task: Any) -> Iterator[tuple[str, list[Any]]]:
    """Each metric with its value for every document."""
    documents = [list(group) for _, group in groupby(task.instances, key=lambda instance: instance.doc_id)]
    for kind in task.instances[0].filtered_resps:
        results = [
            task.process_results(instances[0].doc, [instance.filtered_resps[kind] for instance in instances])
            for instances in documents
        ]
        for metric in results[0]:
            yield NAMES[(metric, kind)], [result[metric] for result in results]


def _measured(name: str, values: list[Any]) -> Measured:
    if name != "chrf++":
        statistics = np.array([[float(value), 1.0] for value in values], dtype=np.float64)
        return Measured(name, statistics, ratio, SIGNATURES.get(name, ""))
    references, outputs = (list(side) for side in zip(*values, strict=True))
    return corpus_measured(name, metrics.chrf_metric(), outputs, references)


@cache
def _group(benchmark: str) -> dict[str, Any]:
    """A benchmark's YAML file, with `!function module.name` resolved as in lm-eval."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def function(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        module, _, name = str(loader.construct_scalar(node)).partition(".")
        return getattr(importlib.import_module(f"{data.__package__}.{module}"), name)

    Loader.add_constructor("!function", function)
    with (data.HERE / f"{benchmark}.yaml").open(encoding="utf-8") as file:
        config: dict[str, Any] = yaml.load(file, Loader)  # noqa: S506, a safe loader with one more tag
    return config


@cache
def _tasks_hash() -> str:
    files = sorted(path for path in data.HERE.iterdir() if path.is_file())
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress lm-eval's warnings and progress bars."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


HARNESS: dict[str, type[Harness]] = {
    name: register(type(f"Harness_{name}", (Harness,), {"name": name, "paths_key": f"harness/{data.place(name)}"}))
    for name in data.SOURCES
    if name not in ("sib200", "flores200")
}
"""By name, without SIB-200 and FLORES-200, which have modules of their own; their YAML files are for plain lm-eval."""
