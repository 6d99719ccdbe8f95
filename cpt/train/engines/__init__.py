"""Engines: how one optimizer step runs, on one process or many."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpt.models.weights import Blueprint
    from cpt.train.distributed import DistContext
    from cpt.train.engines.engine import Engine, Settings
    from cpt.train.hooks import Hook

ENGINES = {
    "plain": "plain.PlainEngine",
    "zero1": "zero.Zero1Engine",
    "zero2": "zero.Zero2Engine",
    "zero3": "zero.Zero3Engine",
    "fsdp2": "fsdp2.Fsdp2Engine",
}
"""Module and class of each engine, imported on use: DeepSpeed takes seconds to import."""


def make_engine(
    name: str, blueprint: Blueprint, settings: Settings, dist: DistContext, hooks: Sequence[Hook] = ()
) -> Engine:
    module, _, kind = ENGINES[name].partition(".")
    engine: Engine = getattr(import_module(f"cpt.train.engines.{module}"), kind)(blueprint, settings, dist, hooks)
    return engine
