"""Which of several folders with files of one product is taken."""

from datetime import date

import pandas as pd
import pytest

from smapnb import cube_archive, cube_store, profile

FIELDS = [f"{hour:02d}3000" for hour in range(1, 24, 3)]


@pytest.mark.parametrize(
    ("whole", "windows", "taken"),
    [(5, 0, ""), (0, 5, "-window"), (1, 5, "-window"), (5, 5, ""), (5, 1, "")],
)
def test_the_folder_with_the_most_days_is_taken(tmp_path, whole, windows, taken):
    chosen = profile.load("conus")
    chosen.data.start, chosen.data.end = date(2015, 4, 1), date(2015, 4, 5)
    for ending, n, suffix in (("", whole, "h5"), ("-window", windows, "nc4")):
        folder = tmp_path / f"smap/SPL4SMGP.008{ending}"
        folder.mkdir(parents=True)  # as a stopped fetch leaves it
        for day in pd.date_range("2015-04-01", periods=n):
            for field in FIELDS:
                (folder / f"SMAP_L4_SM_gph_{day:%Y%m%d}T{field}_Vv8011_001.{suffix}").touch()
    found = cube_archive.find(chosen, tmp_path, ["SPL4SMGP"])["SPL4SMGP"]
    assert found.folder.name == f"SPL4SMGP.008{taken}"
    assert len(found.by_day) == 5


def test_empty_folders_hold_nothing(tmp_path):
    (tmp_path / "smap/SPL4SMGP.008").mkdir(parents=True)
    (tmp_path / "smap/SPL4SMGP.008-window").mkdir(parents=True)
    with pytest.raises(cube_store.CubeError, match=r"SPL4SMGP.008: no granule of SPL4SMGP from 2000-01-01"):
        cube_archive.find(profile.load("conus"), tmp_path, ["SPL4SMGP"])
