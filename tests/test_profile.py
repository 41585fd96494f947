"""Profiles: the shipped ones are valid, unknown keys and periods that do not fit are errors that name the key."""

from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smapnb import profile, variables
from smapnb.profile import Profile, ProfileError

FOLDER = Path(__file__).parent.parent / "profiles"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yml"))
SAMPLE_ENDS = date(2018, 3, 31)


def load(name="twin", **overrides) -> Profile:
    return profile.load(name, {k.replace("__", "."): v for k, v in overrides.items()}, FOLDER)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles_are_valid(name):
    loaded = load(name)
    assert loaded.name == name
    assert loaded.synthetic == (loaded.data.source == "twin")
    # A test period is never trained on, and what is scored must have been hindcast.
    assert loaded.evaluation.start > loaded.training.end or loaded.evaluation.end < loaded.training.start
    assert loaded.hindcast.start <= loaded.evaluation.start
    assert loaded.evaluation.end <= loaded.hindcast.end
    assert loaded.inputs.forcing == variables.names("forcing")
    if loaded.data.source == "conus412":
        assert loaded.data.end <= SAMPLE_ENDS
        assert loaded.targets == ["surface"]  # the sample has no root-zone target


def test_the_promised_profiles_are_there():
    assert {"smoke", "twin", "conus412", "conus412-quick"} <= set(SHIPPED)


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 5), ("training.epoch", 5), ("data.pixel", 3), ("training.validation.month", []), ("inputs.x", 1)],
)
def test_unknown_keys_are_named(key, value):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted") as caught:
        profile.load("twin", {key: value}, FOLDER)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [key]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training__start": "1999-12-31"}, "training 1999-12-31.* leaves the data period 2000-01-01"),
        ({"hindcast__end": "2019-01-01"}, "hindcast .*2019-01-01 leaves the data period"),
        ({"evaluation__start": "2018-03-31"}, "evaluation overlaps training"),
        ({"data__end": "1999-01-01"}, "ends on 1999-01-01, before it starts on 2000-01-01"),
        ({"training__dropout": "1.0"}, "dropout"),
        ({"training__dropout": "-0.1"}, "dropout"),
        ({"training__epochs": "0"}, "epochs"),
        ({"training__epochs": "true"}, "epochs"),
        ({"data__twin_seed": "-1"}, "twin_seed"),
        ({"training__optimiser": "sgd"}, "optimiser"),
        ({"rules": "mine"}, "rules"),
        ({"targets": "[]"}, "targets"),
        ({"targets": "[deep]"}, "targets"),
        ({"inputs__forcing": "[precipitation, rain]"}, r"unknown forcing inputs \['rain'\]"),
        ({"inputs__statics": "[ssm_smap]"}, r"unknown static inputs \['ssm_smap'\]"),
        ({"data__pixels": "0"}, "pixels"),
        ({"data__start": "soon"}, "start"),
        ({"training__start": "0"}, "training.start\n.* write a day as 2015-04-01, not as 0 "),
        ({"training__start": "20150401"}, "training.start\n.* write a day as 2015-04-01, not as 20150401 "),
        ({"training__start": "'2015'"}, "training.start\n.* write a day as 2015-04-01, not as '2015' "),
        ({"evaluation__end": "2018.5"}, "evaluation.end\n.* write a day as 2015-04-01, not as 2018.5 "),
        ({"training__seed": str(2**62)}, "training.seed"),
        ({"data__twin_seed": str(2**63)}, "data.twin_seed"),
        ({"training__learning_rate": ".inf"}, "training.learning_rate\n.*finite"),
        ({"training__forcing_noise": ".inf"}, "training.forcing_noise\n.*finite"),
        ({"training__weight_decay": ".nan"}, "training.weight_decay\n.*finite"),
        ({"training__validation__months": "[2015-8]"}, "training.validation.months.0"),
        ({"training__validation__months": "[2015-13]"}, "training.validation.months.0"),
        ({"training__validation__months": "[201508]"}, "training.validation.months.0"),
        ({"training__validation__months": "[2015-04, 2015-03]"}, r"months \['2015-03'\] lie outside .*2015-04-01\.\."),
        (
            {"training__seq_length": "[1096]", "training__warmup": 1},
            "1 \\+ 1096 days .* into the 1096 days of training, 2015-04",
        ),
        (
            {"training__seq_length": "[366]"},
            r"0 \+ 366 days .* into the 365 days of one_year_test.training, 2017-04-01\.\.2018-03-31",
        ),
    ],
)
def test_values_that_do_not_fit(overrides, message):
    with pytest.raises(ValidationError, match=message):
        load(**overrides)


