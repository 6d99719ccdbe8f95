"""Engines: how one optimizer step is carried out, on one process or many. The loop knows only their common part."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpt.models.weights import Blueprint
    from cpt.train.distributed import Place
    from cpt.train.engines.base import Engine, Settings
    from cpt.train.hooks import Hook

ENGINES = {
    "plain": "plain.PlainEngine",
    "zero1": "zero.Zero1Engine",
    "zero2": "zero.Zero2Engine",
    "zero3": "zero.Zero3Engine",
    "fsdp2": "fsdp2.Fsdp2Engine",
}
"""Where each engine is; it is imported when it is chosen, for DeepSpeed's import takes seconds."""


def make_engine(
    name: str, blueprint: Blueprint, settings: Settings, place: Place, hooks: Sequence[Hook] = ()
) -> Engine:
    module, _, kind = ENGINES[name].partition(".")
    engine: Engine = getattr(import_module(f"cpt.train.engines.{module}"), kind)(blueprint, settings, place, hooks)
    return engine
