"""Tables of an analysis as CSV files in the study's folder, read again so that only what changed is computed.

They can always be computed again: a file that is damaged, or has other columns, counts as empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd

from cpt.files import write_text

TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class SavedTable:
    name: str
    """Of the file."""
    dtypes: Mapping[str, str]
    """By column, in the order of the file."""
    nullable: Sequence[str] = ()
    """Columns in which an empty cell is a missing value; elsewhere it is an empty text."""

    @property
    def columns(self) -> list[str]:
        return list(self.dtypes)

    def empty(self) -> pd.DataFrame:
        return pd.DataFrame(columns=self.columns).astype(dict(self.dtypes))

    def read(self, study: Path) -> pd.DataFrame:
        """The rows in a study's folder; none if there is no file with exactly these columns."""
        try:
            data = (study / self.name).read_bytes()
            if not data.endswith(b"\n"):  # cut off: the rest of its last line may pass for a line
                return self.empty()
            # An empty direction is a word, not a missing value, so pandas' own list of missing words is switched off.
            rows = pd.read_csv(
                BytesIO(data), dtype="str", keep_default_na=False, na_values={name: [""] for name in self.nullable}
            )
            if list(rows.columns) != self.columns:
                return self.empty()
            for name, dtype in self.dtypes.items():
                if dtype == "bool":
                    rows[name] = rows[name].map(TRUTH)
            return rows.astype(dict(self.dtypes))
        except (FileNotFoundError, ValueError, TypeError):  # of a torn line: pandas' errors of parsing are ValueErrors
            return self.empty()

    def write(self, study: Path, rows: pd.DataFrame) -> Path | None:
        """Write the rows if they have changed; without rows no file is left."""
        path = study / self.name
        if rows.empty:
            path.unlink(missing_ok=True)
            return None
        words = {value: word for word, value in TRUTH.items()}
        flags = {name: rows[name].map(words) for name, dtype in self.dtypes.items() if dtype == "bool"}
        text = rows.assign(**flags)[self.columns].to_csv(index=False, lineterminator="\n")
        if not path.exists() or path.read_bytes() != text.encode():
            write_text(path, text)
        return path
