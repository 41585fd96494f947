# %% [markdown]
# # Trends
#
# Does the ground become wetter or drier over the years, and does a hindcast see it? The paper compares the slopes of
# root-zone moisture at the sites with those of the LSTM. Its test takes every day for a new observation, but soil
# remembers the rain of last month: a test that does not know this finds trends everywhere. Here the slopes of the paper
# stand beside tests that do know, and each test is tried where there is no trend to be found.
#
# All slopes are in **volumetric per cent per year**: 0.5 means that the water in a litre of soil grows by 5 ml a year.
# This is not a relative change.
#
# You will learn
#
# - at which sites a trend can be asked for at all, and what each rule removes,
# - how far the slopes of hindcast and probes agree, with limits, and what happens to r when steep sites are picked,
# - what ten ways of asking say about one station,
# - where on the map a trend may be believed when hundreds of pixels are tested at once,
# - how often each test cries wolf, and how long a record has to be.

# %%
import os
from dataclasses import replace

import pandas as pd
from IPython.display import display

from smapnb import comparison, cube, hindcast, insitu, plot, stations, tables, trends
from smapnb import trends_lines as lines_of
from smapnb import trends_map as maps
from smapnb import trends_table as slopes_of
from smapnb import trends_twin as known_truth
from smapnb.profile import load, run_folder, variable
from smapnb.sources import twin
from smapnb.trends_agreement import by_network
from smapnb.trends_experiment import VARIANTS, rejection_rates
from smapnb.variables import pixels_of

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %% tags=["needs:stations.zarr/crn"]
settings = load(profile, overrides)
folder = run_folder(settings.name)
data = cube.open_cube(folder / "cube.zarr")
ground = {name: group.load() for name, group in stations.open_stations(folder / "stations.zarr").items()}
estimates = hindcast.open_hindcast(folder / "hindcast.zarr")
synthetic = settings.synthetic
rule = trends.trend_rules(settings.rules)
work = {"workers": os.cpu_count() or 1}
drawn = {"n_boot": min(200, settings.stations.bootstrap_samples)}
quantity = settings.targets[-1]  # the root zone where this run has one
names = {"rootzone": "root zone", "surface": "surface"}
days = estimates.indexes["time"]
print(f"hindcast of the {names[quantity]}, {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}")
if "rootzone" not in settings.targets:
    print("This run has no root zone: Fig. 9 of the paper cannot be made from it.")

# %% [markdown]
# ## Which sites count
#
# A record counts as missing where its soil is below zero. The window of a site runs over whole years, from the first day
# that both series have. The paper wants at least three years and at most 10 % of the days missing. Frozen winters alone
# are more than that, and a root zone is missing where one of its depths is.

# %%
makers = {
    "core": lambda: insitu.core_series(ground["core"], ground["reference_pixels"], rules=rule),
    "crn": lambda: insitu.crn_series(ground["crn"], rules=rule)[0],
}
products = comparison.gather(data, estimates)[[variable(name, "lstm") for name in settings.targets]].sel(time=days)
raw = {network: make() for network, make in makers.items() if network in ground}
sites = {}
for network, series in raw.items():
    farthest = rule.crn_farthest if network == "crn" else float("inf")
    sites[network], _ = comparison.collocate(series, products, farthest=farthest, flat=rule.flat_pixel)
windows = {network: trends.site_windows(at, network, rules=rule) for network, at in sites.items()}
every_window = pd.concat(windows.values(), ignore_index=True)
tables.write(every_window.assign(rules=rule.name, synthetic=synthetic), folder, "trends_sites")

# %%
counts = {key: trends.removals(part)["series"] for key, part in every_window.groupby(["network", "quantity"])}
counts = pd.DataFrame(counts).T.rename_axis(["network", "quantity"])
plot.table(counts, title=f"Series, what each rule removed, and what is kept ({rule.name})", synthetic=synthetic)

# %%
removed = pd.concat({network: insitu.removed_records(at) for network, at in raw.items()}, names=["network"])
plot.table(removed, title="Records by depth (cm), and what each rule removed", synthetic=synthetic)

