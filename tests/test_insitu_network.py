"""The counts of Fang, Pan & Shen (2019), section II-C: 114 -> 104 -> 82 with five depths and 22 with two -> 72.

Once with made places, once with those of the real network: its 114 commissioned stations in the conterminous states, of
which the real list of probes has 22 with two depths. Which ten the coast takes and which ten have too short or too
gappy a root zone is published nowhere; the former are stations with deep probes in cells that the real coast crosses,
the latter are made.
"""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb import insitu, variables
from smapnb.grid import CONUS, EaseGrid
from smapnb.sources import uscrn

DEPTHS = (5.0, 10.0, 20.0, 50.0, 100.0)
DAYS = pd.date_range("2013-01-01", "2015-12-31")
LAUNCH = pd.Timestamp("2015-04-01")
LATE = LAUNCH - pd.Timedelta(days=364)
COASTAL = [
    *("McClellanville 7 NE", "Cape Charles 5 ENE", "Coos Bay 8 SW", "Port Aransas 32 NNE", "Santa Barbara 11 W"),
    *("Brunswick 23 S", "Fairhope 3 NE", "Bodega 6 WSW", "Kingston 1 NW", "Kingston 1 W"),
]


def network(places):
    """Daily records: two depths where `places` says so, `late` and `gappy` root zones; all probes warm and wet."""
    values = np.full((DAYS.size, len(places), len(DEPTHS)), 0.2, np.float32)
    values[:, places["depths"] == 2, 2:] = np.nan
    late, gappy = ((places["root"] == kind).to_numpy() for kind in ("late", "gappy"))
    values[np.ix_(DAYS < LATE, late, [2, 3, 4])] = np.nan
    values[np.ix_(np.arange(DAYS.size) % 5 > 1, gappy, [4])] = np.nan  # two days of five are left
    dims = ("time", "site", "depth")
    coords = {"time": DAYS, "site": places.index.to_numpy().astype(str), "depth": list(DEPTHS)}
    coords |= {name: ("site", places[name].to_numpy()) for name in ("lat", "lon")}
    warm = np.full_like(values, 290.0)
    data = {"soil_moisture": (dims, values), "soil_temperature": (dims, warm, {"units": "K"})}
    return xr.Dataset(data, coords)


def smap_over(places):
    """SMAP on two of five days, at coastal cells on one of five, or no cell at all; the sites' cells and one afar."""
    row, col = EaseGrid(36).cell(places["lon"].to_numpy(), places["lat"].to_numpy())
    sea = {(r, c): k for k, (r, c) in enumerate(zip(row[places["coastal"]], col[places["coastal"]], strict=True))}
    cells = sorted({(r, c) for r, c in zip(row, col, strict=True) if sea.get((r, c), 0) % 2 == 0})
    lon, lat = EaseGrid(36).center(*np.array(cells).T)
    part = np.array([0.2 if cell in sea else 0.4 for cell in cells])
    seen = (np.arange(DAYS.size) % 10)[:, None] < 10 * part
    coords = {"time": DAYS, "lat": ("pixel", lat), "lon": ("pixel", lon)}
    return xr.DataArray(np.where(seen, 0.2, np.nan), coords, ("time", "pixel"), name="ssm_smap")


def made():
    """118 places, 2.5 degrees apart, four of them beyond the box of the conterminous states."""
    lon, lat = (a.ravel()[:114] for a in np.meshgrid(np.arange(-124, -67, 2.5), np.arange(26, 50, 4.5)))
    lon, lat = np.append(lon, [-150, -160, -66.5, -71]), np.append(lat, [65, 20, 44.9, 50.5])
    lon[116] = CONUS[1] + 0.1
    places = pd.DataFrame({"lat": lat, "lon": lon}, index=[f"{k:05d}" for k in range(118)])
    return places.assign(coastal=np.arange(118) % 11 == 10, depths=np.where(np.arange(118) % 5 == 0, 2, 5))


def real(root):
    """The network's own list, and depths by the list of probes: 5 and 10 cm only, or more (also where it has none)."""
    listed = uscrn.read_stations(root / "stations.tsv")
    listed = listed[(listed["NETWORK"] == "USCRN") & (listed["STATUS"] == "Commissioned")].reset_index(drop=True)
    probes = uscrn.read_site_info(root / "crn_site_info.csv").groupby(["lat", "lon"])["depth"].max().reset_index()
    away = (listed["LATITUDE"].to_numpy()[:, None] - probes["lat"].to_numpy()) ** 2
    away = away + (listed["LONGITUDE"].to_numpy()[:, None] - probes["lon"].to_numpy()) ** 2
    deepest = np.where(away.min(1) < 0.05**2, probes["depth"].to_numpy()[away.argmin(1)], np.nan)
    name = listed["LOCATION"] + " " + listed["VECTOR"]
    places = pd.DataFrame({"lat": listed["LATITUDE"], "lon": listed["LONGITUDE"]}).set_index(listed["WBAN"])
    return places.assign(coastal=name.isin(COASTAL).to_numpy(), depths=np.where(deepest <= 10, 2, 5), deepest=deepest)


def with_roots(places):
    """Ten of the sites with five depths that the coast leaves: four begin late, six have gaps."""
    deep = places.index[~places["coastal"] & (places["depths"] == 5) & places["lat"].between(25, 50)]
    kinds = pd.Series("full", index=places.index)
    kinds[deep[3::20][:4]], kinds[deep[8::12][:6]] = "late", "gappy"
    return places.assign(root=kinds)


def counted(places, archive):
    crn = network(places)
    smap = smap_over(places)
    out, table = insitu.crn_series(crn, rules="paper-text", observed=insitu.observed_fraction(crn, smap))
    variables.check(out, "crn")
    left = dict(zip(table["rule"].str.split(" ").str[0], table["left"], strict=False))
    assert table["left"].tolist() == [archive, 114, 104, 104, 82, 78, 72]
    assert left["all"] == archive and left["outside"] == 114 and left["coastal"] == 104
    assert set(table["sites"][2]) == set(places.index[places["coastal"] & places["lat"].between(25, 50)])
    assert set(table["sites"][5]) == set(places.index[places["root"] == "late"])
    assert set(table["sites"][6]) == set(places.index[places["root"] == "gappy"])
    assert out.sizes["site"] == 104 and int(out["rzsm_insitu"].notnull().any("time").sum()) == 72
    # The 22 with two depths stay in the surface.
    two = places.index[(places["depths"] == 2) & ~places["coastal"] & places["lat"].between(25, 50)]
    assert len(two) == 22 and set(two) <= set(out["site"].values) and set(table["sites"][4]) == set(two)


def test_counts_of_the_paper_on_made_places():
    places = made()
    inside = np.arange(118) < 114
    assert places["coastal"][inside].sum() == 10
    wanted = places.index[inside & ~places["coastal"].to_numpy()]
    places["depths"] = np.where(places.index.isin(wanted[::5]) | places.index.isin(wanted[1:6:5]), 2, 5)
    counted(with_roots(places), 118)


@pytest.mark.data
def test_counts_of_the_paper_on_the_real_network(data_root):
    places = real(data_root / "uscrn")
    here = places["lat"].between(25, 50) & places["lon"].between(*CONUS[:2])
    assert here.sum() == 114 and places["coastal"].sum() == 10
    assert (places.loc[here, "depths"] == 2).sum() == 22
    assert places.index[places["deepest"].isna() & here].tolist() == ["53149"]  # Torrey is not in the list of probes
    counted(with_roots(places), len(places))
