"""How far each process of a probe came, whose fault it is that others wait, and what is known to help."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from cpt.doctor import probe_record
from cpt.doctor.check_result import Result
from cpt.doctor.probe_record import ProbeStep, ProcessRecord, named

_RECIPES = "https://github.com/lumi-ai-factory/laifs-container-recipes"
_GUIDE = "https://github.com/Lumi-supercomputer/LUMI-AI-Guide/pull/118"
_LOST = re.compile(r"[Cc]onnection|[Bb]roken pipe|[Ss]ocket|ncclRemoteError|ncclSystemError|ncclInternalError|aborted")
"""What a library says when the other side is gone, or does not answer."""
NODE = "try again without the node: hydra.launcher.exclude={host}"


def progress_results(processes: Sequence[ProcessRecord | None], over: bool, now: float | None = None) -> list[Result]:
    """Whether all came through; else who is furthest behind, where, and what to do about that step.

    Processes wait for one another, so one that is behind holds up all: only the last ones are to blame.
    """
    now = time.time() if now is None else now
    started = [record for record in processes if record is not None]
    missing = [rank for rank, record in enumerate(processes) if record is None]
    results = [_missing(missing, started, over)] if missing else []
    undone = [record for record in started if not record.well]
    if not undone:
        return results or [Result("all steps", "ok", f"all {len(started)} ranks came through: {named(started)}")]
    blamed = _blamed(undone, bool(missing))
    ways: dict[str, list[ProcessRecord]] = {}
    for record in blamed:
        ways.setdefault(_way(record, over, now), []).append(record)
    alone = len(blamed) < len(started)
    results += [_result(way, those, over, processes, alone) for way, those in ways.items()]
    if waiting := [record for record in undone if record not in blamed]:
        steps = sorted({f"'{record.last.name}'" for record in waiting if record.last})
        results.append(Result("others", "warn", f"{named(waiting)} waited for them in {', '.join(steps)}"))
    return results


def _blamed(undone: list[ProcessRecord], missing: bool) -> list[ProcessRecord]:
    """Those furthest behind; none if they only wait for ranks that never started."""
    last = min(record.position for record in undone)
    blamed = [record for record in undone if record.position == last]
    together = blamed[0].last is not None and blamed[0].last.name in probe_record.TOGETHER
    if missing and together:
        return []
    # Where one hangs or is killed in a step that all take together, the others are cut off: no fault of theirs.
    silent = [record for record in blamed if record.last and record.last.state != "failed"]
    return [record for record in blamed if not (together and silent and _cut_off(record))]


def _cut_off(record: ProcessRecord) -> bool:
    """Whether it failed for another's sake."""
    return record.last is not None and record.last.state == "failed" and bool(_LOST.search(record.last.error))


def _missing(missing: list[int], started: list[ProcessRecord], over: bool) -> Result:
    if not started:
        detail = "no rank has begun"
        advice = "see the job's log: the container, the modules or Python did not start"
        return Result("start", "fail", detail, advice if over else f"look at squeue; if the job runs, {advice}")
    listed = ", ".join(str(rank) for rank in missing[:16]) + " …" * (len(missing) > 16)
    detail = f"{'ranks' if len(missing) > 1 else 'rank'} {listed} never began; {named(started)} did"
    advice = "see the job's log for that task: a node whose container or file system is broken; exclude the node that "
    return Result("start", "fail", detail, advice + "is not named here (hydra.launcher.exclude)")


def _way(record: ProcessRecord, over: bool, now: float) -> str:
    step = record.last
    if step is None:
        return "ended before its first step" if over else "has not begun its first step"
    if step.state == "failed":
        return f"failed in '{step.name}': {step.error}"
    if step.state == "hung":
        return f"hung in '{step.name}', limit {step.limit:,.0f} s, at {step.where}"
    if step.state == "ok":
        return f"ended without a word after '{step.name}'" if over else f"is between steps, after '{step.name}'"
    if over:
        return f"ended without a word in '{step.name}' (killed, out of memory, or hung in a library)"
    passed = now - step.begun
    silent = passed > step.limit + probe_record.OVERDUE_SECONDS
    return f"{'is frozen' if silent else 'still is'} in '{step.name}'" + f", for {passed:,.0f} s" * silent


def _result(
    way: str, blamed: list[ProcessRecord], over: bool, processes: Sequence[ProcessRecord | None], alone: bool
) -> Result:
    step = blamed[0].last
    state = step.state if step else "running"
    advice = _advice(step, blamed, processes, over) if step else "see the job's log"
    if alone and state != "failed":
        hosts = ",".join(dict.fromkeys(record.host for record in blamed))
        advice += f"; if it is always there, {NODE.format(host=hosts)}"
    return Result(step.name if step else "start", "fail", f"{named(blamed)} {way}", advice)


def _advice(step: ProbeStep, blamed: list[ProcessRecord], processes: Sequence[ProcessRecord | None], over: bool) -> str:
    if over and step.state in ("running", "ok"):
        return "see the job's log; if it was killed for memory, ask for more (hydra.launcher.mem_gb)"
    if step.state == "failed" and not _cut_off(blamed[0]) and step.name in (*probe_record.TOGETHER, probe_record.TORCH):
        return "see the stack in the job's log"
    if step.name in probe_record.TOGETHER:
        return communication_advice(blamed[0], len({record.host for record in processes if record}))
    if step.name == probe_record.TORCH:
        return "a slow file system or a broken environment: squash the virtual environment, look at the log"
    if step.name in (probe_record.DEVICE, probe_record.PRODUCT):
        return "the node's GPU or driver: " + NODE.format(host=blamed[0].host)
    return "the file system does not answer, or is full: choose another folder, or ask the cluster's support"


def communication_advice(record: ProcessRecord, nodes: int) -> str:
    """What is known to help against a hang between processes, given what is set there already."""
    environment: dict[str, str] = record.facts.get("environment", {})
    hip = str(record.values(probe_record.TORCH).get("hip") or "")
    slingshot = any(name.startswith("hsn") for name in record.facts.get("fast", []))
    advice: list[str] = []
    if hip or slingshot:
        if environment.get("FI_MR_CACHE_MONITOR") != "userfaultfd":
            advice.append(f"set FI_MR_CACHE_MONITOR=userfaultfd in hydra.launcher.setup ({_GUIDE})")
        else:
            advice.append(
                "FI_MR_CACHE_MONITOR=userfaultfd is set already: take another container image "
                f"({_RECIPES}/issues/28 and {_RECIPES}/issues/44 name images that hang and one that does not)"
            )
        if hip.startswith("7") and "NCCL_NET_GDR_LEVEL" in environment:
            advice.append(f"unset NCCL_NET_GDR_LEVEL, which hangs under ROCm 7 ({_RECIPES}/issues/30)")
        if nodes == 1 and slingshot:
            advice.append(f"on one node, srun --network=single_node_vni ({_RECIPES}/pull/22)")
    if not environment.get("NCCL_SOCKET_IFNAME") and not environment.get("GLOO_SOCKET_IFNAME"):
        interface = "hsn0,hsn1,hsn2,hsn3" if slingshot else "the interface that joins the nodes"
        advice.append(f"set NCCL_SOCKET_IFNAME to {interface}")
    log = (
        "nccl-<rank>.log in the probe's folder, and "
        if record.values(probe_record.DEVICE).get("type") == "cuda"
        else ""
    )
    advice.append(f"read {log}the stacks in the job's log")
    return "; ".join(advice)