# %% [markdown]
# At a core site a root zone asks much of a day: at each station all depths, each with its temperature where the rules want
# one, and such stations for half of the pixel. Three probes that each work on nine days of ten, and their thermometers,
# leave a station two days of three. The table holds the part of the days that is missing, as in this run and with rules
# relaxed one after the other. Where fewer than four pixels stay below the limit, the paper's r of the core sites (Fig. 9)
# cannot be tested.

# %%
relaxed = {"as in this run": rule}
relaxed["without temperature: kept"] = replace(rule, core_unknown_temperature="keep")
relaxed["and cold soil: kept"] = replace(relaxed["without temperature: kept"], core_coldest=-100.0)
lost = pd.DataFrame()
if "core" in raw and raw["core"][variable(quantity, "insitu")].notnull().any():
    for text, varied in relaxed.items():
        again = insitu.core_series(ground["core"], ground["reference_pixels"], rules=varied)
        at, _ = comparison.collocate(again, products, flat=rule.flat_pixel)
        window = trends.site_windows(at, "core", rules=varied).set_index("site")
        lost[text] = window.loc[(window["quantity"] == quantity) & (window["years"] > 0), "missing"]
    lost.insert(0, "name", raw["core"]["name"].to_series())
title = f"Part of the days missing at core sites, {names[quantity]}; the limit is {rule.trend_most_missing:g}"
plot.table(lost, title=title, synthetic=synthetic, precision=2)

# %% [markdown]
# ## Slope against slope
#
# The slope is Sen's, the median of the slopes between all pairs of days. Its limits come from drawing the years of the
# record anew, with replacement (`year_blocks`): they know that the days of a year are alike. Both slopes are uncertain,
# so the line through the points has errors in both (York and others, 2004); least squares would lean towards zero. A
# line less steep than 1 means that the hindcast shows a part of the measured trend. Both slopes see the same weather,
# which is part of either's limits, while York's formula takes their errors for independent: the points lie nearer to the
# line than the limits promise, and the line is less sure than its own limits tell. The table
# `runs/<profile>/tables/trends.csv` has every site by every test.

# %%
settled = {"rules": rule, "synthetic": synthetic} | work
found = []
for network, at in sites.items():
    for name, part in windows[network].groupby("quantity"):
        asked = slopes_of.SITE_VARIANTS if name == quantity else slopes_of.FEW_VARIANTS
        found.append(slopes_of.site_slopes(at, part, variants=asked, **settled, **drawn))
slopes = pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)
tables.write(slopes, folder, "trends")

# %%
pairs = slopes_of.paired(slopes, quantity)
agreements = by_network(pairs, n_boot=500)
loose, added = replace(rule, trend_most_missing=0.3), [pairs]
for network, at in sites.items():
    wider = trends.site_windows(at, network, rules=loose)
    wider = wider[(wider["quantity"] == quantity) & ~wider["site"].isin(pairs.index)]
    asked = settled | drawn | {"variants": {slopes_of.BLOCKS: {}}}
    added.append(slopes_of.paired(slopes_of.site_slopes(at, wider, **asked), quantity))
more = pd.concat([part for part in added if len(part)] or added[:1])
more = more.assign(counted=more.index.isin(pairs.index))

# %% mystnb={"image": {"alt": "Slopes of soil moisture of the LSTM against slopes in situ at core sites and at the sparse network, with limits, a line with errors in both, and the one-to-one line"}}
if len(more):
    display(plot.slope_scatter(more, agreements, title=f"Trends, {names[quantity]}", synthetic=synthetic))
else:
    print(f"No site of this run ({settings.name}) has a record of three years beside the hindcast.")

# %% [markdown]
# Below, the same with up to 30 % of the days missing: more sites, those with frozen winters among them, and slopes
# that rest on part of the year.