def test_values_that_just_fit():
    """1096 days from 1 April 2015 to 31 March 2018; a second member's instances do not count where there is but one."""
    whole = {"training__seq_length": "[1090, 2000]", "training__warmup": 6, "one_year_test": "null"}
    assert load(**whole).training.warmup == 6
    with pytest.raises(ValidationError, match=r"6 \+ 2000 days"):
        load(**whole, training__members=2)
    months = {"training__validation__months": "[2015-04, 2018-03]"}
    with pytest.raises(ValidationError, match=r"\['2015-04'\] lie outside one_year_test.training, 2017-04-01"):
        load(**months)  # of the one-year test
    assert load(**months, one_year_test="null").training.validation.months[1] == "2018-03"
    assert load(training__seed=2**62 - 1).training.seed + 1 < 2**63


def test_an_edge_of_a_region_that_is_no_number():
    with pytest.raises(ValidationError, match=r"data\.archive\.region\.3\n.*finite"):
        load("conus", data__archive__region=[-100, -97, 33, float("nan")])


def test_a_key_given_twice_is_named():
    with pytest.raises(ProfileError, match=r"-p training\.epochs=6: training\.epochs is given twice, before as '5'"):
        profile.parse_assignments(["training.epochs=5", "training.seed=1", "training.epochs=6"])


def test_overrides_are_read_as_yaml():
    changed = load(training__epochs="5", data__pixels="null", inputs__statics="[sand, clay]", training__members=2)
    assert changed.training.epochs == 5
    assert changed.data.pixels is None
    assert changed.inputs.statics == ["sand", "clay"]
    assert changed.training.members == 2
    assert load().training.epochs != 5


@given(st.dates(date(2000, 1, 1), date(2018, 12, 31)), st.dates(date(2000, 1, 1), date(2018, 12, 31)))
def test_no_evaluation_period_shares_a_day_with_training(start, end):
    base = load()
    shares = start <= base.training.end and base.training.start <= end
    leaves = start < base.hindcast.start or end > base.hindcast.end
    if end < start or shares or leaves:
        with pytest.raises(ValidationError):
            load(evaluation__start=start, evaluation__end=end)
    else:
        assert load(evaluation__start=start, evaluation__end=end).evaluation.start == start


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training__seq_length", []),
        ("training__seed", -1),
        ("training__device", "gpu"),
        ("name", ""),
        ("name", "../x"),
        ("targets", ["surface", "surface"]),
        ("inputs__forcing", []),
        ("inputs__forcing", ["precipitation", "precipitation"]),
        ("hindcast__start", "2018-06-01"),
    ],
)
def test_what_cannot_be_run_is_refused(key, value):
    with pytest.raises(ValidationError):
        Profile.model_validate(load().model_dump() | {key: value} if "__" not in key else load(**{key: value}))


def test_the_real_sample_has_no_root_zone():
    with pytest.raises(ValidationError, match="no root-zone target"):
        load("conus412", targets=["rootzone"])


def test_a_profile_survives_its_own_yaml(tmp_path):
    original = load("conus412")
    path = tmp_path / "copy.yml"
    path.write_text(yaml.safe_dump(original.model_dump(mode="json")))
    assert profile.load(path) == original


def test_no_such_profile():
    with pytest.raises(ProfileError, match=r"no profile 'nowhere': .*known here: .*smoke.*twin"):
        load("nowhere")
    with pytest.raises(ProfileError, match="known here: none"):
        profile.load("smoke", folder=Path("nowhere"))


def test_a_key_that_stands_twice_is_named(tmp_path):
    text = (FOLDER / "smoke.yml").read_text()
    (tmp_path / "mine.yml").write_text(text.replace("  epochs: 6\n", "  epochs: 6\n  epochs: 7\n"))
    with pytest.raises(ProfileError, match=r"mine.yml: .*the key 'epochs' stands twice"):
        profile.load(tmp_path / "mine.yml")


def test_a_profile_that_is_no_mapping(tmp_path):
    path = tmp_path / "list.yml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ProfileError, match=r"list.yml: not a mapping"):
        profile.load(path)


def test_a_value_is_not_a_section():
    with pytest.raises(ProfileError, match="'title' is a value, not a section"):
        profile.load("twin", {"title.short": "x"}, FOLDER)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("lat,lon\n35,-98\nx,1\n", "line 3"),
        ("latitude,lon\n35,-98\n", "line 2"),
        ("lat,lon\n95,0\n", "line 2: no place in degrees"),
        ("lat,lon\n", "holds no place"),
        (None, "cannot be read"),
    ],
)
def test_files_of_sites_that_do_not_hold(tmp_path, body, words):
    path = tmp_path / "sites.csv"
    if body is not None:
        path.write_text(body)
    with pytest.raises(ProfileError, match=rf"sites\.csv.*{words}"):
        load("conus", data__archive__sites=str(path))


