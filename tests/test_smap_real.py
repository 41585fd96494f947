"""SMAP readers on real granules and on listings of real granules, against plain reads of the same files."""

import xml.etree.ElementTree as ElementTree

import granules
import h5py
import numpy as np
import pytest

from smapnb.grid import EaseGrid
from smapnb.sources import authors_csv, smap

HALF_ORBIT = "SMAP_L2_SM_P_02801_A_20150811T013002_R18290_001.h5"
ANALYSIS = "SMAP_L4_SM_aup_20200128T150000_Vv4030_NAmerica_subset.h5"
DAP = "{http://xml.opendap.org/ns/DAP/4.0#}"

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder(data_root):
    path = data_root / "smap"
    if not path.is_dir():
        pytest.skip(f"no real SMAP granules: {path} is not there (SMAPNB_DATA names its parent)")
    return path


def plain(path, name):
    with h5py.File(path) as file:
        return file[name][...]


@pytest.mark.parametrize(
    ("algorithm", "field"),
    [("scah", "soil_moisture_option1"), ("scav", "soil_moisture_option2"), ("dca", "soil_moisture")],
)
def test_a_real_half_orbit(folder, algorithm, field):
    path = folder / HALF_ORBIT
    orbit = smap.open_l2(path, algorithm, region=None)
    group = "Soil_Moisture_Retrieval_Data/"
    raw = plain(path, group + field)
    # To six digits: of 14 retrievals of SCA-H that stopped at the limit of 0.02, 12 are stored as 0.01999998.
    valid = (raw.round(6) >= np.float32(0.02)) & (raw.round(6) <= np.float32(0.5))
    assert (algorithm == "scah") == (np.count_nonzero((raw < np.float32(0.02)) & valid) == 12)
    np.testing.assert_array_equal(orbit["ssm_smap"], np.where(valid, raw, np.nan))
    assert orbit.attrs["n_out_of_range_masked"] == ((raw != -9999) & ~valid).sum() > 0
    # The file's own coordinates are float32 and good to a hundred-thousandth of a degree.
    np.testing.assert_allclose(orbit["lat"], plain(path, group + "latitude"), atol=1e-5)
    np.testing.assert_allclose(orbit["lon"], plain(path, group + "longitude"), atol=1e-5)
    # Where the seconds round up to the next whole one, the file has "34.***" for them.
    text = np.char.rstrip(plain(path, group + "tb_time_utc").astype("U24"), "Z")
    whole = np.char.find(text, "*") < 0
    assert 0.99 < whole.mean() < 1
    difference = orbit["time"].values[whole] - text[whole].astype("datetime64[ms]")
    assert np.abs(difference).max() <= np.timedelta64(1, "ms")
    assert orbit["orbit"].values[0] == 2801 and orbit["ascending"].all()


def test_flags_of_a_real_half_orbit(folder):
    path = folder / HALF_ORBIT
    flag = plain(path, "Soil_Moisture_Retrieval_Data/retrieval_qual_flag")
    assert np.unique(flag).tolist() == [0, 1, 5, 7, 9, 13, 15]
    moisture = smap.open_l2(path, "dca", region=None)["ssm_smap"].values
    good = smap.open_l2(path, "dca", region=None, quality="recommended")["ssm_smap"].values
    tried = smap.open_l2(path, "dca", region=None, quality="attempted")["ssm_smap"].values
    np.testing.assert_array_equal(good, np.where(flag == 0, moisture, np.nan))
    np.testing.assert_array_equal(tried, np.where(np.isin(flag, [0, 1, 9]), moisture, np.nan))
    assert np.isfinite(good).sum() == 592


def test_what_the_authors_constants_are_made_of(folder, data_root):
    """Six of the sample's pixels lie under the half orbit: the same fields and bits, though of version 4 there."""
    path = folder / HALF_ORBIT
    sample = authors_csv.open_sample(data_root / "conus412", [2015])
    group = "Soil_Moisture_Retrieval_Data/"
    row, col = plain(path, group + "EASE_row_index"), plain(path, group + "EASE_column_index")
    place = {cell: n for n, cell in enumerate(zip(row.tolist(), col.tolist(), strict=True))}
    cells = list(zip(sample["row"].values.tolist(), sample["col"].values.tolist(), strict=True))
    pairs = [(n, place[cell]) for n, cell in enumerate(cells) if cell in place]
    ours, theirs = np.array(pairs).T
    assert ours.size == 6
    water = plain(path, group + "static_water_body_fraction")[theirs]
    np.testing.assert_allclose(sample["water_fraction"][ours], water, rtol=1e-5)
    np.testing.assert_array_equal(sample["landcover_class"][ours], plain(path, group + "landcover_class")[theirs, 0])
    flag = plain(path, group + "surface_flag")[theirs]
    dense = smap.flag_set(flag, 10)
    np.testing.assert_array_equal(sample["dense_vegetation"][ours], dense)
    conditions = np.array([smap.flag_set(flag, bit) for bit in (2, 6, 9, 0, 3)])
    single = (conditions * np.arange(1, 6)[:, None]).sum(axis=0)
    expected = np.where(conditions.sum(axis=0) > 1, 6, single)
    np.testing.assert_array_equal(sample["surface_condition"][ours], expected)
    assert set(expected.tolist()) == {0, 5, 6}


