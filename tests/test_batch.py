"""Scaling by hand, missing and infinite values, windows whose values say where they come from."""

import json
import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare

from smapnb import variables
from smapnb.batch import (
    BatchError,
    Places,
    Scaler,
    Tensors,
    Windows,
    cut_windows,
    draw_places,
    impossible_values,
    iterations_per_epoch,
    moisture_dataset,
    out_of_range,
    scored_days,
    tensors,
)


def dataset(**values) -> xr.Dataset:
    """Variables of the table from lists: (time, pixel), or (pixel) for one-dimensional ones."""
    arrays = {name: np.asarray(v, np.float32) for name, v in values.items()}
    days = max((a.shape[0] for a in arrays.values() if a.ndim == 2), default=1)
    pixels = next(iter(arrays.values())).shape[-1]
    dims = {1: ("pixel",), 2: ("time", "pixel")}
    return xr.Dataset(
        {name: (dims[a.ndim], a) for name, a in arrays.items()},
        coords={"time": pd.date_range("2015-04-01", periods=days), "pixel": 7 + np.arange(pixels)},
    ).assign_coords({c: ("pixel", np.arange(float(pixels))) for c in ("row", "col", "lat", "lon")})


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- scaler --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [10, 1000])
def test_author_code_scales_by_the_middle_eighty_percent(last):
    """Of 0..9 and a last value the percentiles 10 and 90 are 1 and 9: mean 5, variance 2 (1 + 4 + 9 + 16) / 9."""
    scaler = Scaler.fit(dataset(precipitation=[[*range(10), last]]), ["precipitation"], "author-code")
    assert scaler.mean == {"precipitation": pytest.approx(5)}
    assert scaler.std == {"precipitation": pytest.approx((60 / 9) ** 0.5)}


def test_paper_text_scales_by_all_values():
    """Of 0..10: mean 5, variance 10."""
    scaler = Scaler.fit(dataset(precipitation=[list(range(11))]), ["precipitation"], "paper-text")
    assert scaler.mean == {"precipitation": pytest.approx(5)}
    assert scaler.std == {"precipitation": pytest.approx(10**0.5)}


def test_flags_are_left_by_the_authors_and_scaled_by_the_paper():
    flags = dataset(dense_vegetation=[0, 0, 0, 1], water_fraction=[0, 0, 0, 0], snow_water_equivalent=[[0, 1, 1, 1]])
    names = list(flags.data_vars)
    authors = Scaler.fit(flags, names, "author-code")
    assert (authors.mean["dense_vegetation"], authors.std["dense_vegetation"]) == (0, 1)
    assert (authors.mean["water_fraction"], authors.std["water_fraction"]) == (0, 1)
    assert authors.mean["snow_water_equivalent"] > 0.5  # varies in time: not an attribute
    paper = Scaler.fit(flags, names, "paper-text")
    assert paper.mean["dense_vegetation"] == pytest.approx(0.25)
    assert paper.std["dense_vegetation"] == pytest.approx((3 / 16) ** 0.5)


def test_where_the_middle_is_constant_all_values_count():
    """Rain on 1 day of 20: the middle is 0 throughout, and nothing could be divided by its spread."""
    scaler = Scaler.fit(dataset(precipitation=[[0] * 19 + [20]]), ["precipitation"])
    assert scaler.mean["precipitation"] == pytest.approx(1)
    assert scaler.std["precipitation"] == pytest.approx(19**0.5)


def test_where_two_values_leave_no_middle_both_count():
    """Percentiles 10 and 90 of 1 and 3 are 1.2 and 2.8: no value between; mean 2, spread 1."""
    scaler = Scaler.fit(dataset(sand=[1, 3]), ["sand"])
    assert (scaler.mean["sand"], scaler.std["sand"]) == (2, 1)


@pytest.mark.parametrize("rules", ["author-code", "paper-text"])
def test_a_constant_input_is_centred(rules):
    data = dataset(sand=[40, 40, 40])
    scaler = Scaler.fit(data, ["sand"], rules)
    assert scaler.scale("sand", data["sand"].to_numpy()).tolist() == [0, 0, 0]


def test_missing_values_do_not_count():
    scaler = Scaler.fit(dataset(precipitation=[[1, np.nan, 3], [np.nan, 5, 7]]), ["precipitation"], "paper-text")
    assert scaler.mean["precipitation"] == pytest.approx(4)
    assert scaler.std["precipitation"] == pytest.approx(5**0.5)


def test_only_what_is_given_is_fitted():
    """Days and pixels left out of the Dataset, and variables left out of the names, play no part."""
    data = dataset(precipitation=[[1, 2, 900], [3, 4, 900], [900, 900, np.inf]], sand=[1, 2, np.nan])
    part = data.isel(time=slice(0, 2), pixel=slice(0, 2))
    scaler = Scaler.fit(part, ["precipitation"], "paper-text")
    assert scaler.to_json() == {"mean": {"precipitation": 2.5}, "std": {"precipitation": pytest.approx(1.25**0.5)}}