def test_sites_of_a_file_are_those_of_a_list(tmp_path):
    """A file lies beside the profile; what is kept of it are the places."""
    (tmp_path / "sites.csv").write_text("name,lon,lat\na,-98.5,35\n")
    values = yaml.safe_load((FOLDER / "conus.yml").read_text())
    values["data"]["archive"] = {"sites": "sites.csv"}
    (tmp_path / "mine.yml").write_text(yaml.safe_dump(values))
    mine = profile.load(tmp_path / "mine.yml")
    assert mine == load("conus", data__archive__sites="[{lat: 35, lon: -98.5}]")
    assert mine.archive.sites == [profile.Place(lat=35, lon=-98.5)]


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        ({"sites": [{"lat": 35, "lon": -98}], "region": [-100, -95, 30, 35]}, "either region or sites"),
        ({"sites": []}, "at least 1"),
        ({"sites": [{"lat": 35, "lon": 181}]}, "less than or equal to 180"),
        ({"nldas": "points"}, "'grids', 'centre' or 'covering'"),
    ],
)
def test_places_that_do_not_hold(archive, words):
    with pytest.raises(ValidationError, match=words):
        load("conus", data__archive=archive)


def test_versions_of_smap():
    """The default leaves no mark, so that cubes from before the keys were known are kept."""
    usual = load("conus")
    said = yaml.safe_load('{smap_l3_version: "009", smap_l4_version: "008", smap_l4_collection: null}')
    assert load("conus", data__archive=said) == usual
    assert not [
        key for key in usual.model_dump(mode="json")["data"]["archive"] if key.endswith(("version", "collection"))
    ]
    older = load("conus", data__archive={"smap_l3_version": "008", "smap_l4_collection": "C12-NSIDC_CPRD"})
    dumped = older.model_dump(mode="json")
    assert dumped["data"]["archive"]["smap_l3_version"] == "008" and "smap_l4_version" not in dumped["data"]["archive"]
    assert Profile.model_validate(dumped) == older != usual


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("smap_l3_version", "010", "three digits in quotes"),  # YAML reads the number 8
        ("smap_l3_version", "9", "three digits in quotes"),
        ("smap_l4_version", '"0080"', "three digits in quotes"),
        ("smap_l4_version", "../8", "three digits in quotes"),
        ("smap_l4_collection", "SPL4SMGP", "pattern"),
    ],
)
def test_versions_that_do_not_hold(key, value, words):
    with pytest.raises(ValidationError, match=words):
        load("conus", **{f"data__archive__{key}": value})


@pytest.mark.parametrize("override", [{"data": "here"}, {"data__archive": "there"}, {"data": None}])
def test_a_section_that_is_a_value_is_told_by_its_name(override):
    with pytest.raises(ValidationError, match=r"data"):
        load("conus", **override)


def test_series_are_not_fetched_for_pixels_that_nobody_takes():
    with pytest.raises(ValidationError, match="name sites instead of pixels"):
        load("conus", data__archive={"nldas": "centre"}, data__pixels=3)
    with pytest.raises(ProfileError, match="twin has no section"):
        _ = load("twin").archive


def test_assignments():
    assert profile.parse_assignments(["training.epochs=5", "title=a=b"]) == {"training.epochs": "5", "title": "a=b"}
    for wrong in ("training.epochs", "=5"):
        with pytest.raises(ProfileError, match=r"write it as section\.key=value"):
            profile.parse_assignments([wrong])


def test_folders_follow_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "out"))
    assert profile.data_root() == tmp_path / "data"
    assert profile.run_folder("twin") == tmp_path / "out" / "twin"
    monkeypatch.delenv("SMAPNB_RUNS")
    monkeypatch.setenv("SMAPNB_DATA", "~/data")
    assert profile.run_folder("twin") == Path("runs/twin")
    assert profile.data_root() == Path.home() / "data"
    monkeypatch.delenv("SMAPNB_DATA")
    assert profile.data_root().name == "smapnb"


def test_variable_names():
    assert profile.variable("surface", "smap") == "ssm_smap"
    assert profile.variable("rootzone", "lstm") == "rzsm_lstm"
    with pytest.raises(KeyError):
        profile.variable("deep", "smap")
