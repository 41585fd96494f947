"""ISRIC-WISE: tables written as the public ones are described, rasters whose codes tell their row and column."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb.grid import EaseGrid
from smapnb.sources import _wise_tables, wise
from smapnb.sources.wise import WiseError

COLUMNS = ["NEWSUID", "SCID", "PROP", "CLAF", "PRID", "Drain", "Layer", "TopDep", "BotDep", "CFRAG"]
COLUMNS += ["SDTO", "STPC", "CLPC", "PSCL", "BULK", "TAWC", "CECS"]


def line(unit, scid, prop, sand, silt, clay, bulk, water, layer="D1", top=0, bottom=20):
    return [unit, scid, prop, "CM", f"WD{scid}", "W", layer, top, bottom, 7, sand, silt, clay, "M", bulk, water, 12]


def write(path, rows, columns=COLUMNS, separator=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in [columns, *rows]), encoding="utf-8")
    return path


# Tables -------------------------------------------------------------------------------------


def test_the_mean_of_a_unit_is_that_of_its_topsoils(tmp_path):
    rows = [
        line("WD1", 1, 60, 40, 40, 20, 1.2, 15),
        line("WD1", 1, 60, 90, 5, 5, 1.6, 5, layer="D2", top=20, bottom=40),
        line("WD1", 2, 30, 10, 50, 40, 1.5, 12, bottom=10),  # a shallow soil
        line("WD1", 3, 10, -2, -2, -2, -2, -2),  # rock
        line("WD2", 1, 100, -1, -1, -1, -1, -1),  # water
        line("WD3", 1, 50, 30, 40, 30, -7, 10),  # no density measured
        line("WD3", 2, 50, 60, 20, 20, 1.4, 20),
        line("WD4", 1, 100, 50, 30, 10, 1.3, 10),  # sums to 90 %
    ]
    units = _wise_tables.read_units(write(tmp_path / "a.txt", rows))
    table = units.table
    assert table.index.tolist() == ["WD1", "WD2", "WD3", "WD4"]
    # (60 x 40 + 30 x 10) / 90, and so on; rock's tenth is out.
    np.testing.assert_allclose(table.loc["WD1"], [30, 130 / 3, 80 / 3, 1.3, 14])
    assert table.loc["WD2"].isna().all()
    np.testing.assert_allclose(table.loc["WD3"], [45, 30, 25, 1.4, 15])
    assert units.n_dropped == {"sand": 2, "silt": 2, "clay": 2, "bulk_density": 3, "water_capacity": 2}
    assert units.n_texture_off == 1


def test_a_table_exported_otherwise_is_the_same(tmp_path):
    rows = [line(f"U{i}", 1, 100, 10 * i, 50, 50 - 10 * i, 1 + i / 10, i) for i in range(5)]
    plain = _wise_tables.read_units(write(tmp_path / "a.txt", rows)).table
    quoted = [f'"{name.lower()}"' for name in COLUMNS]
    for separator in ";\t|":
        other = _wise_tables.read_units(write(tmp_path / "b.txt", rows, quoted, separator)).table
        pd.testing.assert_frame_equal(other, plain)
    order = np.random.default_rng(0).permutation(len(COLUMNS))
    shuffled = write(tmp_path / "c.txt", [[row[i] for i in order] for row in rows], [COLUMNS[i] for i in order])
    pd.testing.assert_frame_equal(_wise_tables.read_units(shuffled).table, plain)


@given(
    soils=st.lists(st.tuples(st.integers(0, 100), st.integers(-9, 100)), min_size=1, max_size=6),
    extra=st.integers(-9, -1),
)
@settings(max_examples=60, deadline=None)
def test_a_negative_code_changes_no_mean(tmp_path_factory, soils, extra):
    folder = tmp_path_factory.mktemp("wise")
    rows = [line("A", i, prop, sand, 50, 50, 1.2, 10) for i, (prop, sand) in enumerate(soils)]
    mean = _wise_tables.read_units(write(folder / "a.txt", rows)).table.loc["A", "sand"]
    with_code = [*rows, line("A", 99, 35, extra, 50, 50, 1.2, 10)]
    again = _wise_tables.read_units(write(folder / "b.txt", with_code)).table.loc["A", "sand"]
    valid = [(prop, sand) for prop, sand in soils if sand >= 0 and prop > 0]
    if valid:
        assert min(s for _, s in valid) - 1e-9 <= mean <= max(s for _, s in valid) + 1e-9
        assert mean == pytest.approx(sum(p * s for p, s in valid) / sum(p for p, _ in valid))
        assert again == pytest.approx(mean)
    else:
        assert np.isnan(mean) and np.isnan(again)


GOOD = line("A", 1, 100, 40, 40, 20, 1.2, 15)
BAD = [
    (
        [GOOD],
        [name for name in COLUMNS if name not in ("SDTO", "PROP")],
        "no column PROP, SDTO; there are NEWSUID, SCID",
    ),
    ([GOOD], ["UNIT", *COLUMNS[1:]], "no column NEWSUID or SUID; there are UNIT"),
    ([line("A", 1, 100, 40, 40, 20, 1.2, 15, layer="D2")], COLUMNS, "no row of layer D1"),
    ([GOOD, line("A", 2, 100, "x", 40, 20, 1.2, 15)], COLUMNS, "line 3: SDTO is 'x', not a number"),
    ([line("A", 1, "", 40, 40, 20, 1.2, 15)], COLUMNS, "line 2: PROP is ''"),
    ([line("A", 1, 101, 40, 40, 20, 1.2, 15)], COLUMNS, r"line 2: PROP 101\.0 is not in 0\.\.100"),
    ([line("A", 1, 100, 40, 40, 20, 1.2, 15, bottom=30)], COLUMNS, r"line 2: the layer reaches from 0\.0 to 30\.0 cm"),
    ([GOOD, GOOD], COLUMNS, "line 3: component 1 of A is there twice"),
]


@pytest.mark.parametrize(("rows", "columns", "message"), BAD)
def test_bad_tables_are_named(tmp_path, rows, columns, message):
    with pytest.raises(WiseError, match=rf"a\.txt.*{message}"):
        _wise_tables.read_units(write(tmp_path / "a.txt", rows, columns))


def test_blanks_and_closing_separators_shift_no_column(tmp_path):
    text = "NEWSUID, SCID, PROP , Layer, SDTO, STPC, CLPC, BULK, TAWC\n"
    rows = ["WD1, 1, 60, D1, 40, 40, 20, 1.2, 15", "WD1, 2, 40, D1, 10, 50, 40, 1.7, 10"]
    path, codes = tmp_path / "a.txt", tmp_path / "b.tsv"
    for end in ("", ","):
        path.write_text(text + "".join(f"{row}{end}\n" for row in rows))
        np.testing.assert_allclose(_wise_tables.read_units(path).table.loc["WD1"], [28, 44, 28, 1.4, 13])
    codes.write_bytes("pixel_vaue \tdescription\tname\n1\tWD1\tGleyé\t\n2\tWD2\tx\t\n".encode("latin-1"))
    assert _wise_tables.read_codes(codes).to_dict() == {1: "WD1", 2: "WD2"}
    path.write_text(text + rows[0] + '\nWD1, "2, 40, D1\n')
    with pytest.raises(WiseError, match=r"a\.txt: damaged"):
        _wise_tables.read_units(path)


def test_what_is_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _wise_tables.read_units(tmp_path / "nowhere.txt")
    for text, message in (("", "empty file"), ("<html>", "a web page")):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(WiseError, match=message):
            _wise_tables.read_units(tmp_path / "a.txt")


def test_codes(tmp_path):
    path = write(tmp_path / "a.tsv", [[0, "nodata"], [17, "WD1"]], ["pixel_vaue", "description"], "\t")
    assert _wise_tables.read_codes(path).to_dict() == {0: "nodata", 17: "WD1"}
    for rows, columns, message in (
        ([[1, "A"]], ["value", "description"], "no column pixel_vaue or pixel_value; there are value, description"),
        ([[1, "A"]], ["pixel_value", "name"], "no column description"),
        ([[1, "A"], [1.5, "B"]], ["pixel_value", "description"], r"line 3: code 1\.5 is no whole number"),
        ([[1, "A"], [1, "B"]], ["pixel_value", "description"], "line 3: code 1 is there twice"),
    ):
        with pytest.raises(WiseError, match=message):
            _wise_tables.read_codes(write(tmp_path / "a.tsv", rows, columns, "\t"))


def test_without_rasterio_it_says_what_to_install(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(wise.importlib, "import_module", absent)
    write(tmp_path / "wise_30sec_v1.tsv", [[1, "A"]], ["pixel_vaue", "description"], "\t")
    write(tmp_path / "HW30s_FULL.txt", [GOOD])
    (tmp_path / "wise_30sec_v1.tif").write_bytes(b"II*\0")
    with pytest.raises(WiseError, match=r"needs rasterio.*\[soils\]"):
        wise.open_30sec(tmp_path, 36, [99], [219])


# Rasters ------------------------------------------------------------------------------------

STEP = 1 / 120
WEST, NORTH, N_ROW, N_COL = -98.6, 39.3, 72, 96
ROW, COL = np.meshgrid(np.arange(N_ROW), np.arange(N_COL), indexing="ij")
# Each cell has a code and a unit of its own, whose soil tells its row and column.
CODES = 1 + ROW * N_COL + COL
SAND, CLAY = 10 + 0.5 * ROW, 5 + 0.25 * COL


@pytest.fixture
def rasterio():
    return pytest.importorskip("rasterio", reason="WISE needs the extra soils")


def write_raster(path, codes, west=WEST, north=NORTH, step=STEP, crs="EPSG:4326", dtype="int32", **keys):
    import rasterio
    from rasterio.transform import Affine

    path.parent.mkdir(parents=True, exist_ok=True)
    transform = keys.pop("transform", Affine(step, 0, west, 0, -step, north))
    shape = {"height": codes.shape[0], "width": codes.shape[1], "count": 1, "dtype": dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **shape, **keys) as file:
        file.write(codes.astype(dtype), 1)
    return path


@pytest.fixture
def archive(tmp_path, rasterio):
    """WISE30sec in small: the archive's folders and names."""
    folder = tmp_path / "wise_30sec_v1" / "Interchangeable_format"
    write_raster(folder / "wise_30sec_v1.tif", CODES, compress="lzw", nodata=0)
    # Units are not in the order of the codes.
    units = {code: f"WD{(code * 7919) % 10007:05}" for code in CODES.ravel()}
    write(folder / "wise_30sec_v1.tsv", [[0, "nodata"], *units.items()], ["pixel_vaue", "description"], "\t")
    soils = zip(CODES.ravel(), SAND.ravel(), CLAY.ravel(), strict=True)
    rows = [
        line(units[code], 1, 100, sand, 100 - sand - clay, clay, 1 + sand / 100, clay) for code, sand, clay in soils
    ]
    write(folder / "HW30s_FULL.txt", rows)
    return tmp_path


