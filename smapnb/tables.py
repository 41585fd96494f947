"""Tables of a run on disk: ``runs/<profile>/tables/<name>.csv``, written whole or not at all.

It knows no column; what a table holds is said by the module that makes it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = "tables"


def write(frame: pd.DataFrame, run: Path, name: str, *, index: bool = False) -> None:
    """Write a table of a run under its name; a reader never finds a half of it.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any table.
    run : Path
        Folder of the run, as `smapnb.profile.run_folder` gives it.
    name : str
        Name without suffix, as ``core_scores``.
    index : bool
        Whether the index is written as columns.
    """
    save(frame, run / FOLDER / f"{name}.csv", index=index)


def save(frame: pd.DataFrame, path: Path, *, index: bool = False) -> None:
    """Write a CSV file to a name that no reader looks at, and move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    frame.to_csv(partial, index=index)
    partial.replace(path)
