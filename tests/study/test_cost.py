"""What a study costs: hours from what was measured or stated, billed by a cluster's rule; what is unknown stays so."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cpt.config import BillingConfig, PartitionConfig, StudyConfig
from cpt.errors import UserError
from cpt.files import write_json, write_lines
from cpt.study.plan.cost import billed, device_hours, jobs_in_a_row, print_cost, study_cost, units_of
from cpt.study.plan.plan_row import PlanRow, write_plan
from cpt.study.plan.run_estimates import estimate_run, estimate_runs
from cpt.study.plan.stage_jobs import StageJob
from cpt.study.plan.throughput import (
    EvaluationSetting,
    Throughput,
    TrainingSetting,
    measured_throughput,
    tokens_per_second,
)
from cpt.study.state.run import Run

STANDARD_G = PartitionConfig(devices=8, cores=56, whole_nodes=True)
SMALL_G = PartitionConfig(devices=8, cores=56)
MODULES = BillingConfig("GPU-hours", 0.5)
NODE: dict[str, Any] = {"partition": "standard-g", "nodes": 1, "tasks_per_node": 8, "gpus_per_node": 8}
COMPOSED: list[StudyConfig] = []


@pytest.fixture
def run(compose: Callable[..., list[StudyConfig]], tmp_path: Path) -> Run:
    """A run of 8 B parameters that nothing is assumed of: 128 sequences of 1,024 tokens a step."""
    if not COMPOSED:
        COMPOSED.extend(compose("scale=paper", "langcat=alt", "dry_run=true"))
    hardware = replace(
        COMPOSED[0].hardware,
        name="cluster",
        processes=8,
        partitions={"standard-g": STANDARD_G, "small-g": SMALL_G},
        billing=MODULES,
    )
    paths = replace(COMPOSED[0].paths, runs=str(tmp_path / "runs"), cache=str(tmp_path / "cache"))
    return Run(replace(COMPOSED[0], hardware=hardware, paths=paths))


def assuming(run: Run, tflops: float) -> Run:
    return Run(replace(run.config, hardware=replace(run.config.hardware, sustained_tflops=tflops)))


def seed(run: Run, number: int) -> Run:
    return Run(replace(run.config, seed=number))


def job(*runs: Run, stage: str = "train", **params: Any) -> StageJob:
    return StageJob(stage, stage, runs, {**NODE, "timeout_min": 2880, **params})


def test_lumi_charges_four_gpu_hours_for_an_hour_of_a_node(run: Run) -> None:
    node = job(run)
    assert device_hours(node, 1) == 8
    assert billed(node, STANDARD_G, MODULES, 1) == 4
    assert billed(node, STANDARD_G, MODULES, 2.5) == 10


def test_a_shared_node_is_charged_by_the_device(run: Run) -> None:
    one = job(run, partition="small-g", tasks_per_node=1, gpus_per_node=1)
    assert device_hours(one, 3) == 3
    assert billed(one, SMALL_G, MODULES, 3) == 1.5


def test_whole_nodes_are_charged_whole_however_little_of_them_is_asked_for(run: Run) -> None:
    thin = job(run, nodes=2, tasks_per_node=1, gpus_per_node=1)
    assert device_hours(thin, 1) == 2
    assert billed(thin, STANDARD_G, BillingConfig(), 1) == 16


def test_a_job_without_devices_costs_none_of_their_hours(run: Run) -> None:
    cost = study_cost([job(run, stage="prepare", partition="small", gpus_per_node=None)], [])
    assert (cost.device_hours, cost.billed, cost.stages[0].known) == (0, 0, 1)


@pytest.mark.parametrize(("hours", "jobs"), [(0.1, 1), (47.5, 1), (47.9, 2), (60, 2), (95, 2), (95.5, 3)])
def test_a_job_goes_on_as_often_as_its_limit_less_the_time_to_save(run: Run, hours: float, jobs: int) -> None:
    assert jobs_in_a_row(job(run, signal_delay_s=1200), hours) == jobs


def test_a_job_that_has_no_time_before_it_is_told_to_stop_is_a_mistake(run: Run) -> None:
    with pytest.raises(UserError, match=r"hydra\.launcher\.signal_delay_s=1200: .* 0\.25 h"):
        jobs_in_a_row(job(run, timeout_min=15, signal_delay_s=1200), 1)


def test_the_assumed_cost_of_a_run_is_that_of_its_operations(run: Run) -> None:
    """6 operations a parameter and token."""
    some = assuming(run, 400)
    row = estimate_run(some, Throughput(), job(some))
    hours = 6 * 8.03e9 * row.planned_steps * 128 * 1024 / 400e12 / 3600
    assert row.speed_from == "assumed: 400 TFLOP/s sustained"
    assert row.minutes == pytest.approx(hours * 60, rel=1e-4)
    assert row.devices == 8
    assert row.device_hours == pytest.approx(8 * hours, rel=1e-4)
    assert row.cost == pytest.approx(4 * hours, rel=1e-4)
    assert row.cost_unit == "GPU-hours"


def test_what_neither_was_measured_nor_is_stated_stays_unknown(run: Run) -> None:
    jobs = [job(run), job(run, stage="evaluate", timeout_min=240)]
    [row] = estimate_runs([run], jobs)
    assert (row.minutes, row.device_hours, row.cost, row.cost_unit, row.speed_from) == (None, None, None, "", "")
    cost = study_cost(jobs, [row])
    assert cost.device_hours == 0
    assert [stage.known for stage in cost.stages] == [0, 0]
    told = said(cost)
    assert "evaluation of 1; 32 device-hours, billed 16 GPU-hours if each takes its job's whole 4 h." in told
    assert "training of 1; 384 device-hours, billed 192 GPU-hours" in told
    assert not told.startswith("1 run")


def said(cost: Any) -> str:
    with (console := Console(width=400, no_color=True)).capture() as capture:
        print_cost(cost, console)
    return capture.get()


def trained(
    run: Run, rates: list[float], engine: str = "zero3", processes: int = 8, device: str = "AMD Instinct MI250X"
) -> None:
    """The files of a training, as cpt/train/metrics_log.py and ledger.py write it."""
    run.save_config()
    tokens = 128 * 1024
    lines = [
        {
            "step": step,
            "loss": 2.0,
            "tokens": step * tokens,
            "tokens_per_second": rate,
            "seconds": round(tokens / rate, 4),
            "waited": 0.0,
            "sources": {"mono/eng_Latn": 2.0},
        }
        for step, rate in enumerate(rates, start=1)
    ]
    write_lines(run.folder / "metrics.jsonl", lines)
    write_json(run.folder / "ledger.json", {"seconds": 1.0, "engine": engine, "processes": processes, "device": device})


SLOW_START = [100.0] * 10


def test_speed_is_the_median_behind_the_first_steps(run: Run) -> None:
    trained(run, [*SLOW_START, 9_000.0, 10_000.0, 11_000.0, 10_000.0, 5.0, 10_000.0, 10_000.0])
    assert tokens_per_second(run.folder / "metrics.jsonl") == 10_000.0
    trained(run, [*SLOW_START, 9_000.0, 9_000.0])
    assert tokens_per_second(run.folder / "metrics.jsonl") is None, "two steps tell nothing"


def test_of_a_long_log_the_latest_steps_count_and_a_torn_line_does_not(run: Run) -> None:
    trained(run, [5_000.0] * 3_000 + [10_000.0] * 3_000)
    path = run.folder / "metrics.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 6001, "tokens_per_se')
    assert tokens_per_second(path) == 10_000.0


def test_runs_of_the_same_kind_in_any_study_tell_how_long_it_takes(run: Run, tmp_path: Path) -> None:
    other = Run(replace(run.config, study="before", seed=7))
    trained(other, [*SLOW_START, *[9_000.0] * 20])
    trained(seed(run, 2), [*SLOW_START, *[10_000.0] * 20])
    trained(seed(run, 3), [*SLOW_START, *[14_000.0] * 20])
    earlier = measured_throughput(tmp_path / "runs")
    row = estimate_run(assuming(run, 400), earlier, job(run))
    assert row.speed_from == "measured (3 runs)"
    assert row.minutes == pytest.approx(row.planned_steps * 128 * 1024 / 10_000 / 60, abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: replace(config, model=replace(config.model, name="other")),
        lambda config: replace(config, model=replace(config.model, parameters=7e9)),
        lambda config: replace(config, hardware=replace(config.hardware, name="elsewhere")),
        lambda config: replace(config, hardware=replace(config.hardware, engine="fsdp2")),
        lambda config: replace(config, train=replace(config.train, precision="fp32")),
        lambda config: replace(config, train=replace(config.train, sequence_length=2048)),
    ],
)
def test_a_speed_of_another_kind_of_run_is_none_of_this_one(
    run: Run, tmp_path: Path, change: Callable[[StudyConfig], StudyConfig]
) -> None:
    trained(seed(run, 2), [*SLOW_START, *[10_000.0] * 20])
    earlier = measured_throughput(tmp_path / "runs")
    assert earlier.training(TrainingSetting.of(run.config, 8)) is not None
    assert earlier.training(TrainingSetting.of(change(run.config), 8)) is None
    assert earlier.training(TrainingSetting.of(run.config, 16)) is None


def test_a_run_that_still_trains_is_measured_by_the_processes_of_its_checkpoint(run: Run, tmp_path: Path) -> None:
    trained(run, [*SLOW_START, *[10_000.0] * 20])
    (run.folder / "ledger.json").unlink()
    assert not measured_throughput(tmp_path / "runs").trainings, "nobody knows by how many"
    write_json(run.folder / "checkpoints/step-00000020/checkpoint.json", {"step": 20, "processes": 8})
    assert measured_throughput(tmp_path / "runs").trainings == {TrainingSetting.of(run.config, 8): [("", 10_000.0)]}


def test_where_a_name_stood_for_two_machines_the_latest_counts() -> None:
    setting = TrainingSetting("l3", 8e9, "local", "zero3", 8, "bf16", 1024)
    earlier = Throughput({setting: [("H200", 30.0), ("A100", 10.0), ("H200", 20.0)]})
    speed = earlier.training(setting)
    assert speed is not None
    assert (speed.value, speed.runs) == (25.0, 2)


def test_an_evaluation_takes_as_long_as_others_with_the_same_benchmarks_did(run: Run, tmp_path: Path) -> None:
    done = seed(run, 2)
    done.save_config()
    asked = {f"unit {number}": "key" for number in range(50)}
    facts = {"backend": "torch", "device": "cpu", "processes": 8, "asked": asked}
    write_json(done.files.marker("evaluate"), {**facts, "seconds": 3600.0})
    earlier = measured_throughput(tmp_path / "runs")
    speed = earlier.evaluation(EvaluationSetting.of(run.config, 8))
    assert speed is not None
    assert speed.value == 72.0
    fewer = replace(run.config, evals=replace(run.config.evals, benchmarks={}))
    assert earlier.evaluation(EvaluationSetting.of(fewer, 8)) is None
    cost = study_cost([job(run, stage="evaluate")], [], earlier)
    assert cost.device_hours == pytest.approx(8 * 72 * units_of(run) / 3600)
    write_json(done.files.marker("evaluate"), {**facts, "seconds": None})
    assert not measured_throughput(tmp_path / "runs").evaluations, "it went on where another was"


def test_what_cannot_be_read_measures_nothing(run: Run, tmp_path: Path) -> None:
    trained(run, [*SLOW_START, *[10_000.0] * 20])
    (run.folder / "config.yaml").write_text("model: [", encoding="utf-8")
    assert not measured_throughput(tmp_path / "runs").trainings
    assert not measured_throughput(tmp_path / "nowhere").trainings


def test_the_sum_of_a_study_its_requeues_and_what_they_need(run: Run) -> None:
    some = [assuming(run, 10), seed(assuming(run, 10), 2)]
    rows = estimate_runs(some, [job(*some)])
    assert rows[0].minutes is not None
    hours = rows[0].minutes / 60
    limit = int(hours / 2.5 * 60)
    cost = study_cost([job(*some, timeout_min=limit, max_num_timeout=2)], rows)
    assert cost.mistakes == ()
    assert cost.device_hours == pytest.approx(2 * 8 * hours)
    assert cost.billed == pytest.approx(2 * 4 * hours)
    told = said(cost)
    assert told.startswith(f"2 runs: {16 * hours:,.0f} device-hours, billed {8 * hours:,.0f} GPU-hours (assumed: 10 ")
    assert f"up to {hours:,.1f} h, 3 jobs of {limit / 60:g} h one after the other." in told
    [mistake] = study_cost([job(*some, timeout_min=limit, max_num_timeout=1)], rows).mistakes
    assert str(mistake).startswith("hydra.launcher.max_num_timeout=1: ")
    assert "3 jobs" in str(mistake)
    assert "give at least 2" in str(mistake)


def test_what_a_checkpoint_has_is_not_paid_again(run: Run) -> None:
    some = assuming(run, 400)
    rows = estimate_runs([some], [job(some)])
    whole = study_cost([job(some)], rows).device_hours
    assert whole == pytest.approx(rows[0].device_hours)
    (some.folder / "checkpoints" / f"step-{rows[0].planned_steps // 2:08d}").mkdir(parents=True)
    assert study_cost([job(some)], rows).device_hours == pytest.approx(whole / 2, rel=1e-3)


def test_without_gpus_or_a_cluster_there_are_no_device_hours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    some = assuming(run, 400)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    rows = estimate_runs([some])
    assert rows[0].minutes is not None
    assert rows[0].device_hours is None
    assert said(study_cost([], rows)) == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    rows = estimate_runs([some])
    assert rows[0].device_hours == pytest.approx(8 * (rows[0].minutes or 0) / 60, rel=1e-4)
    assert rows[0].cost is None, "nobody charges for this machine"
    assert said(study_cost([], rows)).startswith("1 run: ")


def test_a_plan_of_an_older_launch_is_read_and_kept(run: Run) -> None:
    row = estimate_run(run)
    columns = [field.name for field in fields(PlanRow)]
    older = columns[: columns.index("devices")]
    study = run.folder.parent
    (study / "L3-Old-12345678").mkdir(parents=True)
    cells = dict.fromkeys(older, "1") | {"run_id": "L3-Old-12345678"}
    text = ",".join(older) + "\n" + ",".join(cells.values()) + "\n"
    (study / "plan.csv").write_text(text, encoding="utf-8")
    with write_plan(study, [row]).open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [line["run_id"] for line in found] == ["L3-Old-12345678", row.run_id]
    assert list(found[0])[: len(older)] == older, "older readers find their columns where they were"
    assert (found[0]["minutes"], found[0]["device_hours"], found[1]["speed_from"]) == ("1", "", "")