def by_hand(values, row, col, km=9):
    """Mean over a cell: overlaps in degrees of longitude, and in sines of latitude (Lambert)."""
    west, south, east, north = EaseGrid(km).bounds_degrees(row, col)
    left, top = WEST + STEP * np.arange(N_COL), NORTH - STEP * np.arange(N_ROW)
    wx = np.clip(np.minimum(left + STEP, east) - np.maximum(left, west), 0, None)
    high, low = np.minimum(top, north), np.maximum(top - STEP, south)
    wy = np.where(high > low, np.sin(np.radians(high)) - np.sin(np.radians(low)), 0)
    return wy @ values @ wx / (wy.sum() * wx.sum())


# Cells of 9 km inside the raster, in rows and columns of their own.
INSIDE = EaseGrid(9).cell([-98.4, -98.2, -98.0], [39.1, 38.9, 39.0])


def test_every_cell_of_the_raster_is_in_its_place(archive):
    data = wise.open_30sec(archive, 9, *INSIDE)
    assert list(data.data_vars) == ["sand", "silt", "clay", "bulk_density", "water_capacity"]
    assert dict(data.sizes) == {"pixel": 3}
    for i, (row, col) in enumerate(zip(*INSIDE, strict=True)):
        sand, clay = by_hand(SAND, row, col), by_hand(CLAY, row, col)
        found = [float(data[name][i]) for name in data.data_vars]
        assert found == pytest.approx([sand, 100 - sand - clay, clay, 1 + sand / 100, clay], rel=1e-6)
        # One row or column of 30 arc-seconds beside would be seen.
        assert abs(by_hand(np.roll(SAND, 1, axis=0), row, col) - sand) > 0.1
    assert data["row"].to_numpy().tolist() == INSIDE[0].tolist()
    assert {a.attrs["units"] for a in data.values()} == {"%", "kg dm-3", "cm m-1"}
    assert data.attrs["codes_without_row"] == "[]" and data.attrs["units_without_row"] == "[]"
    assert data.attrs["raster_crs"] == "EPSG:4326"