@pytest.mark.parametrize("rules", ["author-code", "paper-text"])
def test_fitted_values_get_mean_zero_and_spread_one(rules):
    values = np.random.default_rng(0).normal(280, 9, (50, 8))
    data = dataset(air_temperature=values)
    scaled = Scaler.fit(data, ["air_temperature"], rules).scale("air_temperature", data["air_temperature"].to_numpy())
    if rules == "author-code":
        low, high = np.percentile(scaled, [10, 90])
        scaled = scaled[(scaled >= low) & (scaled <= high)]
    assert scaled.mean() == pytest.approx(0, abs=1e-3)
    assert scaled.std() == pytest.approx(1, abs=1e-3)


@given(
    arrays(np.float32, 6, elements=st.floats(-1e4, 1e4, width=32)),
    st.floats(-1e3, 1e3),
    st.floats(0.01, 1e3),
)
def test_unscale_undoes_scale(values, mean, std):
    scaler = Scaler({"wind_u": mean}, {"wind_u": std})
    there = scaler.scale("wind_u", values)
    assert there.dtype == np.float32
    back = scaler.unscale("wind_u", there)
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-6 * (abs(mean) + np.abs(values).max() + std))


def test_scaler_goes_through_json():

    scaler = Scaler({"sand": 1 / 3}, {"sand": 2 / 7})
    assert Scaler(**json.loads(json.dumps(scaler.to_json()))) == scaler


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match=r"rules 'mine'.*paper-text"):
        Scaler.fit(dataset(sand=[1, 2]), ["sand"], "mine")


def test_a_variable_without_any_value_is_named():
    with pytest.raises(BatchError, match="ssm_smap: no value in the training period"):
        Scaler.fit(dataset(ssm_smap=[[np.nan, np.nan]]), ["ssm_smap"])


# -- tensors -------------------------------------------------------------------------------------------------------

UNIT = Scaler({"precipitation": 2, "air_temperature": 280, "sand": 50, "ssm_smap": 0.2},
              {"precipitation": 4, "air_temperature": 10, "sand": 25, "ssm_smap": 0.1})  # fmt: skip


def test_tensors_by_hand():
    data = dataset(
        precipitation=[[2, 6], [10, 0]],
        air_temperature=[[280, 290], [270, 285]],
        sand=[50, 75],
        ssm_smap=[[0.3, np.nan], [np.nan, 0.1]],
    )
    made = tensors(data, UNIT, ["air_temperature", "precipitation"], ["sand"], "ssm_smap")
    torch.testing.assert_close(made.forcing, torch.tensor([[[0.0, 0], [1, 1]], [[-1, 2], [0.5, -0.5]]]))
    torch.testing.assert_close(made.statics, torch.tensor([[0.0], [1]]))
    torch.testing.assert_close(made.target, torch.tensor([[1.0, 0], [0, -1]]))
    assert made.observed.tolist() == [[1, 0], [0, 1]]
    assert {t.dtype for t in made} == {torch.float32}
    x = made.inputs(slice(1, 2), torch.tensor([1, 0]))
    torch.testing.assert_close(x, torch.tensor([[[0.5, -0.5, 1], [-1, 2, 0]]]))
    turned = tensors(data.transpose("pixel", "time"), UNIT, ["air_temperature", "precipitation"], ["sand"], "ssm_smap")
    assert all(torch.equal(a, b) for a, b in zip(made, turned, strict=True))


def test_without_a_target_nothing_is_observed():
    made = tensors(dataset(precipitation=[[2, 6]], sand=[50, 75]), UNIT, ["precipitation"], ["sand"])
    assert not made.observed.any()


def test_missing_inputs_become_the_mean_and_are_counted(caplog):
    data = dataset(precipitation=[[2, np.nan], [np.nan, 6]], sand=[np.nan, 75], ssm_smap=[[0.3, 0.1], [0.2, np.nan]])
    with caplog.at_level(logging.INFO, "smapnb"):
        made = tensors(data, UNIT, ["precipitation"], ["sand"], "ssm_smap")
    assert made.forcing[..., 0].tolist() == [[0, 0], [0, 1]]
    assert made.statics[:, 0].tolist() == [0, 1]
    messages = [record.getMessage() for record in caplog.records]
    assert any("precipitation" in m and "2 of 4 values missing" in m for m in messages)
    assert any("sand" in m and "1 of 2 values missing" in m for m in messages)
    assert not any("ssm_smap" in m for m in messages)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("name", ["precipitation", "ssm_smap"])