def test_a_real_analysis_that_is_cut_to_north_america(folder):
    path = folder / ANALYSIS
    series = smap.open_l4(path, quantities=["surface"], minimum=1)
    assert str(series["time"].values[0])[:10] == "2020-01-28"
    raw = plain(path, "Analysis_Data/sm_surface_analysis")
    columns = plain(path, "cell_column")[0]
    # Row 189 is the first of CONUS; the file begins in row 40 and ends in column 1209, before CONUS does.
    assert columns[0] == 87 and columns[-1] == 1209
    expected = raw[189 - 40 : 469 - 40, 589 - 87 :]
    found = series["ssm_smap_l4"].values.reshape(280, 1210 - 589)
    np.testing.assert_array_equal(found, np.where(expected == -9999, np.nan, expected))
    assert series.attrs["n_cells_outside_file"] == 280 * (1221 - 1210)
    # x and y place the cells as EPSG:6933 does.
    lon, lat = EaseGrid(9).center(40, 87)
    assert lon == pytest.approx(-171.8309, abs=1e-4) and lat == pytest.approx(71.2588, abs=1e-4)
    with pytest.raises(smap.SmapError, match=r"no sm_rootzone_analysis in /Analysis_Data; there are .*sm_surface_an"):
        smap.open_l4(path, minimum=1)
    instant = smap.open_l4(path, quantities=["surface"], daily=False)
    assert str(instant["time"].values[0])[:16] == "2020-01-28T15:00"


def listing(path):
    """Level-3 fields of an OPeNDAP listing: (group, name) -> (type, number of dimensions, fill, low, high, units)."""
    found, links = {}, {}

    def walk(node, group):
        for item in node:
            kind = item.tag.removeprefix(DAP)
            if kind == "Group":
                walk(item, f"{group}/{item.get('name')}")
            elif item.get("name", "") and item.find(f"{DAP}Dim") is not None:
                values = {a.get("name"): a.findtext(f"{DAP}Value") for a in item.findall(f"{DAP}Attribute")}
                home, name = values.get("fullnamepath", f"{group}/{item.get('name')}").lstrip("/").split("/")
                numbers = [values.get(key) for key in ("_FillValue", "valid_min", "valid_max")]
                numbers = [None if number is None else float(number) for number in numbers]
                found[home, name] = (kind, len(item.findall(f"{DAP}Dim")), *numbers, values.get("units"))
                if "HDF5_HARDLINK" in values:
                    links[home, name] = values["HDF5_HARDLINK"].rsplit("/", 1)[1]

    walk(ElementTree.parse(path).getroot(), "")
    return found, links


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("SMAP_L3_SM_P.dmr.xml", "4"),
        ("SC_SPL3SMP_008.dmr", "8"),
        ("SMAP_L3_SM_P_E_20211030_R18240_001.dmr.xml", "E"),
    ],
)
def test_written_granules_have_the_structure_of_real_ones(folder, tmp_path, file, kind):
    real, links = listing(folder / file)
    releases = {"4": ("004", "R14010"), "8": ("008", "R18290"), "E": ("005", "R18240")}
    version, release = releases[kind]
    path = granules.write_l3(
        tmp_path, "2015-04-01", version=version, release=release, enhanced=kind == "E", polar=kind == "E"
    )
    written = {}
    with h5py.File(path) as written_file:
        for home in (name for name in written_file if name != "Metadata"):
            for name, node in written_file[home].items():
                keys = ("_FillValue", "valid_min", "valid_max")
                numbers = [float(node.attrs[key]) if key in node.attrs else None for key in keys]
                units = node.attrs["units"].decode() if "units" in node.attrs else None
                written[home, name] = (granules.NAMES.get(node.dtype, "String"), node.ndim, *numbers, units)
        for (home, name), target in links.items():
            assert written_file[home][name] == written_file[home][target]
    assert written.keys() == real.keys()
    for key, (dtype, n, *numbers, units) in real.items():
        assert written[key][:2] == (dtype, n) and written[key][5] == units, key
        for ours, theirs in zip(written[key][2:5], numbers, strict=True):
            assert (ours is None) == (theirs is None) and (ours is None or ours == pytest.approx(theirs, rel=1e-6)), key


def test_written_half_orbits_have_the_fields_of_the_real_one(folder, tmp_path):
    with h5py.File(granules.write_l2(tmp_path, "20150811T013002", [1], [2], {})) as written:
        ours = written["Soil_Moisture_Retrieval_Data"]
        with h5py.File(folder / HALF_ORBIT) as file:
            real = file["Soil_Moisture_Retrieval_Data"]
            assert set(ours) <= set(real) | {"tb_h_uncorrected"}
            for name, node in ours.items():
                assert node.dtype == real[name].dtype and node.ndim == real[name].ndim, name
                assert node.attrs.get("_FillValue") == real[name].attrs.get("_FillValue"), name