def test_cells_are_the_same_alone_and_together(archive):
    together = wise.open_30sec(archive, 9, *INSIDE)
    for i in range(3):
        alone = wise.open_30sec(archive, 9, INSIDE[0][[i]], INSIDE[1][[i]])
        assert float(alone["sand"][0]) == float(together["sand"][i])


def test_a_cell_beyond_the_raster_has_no_soil(archive):
    row, col = EaseGrid(9).cell([WEST, -98.2, 10.0], [39.0, 20.0, 50.0])
    assert np.isnan(wise.open_30sec(archive, 9, row, col)["sand"]).all()  # half of the first lies beyond


def test_missing_soil_and_codes_that_lead_nowhere(archive, caplog):
    folder = archive / "wise_30sec_v1" / "Interchangeable_format"
    row, col = INSIDE[0][:1], INSIDE[1][:1]
    whole = float(wise.open_30sec(archive, 9, row, col)["sand"][0])
    west, south, east, north = EaseGrid(9).bounds_degrees(row[0], col[0])
    rows = np.flatnonzero((NORTH - STEP * np.arange(N_ROW) > south) & (NORTH - STEP * (1 + np.arange(N_ROW)) < north))
    cols = np.flatnonzero((WEST + STEP * (1 + np.arange(N_COL)) > west) & (WEST + STEP * np.arange(N_COL) < east))
    covering = [(r, c) for r in rows for c in cols]
    for n, lost in ((int(0.2 * len(covering)), False), (int(0.2 * len(covering)) + 1, True)):
        codes = CODES.copy()
        for k, (r, c) in enumerate(covering[:n]):
            codes[r, c] = (0, 99999)[k % 2]  # nodata, and a code that is in no list
        write_raster(folder / "wise_30sec_v1.tif", codes, nodata=0)
        with caplog.at_level(logging.WARNING):
            data = wise.open_30sec(archive, 9, row, col)
        assert np.isnan(float(data["sand"][0])) == lost
        assert json.loads(data.attrs["codes_without_row"]) == [99999] and "99999" in caplog.text
    assert whole == pytest.approx(by_hand(SAND, row[0], col[0]), rel=1e-6)