# %%
allowed = {"10 %": agreements, "30 %": by_network(more, n_boot=500)}
compared = pd.concat({share: pd.concat(part) for share, part in allowed.items()})
compared = compared.rename_axis(["missing", "network", "sites"])
about = {"quantity": quantity, "rules": rule.name, "synthetic": synthetic}
tables.write(compared.assign(**about), folder, "trends_agreement", index=True)
columns = ["n", "r", "r_lower", "r_upper", "r_boot_lower", "r_boot_upper", "slope", "intercept", "scatter"]
shown = compared.loc[compared["n"] > 0, columns]
plot.table(
    shown, title="Agreement of the slopes; r with Fisher's and bootstrap limits", synthetic=synthetic, precision=2
)

# %% tags=["nbval-check-output"]
print(f"{len(every_window)} series, {int(every_window['kept'].sum())} with a trend, {len(pairs)} pairs of slopes")
for name, rows in slopes[slopes["quantity"] == quantity].groupby("product"):
    rows = rows[rows["variant"] == "original"]
    print(f"{name}: median slope {round(rows['value'].median(), 1) + 0.0:+.1f} % a year of {len(rows)} sites")

# %% [markdown]
# ## What picking the steep sites does
#
# The paper's r of 0.88 is that of the sites whose slope *in situ* exceeds 0.5. Leaving out the small slopes widens the
# spread of the rest, and a wider spread raises r even where the errors stay as they are. And a slope measured as steep is
# often steep by chance. In the simulation experiment the true slope of the pixel is known, so this can be measured; for
# more steep slopes than whole records have, each record is cut into pieces of three years as well. `difference` is the
# root mean square of LSTM less in situ: if picking found sites that the LSTM sees better, it would fall.

# %%
truth, note = variable(quantity, "truth"), "Only the simulation experiment knows the true slopes."
selected = pd.DataFrame()
if truth in data:
    pixels = data[truth].transpose("time", "pixel").load()
    for cut in (None, 3):
        parts = []
        for network, at in sites.items():
            here = known_truth.with_truth(at, pixels)
            pieces = known_truth.split(windows[network], cut) if cut else windows[network]
            asked = {"products": ["insitu", "lstm", "truth"], "variants": {"original": VARIANTS["original"]}}
            parts.append(slopes_of.site_slopes(here, pieces, **settled, **asked))
        row = known_truth.selection(pd.concat(parts), quantity)
        label = f"pieces of {cut} years" if cut else "whole records"
        selected = pd.concat([selected, pd.concat({label: row}, names=["records"])])
if selected.empty:
    print(note)
else:
    display(plot.table(selected, title="Picking steep sites", synthetic=synthetic, precision=2))

# %% [markdown]
# ## Series and their lines
#
# Four sites of the figure above, from the steepest fall in situ to the steepest rise, as means of seven days. Drag to
# zoom; click a name in the legend to hide it.

# %%
ordered = pairs.sort_values("x").index
picked = list(dict.fromkeys(ordered[[round(k * (len(ordered) - 1) / 3) for k in range(4)]])) if len(ordered) else []
own = [variable(quantity, name) for name in ("insitu", "lstm")]
if picked:
    lines = pd.concat([lines_of.trend_lines(slopes, at, quantity, rules=rule) for at in sites.values()])
    shown = lines_of.weekly(sites.values(), picked, own)
    display(plot.trend_series(shown, lines, own, title=f"Trends, {names[quantity]}", synthetic=synthetic))
else:
    print("No site to show.")

# %% [markdown]
# ## One station, asked ten ways
#
# The tests differ less about the slope than about its certainty. "Original" is the test of the paper, the authors' scripts
# have it over whole years of 365 days; the next three correct it for the memory from day to day; "months" compares
# Januaries with Januaries, "correlated" with the memory from one month to the next; then come monthly anomalies, and
# years. "Blocks of years" is no test, but the limits of the figure above. A depth that the rules remove is shown all the
# same, with the reason.

