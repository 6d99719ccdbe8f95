"""What a probe's records say, in words: who hangs and where, what differs between nodes, what is slow."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpt.doctor import probe_record
from cpt.doctor.check_result import Result
from cpt.doctor.diagnosis import NODE, progress_results
from cpt.doctor.gpus import Machine, Torch, check_gpu
from cpt.doctor.probe_record import ProcessRecord, named, read_records

SLOW_FILES = 100e6
"""Bytes a second below which a checkpoint of an 8B takes more than a quarter of an hour."""
BAD_SHARE = 0.5
LOW_PEAK = 0.3
BUSY_BYTES = 2 << 30


def judge(folder: Path, world_size: int, over: bool = True) -> list[Result]:
    """What is wrong, from what is on disk, after the job (`over`) or while it hangs."""
    processes = read_records(folder, world_size)
    started = [record for record in processes if record is not None]
    results = progress_results(processes, over)
    if started:
        looks = (versions, devices, shared_devices, cores, sums, network, bandwidth, products, files)
        results += [result for look in looks for result in look(started)]
    return results


def versions(processes: Sequence[ProcessRecord]) -> list[Result]:
    """Whether all processes run the same software."""
    by_name: dict[str, dict[str, list[ProcessRecord]]] = {}
    for record in processes:
        loaded = record.values(probe_record.TORCH)
        all_of = {"python": record.facts.get("python"), "container": _machine(record).container}
        all_of |= {name: loaded[name] for name in ("torch", "hip", "cuda", "nccl", "file") if name in loaded}
        for name, value in all_of.items():
            by_name.setdefault(name, {}).setdefault(str(value), []).append(record)
    unequal = {name: values for name, values in by_name.items() if len(values) > 1}
    if not unequal:
        same = [f"{name} {value}" for name in ("python", "torch", "hip", "cuda") for value in by_name.get(name, {})]
        listed = ", ".join(word for word in same if not word.endswith("None"))
        return [Result("versions", "ok", f"the same everywhere: {listed}")]
    advice = "give all nodes one container and one environment, on a file system that they share"
    lines = (
        f"{name}: " + "; ".join(f"{value} on {named(those)}" for value, those in values.items())
        for name, values in unequal.items()
    )
    return [Result("versions", "fail", line, advice) for line in lines]


def devices(processes: Sequence[ProcessRecord]) -> list[Result]:
    """Whether torch is built for the nodes' GPUs and sees them; once for each node."""
    results: list[Result] = []
    for record in {record.host: record for record in reversed(processes)}.values():
        loaded, device = record.values(probe_record.TORCH), record.values(probe_record.DEVICE)
        if device:  # without it, an earlier step failed, which is reported already
            torch = Torch(loaded["torch"], loaded["file"], loaded["cuda"], loaded["hip"], tuple(device["names"]))
            results += [
                replace(result, name=f"{result.name} of {record.host}") for result in check_gpu(_machine(record), torch)
            ]
    return results[::-1]


def shared_devices(processes: Sequence[ProcessRecord]) -> list[Result]:
    """Two processes on one GPU share its memory and take turns; another user's is worse."""
    users: dict[tuple[str, str], list[ProcessRecord]] = {}
    for record in processes:
        if identity := record.values(probe_record.DEVICE).get("identity"):
            users.setdefault((record.host, identity), []).append(record)
    advice = "ask for a GPU a task (gpus_per_node = tasks_per_node), and let no wrapper set the same device for all"
    results = [
        Result("devices", "fail", f"{named(those)} use one GPU, {identity}", advice)
        for (_, identity), those in users.items()
        if len(those) > 1
    ]
    for record in processes:
        device = record.values(probe_record.DEVICE)
        if device.get("total", 0) - device.get("free", 0) > BUSY_BYTES and not results:
            used = (device["total"] - device["free"]) / 1e9
            detail = f"{named([record])}: {used:,.1f} GB of its GPU are taken by another process"
            results.append(Result("devices", "warn", detail, NODE.format(host=record.host)))
    return results


def cores(processes: Sequence[ProcessRecord]) -> list[Result]:
    """Whether processes with a GPU each have cores of their own."""
    owners: dict[tuple[str, int], list[ProcessRecord]] = {}
    for record in processes:
        if record.values(probe_record.DEVICE).get("type") == "cuda":
            for core in record.facts.get("cores", []):
                owners.setdefault((record.host, core), []).append(record)
    shared = {tuple(record.rank for record in those): those for those in owners.values() if len(those) > 1}
    if shared:
        advice = "bind each to the cores beside its GPU: hydra.launcher.srun_args with --cpu-bind=mask_cpu:…"
        lines = "; ".join(named(those) for those in list(shared.values())[:4])
        return [Result("CPU masks", "warn", f"cores are shared: {lines}", advice)]
    return [Result("CPU masks", "ok", "every rank has cores of its own")] if owners else []