def test_a_code_that_is_not_in_the_list_or_is_nodata_takes_no_other(archive):
    """A code between those of the list, and one of the list that the raster says is nodata: no soil either way."""
    folder = archive / "wise_30sec_v1" / "Interchangeable_format"
    row, col = INSIDE[0][:1], INSIDE[1][:1]
    lost = CODES[20, 20]
    everywhere = np.full_like(CODES, lost)
    write_raster(folder / "wise_30sec_v1.tif", everywhere, nodata=lost)
    assert np.isnan(wise.open_30sec(archive, 9, row, col)["sand"]).all()
    write_raster(folder / "wise_30sec_v1.tif", everywhere, nodata=0)
    assert float(wise.open_30sec(archive, 9, row, col)["sand"][0]) == SAND[20, 20]
    codes = folder / "wise_30sec_v1.tsv"
    codes.write_text("".join(one for one in codes.read_text().splitlines(True) if not one.startswith(f"{lost}\t")))
    data = wise.open_30sec(archive, 9, row, col)
    assert np.isnan(data["sand"]).all() and json.loads(data.attrs["codes_without_row"]) == [lost]


def test_units_without_soils_are_named(archive):
    codes = archive / "wise_30sec_v1" / "Interchangeable_format" / "wise_30sec_v1.tsv"
    codes.write_text(codes.read_text() + "90000\tWDnone\n")
    assert json.loads(wise.open_30sec(archive, 9, *INSIDE).attrs["units_without_row"]) == ["WDnone"]