def test_an_infinite_value_is_named_with_pixel_and_day(name, value):
    values = {"precipitation": np.ones((3, 4)), "ssm_smap": np.ones((3, 4)), "sand": np.ones(4)}
    values[name][2, 1] = value
    data = dataset(**values)
    message = f"{name} is infinite on 2015-04-03 at pixel 8"
    with pytest.raises(BatchError, match=message):
        tensors(data, UNIT, ["precipitation"], ["sand"], "ssm_smap")
    with pytest.raises(BatchError, match=message):
        Scaler.fit(data, [name])


def test_an_infinite_attribute_is_named_with_its_pixel():
    data = dataset(precipitation=np.ones((3, 4)), sand=[1, 2, np.inf, 3])
    with pytest.raises(BatchError, match="sand is infinite at pixel 9"):
        tensors(data, UNIT, ["precipitation"], ["sand"])


def test_a_value_beyond_float32_after_scaling_is_named():
    """Else it would become the largest float32, silently."""
    data = dataset(specific_humidity=[[0.01, 0.02], [3e38, 0.01]], sand=[1, 2])
    scaler = Scaler({"specific_humidity": 0.01, "sand": 0}, {"specific_humidity": 0.005, "sand": 1})
    with pytest.raises(BatchError, match="specific_humidity is infinite on 2015-04-02 at pixel 7"):
        tensors(data, scaler, ["specific_humidity"], ["sand"])


# -- windows -------------------------------------------------------------------------------------------------------


def coded(days: int, pixels: int) -> Tensors:
    """Forcing (t, p), static 100 p, target 1000 p + t on day t of pixel p; observed where t + p is even."""
    t, p = torch.meshgrid(torch.arange(days), torch.arange(pixels), indexing="ij")
    forcing = torch.stack([t, p], dim=2).float()
    return Tensors(forcing, 100.0 * torch.arange(pixels)[:, None], 1000.0 * p + t, ((t + p) % 2 == 0).float())


def draw(data: Tensors, batch: int, seq_length: int, warmup: int, seed: int) -> tuple[Places, Windows]:
    """Instances from all pixels and days."""
    days, pixels = data.target.shape
    places = draw_places(days, torch.arange(pixels), batch, seq_length, warmup, seeded(seed))
    return places, cut_windows(data, places, seq_length, warmup)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 12), st.integers(1, 5), st.integers(0, 1000))
