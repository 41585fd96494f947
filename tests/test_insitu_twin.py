"""Upscaling against the twin's known truth: do the limits hold the mean of the pixel as often as they say?"""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from smapnb import insitu
from smapnb.sources import twin

SEEDS = (2019, 2020, 2021)


@pytest.fixture(scope="module")
def worlds():
    return [twin.stations("2011-01-01", "2012-12-31", pixels=20, seed=seed, crn_sites=0) for seed in SEEDS]


def upscaled(world):
    """Result of upscaling and truth at 5 cm of each reference pixel: from the parts, not from `core_series`."""
    core, boxes = world["core"], world["reference_pixels"]
    table = insitu.pixel_stations(core, boxes)
    clean, _ = insitu.quality(core["soil_moisture"], core["soil_temperature"], coldest=4.0)
    truth = world["truth"]["soil_moisture_truth"].sel(depth=5)
    for pixel, rows in table.groupby("reference_pixel"):
        theta = clean.sel(depth=5, station=rows["station"].to_numpy())
        yield pixel, insitu.upscale(theta, rows["weight"].to_numpy()), truth.sel(reference_pixel=pixel)


def coverage(worlds, level):
    """Mean over sites and seeds of the part of days on which the truth lies within the limits; number of these."""
    parts = {}
    for seed, world in zip(SEEDS, worlds, strict=True):
        for pixel, result, truth in upscaled(world):
            limits = insitu.limits(result, level).to_numpy()
            known = ~np.isnan(limits[:, 0])
            held = (limits[:, 0] <= truth.to_numpy()) & (truth.to_numpy() <= limits[:, 1])
            if known.sum() > 30:
                parts.setdefault((seed, pixel[:4]), []).append(held[known].mean())
    return np.mean([np.mean(part) for part in parts.values()]), len(parts)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_limits_hold_the_truth(worlds, level):
    part, n = coverage(worlds, level)
    assert n == 27
    # A site is a single draw: its stations stay where they are, so days and overlapping pixels add little. Limits from
    # few stations of a correlated field may be too wide, never too narrow.
    spread = np.sqrt(level * (1 - level) / n)
    assert level - 2 * spread <= part <= min(level + 3.5 * spread, 1)


def test_error_has_the_size_of_the_true_error(worlds):
    found = [(r, t) for world in worlds for _, r, t in upscaled(world)]
    true = np.concatenate([(r["value"] - t).to_numpy() for r, t in found])
    said = np.concatenate([r["error"].to_numpy() for r, _ in found])
    known = ~np.isnan(true * said)
    ratio = np.sqrt(np.mean(said[known] ** 2) / np.mean(true[known] ** 2))
    assert 0.8 <= ratio <= 1.5


def test_series_are_the_parts_put_together(worlds):
    world = worlds[0]
    series = insitu.core_series(world["core"], world["reference_pixels"])
    assert series["site"].values.tolist() == world["reference_pixels"]["reference_pixel"].values.tolist()
    for pixel, result, _ in upscaled(world):
        one = series.sel(site=pixel)
        for ours, theirs in (("ssm_insitu", "value"), ("ssm_insitu_error", "error"), ("coverage", "coverage")):
            np.testing.assert_allclose(one[ours], result[theirs], rtol=1e-5)


def test_upscaling_beats_a_single_station(worlds):
    errors = {"upscaled": [], "single": []}
    for world in worlds:
        core = world["core"]
        table = insitu.pixel_stations(core, world["reference_pixels"])
        for pixel, result, truth in upscaled(world):
            station = table.loc[table["reference_pixel"] == pixel, "station"].iloc[0]
            single = core["soil_moisture"].sel(station=station, depth=5)
            for name, values in (("upscaled", result["value"]), ("single", single)):
                errors[name].append(float(((values - truth) ** 2).mean()))
    assert np.mean(errors["upscaled"]) < 0.5 * np.mean(errors["single"])


def test_exclusions_of_the_twin_are_those_that_it_was_given():
    crn = twin.stations("2010-01-01", "2015-12-31", pixels=20, core_sites=0, crn_sites=40)["crn"]
    out, table = insitu.crn_series(crn)
    assert table["sites"][1] == tuple(crn["site"].values[crn["coastal"].values].tolist())
    deep = crn["soil_moisture"].sel(depth=[20, 50, 100]).count(["time", "probe"]).min("depth") > 0
    shallow = set(crn["site"].values[~deep.values].tolist()) - set(table["sites"][1]) - set(table["sites"][2])
    assert set(table["sites"][3]) == shallow and shallow
    assert isinstance(out, xr.Dataset) and out.sizes["site"] == table["left"][2]
    frozen = out["ssm_insitu"].sel(time=pd.DatetimeIndex(out["time"].values).month == 1)
    assert np.isnan(frozen).mean() > np.isnan(out["ssm_insitu"]).mean()  # winters are lost to frost
