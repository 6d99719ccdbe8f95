"""Lines that an analysis has written and reads again, to reckon only what has changed.

They can always be made anew: a file that is damaged, or of an older form, counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd


def read_kept(path: Path, dtypes: Mapping[str, Any], missing: Sequence[str]) -> pd.DataFrame:
    """The lines of a file with exactly these columns; of the `missing` ones, what is empty is not there."""
    nothing = pd.DataFrame(columns=list(dtypes)).astype(dict(dtypes))
    try:
        data = path.read_bytes()
        if not data.endswith(b"\n"):  # cut off: what is left of its last line may pass for a line
            return nothing
        # An empty direction is a word, not a missing value, so pandas' own list of missing words is switched off.
        found = pd.read_csv(
            BytesIO(data), dtype="str", keep_default_na=False, na_values={name: [""] for name in missing}
        )
        if list(found.columns) != list(dtypes):
            return nothing
        if "code" in found:
            found["code"] = found["code"].map({"true": True, "false": False})
        return found.astype(dict(dtypes))
    except (FileNotFoundError, ValueError, TypeError):  # of a torn line: pandas' errors of parsing are ValueErrors
        return nothing