def test_the_table_of_five_minutes(tmp_path, rasterio):
    """Codes are the map units themselves; water is 0 or has negative soils."""
    step, west, north = 1 / 12, -100.0, 40.0
    codes = np.arange(1, 24 * 36 + 1).reshape(24, 36)
    codes[:, 0] = 0
    soils = [line(code, 1, 100, code % 36, 60, 40 - code % 36, 1.3, 14) for code in codes.ravel() if code]
    columns = ["SUID", *COLUMNS[1:]]
    table = write(tmp_path / "WISEsummaryFile.csv", soils, columns)
    raster = write_raster(tmp_path / "smw5by5min.tif", codes, west, north, step, dtype="int16")
    row, col = EaseGrid(36).cell([-98.5], [39.0])
    data = wise.open_5min(raster, table, 36, row, col)
    west_, _, east, _ = EaseGrid(36).bounds_degrees(row[0], col[0])
    left = west + step * np.arange(36)
    overlap = np.clip(np.minimum(left + step, east) - np.maximum(left, west_), 0, None)
    assert float(data["sand"][0]) == pytest.approx(overlap @ ((np.arange(36) + 1) % 36) / overlap.sum(), rel=1e-5)
    assert float(data["bulk_density"][0]) == np.float32(1.3)
    assert data.attrs["codes_without_row"] == "[]"
    with pytest.raises(WiseError, match="map unit 'WD1' is no whole number"):
        wise.open_5min(raster, write(tmp_path / "b.csv", [line("WD1", *soils[0][1:3], 1, 1, 1, 1, 1)]), 36, row, col)
    # An ASCII grid says the same, without a reference system.
    ascii_grid = tmp_path / "smw5by5min.asc"
    header = f"ncols 36\nnrows 24\nxllcorner {west}\nyllcorner {north - 2}\ncellsize {step:.15f}\nNODATA_value -9999\n"
    ascii_grid.write_text(header + "\n".join(" ".join(map(str, one)) for one in codes) + "\n")
    other = wise.open_5min(ascii_grid, table, 36, row, col)
    assert float(other["sand"][0]) == pytest.approx(float(data["sand"][0]), rel=1e-5)
    assert "assumed" in other.attrs["raster_crs"]


def test_bad_rasters_are_named(archive, rasterio):
    from rasterio.transform import Affine

    path = archive / "wise_30sec_v1" / "Interchangeable_format" / "wise_30sec_v1.tif"
    whole = path.read_bytes()
    for change, message in (
        ({"crs": "EPSG:6933"}, "is in EPSG:6933, due are longitude and latitude"),
        ({"dtype": "float32"}, "1 bands of float32"),
        ({"transform": Affine(STEP, 0, WEST, 0, STEP, NORTH)}, "rows do not run from north to south"),
        ({"transform": Affine(STEP, 0.001, WEST, 0, -STEP, NORTH)}, "rows do not run"),
        ({"crs": None, "west": 1e6}, "which are no degrees"),
    ):
        write_raster(path, CODES, **change)
        with pytest.raises(WiseError, match=rf"wise_30sec_v1\.tif: .*{message}"):
            wise.open_30sec(archive, 9, *INSIDE)
    for content, message in (
        (whole[: len(whole) // 2], "damaged"),
        (b"", "damaged, truncated or no raster"),
        (b"<html>", "no raster"),
    ):
        path.write_bytes(content)
        with pytest.raises(WiseError, match=rf"wise_30sec_v1\.tif: .*{message}"):
            wise.open_30sec(archive, 9, *INSIDE)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"0 files wise_30sec\*\.tif"):
        wise.open_30sec(archive, 9, *INSIDE)


def test_a_raster_without_georeference_is_refused(archive, rasterio):
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.transform import Affine

    path = archive / "wise_30sec_v1" / "Interchangeable_format" / "wise_30sec_v1.tif"
    with pytest.warns(NotGeoreferencedWarning):
        write_raster(path, CODES, crs=None, transform=Affine.identity())
    with pytest.raises(WiseError, match="does not say where it lies"):
        wise.open_30sec(archive, 9, *INSIDE)
