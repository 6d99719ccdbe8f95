"""What a probe's records say, in words: who hangs and where, what differs between nodes, what is slow."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpt.doctor import probe_records as records
from cpt.doctor.accelerators import Machine, Torch, gpu_findings
from cpt.doctor.findings import Finding
from cpt.doctor.job_sequence import NODE, course_findings
from cpt.doctor.probe_records import Record, named, read_records

SLOW_FILES = 100e6
"""Bytes a second below which a checkpoint of an 8B takes more than a quarter of an hour."""
BAD_SHARE = 0.5
LOW_PEAK = 0.3
BUSY_BYTES = 2 << 30


def judge(folder: Path, ranks: int, over: bool = True) -> list[Finding]:
    """What is wrong, from what is on disk, after the job (`over`) or while it hangs."""
    found = read_records(folder, ranks)
    there = [record for record in found if record is not None]
    findings = course_findings(found, over)
    if there:
        looks = (versions, devices, shared_devices, cores, sums, network, bandwidth, products, files)
        findings += [finding for look in looks for finding in look(there)]
    return findings


def versions(found: Sequence[Record]) -> list[Finding]:
    """Whether all processes run the same software."""
    told: dict[str, dict[str, list[Record]]] = {}
    for record in found:
        loaded = record.values(records.TORCH)
        all_of = {"python": record.facts.get("python"), "container": _machine(record).container}
        all_of |= {name: loaded[name] for name in ("torch", "hip", "cuda", "nccl", "file") if name in loaded}
        for name, value in all_of.items():
            told.setdefault(name, {}).setdefault(str(value), []).append(record)
    unequal = {name: values for name, values in told.items() if len(values) > 1}
    if not unequal:
        same = [f"{name} {value}" for name in ("python", "torch", "hip", "cuda") for value in told.get(name, {})]
        listed = ", ".join(word for word in same if not word.endswith("None"))
        return [Finding("versions", "ok", f"the same everywhere: {listed}")]
    advice = "give all nodes one container and one environment, on a file system that they share"
    lines = (
        f"{name}: " + "; ".join(f"{value} on {named(those)}" for value, those in values.items())
        for name, values in unequal.items()
    )
    return [Finding("versions", "fail", line, advice) for line in lines]


def devices(found: Sequence[Record]) -> list[Finding]:
    """Whether torch is built for the nodes' GPUs and sees them; once for each node."""
    findings: list[Finding] = []
    for record in {record.host: record for record in reversed(found)}.values():
        loaded, device = record.values(records.TORCH), record.values(records.DEVICE)
        if device:  # without, it did not come so far, which is said already
            told = Torch(loaded["torch"], loaded["file"], loaded["cuda"], loaded["hip"], tuple(device["names"]))
            findings += [
                replace(finding, name=f"{finding.name} of {record.host}")
                for finding in gpu_findings(_machine(record), told)
            ]
    return findings[::-1]


def shared_devices(found: Sequence[Record]) -> list[Finding]:
    """Two processes on one GPU share its memory and take turns; a stranger's is worse."""
    users: dict[tuple[str, str], list[Record]] = {}
    for record in found:
        if identity := record.values(records.DEVICE).get("identity"):
            users.setdefault((record.host, identity), []).append(record)
    advice = "ask for a GPU a task (gpus_per_node = tasks_per_node), and let no wrapper set the same device for all"
    findings = [
        Finding("devices", "fail", f"{named(those)} use one GPU, {identity}", advice)
        for (_, identity), those in users.items()
        if len(those) > 1
    ]
    for record in found:
        device = record.values(records.DEVICE)
        if device.get("total", 0) - device.get("free", 0) > BUSY_BYTES and not findings:
            used = (device["total"] - device["free"]) / 1e9
            found_there = f"{named([record])}: {used:,.1f} GB of its GPU are taken by another process"
            findings.append(Finding("devices", "warn", found_there, NODE.format(host=record.host)))
    return findings


def cores(found: Sequence[Record]) -> list[Finding]:
    """Whether processes with a GPU each have cores of their own."""
    owners: dict[tuple[str, int], list[Record]] = {}
    for record in found:
        if record.values(records.DEVICE).get("type") == "cuda":
            for core in record.facts.get("cores", []):
                owners.setdefault((record.host, core), []).append(record)
    shared = {tuple(record.rank for record in those): those for those in owners.values() if len(those) > 1}
    if shared:
        advice = "bind each to the cores beside its GPU: hydra.launcher.srun_args with --cpu-bind=mask_cpu:…"
        lines = "; ".join(named(those) for those in list(shared.values())[:4])
        return [Finding("CPU masks", "warn", f"cores are shared: {lines}", advice)]
    return [Finding("CPU masks", "ok", "every rank has cores of its own")] if owners else []


