"""Build the two border files of smapnb/data from npm us-atlas and world-atlas; run by hand, seldom.

It needs npm, geopandas and pyogrio, which smapnb does not: use a throw-away virtual environment,
``pip install geopandas pyogrio && python tools/build_borders.py``.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path

import geopandas
import shapely

DATA = Path(__file__).resolve().parents[1] / "smapnb" / "data"
PACKAGES = ("us-atlas@3.0.1", "world-atlas@2.0.2")
WINDOW = shapely.box(-129.9, 20.1, -60.1, 54.9)
OUTSIDE_CONUS = {
    "Alaska",
    "American Samoa",
    "Commonwealth of the Northern Mariana Islands",
    "Guam",
    "Hawaii",
    "Puerto Rico",
    "United States Virgin Islands",
}


def unpack(folder: Path) -> None:
    """Fetch the packages with npm and unpack each into ``folder/<name>``."""
    subprocess.run(["npm", "pack", "--silent", *PACKAGES], cwd=folder, check=True)
    for archive in folder.glob("*.tgz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder / archive.name.rsplit("-", 1)[0], filter="data")


def states(folder: Path) -> geopandas.GeoDataFrame:
    """Return the 48 states and the District of Columbia: id (FIPS), name, polygon."""
    frame = geopandas.read_file(folder / "us-atlas/package/states-10m.json", layer="states")
    frame = frame[~frame["name"].isin(OUTSIDE_CONUS)].set_crs(4326, allow_override=True)
    frame["geometry"] = shapely.make_valid(frame.geometry.values, method="structure", keep_collapsed=False)
    return frame[["id", "name", "geometry"]].sort_values("id")


def coastline(folder: Path) -> geopandas.GeoDataFrame:
    """Return the coastline around CONUS as one multi-line, without the edge of the window."""
    land = geopandas.read_file(folder / "world-atlas/package/land-50m.json")
    land = land.set_crs(4326, allow_override=True).explode(index_parts=False).geometry
    land = land[land.intersects(WINDOW)].make_valid()
    lines = shapely.union_all(shapely.intersection(shapely.boundary(land.values), WINDOW))
    return geopandas.GeoDataFrame({"name": ["coastline"]}, geometry=[lines], crs=4326)


def write(frame: geopandas.GeoDataFrame, name: str) -> None:
    """Write GeoJSON with coordinates to 0.001 degrees (about 100 m), by way of a temporary name."""
    partial = DATA / f"{name}.part.geojson"
    frame.to_file(partial, driver="GeoJSON", COORDINATE_PRECISION=3, layer=name)
    partial.replace(DATA / f"{name}.geojson")
    print(f"{name}.geojson: {len(frame)} features, {(DATA / f'{name}.geojson').stat().st_size} bytes")


def main() -> None:
    """Build both files."""
    with tempfile.TemporaryDirectory() as temporary:
        unpack(Path(temporary))
        write(states(Path(temporary)), "us_states_conus")
        write(coastline(Path(temporary)), "na_coastline_50m")


if __name__ == "__main__":
    main()
