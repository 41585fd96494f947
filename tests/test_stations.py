"""The store of stations: from the twin and from files, whole or not there, kept while nothing has changed."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from smapnb import insitu, profile, stations
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
    assert set(groups) == set(expected) == set(stations.GROUPS) - {"weights"}
    for name, dataset in groups.items():
        assert dataset.attrs["synthetic"] == "true" and dataset.attrs["profile"] == "smoke"
        assert {"source", "created", "smapnb_version"} <= set(dataset.attrs)
        assert json.loads(dataset.attrs["versions"])["xarray"] == xr.__version__
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
    assert all(name.startswith("1601-36") for name in groups["reference_pixels"]["reference_pixel"].values)
    assert groups["core"].attrs["synthetic"] == "false" and groups["core"].attrs["provenance"] == "exact"
    assert stations.open_weights(tmp_path / "stations.zarr") is None


def test_what_is_no_store_is_left_alone(smoke, tmp_path):
    (tmp_path / "stations.zarr").mkdir()
    (tmp_path / "stations.zarr" / "letter.txt").write_text("mine")
    with pytest.raises(stations.StationsError, match=r"stations\.zarr: is not a store of stations"):
        stations.build(smoke, tmp_path / "stations.zarr")
    assert (tmp_path / "stations.zarr" / "letter.txt").read_text() == "mine"


def test_a_store_of_an_older_version_is_said_to_be_one(store, tmp_path):
    path = shutil.copytree(store, tmp_path / "stations.zarr")
    del zarr.open_group(path, mode="r+").attrs[stations.MARKER]
    with pytest.raises(stations.StationsError, match="of an older version"):
        stations.open_stations(path)


@pytest.mark.parametrize("damage", [lambda p: shutil.rmtree(p / "core"), lambda p: (p / "crn/lat/c/0").unlink()])
def test_a_store_that_lost_something_is_not_taken_for_whole(smoke, store, tmp_path, damage):
    path = shutil.copytree(store, tmp_path / "stations.zarr")
    due = set(stations.open_stations(path))
    damage(path)
    with pytest.raises(stations.StationsError, match=r"stations\.zarr is not whole: \d+ files"):
        stations.open_stations(path)
    assert set(stations.open_stations(stations.build(smoke, path))) == due
    assert [p.name for p in tmp_path.iterdir()] == ["stations.zarr"]


def test_a_removal_that_stops_leaves_no_half_of_the_former_store(smoke, store, tmp_path, monkeypatch):
    path = shutil.copytree(store, tmp_path / "stations.zarr")
    fewer = smoke.model_copy(update={"stations": smoke.stations.model_copy(update={"crn_sites": 5})})

    def stops(folder, ignore_errors=False):
        if folder.name == "stations.zarr.old" and folder.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", stops)
    with pytest.raises(KeyboardInterrupt):
        stations.build(fewer, path)
    assert stations.open_stations(path)["crn"].sizes["site"] == 5


def test_stations_behind_a_link_are_read_and_a_change_of_them_is_seen(data_root, tmp_path):
    shutil.copytree(data_root / "uscrn", tmp_path / "elsewhere")
    (tmp_path / "data/uscrn").mkdir(parents=True)
    name = "CRND0103-2015-TX_Austin_33_NW.txt"
    for file in (tmp_path / "elsewhere").iterdir():
        if file.name != name:
            shutil.copy(file, tmp_path / "data/uscrn")
            file.unlink()
    (tmp_path / "data/uscrn/2015").symlink_to(tmp_path / "elsewhere")
    real, path = profile.load("conus412-quick"), tmp_path / "stations.zarr"
    groups = stations.open_stations(stations.build(real, path, tmp_path / "data"))
    assert "23907" in groups["crn"]["site"]  # Austin's number in its file
    file = tmp_path / "elsewhere" / name
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:100]))
    before = (path / "zarr.json").stat().st_mtime_ns
    stations.build(real, path, tmp_path / "data")
    assert (path / "zarr.json").stat().st_mtime_ns != before


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
    assert "9999-36a" in groups["reference_pixels"]["reference_pixel"].values


HALF_HOURS = pd.date_range("2019-07-01", "2019-07-03", freq="30min", inclusive="left")


def open_layout(folder, probes=(0, 1), moisture=0.2, temperature=290.0, spoil=None):
    """Write two stations, 5, 15 and 30 cm, half-hours of two days; `spoil` changes the table before it is written."""
    index = pd.MultiIndex.from_product([["a", "b"], [5, 15, 30], probes, HALF_HOURS])
    table = index.to_frame(index=False, name=["station", "depth", "probe", "time"])
    table = table.assign(site="9999", lon=np.where(table["station"] == "a", -100.0, -99.95), lat=40.0)
    table["soil_moisture"] = moisture + 0.1 * table["probe"]
    table["soil_temperature"] = temperature
    if spoil is not None:
        table = spoil(table)
    table["time"] = table["time"].dt.strftime("%Y-%m-%dT%H:%MZ")
    (folder / "core_sites").mkdir(parents=True)
    table.to_csv(folder / "core_sites" / "here.csv", index=False)


def built(folder):
    return stations.open_stations(stations.build(profile.load("conus412-quick"), folder / "s.zarr", folder))


def test_probes_of_a_dense_site_reach_the_series(tmp_path):
    def freeze(table):
        cold = (table["station"] == "a") & (table["probe"] == 1) & (table["time"] >= "2019-07-02")
        return table.assign(soil_temperature=table["soil_temperature"].mask(cold, 270.0))

    open_layout(tmp_path, spoil=freeze)
    groups = {name: group.load() for name, group in built(tmp_path).items()}
    assert groups["core"]["soil_moisture"].dims[-1] == "probe"
    series = insitu.core_series(groups["core"], groups["reference_pixels"])
    assert series["site"].values.tolist() == ["9999-36a"]
    b = insitu.pixel_stations(groups["core"], groups["reference_pixels"]).set_index("station")["weight"]["9999/b"]
    # Both stations 0.25; on the second day only the first probe of a, 0.2.
    for name in ("ssm_insitu", "rzsm_insitu"):
        np.testing.assert_allclose(series[name][:, 0], [0.25, 0.2 + 0.05 * b], rtol=1e-5)


def test_sites_with_and_without_probes_stand_side_by_side(tmp_path):
    open_layout(tmp_path)
    one = (
        pd.read_csv(tmp_path / "core_sites" / "here.csv")
        .query("probe == 0")
        .drop(columns=["probe", "soil_temperature"])
    )
    one.assign(site="8888").to_csv(tmp_path / "core_sites" / "other.csv", index=False)
    core = built(tmp_path)["core"].load()
    assert core.sizes["station"] == 4 and core.sizes["probe"] == 2
    counted = core["soil_moisture"].count(["time", "depth"]).to_pandas()
    assert counted.loc["9999/a"].tolist() == [6, 6] and counted.loc["8888/a"].tolist() == [6, 0]


def test_a_code_among_half_hours_does_not_reach_the_mean_of_the_day(tmp_path):
    def spoil(table):
        table.loc[0, "soil_moisture"] = -9.999
        table.loc[1, "soil_temperature"] = -9999.0
        table.loc[2, "soil_moisture"] = 1.5
        return table

    open_layout(tmp_path, probes=(0,), spoil=spoil)
    core = built(tmp_path)["core"].load()
    np.testing.assert_allclose(core["soil_moisture"], 0.2, rtol=1e-6)
    np.testing.assert_allclose(core["soil_temperature"], 290.0, rtol=1e-6)
    assert json.loads(core.attrs["records_out_of_range"]) == {"soil_moisture": 2, "soil_temperature": 1}
    assert "daily mean soil temperature" in core.attrs["cold_soil"]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"moisture": 20.0}, "no soil_moisture of 576"), ({"temperature": 20.0}, "no soil_temperature")],
)
def test_other_units_are_refused(tmp_path, values, message):
    open_layout(tmp_path, probes=(0,), **values)
    with pytest.raises(ValueError, match=message):
        built(tmp_path)


def calval(folder, pixels=("16013603",)):
    """Write three stations in the calibration and validation layout, and weights for each pixel."""
    root = folder / "calval"
    for number, moisture in (("001", 0.1), ("002", 0.3), ("003", 0.5)):
        station = root / "1601_Here" / "dataqc" / f"1601{number}"
        station.mkdir(parents=True)
        rows = [f"2013,6,{day},{hour},0,{moisture},20" for day in (1, 2) for hour in range(24)]
        text = "\n".join(["title", "Yr,Mo,Day,Hr,Min,SM,ST", ",,,,,0.05,0.05", *rows])
        (station / "a.txt").write_text(text + "\n", encoding="ascii")
    info = root / "coresiteinfo" / "16_Here"
    info.mkdir(parents=True)
    places = "PointID,Latitude,Longitude\n1601001,31.72,-110.10\n1601002,31.74,-110.00\n"  # the third has no place
    (info / "1601_COORDv01.csv").write_text(places, encoding="ascii")
    for pixel in pixels:
        (info / f"voronoi_{pixel}.txt").write_text("title\n1,2,3\n0.25,0.25,0.5\n", encoding="ascii")
    return info


def test_files_of_the_calibration_and_validation_team_bring_their_weights(tmp_path, caplog):
    info = calval(tmp_path, ("16013603", "16010901"))
    layers = "% layers\n2\n0.5,0.5\nids,1,2\n5,50,50\nids,1,2\n20,0,100\n"
    (info / "refpix_16013604.txt").write_text(layers, encoding="ascii")
    (info / "refpix_16013603.txt").write_text(layers, encoding="ascii")
    with caplog.at_level("INFO"):
        groups = {name: group.load() for name, group in built(tmp_path).items()}
    assert set(groups) == {"core", "reference_pixels", "weights"}
    weights = stations.open_weights(tmp_path / "s.zarr")
    assert weights == {
        "16013603": {"1601/001": 0.25, "1601/002": 0.25, "1601/003": 0.5},  # Voronoi goes before the layers
        "16013604": {"1601/001": 0.5, "1601/002": 0.5},
    }
    assert "not used: voronoi_16010901.txt" in caplog.text
    pixels = groups["reference_pixels"]
    assert sorted(pixels["reference_pixel"].values) == ["16013603", "16013604"]
    assert set(pixels["site_name"].values) == {"Walnut Gulch"}
    series = insitu.core_series(groups["core"], pixels, weights=weights)
    np.testing.assert_allclose(
        series.sel(site="16013603")["ssm_insitu"], 0.25 * 0.1 + 0.25 * 0.3 + 0.5 * 0.5, rtol=1e-5
    )
    np.testing.assert_allclose(series.sel(site="16013604")["ssm_insitu"], 0.2, rtol=1e-5)
    assert pixels["lon"].values[0] == pytest.approx(-110.05, abs=0.2)


def test_sites_without_weights_keep_pixels_of_our_own(tmp_path):
    calval(tmp_path, ())
    open_layout(tmp_path)
    groups = built(tmp_path)
    assert sorted(groups["reference_pixels"]["reference_pixel"].values) == ["1601-36a", "9999-36a"]
    assert "weights" not in groups


def test_networks_of_the_ismn_are_substitutes(tmp_path):
    for name, lon in (("One", -98.50), ("Two", -98.45), ("Far", -90.0)):
        folder = tmp_path / "ismn" / "TxSON" / name
        folder.mkdir(parents=True)
        rows = [f"2015/04/01 {h:02d}:00 0.{n} G V" for h, n in enumerate([2] * 23 + [9])]
        head = f"TxSON       TxSON       {name}    30.30000 {lon:.5f}                 400.0 0.0500 0.0500 CS655"
        file = folder / f"TxSON_TxSON_{name}_sm_0.050000_0.050000_CS655_20150401_20150401.stm"
        file.write_text("\n".join([head, *rows]) + "\n", encoding="ascii")
    open_layout(tmp_path)
    groups = {name: group.load() for name, group in built(tmp_path).items()}
    core = groups["core"]
    assert core.attrs["provenance"] == "exact; substitute"
    assert core["provenance"].to_series().to_dict() == dict.fromkeys(["9999/a", "9999/b"], "exact") | dict.fromkeys(
        [f"TxSON/{name}" for name in ("One", "Two", "Far")], "substitute"
    )
    # One cell has two stations; the far one stands alone.
    assert groups["reference_pixels"]["reference_pixel"].values.tolist() == ["9999-36a", "TxSON-36a"]
    series = insitu.core_series(core, groups["reference_pixels"])
    day = series["ssm_insitu"].sel(site="TxSON-36a").dropna("time")
    np.testing.assert_allclose(day, (23 * 0.2 + 0.9) / 24, rtol=1e-5)