def sums(found: Sequence[Record]) -> list[Finding]:
    """Whether what was added up is right: a link or a GPU that alters numbers says nothing."""
    findings: list[Finding] = []
    for name in (records.DEFAULT, records.SECOND):
        wrong = [record for record in found if (told := record.values(name)) and told["sum"] != told["expected"]]
        if wrong:
            told = wrong[0].values(name)
            line = f"{named(wrong)}: the sum is {told['sum']} and should be {told['expected']}"
            advice = "numbers are altered on the way: try other nodes, and another container; train nothing here"
            findings.append(Finding(name, "fail", line, advice))
    bad = [record for record in found if record.values(records.PRODUCT).get("finite") is False]
    if bad:
        line = f"{named(bad)}: a product of finite numbers is not finite"
        findings.append(Finding(records.PRODUCT, "fail", line, NODE.format(host=bad[0].host)))
    return findings


def network(found: Sequence[Record]) -> list[Finding]:
    """What NCCL or RCCL goes through between nodes, where they have something faster than TCP."""
    nodes = {record.host for record in found}
    used = {name: record for record in found if (name := record.values(records.DEFAULT).get("network"))}
    fast = sorted({name for record in found for name in record.facts.get("fast", [])})
    asked = next((record.facts.get("environment", {}).get("NCCL_NET") for record in found), None)
    if "Socket" in used and fast and len(nodes) > 1:
        advice = 'load the plugin (on Slingshot aws-ofi-nccl) and set NCCL_NET="AWS Libfabric", so that a missing one '
        advice += "stops the job instead of falling back to slow TCP"
        return [Finding("network", "warn", f"TCP, although there is {', '.join(fast)}", advice)]
    return [Finding("network", "ok", f"{', '.join(used)}; NCCL_NET={asked or 'not set'}")] if used else []


def bandwidth(found: Sequence[Record]) -> list[Finding]:
    """Times of communication, to be set beside what the cluster's documentation says."""
    rates = [told["bus"] for record in found if (told := record.values(records.LARGE))]
    if not rates:
        return []
    size = next(told["bytes"] for record in found if (told := record.values(records.LARGE)))
    slowest = max((step.seconds or 0, record.rank) for record in found if (step := record.step(records.JOIN)))
    line = f"{min(rates) / 1e9:,.2f} GB/s bus bandwidth (S/t · 2(n-1)/n, n = {len(found)}, S = {size / 1e6:,.0f} MB); "
    return [Finding(records.LARGE, "ok", line + f"all met within {slowest[0]:,.1f} s")]


def products(found: Sequence[Record]) -> list[Finding]:
    """A GPU that computes at half the others' rate holds up every step of all."""
    rates = {
        record.rank: told["flops"]
        for record in found
        if (told := record.values(records.PRODUCT)) and record.values(records.DEVICE).get("type") == "cuda"
    }
    if not rates:
        return []
    by_rank = {record.rank: record for record in found}
    findings: list[Finding] = []
    for rank, rate in rates.items():
        others = [other for number, other in rates.items() if number != rank]
        if others and rate < BAD_SHARE * statistics.median(others):
            line = f"{named([by_rank[rank]])}: {rate / 1e12:,.0f} TFLOP/s"
            line += f", the others {statistics.median(others) / 1e12:,.0f}"
            findings.append(Finding(records.PRODUCT, "fail", line, NODE.format(host=by_rank[rank].host)))
    return findings or [_rate(list(rates.values()), str(found[0].values(records.DEVICE).get("name")))]


def _rate(rates: list[float], device: str) -> Finding:
    from cpt.train.speed import peak_flops

    middle, peak = statistics.median(rates), peak_flops(device, "bf16")
    line = f"{middle / 1e12:,.0f} TFLOP/s in bf16 (slowest {min(rates) / 1e12:,.0f})"
    if peak is None:
        return Finding(records.PRODUCT, "ok", f"{line}; no peak is on record for {device}")
    low = middle < LOW_PEAK * peak
    advice = "look at clocks and power limits (rocm-smi, nvidia-smi), and at torch's build" if low else ""
    line += f", {middle / peak:.0%} of the {peak / 1e12:,.1f} of {device}"
    return Finding(records.PRODUCT, "warn" if low else "ok", line, advice)


def files(found: Sequence[Record]) -> list[Finding]:
    """How fast each node writes and reads, by folder."""
    told: dict[str, list[tuple[Record, dict[str, Any]]]] = {}
    for record in found:
        for step in record.steps:
            if step.name.startswith(records.FILES) and step.values:
                told.setdefault(step.name, []).append((record, step.values))
    return [_files(name, measured) for name, measured in told.items()]


def _files(name: str, measured: list[tuple[Record, dict[str, Any]]]) -> Finding:
    def of(way: str) -> str:
        return " ".join(f"{record.host} {values[way] / 1e6:,.0f}" for record, values in measured)

    line = f"MB/s written: {of('write')}; read: {of('read')}"
    if damaged := [record for record, values in measured if not values["whole"]]:
        line = f"{named(damaged)} read something else than was written"
        return Finding(name, "fail", line, "trust nothing on this file system; tell the cluster's support")
    slow = [record for record, values in measured if min(values["write"], values["read"]) < SLOW_FILES]
    advice = "choose a faster file system, or stripe the folder (Lustre: lfs setstripe)" if slow else ""
    return Finding(name, "warn" if slow else "ok", line, advice)


def _machine(record: Record) -> Machine:
    return Machine(**record.facts.get("machine", {}))
