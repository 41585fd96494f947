"""Whether the targets of a cube have anything in the periods in which a profile trains and scores."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from smapnb.cube_store import TIME_CHUNK, CubeError
from smapnb.profile import Profile, variable


def check(cube: xr.Dataset, profile: Profile, path: Path) -> None:
    """Refuse periods in which a target has no value at all: hours later there would be nothing to train on or to score.

    Raises
    ------
    CubeError
        It names the variable, the period and the year folders that lack the variable's file.
    """
    test = profile.one_year_test
    periods = {"training": profile.training, "evaluation": profile.evaluation}
    periods |= {"one_year_test.training": test.training, "one_year_test.test": test.test} if test else {}
    for name in (variable(quantity, "smap") for quantity in profile.targets):
        for label, period in periods.items():
            own = cube[name].sel(time=slice(str(period.start), str(period.end)))
            # Block by block: where there are values, the first block has them.
            blocks = (own.isel(time=slice(at, at + TIME_CHUNK)) for at in range(0, own.sizes["time"], TIME_CHUNK))
            if not any(bool(block.notnull().any()) for block in blocks):
                lacking = cube.attrs.get("targets_without_file", "none")
                raise CubeError(
                    f"{path}: {name} has no value in the period {label}, {period.start}..{period.end}"
                    + (f"; year folders without its file: {lacking}" if lacking != "none" else "")
                )
