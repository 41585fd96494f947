"""Writes SMAP granules in the structure of the real ones, with whatever values a test wants in them.

Level 3: names, types, fills, ranges and hard links of SPL3SMP versions 4 and 8 and of SPL3SMP_E version 5, which
`test_smap_structure` holds to the listings of real granules; chunks and compression as in a real SPL2SMP granule.
Version 9 is written like 8. Level 4: as in a real SPL4SMAU granule, with the fields of SPL4SMGP and SPL4SMLM as their
documents name them; windows of it as OPeNDAP answers. Fields that a test does not give hold their fill value. Hourly
files of NLDAS-2: netCDF-4, version 2.0, whole grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from smapnb.grid import LEFT, TOP, EaseGrid

NAMES = {np.dtype("f4"): "Float32", np.dtype("f8"): "Float64", np.dtype("u2"): "UInt16", np.dtype("u1"): "Byte"}

# name type fill low high units files; "-" is none. Files: 4 (SPL3SMP V4), 8 (V8, V9), E (SPL3SMP_E).
LEVEL3 = """
EASE_column_index u2 65534 0 * - 48E
EASE_row_index u2 65534 0 * - 48E
albedo f4 -9999 0 1 - 48E
albedo_dca f4 -9999 0 1 - 8E
albedo_scah f4 -9999 0 1 - 8E
albedo_scav f4 -9999 0 1 - 8E
boresight_incidence f4 -9999 0 90 degrees 48E
bulk_density f4 -9999 0 2.65 - 8E
clay_fraction f4 -9999 0 1 - 8E
freeze_thaw_fraction f4 -9999 0 1 - 48E
grid_surface_status u2 65534 0 1 - 8E
landcover_class u1 254 - - - 48
landcover_class_fraction f4 -9999 0 1 - 48
latitude f4 - - - degrees_north 48E
latitude_centroid f4 -9999 -90 90 degrees 48E
longitude f4 - - - degrees_east 48E
longitude_centroid f4 -9999 -180 179.999 degrees 48E
radar_water_body_fraction f4 -9999 0 1 - 48E
retrieval_qual_flag u2 65534 - - - 48E
retrieval_qual_flag_dca u2 65534 - - - 8E
retrieval_qual_flag_scah u2 65534 - - - 8E
retrieval_qual_flag_scav u2 65534 - - - 8E
roughness_coefficient f4 -9999 0 1 - 48E
roughness_coefficient_dca f4 -9999 0 1 - 8E
roughness_coefficient_scah f4 -9999 0 1 - 8E
roughness_coefficient_scav f4 -9999 0 1 - 8E
soil_moisture f4 -9999 0.02 0.5 cm**3/cm**3 48E
soil_moisture_dca f4 -9999 0.02 0.5 cm**3/cm**3 8E
soil_moisture_error f4 -9999 0 0.2 cm**3/cm**3 48E
soil_moisture_scah f4 -9999 0.02 0.5 cm**3/cm**3 8E
soil_moisture_scav f4 -9999 0.02 0.5 cm**3/cm**3 8E
static_water_body_fraction f4 -9999 0 1 - 48E
surface_flag u2 65534 - - - 48E
surface_temperature f4 -9999 0 350 Kelvins 48E
surface_water_fraction_mb_h f4 -9999 0 1 - 8E
surface_water_fraction_mb_v f4 -9999 0 1 - 8E
tb_3_corrected f4 -9999 0 330 Kelvin 48E
tb_4_corrected f4 -9999 0 330 Kelvin 48E
tb_h_corrected f4 -9999 0 330 Kelvin 48E
tb_h_uncorrected f4 -9999 0 330 Kelvin 8E
tb_qual_flag_3 u2 65534 - - - 48E
tb_qual_flag_4 u2 65534 - - - 48E
tb_qual_flag_h u2 65534 - - - 48E
tb_qual_flag_v u2 65534 - - - 48E
tb_time_seconds f8 -9999 -999999.9 999999.9 seconds 4
tb_time_seconds f8 -9999 -999999.9 940000000 seconds 8E
tb_time_utc S24 - - - - 48E
tb_v_corrected f4 -9999 0 330 Kelvin 48E
tb_v_uncorrected f4 -9999 0 330 Kelvin 8E
vegetation_opacity f4 -9999 -999999.875 999999.875 - 48E
vegetation_opacity_dca f4 -9999 -999999.875 999999.875 - 8E
vegetation_opacity_scah f4 -9999 -999999.875 999999.875 - 8E
vegetation_opacity_scav f4 -9999 -999999.875 999999.875 - 8E
vegetation_water_content f4 -9999 0 20 kg/m**3 4
vegetation_water_content f4 -9999 0 20 kg/m**2 8E
"""
# In version 8 the dual-channel fields are the plain ones under a second name.
LINKED = ("albedo", "retrieval_qual_flag", "roughness_coefficient", "soil_moisture", "vegetation_opacity")
LEVEL4_FIELDS = """
sm_surface sm_rootzone sm_profile sm_surface_wetness sm_rootzone_wetness sm_profile_wetness sm_rootzone_pctl
sm_profile_pctl soil_temp_layer1 soil_temp_layer2 soil_temp_layer3 soil_temp_layer4 soil_temp_layer5 soil_temp_layer6
surface_temp snow_mass snow_depth land_fraction_snow_covered precipitation_total_surface_flux temp_lowatmmodlay
specific_humidity_lowatmmodlay windspeed_lowatmmodlay radiation_shortwave_downward_flux
radiation_longwave_absorbed_flux surface_pressure leaf_area_index vegetation_greenness_fraction mwrtm_vegopacity
depth_to_water_table_from_surface
"""
CONSTANTS = """
cell_land_fraction cell_elevation clsm_dzsf clsm_dzrz clsm_dzpr clsm_dztsurf clsm_poros clsm_wp clsm_cdcr1 clsm_cdcr2
mwrtm_vegcls mwrtm_soilcls mwrtm_sand mwrtm_clay mwrtm_poros mwrtm_omega mwrtm_bh mwrtm_bv
"""
ANALYSES = "sm_surface_analysis sm_rootzone_analysis sm_profile_analysis surface_temp_analysis"
# Hourly NLDAS-2, version 2.0: the variables that are read, and their units.
FORCING = {"Rainf": "kg m-2", "Tair": "K", "Qair": "kg kg-1", "LWdown": "W m-2", "SWdown": "W m-2"}
FORCING |= {"Wind_E": "m s-1", "Wind_N": "m s-1"}
HOURLY = {
    "FORA": FORCING,
    "NOAH": {"SoilM_0_10cm": "kg m-2", "SoilM_0_100cm": "kg m-2"},
    "VIC": {"SoilM_layer1": "kg m-2", "SoilM_0_100cm": "kg m-2"},
}
LAT = 25.0625 + 0.125 * np.arange(224)
LON = -124.9375 + 0.125 * np.arange(464)
GROUP4 = {"gph": "Geophysical_Data", "aup": "Analysis_Data", "lmc": "Land-Model-Constants_Data"}
SHORT4 = {"gph": "SPL4SMGP", "aup": "SPL4SMAU", "lmc": "SPL4SMLM"}
POLAR = (2000, 2000)


@cache
def code(shape: tuple[int, int], low: float = 0.02, high: float = 0.5) -> np.ndarray:
    """A field of float32 whose value names its row and column, every cell another one."""
    n = shape[0] * shape[1]
    field = (low + (high - low) * (np.arange(n) + 0.5) / n).astype(np.float32).reshape(shape)
    field.setflags(write=False)  # the tests share it
    return field


def decode(values, shape: tuple[int, int], low: float = 0.02, high: float = 0.5):
    """Row and column that `code` put into values."""
    n = shape[0] * shape[1]
    number = np.floor((np.asarray(values, np.float64) - low) / (high - low) * n).astype(int)
    return number // shape[1], number % shape[1]


def table(kind: str, overpass: str = "AM", polar: bool = False) -> dict[str, tuple]:
    """Fields of a level-3 group: name -> (dtype, fill, low, high, units); kind is "4", "8" or "E"."""
    shape = EaseGrid(9 if kind == "E" else 36).shape
    fields = {}
    for line in LEVEL3.strip().splitlines():
        name, dtype, fill, low, high, units, files = line.split()
        if kind not in files:
            continue
        if high == "*":
            high = str(shape["column" in name] - 1)
        if overpass == "PM" and name in ("latitude", "longitude"):
            fill, low, high = "-9999", *(("-90", "90") if name == "latitude" else ("-180", "179.999"))
        if polar and low == "-90":
            low = "0"
        numbers = [None if x == "-" else float(x) for x in (fill, low, high)]
        full = name + ("_pm" if overpass == "PM" else "")
        fields[full] = (np.dtype(dtype), *numbers, None if units == "-" else units)
    return fields


def _create(group, name, shape, spec, chunks=None):
    dtype, fill, low, high, units = spec
    shape = (*shape, 3) if name.startswith("landcover") else shape
    options = {"chunks": chunks or shape, "compression": "gzip", "compression_opts": 2}
    # HDF5's own fill is 0 in the real files, which write every value; here it lets a field stay unwritten.
    dataset = group.create_dataset(name, shape, dtype, fillvalue=fill if dtype.kind != "S" else None, **options)
    for key, value in (("_FillValue", fill), ("valid_min", low), ("valid_max", high)):
        if value is not None:
            dataset.attrs[key] = dtype.type(value)
    if units:
        dataset.attrs["units"] = np.bytes_(units)
    dataset.attrs["long_name"] = np.bytes_(name.replace("_", " "))
    return dataset


def _identify(file, short, name, version, release):
    node = file.require_group("Metadata/DatasetIdentification")
    node.attrs.update({"shortName": short, "fileName": name, "ECSVersionID": version, "CompositeReleaseID": release})


def write_l3(
    folder: Path,
    day: str,
    am: Mapping[str, object] | None = None,
    pm: Mapping[str, object] | None = None,
    *,
    version: str = "008",
    release: str = "R18290",
    counter: int = 1,
    enhanced: bool = False,
    seen=None,
    polar: bool = False,
    chunks=None,
) -> Path:
    """Write a daily granule; `am` and `pm` map the names of the AM group to arrays of the grid's shape, or a number.

    `seen` (boolean, grid) is where the satellite was: coordinates and numbers of rows and columns stand only there.
    """
    kind = "E" if enhanced else "4" if version == "004" else "8"
    shape = EaseGrid(9 if enhanced else 36).shape
    name = f"SMAP_L3_SM_P{'_E' if enhanced else ''}_{day.replace('-', '')}_{release}_{counter:03d}.h5"
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        _identify(file, "SPL3SMP_E" if enhanced else "SPL3SMP", name, version, release)
        for overpass, values in (("AM", am or {}), ("PM", pm or {})):
            group = file.create_group(f"Soil_Moisture_Retrieval_Data_{overpass}")
            _fill_group(group, kind, overpass, shape, dict(values), seen, chunks)
            if polar:
                spare = file.create_group(f"Soil_Moisture_Retrieval_Data_Polar_{overpass}")
                for field, spec in table(kind, overpass, polar=True).items():
                    _create(spare, field, POLAR, spec, (200, 200))
    return folder / name


def _fill_group(group, kind, overpass, shape, values, seen, chunks):
    suffix = "_pm" if overpass == "PM" else ""
    links = {f"{name}_dca{suffix}": name + suffix for name in LINKED} if kind == "8" else {}
    known = table(kind, overpass)
    unknown = {name for name in values if name + suffix not in known or name + suffix in links}
    assert not unknown, f"version {kind} has no {unknown} of its own"
    for name, spec in known.items():
        if name not in links:
            _create(group, name, shape, spec, chunks if not name.startswith("landcover") else None)
    for name, target in links.items():
        group[name] = group[target]
    if seen is not None:
        row, col = np.indices(shape)
        lon, lat = EaseGrid(36 if kind != "E" else 9).center(row, col)
        whole = {"EASE_row_index": row, "EASE_column_index": col, "latitude": lat, "longitude": lon}
        holes = {"EASE_row_index": 65534, "EASE_column_index": 65534, "latitude": -9999, "longitude": -9999}
        values = {**{key: np.where(seen, field, holes[key]) for key, field in whole.items()}, **values}
    for name, field in values.items():
        group[name + suffix][...] = field


def write_l4(
    folder: Path,
    stamp: str,
    values: Mapping[str, np.ndarray] | None = None,
    *,
    kind: str = "gph",
    release: str = "8011",
    version: str = "008",
    counter: int = 1,
    window: tuple[slice, slice] | None = None,
    leave_out: tuple[str, ...] = (),
    tail: str = "",
) -> Path:
    """Write a 9 km granule; `values` are arrays of the window's shape (of the whole grid where there is no window)."""
    grid = EaseGrid(9)
    rows, cols = window or (slice(0, grid.shape[0]), slice(0, grid.shape[1]))
    row, col = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    shape = (row.size, col.size)
    born = f"SMAP_L4_SM_{kind}_{stamp}_Vv{release}_{counter:03d}.h5"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (born.removesuffix(".h5") + tail + ".h5")
    options = {"chunks": (1, shape[1]), "compression": "gzip", "compression_opts": 3}
    with h5py.File(path, "w") as file:
        _identify(file, SHORT4[kind], born, version, f"Vv{release}0015")
        root = {
            "x": LEFT + grid.cell_size * (col + 0.5),
            "y": TOP - grid.cell_size * (row + 0.5),
            "cell_row": (row[:, None] + 0 * col).astype("u4"),
            "cell_column": (0 * row[:, None] + col).astype("u4"),
        }
        for name, numbers in root.items():
            if name not in leave_out:
                file.create_dataset(name, data=numbers, **(options if numbers.ndim == 2 else {}))
        file.create_dataset("EASE2_global_projection", data=np.bytes_(" "))
        if kind != "lmc":
            # Their clock: seconds since this instant, of a time that began at 12:00.
            seconds = (pd.Timestamp(stamp) - pd.Timestamp("2000-01-01T12:00")).total_seconds()
            time = file.create_dataset("time", data=np.array([seconds]))
            time.attrs["units"] = np.bytes_("seconds since 2000-01-01 11:58:55.816")
        group = file.create_group(GROUP4[kind])
        names = {"gph": LEVEL4_FIELDS, "aup": ANALYSES, "lmc": CONSTANTS}[kind].split()
        for name in [*names, *(n for n in values or {} if n not in names)]:
            if name in leave_out:
                continue
            dataset = group.create_dataset(name, shape, "f4", fillvalue=-9999.0, **options)
            dataset.attrs.update({"_FillValue": np.float32(-9999), "missing_value": np.float32(-9999)})
            dataset.attrs["fmissing_value"] = np.float32(-9999)
            moisture = name.startswith("sm_") and "pctl" not in name and "wetness" not in name
            if moisture:
                dataset.attrs.update({"valid_min": np.float32(0), "valid_max": np.float32(0.9)})
            dataset.attrs["units"] = np.bytes_("m3 m-3" if moisture else "1")
            if name in (values or {}):
                dataset[...] = values[name]
    return path