# %%
crn = ground["crn"]
records = crn["soil_moisture"].count([dim for dim in crn["soil_moisture"].dims if dim != "site"])
site = "53974" if "53974" in crn["site"].values else str(records.idxmax().item())
one = crn.sel(site=site)
moisture, _ = insitu.quality(one["soil_moisture"], one.get("soil_temperature"), coldest=rule.crn_coldest)
moisture = insitu.average_probes(moisture) if "probe" in moisture.dims else moisture
station = slopes_of.depth_slopes(moisture.dropna("depth", how="all").sel(depth=slice(20)), rules=rule, **drawn)
tables.write(station.assign(site=site, rules=rule.name, synthetic=synthetic), folder, "trends_station")
called = f"{one['name'].item()} ({site})" if "name" in one.coords else site

# %% mystnb={"image": {"alt": "Slopes of soil moisture at three depths of one station by nine tests and resampled years, with limits and p-values"}}
figure = f"{called} has no whole year of records."
if len(station):
    figure = plot.variant_forest(station, title=called, synthetic=synthetic)
figure

# %% tags=["nbval-check-output"]
for depth, rows in station.groupby("depth"):
    rows = rows.set_index("variant")
    p = rows["p_value"].map(lambda p: f"p {p:.1f}" if p >= 0.05 else "p < 0.05")
    told = ", ".join(f"{name} {p[name]}" for name in ("original", "seasonal_correlated"))
    print(f"{depth:g} cm: {round(rows.loc['original', 'value'], 1) + 0.0:+.1f} % a year, {told}")
print(f"{len(station)} slopes")

# %% [markdown]
# ## The map
#
# Slopes of the hindcast by pairs of like months. Of hundreds of tests at 5 % some are positive by chance; the
# dots mark what is left when at most one in twenty of *them* is expected to be false (Benjamini and Hochberg). That
# needs a test which is right for each pixel alone: the daily test stays wrong, however it is adjusted. A map of a few
# years shows their weather, not a change of climate.

# %% mystnb={"image": {"alt": "Map of the trend of the hindcast's soil moisture, one square a pixel, dots where it is significant"}}
on_grid = products[variable(quantity, "lstm")].isel(pixel=pixels_of(products, quantity))
mapped = maps.pixel_slopes(on_grid.load(), **work)
tables.write(mapped.assign(quantity=quantity, synthetic=synthetic), folder, "trends_map")
like_months = maps.as_map(mapped, "seasonal_correlated")
sure = maps.as_map(mapped, "seasonal_correlated", "significant")
span = f"{days[0].year} to {days[-1].year}"
plot.trend_map(like_months, sure, title=f"Hindcast, {names[quantity]}, {span}", synthetic=synthetic)

# %%
counted = maps.counts(mapped)
plot.table(
    counted,
    title="Pixels with a trend: each alone at 5 %, and under a false discovery rate of 5 %",
    synthetic=synthetic,
)

# %% [markdown]
# In the simulation experiment the climate is known: close to half of the country has no trend of rain at all, and it becomes
# warmer nearly everywhere. The table sets the true slopes of soil moisture, and those of the hindcast, beside it.

# %%
by_rain = pd.DataFrame()
if truth in data:
    rain = 100 * twin.climate_of(settings.data.pixels, settings.data.twin_seed).precipitation_trend
    kinds = pd.cut(rain, [-1000, -1e-6, 1e-6, 1000], labels=["less rain", "no trend of rain", "more rain"])
    true = maps.pixel_slopes(pixels.sel(time=slice(days[0], days[-1])), variants=["seasonal_correlated"], **work)
    lstm = mapped[mapped["variant"] == "seasonal_correlated"].reset_index()
    both = pd.DataFrame({"kind": kinds, "rain": rain, "truth": true["value"], "hindcast": lstm["value"]})
    both["significant"] = lstm["significant"].astype(float)
    by_rain = both.groupby("kind", observed=True).mean().assign(pixels=both["kind"].value_counts())
    by_rain = by_rain.rename(columns={"rain": "rain, % a decade"})
if by_rain.empty:
    print(note)
else:
    display(plot.table(by_rain, title="Mean slopes by trend of rain", synthetic=synthetic, precision=2))

