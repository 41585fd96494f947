"""What never changes at a pixel of a cube of full size: SMAP's flags and ISRIC's soils; neighbours fill nothing.

A cell of 9 km takes the flags of the cell of 36 km around it, whose fields are no finer.
"""

from __future__ import annotations

import fnmatch
import inspect
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr

from smapnb import variables
from smapnb.cube_archive import Files
from smapnb.cube_pixels import Pixels
from smapnb.cube_store import CubeError
from smapnb.folders import files_below
from smapnb.grid import EaseGrid
from smapnb.profile import Profile
from smapnb.sources import smap, wise

FLAGS = ("albedo", "roughness", "water_fraction", "dense_vegetation", "landcover_class", "surface_condition")
SOILS = ("sand", "silt", "clay", "bulk_density", "water_capacity")
ZIP = "wise_30sec*.zip"
KM = variables.GRID_KM["surface"]


def products(profile: Profile) -> list[str]:
    """Products that the profile's static inputs need."""
    wanted = set(profile.inputs.statics)
    return [name for name, own in (("SPL3SMP", FLAGS), ("WISE30sec", SOILS)) if wanted & set(own)]


def read(profile: Profile, found: dict[str, Files], pixels: Pixels, scratch: Path) -> xr.Dataset:
    """Read the profile's static inputs, (pixel,) float32.

    Parameters
    ----------
    profile : Profile
    found : dict of Files
        With the products that `products` names.
    pixels : Pixels
    scratch : Path
        Folder where the archive of soils may be unpacked for as long as it is read.

    Returns
    -------
    xarray.Dataset
        Variables in the order of the table; attributes ``statics_start, statics_end`` of the flags.
    """
    wanted = [name for name in variables.names("static") if name in profile.inputs.statics]
    parts: dict[str, xr.DataArray] = {}
    attrs: dict[str, str] = {}
    needed = products(profile)
    if "SPL3SMP" in needed:
        flags = _flags(profile, found["SPL3SMP"], pixels)
        attrs |= {name: flags.attrs[name] for name in ("statics_start", "statics_end")}
        parts |= {name: flags[name] for name in FLAGS}
    if "WISE30sec" in needed:
        with _unpacked(found["WISE30sec"].folder, scratch) as folder:
            parts |= _soils(folder, pixels)
    fields = {name: ("pixel", parts[name].to_numpy().astype(np.float32)) for name in wanted}
    return variables.describe(xr.Dataset(fields, pixels.coordinates(), attrs))


def _flags(profile: Profile, files: Files, pixels: Pixels) -> xr.Dataset:
    """Time means over the authors' days that the data have, or over all days where they have none of those."""
    archive, data = profile.archive, profile.data
    row, col = pixels.row // (KM // pixels.km), pixels.col // (KM // pixels.km)
    n_cols = EaseGrid(KM).shape[1]
    cells, of_pixel = np.unique(row * n_cols + col, return_inverse=True)
    days = files.days(data.start, data.end)
    own = inspect.signature(smap.flag_statics).parameters  # the reader's defaults are the authors' days
    authors = files.days(max(str(data.start), own["start"].default), min(str(data.end), own["end"].default))
    days = authors if len(authors) else days
    flags = smap.flag_statics(
        files.of(days),
        days[0],
        days[-1],
        overpass="PM" if archive.smap_overpass == "PM" else "AM",
        algorithm=archive.smap_algorithm,
        cells=(cells // n_cols, cells % n_cols),
    )
    return flags.isel(pixel=of_pixel)


def _soils(folder: Path, pixels: Pixels) -> dict[str, xr.DataArray]:
    parts = []
    for km in dict.fromkeys(pixels.km.tolist()):
        parts.append(wise.open_30sec(folder, km, *pixels.cells(km)))
    joined = xr.concat(parts, "pixel", combine_attrs="drop_conflicts")
    return {name: joined[name] for name in SOILS}


@contextmanager
def _unpacked(folder: Path, scratch: Path) -> Iterator[Path]:
    """Give the folder itself where the archive lies in it unpacked, else a passing one with the three files in it."""
    archives = sorted(folder.glob(ZIP))
    if files_below(folder, wise.FILES_30SEC["raster"]) or not archives:
        yield folder
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="wise-") as passing:
        try:
            with zipfile.ZipFile(archives[-1]) as packed:
                for member in packed.infolist():
                    name = Path(member.filename).name
                    if any(fnmatch.fnmatch(name, pattern) for pattern in wise.FILES_30SEC.values()):
                        with packed.open(member) as source, (Path(passing) / name).open("wb") as target:
                            shutil.copyfileobj(source, target)
        except zipfile.BadZipFile as error:
            raise CubeError(f"{archives[-1]}: damaged or truncated ({error}); fetch it anew") from error
        yield Path(passing)