def write_l2(
    folder: Path,
    stamp: str,
    row,
    col,
    values: Mapping[str, object],
    *,
    orbit: int = 2801,
    way: str = "A",
    version: str = "008",
    release: str = "R18290",
    counter: int = 1,
) -> Path:
    """Write a half orbit: one entry a cell, fields by the level-2 names."""
    name = f"SMAP_L2_SM_P_{orbit:05d}_{way}_{stamp}_{release}_{counter:03d}.h5"
    row = np.asarray(row)
    specs = {key: spec for key, spec in table("8").items() if "_sca" not in key and "_dca" not in key}
    for quantity in ("soil_moisture", "retrieval_qual_flag", "vegetation_opacity"):
        specs |= {f"{quantity}_option{n}": specs[quantity] for n in (1, 2)}
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        _identify(file, "SPL2SMP", name, version, release)
        group = file.create_group("Soil_Moisture_Retrieval_Data")
        for field, spec in specs.items():
            _create(group, field, row.shape, spec)
        for field, numbers in {"EASE_row_index": row, "EASE_column_index": col, **values}.items():
            group[field][...] = numbers
    return folder / name


def write_l4_window(folder: Path, stamp, field: np.ndarray, window: tuple[slice, slice]) -> Path:
    """Write a window of sm_rootzone as OPeNDAP cuts it from a granule: x, y, time and the one field."""
    grid = EaseGrid(9)
    stamp = pd.Timestamp(stamp)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"SMAP_L4_SM_gph_{stamp:%Y%m%dT%H%M%S}_Vv8011_001.nc4"
    rows, cols = (np.arange(axis.start, axis.stop) for axis in window)
    with h5py.File(path, "w") as file:
        file["x"] = LEFT + grid.cell_size * (cols + 0.5)
        file["y"] = TOP - grid.cell_size * (rows + 0.5)
        seconds = (stamp - pd.Timestamp("2000-01-01T12:00")).total_seconds()
        file["time"] = np.array([seconds])
        file["time"].attrs["units"] = np.bytes_("seconds since 2000-01-01 11:58:55.816")
        options = {"compression": "gzip", "compression_opts": 2, "chunks": field.shape}
        data = file.create_dataset("Geophysical_Data/sm_rootzone", data=field, dtype="f4", **options)
        limits = {"_FillValue": -9999, "missing_value": -9999, "valid_min": 0, "valid_max": 0.9}
        data.attrs.update({key: np.float32(value) for key, value in limits.items()})
        data.attrs["units"] = np.bytes_("m3 m-3")
    return path


