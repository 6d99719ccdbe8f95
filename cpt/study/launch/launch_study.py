"""A launch: check every run, plan the study, carry out what is not done, compare."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from cpt.config import HardwareConfig, StudyConfig
from cpt.console import make_console
from cpt.errors import UserError, config_error, some
from cpt.files import locked, read_json
from cpt.study.checks.benchmark_files import provide
from cpt.study.checks.settings import check
from cpt.study.cluster.executor import ClusterExecutor, Sent, left_alone
from cpt.study.data.prepare_study import prepare_study
from cpt.study.execute.local import LocalExecutor
from cpt.study.execute.progress import Progress
from cpt.study.plan.study_plan import StudyPlan
from cpt.study.state.lease import LAUNCH, Lease, LeaseTakenError
from cpt.study.state.run import Run
from cpt.study.state.run_status import Status, write_status


class Executor(Protocol):
    """Where the runs of a study are carried out: in processes of this launch, or as jobs of a cluster."""

    notice: str
    """What the user is to know before a study is carried out there."""

    def fitted(self, configs: list[StudyConfig]) -> list[StudyConfig]:
        """The configurations as they are to be carried out there."""

    def slots(self, hardware: HardwareConfig) -> int:
        """Runs at a time."""


def launch_study(configs: list[StudyConfig], executor: Executor) -> None:
    """Carry out a study, or with `dry_run=true` only say what it would be."""
    console = make_console()
    if asked := configs[0].checkpoint:
        raise config_error("checkpoint", asked, "launch.py trains; `python evaluate.py checkpoint=…` evaluates it")
    runs = distinct(checked(configs, executor))
    bases = base_runs(runs)
    everyone, config, study = [*bases, *runs], runs[0].config, runs[0].folder.parent
    slots = executor.slots(config.hardware)
    if isinstance(executor, ClusterExecutor):
        executor.refuse(everyone)
    plan = planned(runs, bases, executor)
    plan.refuse()
    if executor.notice:
        console.print(executor.notice, highlight=False, soft_wrap=True)
    if config.dry_run:
        plan.show(console)
        if isinstance(executor, ClusterExecutor):
            executor.show(everyone, console)
        console.print("Nothing was started (dry_run=true).")
        return
    with alone(study):
        provide(everyone, console)
        fits_study(study, everyone)
        if isinstance(executor, LocalExecutor):
            prepare_study(runs, console)
        planned(runs, bases, executor).show(console)
        if config.prepare_only and isinstance(executor, LocalExecutor):
            console.print("Everything is prepared; nothing was trained (prepare_only=true).")
            return
        sent = hand_over(everyone, executor, slots, console)
    see_through(sent, everyone, executor, console)


def hand_over(runs: list[Run], executor: Executor, slots: int, console: Console) -> Sent | None:
    """Carry runs out here, or submit them; then what was submitted."""
    if isinstance(executor, ClusterExecutor):
        return executor.send(runs, console)
    assert isinstance(executor, LocalExecutor), "there are two kinds"
    execute(runs, executor, slots, console)
    return None


def see_through(sent: Sent | None, runs: list[Run], executor: Executor, console: Console) -> None:
    """Compare what there is, at once or when the last job has ended; on a cluster nobody need stay for that."""
    study = runs[0].folder.parent
    if sent is None and isinstance(executor, ClusterExecutor) and not all(run.finished for run in runs):
        console.print(f"Nothing is left to submit; `cpt status {study.name}` says how it goes.", soft_wrap=True)
        return
    if sent and isinstance(executor, ClusterExecutor):
        if not (runs[0].config.wait or executor.local):
            told = f"See it with `cpt status {study.name}` and `cpt logs`, stop it with `cpt cancel`."
            if not runs[0].config.prepare_only:
                told += f" The comparison will be in {study / 'report.html'}."
            console.print(f"{told} The same command again submits only what is missing.", soft_wrap=True)
            return
        with Lease(study, LAUNCH) if executor.local else nullcontext():
            executor.stay(sent, runs, console)
    if runs[0].config.prepare_only:
        return
    with alone(study):
        if trained := [run for run in runs if run.trains]:
            planned(trained, [], executor).write()
        from cpt.study.compare.conclude import conclude

        unfinished = conclude(study, console)
    end(unfinished, runs)


def planned(runs: list[Run], bases: list[Run], executor: Executor) -> StudyPlan:
    """The plan as things are now."""
    slots = executor.slots(runs[0].config.hardware)
    if not isinstance(executor, ClusterExecutor):
        return StudyPlan.of(runs, bases, slots)
    return StudyPlan.of(runs, bases, slots, executor.jobs([*bases, *runs]), executor.all_jobs(runs))


def end(unfinished: list[str], launched: list[Run]) -> None:
    """Exit code 1 when a run of this launch has not finished; an older failure in the study is only shown."""
    if {run.run_id for run in launched} & set(unfinished):
        sys.exit(1)


@contextmanager
def alone(study: Path) -> Iterator[None]:
    """Keep any other launch off the study meanwhile."""
    with ExitStack() as held:
        try:
            mine = held.enter_context(locked(study / ".lock", wait=False))
            if mine:  # of a launch on another machine only the lease is sure to know
                held.enter_context(Lease(study, LAUNCH))
        except LeaseTakenError:
            mine = False
        if not mine:
            reason = f"another launch is working on {study}; wait for it or name another study"
            raise config_error("study", study.name, reason)
        yield


def checked(configs: list[StudyConfig], executor: Executor) -> list[Run]:
    """The runs of a launch, none of which has a mistake that can be known by now."""
    one_launch(configs)
    runs = [Run(config) for config in executor.fitted(configs)]
    refuse_mistakes(runs)
    return runs


def one_launch(configs: list[StudyConfig]) -> None:
    """What belongs to a launch as a whole cannot be an axis of its sweep."""
    shared: dict[str, Callable[[StudyConfig], object]] = {
        "scale": lambda config: config.scale,
        "study": lambda config: config.study,
        "dry_run": lambda config: config.dry_run,
        "wait": lambda config: config.wait,
        "prepare_only": lambda config: config.prepare_only,
        "paths": lambda config: config.paths,
        "hardware": lambda config: config.hardware,
        "tracking": lambda config: config.tracking,
    }
    for key, value in shared.items():
        if any(value(config) != value(configs[0]) for config in configs):
            raise UserError(f"{key}: the same for all runs of a launch; launch the sweep once for each value")


def fits_study(study: Path, runs: list[Run], same_benchmarks: bool = True) -> None:
    """A study compares like with like: one base model under a name, and every run measured in the same way.

    Models that are only evaluated may be asked other benchmarks than others were, where each is asked alike.
    """
    launched = {run.run_id for run in runs}
    of_languages = {tuple(run.languages): run for run in runs}
    asked = {name: key for run in of_languages.values() for name, key in run.prompt_keys().items()}
    bases = {run.config.model.name: run for run in runs if run.base}
    if len(bases) < sum(run.base for run in runs):
        reason = "two base models under one name in a launch; give each a model.name and model.label of its own"
        raise config_error("model.path", ", ".join(run.config.model.path for run in runs if run.base), reason)
    for path in study.glob("*/evaluate.done"):
        if path.parent.name in launched:
            continue
        other = Run.from_folder(path.parent)
        mine = bases.get(other.config.model.name)
        if other.base and mine:
            reason = f"{study} has {path.parent.name} as model.name={mine.config.model.name}; name another study"
            raise config_error("model.path", mine.config.model.path, reason)
        if same_benchmarks and _measuring(other.config) != _measuring(runs[0].config):
            reason = (
                f"{path.parent.name} of this study was measured otherwise; name another study, or launch all its runs "
                "together with these evals (nothing is trained again)"
            )
            raise config_error("evals", ", ".join(runs[0].config.evals.benchmarks), reason)
        theirs = read_json(path).get("asked", {})
        if odd := sorted(name for name, key in theirs.items() if asked.get(name, key) != key):
            reason = (
                f"{path.parent.name} of this study was asked otherwise in {some(odd)}: by other files or a version of "
                "what forms the questions; name another study, or launch all its runs together"
            )
            raise config_error("evals", ", ".join(runs[0].config.evals.benchmarks), reason)


def _measuring(config: StudyConfig) -> dict[str, Any]:
    """What of the settings of an evaluation can change a score."""
    found = {key: value for key, value in asdict(config.evals).items() if key != "strict"}
    for benchmark in found["benchmarks"].values():
        del benchmark["batch"]
    return found


def distinct(runs: list[Run]) -> list[Run]:
    """The runs without repetitions. Points that differ only in what a run is not made of are refused."""
    found: dict[str, Run] = {}
    for run in runs:
        other = found.setdefault(run.run_id, run)
        if other.config != run.config:
            raise UserError(
                f"two points of the sweep are the same run {run.run_id}: they differ only in what is "
                "measured or how often it is saved, which does not make another run; launch them one after the other"
            )
    return list(found.values())


def refuse_mistakes(runs: list[Run]) -> None:
    """One message with every mistake in any run, before the first one starts."""
    mistakes: dict[str, list[str]] = {}
    for run in runs:
        for error in check(run):
            mistakes.setdefault(str(error), []).append(run.name)
    if mistakes:
        everyone = len(runs)
        mistakes = _together(mistakes)
        lines = [text if len(names) == everyone else f"{text} [{some(names)}]" for text, names in mistakes.items()]
        raise UserError("\n".join(lines))


def _together(mistakes: dict[str, list[str]]) -> dict[str, list[str]]:
    """Several values of one key that are wrong for the same reason, as 39 models are without a network, are one."""
    alike: dict[tuple[str, str], list[str]] = {}
    for text in mistakes:
        setting, _, reason = text.partition(": ")
        key = setting.partition("=")[0]
        alike.setdefault((key, reason), []).append(text)
    found: dict[str, list[str]] = {}
    for (key, reason), texts in alike.items():
        values = [text.partition(": ")[0].partition("=")[2] for text in texts]
        told = f"{key}={some(values)}: {reason}" if len(texts) > 1 else texts[0]
        found[told] = list(dict.fromkeys(name for text in texts for name in mistakes[text]))
    return found


def base_runs(runs: list[Run]) -> list[Run]:
    """The untouched model of each run, once, to be evaluated for every category it is compared in."""
    return merged([Run.base_of(run.config) for run in runs])


def merged(bases: list[Run]) -> list[Run]:
    """Each base model once, with all language categories that it is asked about, now or before."""
    firsts: dict[str, Run] = {}
    categories: dict[str, dict[str, dict[str, str]]] = {}
    for base in bases:
        firsts.setdefault(base.run_id, base)
        known = categories.setdefault(base.run_id, _known_categories(base))
        for name, roles in base.categories:
            known[name] = {**known.get(name, {}), **dict(roles)}
    return [
        replace(base, categories=tuple((name, tuple(roles.items())) for name, roles in categories[key].items()))
        for key, base in firsts.items()
    ]


def _known_categories(base: Run) -> dict[str, dict[str, str]]:
    """Categories an earlier launch of the study evaluated the base model for."""
    path = base.folder / "categories.json"
    return {name: dict(roles) for name, roles in read_json(path)} if path.exists() else {}


def execute(runs: list[Run], executor: LocalExecutor, slots: int, console: Console) -> None:
    """Freeze and carry out what is not finished."""
    from cpt.results.tracking.mirror import resolve_mode

    todo = [run for run in left_alone(runs[0].folder.parent, runs, console) if not run.finished]
    for run in todo:
        if dropped := run.dropped_benchmarks():
            told = f"{run.run_id}: no longer in the comparison are {', '.join(dropped)}; the answers are kept"
            console.print(f"{told}, and asking for them again brings them back", soft_wrap=True)
        run.save_config()
        write_status(run.folder, Status(run.name, run.run_id))
    if not todo:
        if all(run.finished for run in runs):
            console.print(f"All {len(runs)} are finished already.")
        return
    tracking = resolve_mode(runs[0].config.tracking.mode, console.print)
    with Progress(todo, len(runs) - len(todo), slots, console) as progress:
        executor.execute(todo, slots, tracking, progress.update)
