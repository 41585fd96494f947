"""SMAP files that are not what they should be: every one is named, none becomes a number."""

import h5py
import numpy as np
import pytest
from granules import code, write_l2, write_l3, write_l4

from smapnb.sources import smap

SHAPE = (406, 964)
CELL = ([80], [200])


def granule(folder, day="2015-04-01", value=0.2, **options):
    return write_l3(folder, day, {"soil_moisture_scav": np.full(SHAPE, value, np.float32)}, **options)


def flip_data(path, name="Soil_Moisture_Retrieval_Data_AM/soil_moisture_scav"):
    """Change bytes within the compressed chunk of a field, as a failing disk does."""
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    middle = chunk.byte_offset + chunk.size // 2
    raw[middle : middle + 8] = bytes(b ^ 0xFF for b in raw[middle : middle + 8])
    path.write_bytes(raw)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "login page": (lambda path: path.write_text("\n<!DOCTYPE html><html><title>Earthdata Login"), "login page"),
    "text": (lambda path: path.write_text("Not found"), "no HDF5 file"),
    "truncated": (cut, "truncated or corrupt"),
    "corrupt": (flip_data, "truncated or corrupt"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_an_error_or_a_counted_gap(tmp_path, damage, caplog):
    granule(tmp_path)
    write_l3(tmp_path, "2015-04-03", {"soil_moisture_scav": code(SHAPE)})
    bad = write_l3(tmp_path, "2015-04-02", {"soil_moisture_scav": code(SHAPE)})
    breaks, message = DAMAGE[damage]
    breaks(bad)
    with pytest.raises(smap.DamagedError, match=rf"{bad.name}: .*{message}.*download it again"):
        smap.open_l3(tmp_path)
    series = smap.open_l3(tmp_path, cells=CELL, damaged="gap")
    assert np.isnan(series["ssm_smap"].values[:, 0]).tolist() == [False, True, False]
    assert series.attrs["missing"] == "2015-04-02" and series.attrs["n_missing"] == 1
    assert series.attrs["damaged_granules"] == bad.name and series.attrs["n_damaged_granules"] == 1
    assert bad.name in caplog.text
    # A lower reprocessing stands in where there is one.
    lower = granule(tmp_path, "2015-04-02", 0.3, release="R18240")
    series = smap.open_l3(tmp_path, cells=CELL, damaged="gap")
    assert series["ssm_smap"].values[1, 0] == np.float32(0.3) and series.attrs["n_missing"] == 0
    assert series.attrs["composite_release"] == "R18240, R18290" and lower.exists()
    with pytest.raises(smap.SmapError, match="'error' or a 'gap', not 'skip'"):
        smap.open_l3(tmp_path, damaged="skip")


def test_a_series_of_damaged_files_only_is_an_error(tmp_path):
    cut(granule(tmp_path))
    for read in (smap.open_l3, smap.flag_statics):
        with pytest.raises(smap.SmapError, match="all 1 granules are damaged, the first is SMAP_L3_SM_P_20150401"):
            read(tmp_path, damaged="gap", end="2015-04-02", start="2015-04-01")


def test_other_faults_are_never_gaps(tmp_path):
    path = granule(tmp_path)
    with h5py.File(path, "a") as file:
        del file["Soil_Moisture_Retrieval_Data_AM/soil_moisture_scav"]
    with pytest.raises(smap.SmapError, match=f"{path.name}: no soil_moisture_scav or soil_moisture_option2") as error:
        smap.open_l3(tmp_path, damaged="gap")
    assert not isinstance(error.value, smap.DamagedError)


def test_groups_of_older_versions_are_named(tmp_path):
    path = tmp_path / "SMAP_L3_SM_P_20150401_R13080_001.h5"
    with h5py.File(path, "w") as file:
        file.create_group("Metadata")
        file.create_group("Soil_Moisture_Retrieval_Data")
    with pytest.raises(smap.SmapError, match=rf"{path.name}: no group .*_AM, there are .*version 3 or older"):
        smap.open_l3(path)


def test_another_product_is_refused(tmp_path):
    smau = write_l4(tmp_path, "20150401T000000", kind="aup", window=(slice(0, 2), slice(0, 2)))
    with pytest.raises(smap.SmapError, match=f"{smau.name}: is SPL4SMAU, due is SPL3SMP or SPL3SMP_E"):
        smap.open_l3(smau)
    with pytest.raises(smap.SmapError, match=r"holds no granule of SPL3SMP, SPL3SMP_E, but 1 other files"):
        smap.open_l3(tmp_path)
    # A wrong name does not help: the file says what it is.
    dressed = tmp_path / "SMAP_L3_SM_P_20150401_R18290_001.h5"
    smau.rename(dressed)
    with pytest.raises(smap.SmapError, match=r"named as SPL3SMP, but its metadata say SPL4SMAU"):
        smap.open_l3(dressed)


def test_a_renamed_day_is_refused(tmp_path):
    path = granule(tmp_path)
    later = path.rename(tmp_path / "SMAP_L3_SM_P_20150402_R18290_001.h5")
    with pytest.raises(smap.SmapError, match=rf"{later.name}: renamed, its metadata say {path.name}"):
        smap.open_l3(later)


def test_a_name_that_tells_nothing_is_looked_up_in_the_file(tmp_path):
    path = granule(tmp_path, "2016-07-09").rename(tmp_path / "my_subset.h5")
    series = smap.open_l3(path, cells=CELL)
    assert str(series["time"].values[0])[:10] == "2016-07-09"
    with h5py.File(path, "a") as file:
        del file["Metadata"]
    with pytest.raises(smap.SmapError, match=r"my_subset\.h5: neither its name nor Metadata"):
        smap.open_l3(path)


def test_a_tail_after_the_name_does_not_matter(tmp_path):
    path = granule(tmp_path).rename(tmp_path / "SMAP_L3_SM_P_20150401_R18290_001_HEGOUT.nc4")
    assert smap.open_l3(path, cells=CELL).attrs["n_granules"] == 1
    assert smap.open_l3(tmp_path, cells=CELL).attrs["n_granules"] == 1


def test_impossible_dates_are_named(tmp_path):
    path = granule(tmp_path).rename(tmp_path / "SMAP_L3_SM_P_20151301_R18290_001.h5")
    with pytest.raises(smap.SmapError, match=r"'20151301' in the name is no date"):
        smap.open_l3(path)


def test_versions_are_not_mixed(tmp_path):
    old = granule(tmp_path)
    new = granule(tmp_path, "2015-04-02", version="009", release="R19240")
    with pytest.raises(smap.SmapError, match=rf"{new.name}: version 009, while .*{old.name} is version 008"):
        smap.open_l3(tmp_path)
    series = smap.open_l3(tmp_path, cells=CELL, mixed_versions=True)
    assert series.attrs["product_version"] == "008, 009" and series.sizes["time"] == 2
    # A file without metadata is known by its release.
    for path in (old, new):
        with h5py.File(path, "a") as file:
            del file["Metadata"]
    with pytest.raises(smap.SmapError, match=r"version of R19, while .* is version of R18"):
        smap.open_l3(tmp_path)


def test_the_same_granule_twice_is_an_error(tmp_path):
    one, two = granule(tmp_path / "a"), granule(tmp_path / "b")
    with pytest.raises(smap.SmapError, match=f"the same granule twice: .*{one.name} and .*{two.name}"):
        smap.open_l3(tmp_path)


def test_products_are_read_one_at_a_time(tmp_path):
    granule(tmp_path)
    write_l3(tmp_path, "2015-04-01", enhanced=True, version="005", release="R18240")
    with pytest.raises(smap.SmapError, match=r"several products together.*SPL3SMP: .*SPL3SMP_E: "):
        smap.open_l3(tmp_path)


def test_no_file_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere"):
        smap.open_l3(tmp_path / "nowhere")
    with pytest.raises(smap.SmapError, match=r"holds no granule of SPL4SMGP, SPL4SMAU$"):
        smap.open_l4(tmp_path)
    with pytest.raises(smap.SmapError, match="no file given"):
        smap.open_l3([])


@pytest.mark.parametrize("turn", ["flipped", "shifted"])
def test_a_turned_file_is_refused(tmp_path, turn):
    rows = np.broadcast_to(np.arange(406)[:, None], SHAPE)
    rows = rows[::-1] if turn == "flipped" else np.maximum(rows - 1, 0)
    path = write_l3(tmp_path, "2015-04-01", {"soil_moisture_scav": 0.2, "EASE_row_index": rows})
    found = 405 - 47 if turn == "flipped" else 46
    with pytest.raises(smap.SmapError, match=rf"{path.name}: .*EASE_row_index is {found} at row 47, column 147"):
        smap.open_l3(path)


def test_a_turned_file_is_refused_after_a_day_without_a_cell_seen(tmp_path):
    write_l3(tmp_path, "2015-04-01", {}, seen=np.zeros(SHAPE, bool))
    path = write_l3(tmp_path, "2015-04-02", {"soil_moisture_scav": code(SHAPE)}, seen=np.ones(SHAPE, bool))
    with h5py.File(path, "a") as file:
        group = file["Soil_Moisture_Retrieval_Data_AM"]
        for name in ("soil_moisture_scav", "EASE_row_index", "EASE_column_index"):
            group[name][...] = group[name][...][::-1]
    with pytest.raises(smap.SmapError, match="EASE_row_index is 325 at row 80"):
        smap.open_l3(tmp_path, cells=CELL)


def test_another_shape_is_refused(tmp_path):
    path = granule(tmp_path)
    with h5py.File(path, "a") as file:
        group = file["Soil_Moisture_Retrieval_Data_AM"]
        for name in ("soil_moisture_scav", "EASE_row_index", "EASE_column_index"):
            del group[name]
        group["soil_moisture_scav"] = np.zeros((964, 406), np.float32)
    with pytest.raises(
        smap.SmapError, match=r"soil_moisture_scav has the shape \(964, 406\), the 36 km grid \(406, 964\)"
    ):
        smap.open_l3(path)


def test_text_in_place_of_numbers_is_refused(tmp_path):
    path = granule(tmp_path)
    with h5py.File(path, "a") as file:
        group = file["Soil_Moisture_Retrieval_Data_AM"]
        del group["soil_moisture_scav"]
        group["soil_moisture_scav"] = np.full(SHAPE, b"0.2")
    with pytest.raises(smap.SmapError, match=r"soil_moisture_scav holds \|S3, not numbers"):
        smap.open_l3(path)


def test_flags_stored_as_floats_are_refused(tmp_path):
    path = granule(tmp_path)
    with h5py.File(path, "a") as file:
        group = file["Soil_Moisture_Retrieval_Data_AM"]
        del group["retrieval_qual_flag_scav"]
        group["retrieval_qual_flag_scav"] = np.zeros(SHAPE, np.float32)
    with pytest.raises(smap.SmapError, match="flags are float32"):
        smap.open_l3(path, quality="recommended")


HALF = {
    "soil_moisture_option1": [0.1, 0.11, 0.12, 0.13],
    "soil_moisture_option2": [0.2, 0.21, -9999, 0.23],
    "soil_moisture": [0.3, 0.31, 0.32, 0.33],
    "retrieval_qual_flag_option2": [0, 1, 7, 8],
    "retrieval_qual_flag": [0, 0, 0, 0],
    "surface_flag": [0, 4, 7, 0],
    "tb_time_seconds": [0.0, 1.0, 2.0, -9999],
}


def test_half_orbits(tmp_path):
    # The second cell lies north of CONUS, the last two beside it; the second half orbit starts at the same second.
    write_l2(tmp_path, "20150811T013002", [80, 5, 82, 83], [200, 201, 202, 203], HALF)
    write_l2(
        tmp_path, "20150811T013002", [90, 90, 90], [210, 146, 305], {"soil_moisture_option2": 0.4}, orbit=2802, way="D"
    )
    orbits = smap.open_l2(tmp_path)
    np.testing.assert_allclose(orbits["ssm_smap"], [0.2, np.nan, 0.23, 0.4], rtol=1e-6)
    assert orbits["row"].values.tolist() == [80, 82, 83, 90] and orbits["col"].values.tolist() == [200, 202, 203, 210]
    assert orbits["orbit"].values.tolist() == [2801, 2801, 2801, 2802]
    assert orbits["ascending"].values.tolist() == [True, True, True, False]
    assert str(orbits["time"].values[1]).startswith("2000-01-01T12:00:02") and np.isnat(orbits["time"].values[2])
    assert smap.open_l2(tmp_path, region=None).sizes["observation"] == 7

    def values(**options):
        return smap.open_l2(tmp_path, region=None, **options)["ssm_smap"].values[:4]

    np.testing.assert_allclose(values(algorithm="scah"), HALF["soil_moisture_option1"])
    np.testing.assert_allclose(values(algorithm="dca"), HALF["soil_moisture"])
    np.testing.assert_allclose(values(quality="recommended"), [0.2, np.nan, np.nan, 0.23], rtol=1e-6)
    np.testing.assert_allclose(values(quality={"surface_flag": ["coastal_proximity"]}), [0.2, np.nan, np.nan, 0.23])


def test_half_orbits_with_faults(tmp_path):
    path = write_l2(tmp_path, "20150811T013002", [406], [0], {})
    with pytest.raises(
        smap.SmapError, match=rf"{path.name}: entry 0 lies in row 406, column 0, outside EaseGrid\(36\)"
    ):
        smap.open_l2(path)
    cut(path)
    with pytest.raises(smap.SmapError, match="all 1 granules are damaged, the first is SMAP_L2"):
        smap.open_l2(path, damaged="gap")
    with h5py.File(write_l2(tmp_path, "20150812T013002", [1, 2], [3, 4], {}), "a") as file:
        group = file["Soil_Moisture_Retrieval_Data"]
        del group["surface_flag"]
        group["surface_flag"] = np.zeros(3, np.uint16)
    with pytest.raises(smap.SmapError, match=r"surface_flag has the shape \(3,\)"):
        smap.open_l2(tmp_path / "SMAP_L2_SM_P_02801_A_20150812T013002_R18290_001.h5")