def write_nldas(folder: Path, product: str, stamp, fields: Mapping[str, np.ndarray]) -> Path:
    """Write an hourly file: `fields` (lat, lon), south first, in the units of `HOURLY`."""
    stamp = pd.Timestamp(stamp)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"NLDAS_{product}0125_H.A{stamp:%Y%m%d}.{stamp:%H}00.020.nc"
    hours = (stamp - pd.Timestamp("1979-01-01")) / pd.Timedelta(hours=1)
    with h5py.File(path, "w") as file:
        for name, values in (("time", np.array([hours])), ("lat", LAT), ("lon", LON)):
            file.create_dataset(name, data=values).make_scale(name)
        file["time"].attrs["units"] = np.bytes_("hours since 1979-01-01 00:00:00")
        for name, units in HOURLY[product].items():
            options = {"compression": "gzip", "compression_opts": 1, "chunks": (1, LAT.size, LON.size)}
            data = file.create_dataset(name, data=np.asarray(fields[name], np.float32)[None], **options)
            for axis, dim in enumerate(("time", "lat", "lon")):
                data.dims[axis].attach_scale(file[dim])
            data.attrs["_FillValue"] = data.attrs["missing_value"] = np.float32([-9999.0])
            data.attrs["units"] = np.bytes_(units)
    return path
