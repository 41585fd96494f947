"""NLDAS-2 of version 002: GRIB-1 messages written here by ecCodes as the archive codes them, and read back."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyproj  # noqa: F401  (before ecCodes, as in the package)
import pytest

from smapnb.sources import nldas
from smapnb.sources.nldas import NldasError

pytest.importorskip("cfgrib", reason="GRIB needs the extra grib")
eccodes = pytest.importorskip("eccodes", reason="GRIB needs the extra grib")

N_LAT, N_LON = 224, 464
# Parameter of table 130, type of level, upper and lower level: in an order of their own.
FORA = [
    (11, 105, 2),
    (51, 105, 2),
    (1, 1, 0),
    (33, 105, 10),
    (34, 105, 10),
    (205, 1, 0),
    (153, 1, 0),
    (157, 116, 46080),
    (228, 1, 0),
    (61, 1, 0),
    (204, 1, 0),
]
NOAH = [(86, 112, 100), (86, 112, 200), (86, 112, 10), (86, 112, 2600), (250, 112, 0)]  # 0-100, 0-200, 0-10, 10-40 cm
VIC = [(86, 112, 256 + 1), (86, 112, 512 + 2), (86, 112, 100)]  # layers 1 and 2, 0-100 cm


def values_of(hour, place):
    """Hour plus place among the messages plus what tells the cell; the south-west corner is missing."""
    cell = np.arange(N_LAT * N_LON).reshape(N_LAT, N_LON) / 2**17
    out = hour + place + cell
    out[0, 0] = np.nan
    return out


def write(folder, stamp, messages, product="FORA", hour=0, from_north=False):
    stamp = pd.Timestamp(stamp)
    path = folder / f"NLDAS_{product}0125_H.A{stamp:%Y%m%d}.{stamp:%H}00.002.grb"
    with path.open("wb") as file:
        for place, (parameter, kind, level) in enumerate(messages):
            handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
            keys = {
                "centre": 7,
                "table2Version": 130,
                "indicatorOfParameter": parameter,
                "indicatorOfTypeOfLevel": kind,
                "topLevel": level // 256,
                "bottomLevel": level % 256,
                "dataDate": int(f"{stamp:%Y%m%d}"),
                "dataTime": 100 * stamp.hour,
                "Ni": N_LON,
                "Nj": N_LAT,
                "jScansPositively": int(not from_north),
                # GRIB-1 has room for millidegrees only.
                "latitudeOfFirstGridPoint": 52938 if from_north else 25063,
                "latitudeOfLastGridPoint": 25063 if from_north else 52938,
                "longitudeOfFirstGridPoint": -124938,
                "longitudeOfLastGridPoint": -67063,
                "iDirectionIncrement": 125,
                "jDirectionIncrement": 125,
                "bitmapPresent": 1,
                "missingValue": 9999,
                "bitsPerValue": 24,
            }
            # A level that is one number fills both octets.
            if kind not in (112, 116):
                del keys["topLevel"], keys["bottomLevel"]
                keys["level"] = level
            for key, value in keys.items():
                eccodes.codes_set(handle, key, value)
            values = values_of(hour, place)
            values = np.where(np.isnan(values), 9999, values)[:: -1 if from_north else 1]
            eccodes.codes_set_values(handle, values.ravel())
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)
    return path


def test_messages_are_coded_as_in_the_archive(tmp_path):
    """What the test writes is what wgrib shows of real files: kpds5, kpds6 and kpds7 in octets 9 to 12."""
    raw = write(tmp_path, "2016-01-01", [(86, 112, 100)]).read_bytes()
    assert raw[:4] == b"GRIB" and raw[7] == 1
    section = raw[8:]
    assert (section[3], section[4], section[8], section[9], section[10] * 256 + section[11]) == (130, 7, 86, 112, 100)


@pytest.mark.parametrize("from_north", [False, True])
def test_a_day_of_forcing(tmp_path, from_north):
    for hour in range(25):
        stamp = pd.Timestamp("2015-12-31") + pd.Timedelta(hours=hour)
        write(tmp_path, stamp, FORA, hour=hour, from_north=from_north)
    data = nldas.open_forcing(tmp_path, day="exact")
    assert data.sizes == {"time": 1, "lat": 224, "lon": 464} and data.attrs["versions"] == '{"002": 24}'
    assert (float(data["lat"][0]), float(data["lat"][-1])) == (25.0625, 52.9375)
    assert (float(data["lon"][0]), float(data["lon"][-1])) == (-124.9375, -67.0625)
    places = {"air_temperature": 0, "specific_humidity": 1, "wind_u": 3, "wind_v": 4}
    places |= {"longwave_down": 5, "precipitation": 9, "shortwave_down": 10}
    for name, place in places.items():
        factor = 24 if name == "precipitation" else 1
        np.testing.assert_allclose(data[name][0], factor * values_of(12.5, place), rtol=1e-6)


def test_layers_of_noah_and_vic(tmp_path):
    write(tmp_path, "2016-01-01", NOAH, "NOAH")
    write(tmp_path, "2016-01-01", VIC, "VIC")
    noah = nldas.open_noah(tmp_path, min_hours=1)
    np.testing.assert_allclose(noah["ssm_noah"][0], values_of(0, 2) / 100, rtol=1e-6)
    np.testing.assert_allclose(noah["rzsm_noah"][0], values_of(0, 0) / 1000, atol=1e-8)
    vic = nldas.open_vic(tmp_path, min_hours=1, layer_depth=0.2)
    np.testing.assert_allclose(vic["ssm_vic"][0], values_of(0, 0) / 200, atol=1e-8)
    np.testing.assert_allclose(vic["rzsm_vic"][0], values_of(0, 2) / 1000, rtol=1e-6)


def test_bad_files_are_named(tmp_path):
    whole = write(tmp_path, "2016-01-01", FORA)
    content = whole.read_bytes()
    for cut in (len(content) - 100, 3 * len(content) // 4, 20):
        whole.write_bytes(content[:cut])
        with pytest.raises(NldasError, match=r"A20160101\.0000\.002\.grb: "):
            nldas.open_forcing(tmp_path)
    write(tmp_path, "2016-01-01", FORA[:-1])
    with pytest.raises(NldasError, match=r"no SWdown \(204, 0, 0\) of NLDAS FORA"):
        nldas.open_forcing(tmp_path)
    write(tmp_path, "2016-01-01", [*FORA, FORA[0]])
    with pytest.raises(NldasError, match=r"parameter \(11, 2, 2\) is there twice"):
        nldas.open_forcing(tmp_path)
    write(tmp_path, "2016-01-02", FORA).rename(whole)
    with pytest.raises(NldasError, match="named 2016-01-01 00:00:00, the file holds 2016-01-02"):
        nldas.open_forcing(tmp_path)
    with pytest.raises(NldasError, match="must be named like"):
        nldas.open_forcing(whole.rename(tmp_path / "a.grb"))


def test_both_generations_in_one_series(tmp_path):
    """The newer version of an hour is taken where both are there."""
    from test_nldas import LAT, LON
    from test_nldas import write as write_netcdf

    for hour in (0, 1, 2):
        write(tmp_path, f"2016-01-01T{hour:02}", FORA, hour=hour)
    for hour in (1, 2, 3):
        write_netcdf(tmp_path, f"2016-01-01T{hour:02}", grid=(LAT, LON), units={"Tair": "K"}, hour=hour)
    data = nldas.open_forcing(tmp_path, names=["air_temperature"], min_hours=3)
    assert data.attrs["versions"] == '{"002": 1, "020": 3}' and data.attrs["duplicates_left_out"] == 2
    np.testing.assert_allclose(data["air_temperature"][0, 1:], values_of(1.5, 0)[1:], rtol=1e-6)


def test_maps_work_after_grib(tmp_path):
    """EcCodes brings a PROJ of its own: where pyproj came after it, the first map ended the process."""
    path = write(tmp_path, "2016-01-01", NOAH, "NOAH")
    code = (
        "import sys; from smapnb.sources import nldas; print(nldas.open_noah(sys.argv[1], min_hours=1).sizes['time'])\n"
        "import cartopy.crs as crs; print(crs.epsg(6933).transform_point(0, 0, crs.PlateCarree()))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.splitlines()[0] == "1", done.stderr