def sums(processes: Sequence[ProcessRecord]) -> list[Result]:
    """Whether what was added up is right: a link or a GPU that alters numbers says nothing."""
    results: list[Result] = []
    for name in (probe_record.DEFAULT, probe_record.SECOND):
        wrong = [
            record for record in processes if (values := record.values(name)) and values["sum"] != values["expected"]
        ]
        if wrong:
            values = wrong[0].values(name)
            line = f"{named(wrong)}: the sum is {values['sum']} and should be {values['expected']}"
            advice = "numbers are altered on the way: try other nodes, and another container; train nothing here"
            results.append(Result(name, "fail", line, advice))
    bad = [record for record in processes if record.values(probe_record.PRODUCT).get("finite") is False]
    if bad:
        line = f"{named(bad)}: a product of finite numbers is not finite"
        results.append(Result(probe_record.PRODUCT, "fail", line, NODE.format(host=bad[0].host)))
    return results


def network(processes: Sequence[ProcessRecord]) -> list[Result]:
    """What NCCL or RCCL goes through between nodes, where they have something faster than TCP."""
    nodes = {record.host for record in processes}
    used = {name: record for record in processes if (name := record.values(probe_record.DEFAULT).get("network"))}
    fast = sorted({name for record in processes for name in record.facts.get("fast", [])})
    requested = next((record.facts.get("environment", {}).get("NCCL_NET") for record in processes), None)
    if "Socket" in used and fast and len(nodes) > 1:
        advice = 'load the plugin (on Slingshot aws-ofi-nccl) and set NCCL_NET="AWS Libfabric", so that a missing one '
        advice += "stops the job instead of falling back to slow TCP"
        return [Result("network", "warn", f"TCP, although there is {', '.join(fast)}", advice)]
    return [Result("network", "ok", f"{', '.join(used)}; NCCL_NET={requested or 'not set'}")] if used else []


def bandwidth(processes: Sequence[ProcessRecord]) -> list[Result]:
    """Times of communication, to be set beside what the cluster's documentation says."""
    rates = [values["bus"] for record in processes if (values := record.values(probe_record.LARGE))]
    if not rates:
        return []
    size = next(values["bytes"] for record in processes if (values := record.values(probe_record.LARGE)))
    slowest = max((step.seconds or 0, record.rank) for record in processes if (step := record.step(probe_record.JOIN)))
    line = (
        f"{min(rates) / 1e9:,.2f} GB/s bus bandwidth (S/t · 2(n-1)/n, n = {len(processes)}, S = {size / 1e6:,.0f} MB); "
    )
    return [Result(probe_record.LARGE, "ok", line + f"all met within {slowest[0]:,.1f} s")]


def products(processes: Sequence[ProcessRecord]) -> list[Result]:
    """A GPU that computes at half the others' rate holds up every step of all."""
    rates = {
        record.rank: values["flops"]
        for record in processes
        if (values := record.values(probe_record.PRODUCT)) and record.values(probe_record.DEVICE).get("type") == "cuda"
    }
    if not rates:
        return []
    by_rank = {record.rank: record for record in processes}
    results: list[Result] = []
    for rank, rate in rates.items():
        others = [other for number, other in rates.items() if number != rank]
        if others and rate < BAD_SHARE * statistics.median(others):
            line = f"{named([by_rank[rank]])}: {rate / 1e12:,.0f} TFLOP/s"
            line += f", the others {statistics.median(others) / 1e12:,.0f}"
            results.append(Result(probe_record.PRODUCT, "fail", line, NODE.format(host=by_rank[rank].host)))
    return results or [_rate(list(rates.values()), str(processes[0].values(probe_record.DEVICE).get("name")))]


def _rate(rates: list[float], device: str) -> Result:
    from cpt.train.speed import peak_flops

    middle, peak = statistics.median(rates), peak_flops(device, "bf16")
    line = f"{middle / 1e12:,.0f} TFLOP/s in bf16 (slowest {min(rates) / 1e12:,.0f})"
    if peak is None:
        return Result(probe_record.PRODUCT, "ok", f"{line}; no peak is on record for {device}")
    low = middle < LOW_PEAK * peak
    advice = "look at clocks and power limits (rocm-smi, nvidia-smi), and at torch's build" if low else ""
    line += f", {middle / peak:.0%} of the {peak / 1e12:,.1f} of {device}"
    return Result(probe_record.PRODUCT, "warn" if low else "ok", line, advice)


def files(processes: Sequence[ProcessRecord]) -> list[Result]:
    """How fast each node writes and reads, by folder."""
    by_name: dict[str, list[tuple[ProcessRecord, dict[str, Any]]]] = {}
    for record in processes:
        for step in record.steps:
            if step.name.startswith(probe_record.FILES) and step.values:
                by_name.setdefault(step.name, []).append((record, step.values))
    return [_files(name, measured) for name, measured in by_name.items()]


def _files(name: str, measured: list[tuple[ProcessRecord, dict[str, Any]]]) -> Result:
    def of(way: str) -> str:
        return " ".join(f"{record.host} {values[way] / 1e6:,.0f}" for record, values in measured)

    line = f"MB/s written: {of('write')}; read: {of('read')}"
    if damaged := [record for record, values in measured if not values["whole"]]:
        line = f"{named(damaged)} read something else than was written"
        return Result(name, "fail", line, "trust nothing on this file system; tell the cluster's support")
    slow = [record for record, values in measured if min(values["write"], values["read"]) < SLOW_FILES]
    advice = "choose a faster file system, or stripe the folder (Lustre: lfs setstripe)" if slow else ""
    return Result(name, "warn" if slow else "ok", line, advice)


def _machine(record: ProcessRecord) -> Machine:
    return Machine(**record.facts.get("machine", {}))