# %% [markdown]
# ## Which test cries wolf
#
# To count false alarms one needs series without a trend that are otherwise like soil. Pixels without a trend of rain
# will not do, as they may still dry with the warming; nor does it help to take the slope out of each series, as then no
# test finds anything. Here the slope is taken out of the true moisture of a pixel and its *years are shuffled*: what
# slope they then have is chance. What one year remembers of the last is lost in the shuffling, so that blocks of two
# years are shuffled too, where there are enough; with years shuffled one by one, a test of years is right by
# construction. A test should find a trend in 5 % of them. Then a trend of 0.15 % a year is added: what is found now is
# the test's power, which means nothing where the false alarms are above the line. The limits take pixels for
# independent; neighbours are not quite.

# %%
cases, asked = {}, ("original", "hamed_rao", "yue_wang, lags of 90 steps", "trend_free_pre_whitening")
asked = {name: VARIANTS[name] for name in (*asked, "seasonal", "seasonal_correlated", "deseasonalised", "annual")}
if truth in data:
    some = pixels.sel(time=slice(days[0], days[-1])).isel(pixel=slice(None, None, 1 + pixels.sizes["pixel"] // 150))
    true = some.transpose("pixel", "time").to_numpy()
    for block, size in ((1, 0.0), (2, 0.0), (1, 0.0015)):
        if len(set(days.year)) >= 4 * block:
            calm, when = known_truth.without_trend(true, some.indexes["time"], years_a_block=block, seed=block, **work)
            case = (
                f"{100 * size:g} % a year added" if size else f"no trend, shuffled by {block} year{'s' * (block > 1)}"
            )
            cases[case] = rejection_rates(calm, when, trends=(size,), variants=asked, **work)
rates = pd.concat(cases, names=["case"]).reset_index(level="case") if cases else pd.DataFrame()
if cases:
    tables.write(rates.assign(quantity=quantity, synthetic=synthetic), folder, "trends_rejections")

# %% mystnb={"image": {"alt": "Share of series in which each trend test finds a trend: without a trend, where five per cent would be right, and with one"}}
if cases:
    display(plot.rejections(rates, title=f"False alarms and power, {names[quantity]}", synthetic=synthetic))
else:
    print(note)

# %% [markdown]
# ## How long a record has to be
#
# Above, what the last few years of the *true* series say of the whole record: weather of some years is no trend. Below,
# how far the hindcast's slope is from the truth over the same years. At the full length the first is zero because the
# whole record is its own measure, not because it knows the climate.

# %% mystnb={"image": {"alt": "Error of the slope of soil moisture against the length of the record: of short records against the whole one, and of the hindcast against the truth"}}
if truth in data:
    modelled = estimates[variable(quantity, "lstm")].sel(pixel=some["pixel"]).transpose("pixel", "time").to_numpy()
    length = len(days) / 365.25
    years = [n for n in (2, 3, 4, 6, 9, 12, 18) if n < length + 0.01]
    errors = known_truth.errors_by_length(modelled, true, days, years, **work)
    tables.write(errors.assign(quantity=quantity, synthetic=synthetic), folder, "trends_length")
    display(plot.slope_errors(errors, title=f"Error of the slope, {names[quantity]}", synthetic=synthetic))
else:
    print(note)

# %% tags=["nbval-check-output"]
print(f"{like_months.sizes['pixel']} pixels on the map")
if cases:
    for name, part in rates[rates["trend"] == 0].groupby("variant", sort=False):
        print(f"{name}: finds a trend in {100 * part['rate'].iloc[0]:.0f} % of series without one")

# %% [markdown]
# ## What was learned
#
# - A slope is only as good as its limits; on daily soil moisture the limits and p of the plain test are far too sure.
# - r of slopes depends on which sites are asked. In the twin, picking the steep ones raises it without making any slope better.
# - The tests that keep their level ask about months or years, or are told how long the soil remembers, and pay with power; with few years none of them can tell.
# - On a map the number of tests has to be paid for, and no adjustment heals a test that is wrong for each pixel.
# - The slope of a few years says little of the slope of many, whoever measured it.
