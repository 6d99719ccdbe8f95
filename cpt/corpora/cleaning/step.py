"""The interface of a cleaning step, which checks or changes one record at a time, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Protocol

from cpt.corpora.reading.layout import Record
from cpt.errors import config_error, nearest


@dataclass(frozen=True)
class RecordResult:
    """The result of a step on one record."""

    texts: Record
    """The input of the next step; a step may change them."""
    removed: str = ""
    """The reason for removing the record, in a few words that are counted; empty for one that stays."""
    notes: tuple[str, ...] = ()
    """Counted without removing, such as an overlap with a test set that is only reported."""
    sketch: Any = None
    """The data by which a stateful step compares records."""


class Step(Protocol):
    """A frozen, picklable dataclass whose fields are its settings in conf/cleaning/."""

    def apply(self, texts: Record, languages: tuple[str, ...]) -> RecordResult:
        """A pure function of the record; `languages` are those its texts are expected to be in."""
        ...


class StatefulStep(Step, Protocol):
    """A step that removes records because of earlier ones. Only records that pass every step are remembered."""

    def memory(self) -> Memory: ...


class Memory(Protocol):
    """The records of one source so far, in the one process that sees them in order."""

    def known(self, sketch: Any) -> str:
        """The reason for removing a record with this sketch, or nothing."""
        ...

    def add(self, sketch: Any) -> None: ...


_KINDS = {int: "a whole number", float: "a number", str: "a word"}


def setting(
    default: int | float | str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a step that conf/cleaning/ may set; its kind is that of its default."""
    return field(default=default, metadata={"least": least, "most": most, "choices": choices})


def checked(key: str, step: Any, given: Any) -> dict[str, Any]:
    """All settings of a step class, with defaults. `key` is their configuration key, for messages."""
    if not isinstance(given, Mapping):
        raise config_error(key, given, "expected the step's settings by name, or {} for its defaults")
    known = {item.name: item for item in fields(step) if item.default is not MISSING}
    for name in given:
        if name not in known:
            settings = ", ".join(known) or "none"
            raise config_error(
                f"{key}.{name}", given[name], f"no such setting{nearest(str(name), known)}; known: {settings}"
            )
    return {name: _value(f"{key}.{name}", item, given.get(name, item.default)) for name, item in known.items()}


def _value(key: str, item: Field[Any], given: Any) -> Any:
    kind: type = type(item.default)
    value: Any = float(given) if kind is float and type(given) is int else given
    least, most, choices = (item.metadata[name] for name in ("least", "most", "choices"))
    if type(value) is not kind:
        raise config_error(key, given, f"expected {_KINDS[kind]}")
    if choices and value not in choices:
        raise config_error(key, given, f"expected one of {', '.join(choices)}{nearest(str(value), choices)}")
    if not choices and not ((least is None or value >= least) and (most is None or value <= most)):
        bounds = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
        raise config_error(key, given, f"expected {_KINDS[kind]} of {' and '.join(bounds)}")
    return value