def test_windows_say_where_they_come_from(days, seq_length, warmup, pixels, seed):
    data = coded(days, pixels)
    if seq_length + warmup > days:
        with pytest.raises(BatchError, match=rf"{warmup} \+ {seq_length} days does not fit into {days}"):
            draw(data, 3, seq_length, warmup, seed)
        return
    places, w = draw(data, 7, seq_length, warmup, seed)
    length = seq_length + warmup
    assert w.x.shape == (length, 7, 3)
    assert w.y.shape == w.scored.shape == (length, 7)
    t = places.first_day + torch.arange(length)[:, None]
    assert int(t.min()) >= 0
    assert int(t.max()) < days
    p = places.pixel.expand(length, -1)
    assert torch.equal(w.x, torch.stack([t, p, 100 * p], dim=2).float())
    assert torch.equal(w.y, 1000.0 * p + t)
    # Unobserved days never count, nor do days of the warm-up.
    assert not w.scored[(t + p) % 2 == 1].any()
    assert not w.scored[(places.first_day > 0) & (torch.arange(length)[:, None] < warmup)].any()
    assert bool((w.scored.sum(0) <= (seq_length + 1) // 2).all())


@pytest.mark.parametrize("warmup", [0, 4, 15])
def test_scored_days_start_anywhere_with_the_same_chance(warmup):
    """16 possible starts of 5 scored days in 20, whatever the warm-up; every pixel as often as any other."""
    data = coded(20, 6)._replace(observed=torch.ones(20, 6))
    places, w = draw(data, 16000, 5, warmup, warmup)
    scored = w.scored.bool()
    assert bool((scored.sum(0) == 5).all())
    start = scored.int().argmax(0)
    assert bool((start == warmup)[places.first_day > 0].all())  # run from exactly so many days before
    assert all(scored[s : s + 5, b].all() for b, s in enumerate(start[:200]))  # one block
    starts = torch.bincount(start + places.first_day, minlength=16)
    assert len(starts) == 16
    assert chisquare(starts.numpy()).pvalue > 1e-3
    assert chisquare(torch.bincount(places.pixel, minlength=6).numpy()).pvalue > 1e-3


def test_windows_follow_the_generator():
    data = coded(40, 9)
    first, same, other = (draw(data, 20, 10, 3, s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip((*first[0], *first[1]), (*same[0], *same[1]), strict=True))
    assert not torch.equal(first[0].first_day, other[0].first_day)
    assert not torch.equal(first[0].pixel, other[0].pixel)


def test_only_the_pixels_given_are_drawn():
    places = draw_places(40, torch.tensor([3, 8, 21]), 3000, 10, generator=seeded(0))
    counts = torch.bincount(places.pixel)
    assert torch.nonzero(counts)[:, 0].tolist() == [3, 8, 21]
    assert chisquare(counts[counts > 0].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("cuts", [(0, 20), (0, 7, 8, 20)])
def test_shares_of_a_batch_are_the_batch(cuts):
    data = coded(40, 9)
    places, whole = draw(data, 20, 10, 3, 5)
    shares = [cut_windows(data, places.part(slice(*ends)), 10, 3) for ends in pairwise(cuts)]
    for of_shares, of_whole in zip(zip(*shares, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(of_shares, dim=1), of_whole)
    assert torch.equal(scored_days(data, places, 10, 3), whole.scored)


def test_writing_to_a_window_leaves_the_data_alone():
    data = coded(20, 3)
    draw(data, 5, 10, 0, 0)[1].x.zero_()
    assert torch.equal(data.forcing, coded(20, 3).forcing)


# -- counts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "days", "batch", "rho", "expected"),
    [
        (100, 100, 10, 10, 459),  # share 0.01: ln 0.01 / ln 0.99 = 458.2
        (2, 10, 1, 10, 7),  # share 1/2: 2^-7 < 0.01 < 2^-6
        (10, 10, 10, 9, 2),  # share 0.9: 0.1^2 = 0.01
        (10, 10, 10, 10, 1),  # everything at once
        (10, 10, 50, 10, 1),  # and more
    ],
)
def test_iterations_by_hand(pixels, days, batch, rho, expected):
    assert iterations_per_epoch(pixels, days, batch, rho) == expected


@given(st.integers(1, 500), st.integers(30, 1200), st.integers(1, 200), st.integers(1, 30))
def test_iterations_are_the_fewest_that_draw_a_day_with_probability_099(pixels, days, batch, rho):
    n = iterations_per_epoch(pixels, days, batch, rho)
    missed = max(0.0, 1 - batch * rho / (pixels * days))
    assert n >= 1
    assert missed**n <= 0.01 * (1 + 1e-9)
    assert n == 1 or missed ** (n - 1) > 0.01 * (1 - 1e-9)


# -- back to labelled data -----------------------------------------------------------------------------------------


def test_mean_and_spread_by_hand():
    like = dataset(ssm_smap=np.zeros((2, 2)))
    values = np.array([[[0.1, 0.2], [0.3, 0.4]], [[0.3, 0.2], [0.5, 1.4]]], np.float32)
    made = moisture_dataset({"ssm_lstm": values, "rzsm_lstm": values[:1]}, like)
    np.testing.assert_allclose(made["ssm_lstm"], [[0.2, 0.2], [0.4, 0.9]], rtol=1e-6)
    # Two values a, b: standard deviation |a - b| / sqrt(2).
    np.testing.assert_allclose(made["ssm_lstm_spread"], np.array([[0.2, 0], [0.2, 1]]) / 2**0.5, rtol=1e-6)
    np.testing.assert_array_equal(made["rzsm_lstm"], values[0])
    assert np.isnan(made["rzsm_lstm_spread"]).all()
    xr.testing.assert_equal(made["time"], like["time"])
    xr.testing.assert_equal(made["pixel"], like["pixel"])
    variables.check(made, "test")
    assert impossible_values(made) == {"ssm_lstm": 0, "ssm_lstm_spread": 0, "rzsm_lstm": 0, "rzsm_lstm_spread": 0}


def test_impossible_values_are_counted_and_kept():
    values = np.array([[[-0.1, np.nan], [1.4, 0.4]]], np.float32)
    made = moisture_dataset({"ssm_lstm": values}, dataset(ssm_smap=np.zeros((2, 2))))
    assert impossible_values(made)["ssm_lstm"] == 2
    np.testing.assert_array_equal(made["ssm_lstm"], values[0])


def test_forcing_beyond_its_range_is_counted_by_variable():
    forcing = dataset(
        precipitation=[[0, 5, 10], [-1, 11, np.nan]],
        air_temperature=[[250, 300, 301], [249, 310, 270]],
    )
    made = out_of_range(forcing, {"precipitation": (0, 10), "air_temperature": (250, 300)})
    counts = made["forcing_out_of_range"]
    assert counts.to_numpy().tolist() == [[0, 0, 1], [2, 2, 1]]  # the limits belong to the range; missing is in none
    assert counts.attrs["units"] == "1"
    assert counts.dtype == np.float32
