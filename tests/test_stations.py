"""The store of stations: from the twin and from files, whole or not there, kept while nothing has changed."""

import shutil

import numpy as np
import pytest
import xarray as xr

from smapnb import profile, stations
from smapnb.sources import core_sites, twin


@pytest.fixture(scope="module")
def smoke():
    return profile.load("smoke", {"data.start": "2014-06-01", "data.end": "2016-03-31", **SHORT})


SHORT = {
    "training": {"start": "2015-04-01", "end": "2015-12-31"},
    "hindcast": {"start": "2015-01-01", "end": "2016-03-31"},
    "evaluation": {"start": "2016-01-01", "end": "2016-03-31"},
    "one_year_test": None,
}


@pytest.fixture(scope="module")
def store(smoke, tmp_path_factory):
    return stations.build(smoke, tmp_path_factory.mktemp("run") / "stations.zarr")


def test_the_twin_brings_all_groups_unchanged(smoke, store):
    groups = stations.open_stations(store)
    expected = twin.stations("2014-06-01", "2016-03-31", 12, seed=2019, core_sites=3, crn_sites=12)
    assert set(groups) == set(expected) == set(stations.GROUPS)
    for name, dataset in groups.items():
        assert dataset.attrs["synthetic"] == "true" and dataset.attrs["profile"] == "smoke"
        for variable in expected[name].variables:
            np.testing.assert_array_equal(dataset[variable].values, expected[name][variable].values, variable)


def test_nothing_is_written_again_unless_something_changed(smoke, store):
    before = (store / "zarr.json").stat().st_mtime_ns
    assert stations.build(smoke, store) == store
    assert (store / "zarr.json").stat().st_mtime_ns == before
    fewer = smoke.model_copy(update={"stations": smoke.stations.model_copy(update={"crn_sites": 5})})
    stations.build(fewer, store)
    assert stations.open_stations(store)["crn"].sizes["site"] == 5
    stations.build(smoke, store)


def test_a_stopped_writing_is_no_store(smoke, tmp_path, monkeypatch):
    def stops(dataset, partial, group, asked):
        if group == "core":
            raise KeyboardInterrupt
        write(dataset, partial, group, asked)

    write = stations._write
    monkeypatch.setattr(stations, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        stations.build(smoke, tmp_path / "stations.zarr")
    with pytest.raises(stations.StationsError, match="notebook 01 writes them"):
        stations.open_stations(tmp_path / "stations.zarr")


def test_real_files_become_groups(data_root, tmp_path):
    real = profile.load("conus412-quick")
    groups = stations.open_stations(stations.build(real, tmp_path / "stations.zarr", data_root))
    assert set(groups) == {"crn", "core", "reference_pixels"}
    assert set(groups["crn"]["site"].values) == {"23907", "53974"}
    # From the raw text of Austin 33 NW, 1 January 2015: 0.369 m3 m-3 at 5 cm, 7.0 degC.
    first = groups["crn"].sel(site="23907", time="2015-01-01", depth=5)
    assert float(first["soil_moisture"]) == pytest.approx(0.369)
    assert float(first["soil_temperature"]) == pytest.approx(273.15 + 7.0)
    assert groups["core"].sizes["station"] == 15 and set(groups["core"]["site"].values) == {"1601"}
    assert all(name.startswith("160136") for name in groups["reference_pixels"]["reference_pixel"].values)
    assert groups["core"].attrs["synthetic"] == "false"


def test_a_folder_without_stations_gives_an_empty_store(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    real = profile.load("conus412-quick")
    path = stations.build(real, tmp_path / "stations.zarr", tmp_path / "data")
    assert stations.open_stations(path) == {}
    assert "no stations in" in caplog.text and "uscrn/" in caplog.text


def test_a_site_in_the_open_layout_joins_in(data_root, tmp_path):
    shutil.copytree(data_root / "walnut_gulch", tmp_path / "walnut_gulch")
    days = np.arange("2018-12-30", "2019-01-03", dtype="datetime64[h]").astype("datetime64[ns]")
    values = np.repeat([0.1, 0.2, 0.3, 0.4], 24).astype(np.float32)[:, None, None]
    own = xr.Dataset(
        {
            "soil_moisture": (("time", "station", "depth"), values, {"units": "m3 m-3"}),
            "soil_temperature": (("time", "station", "depth"), values + 290, {"units": "K"}),
        },
        {
            "time": days,
            "station": ["9999/a"],
            "depth": [5.0],
            "site": ("station", ["9999"]),
            "site_name": ("station", ["Here"]),
            "lat": ("station", [40.0]),
            "lon": ("station", [-100.0]),
        },
    )
    (tmp_path / "core_sites").mkdir()
    core_sites.write_open(own, tmp_path / "core_sites" / "here.csv")
    groups = stations.open_stations(stations.build(profile.load("conus412-quick"), tmp_path / "s.zarr", tmp_path))
    core = groups["core"].load()
    assert core.sizes["station"] == 16
    mine = core["soil_moisture"].sel(station="9999/a", depth=5.0).dropna("time")
    np.testing.assert_allclose(mine, [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    assert "99993601" in groups["reference_pixels"]["reference_pixel"].values
