# %% [markdown]
# # Data preparation
#
# A network that is to continue a satellite record backwards needs three things for every pixel: what the
# satellite saw, the weather that moved it, and what the ground is made of. This notebook brings them
# together in one *cube* and looks at it before anything is learned from it.
#
# You will learn
#
# - what the cube of this run holds, for which pixels and days, and what is missing in it,
# - when and where the satellite sees the ground, and why it often does not,
# - what the network will see of a pixel: its weather and its soil, and by which numbers they are scaled,
# - how far the simulated twin resembles the real sample, where that is at hand.

# %%
import numpy as np
import pandas as pd
import xarray as xr

from smapnb import cube, plot, stations, train
from smapnb.batch import Scaler
from smapnb.profile import data_root, load, run_folder, variable
from smapnb.sources import authors_csv, twin
from smapnb.variables import pixels_of

# %% [markdown]
# The two parameters choose the run. `profile` names a file in `profiles/`; `overrides` changes single keys
# of it, as `{"data.pixels": 40}`. Everything below follows from them.

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %% [markdown]
# The cube is written once, to `runs/<profile>/cube.zarr`. If it is there already and was made from the same
# data by the same code it is kept; if its writing was ever interrupted it is made anew, as a partly written
# cube does not open.

# %%
settings = load(profile, overrides)
folder = run_folder(settings.name)
path = cube.build(settings, folder / "cube.zarr")
data = cube.open_cube(path)
targets = [variable(quantity, "smap") for quantity in settings.targets]
own = np.flatnonzero(pixels_of(data, settings.targets[0]))
together = targets if own.size == data.sizes["pixel"] else targets[:1]
smap = data[targets[0]].isel(pixel=own).load()
what = {"surface": "surface", "rootzone": "root-zone"}[settings.targets[0]]
synthetic = settings.synthetic
print(settings.title)
print("source:", data.attrs["source"])

# %% [markdown]
# ## Where, and how wet on average
#
# Each square is one pixel of the EASE-Grid 2.0, the grid on which the satellite's product is delivered: 36 km wide. At
# full size the root zone has pixels of its own, 9 km wide; this page then shows those of the first target. The map on
# the left is the mean of what was observed, the one on the right how often that was.

# %% mystnb={"image": {"alt": "Two maps of the conterminous United States: mean observed soil moisture, and the fraction of days with an observation, one square a pixel"}}
training = slice(str(settings.training.start), str(settings.training.end))
fraction = np.isfinite(smap.sel(time=training)).mean("time")
fraction.attrs = {"long_name": "days with an observation, training period", "units": "1"}
mean = smap.mean("time").assign_attrs(smap.attrs)
plot.static_maps({f"Mean SMAP {what} moisture": mean, "Observed": fraction}, synthetic=synthetic)

# %% tags=["nbval-check-output"]
first, last = (f"{day:%Y-%m-%d}" for day in data.indexes["time"][[0, -1]])
print(f"{data.sizes['pixel']} pixels, {data.sizes['time']} days, {first} to {last}")
for name in targets:
    seen = data[name].count("pixel").to_series()
    days = seen.index[seen > 0]
    print(f"{name}: {seen.sum()} observations, {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}")

# %% [markdown]
# The same map to touch: the wheel zooms, the pointer shows a pixel's number, place and value.

# %%
plot.interactive_map(mean, title=f"Mean SMAP {what} moisture", synthetic=synthetic)

# %% [markdown]
# ## What is in it, and what is not
#
# One row a variable: `n` counts its places (one a pixel and day, or one a pixel), `n_missing` those without a value;
# `minimum` and `maximum` are in its units. Values beyond a variable's valid range are counted and left as they are: clipping them would hide them. A missing *target* is what the satellite did not see, and the loss simply leaves it out.
# A missing *input* is another matter, as the network must be given a number; how many there are, and what
# they are replaced by, is stated with the scaling below.

# %%
report = cube.report(data)
plot.table(report.drop(columns=["valid_low", "valid_high"]), title="What the cube holds", synthetic=synthetic)

# %% tags=["nbval-check-output"]
missing = report["n_missing"][report["n_missing"] > 0]
print("with missing values:", ", ".join(f"{name} {n}" for name, n in missing.items()) or "none")
print("values out of range:", int(report["n_out_of_range"].sum()))

# %% [markdown]
# ## When the satellite sees the ground
#
# The satellite passes over a pixel in the morning of every second or third day. In winter frozen or
# snow-covered ground hides its water: dark patches in the north. A stripe that stays dark in the south too is a pixel
# that the files leave empty for that time; a line below counts them.

# %% mystnb={"image": {"alt": "Fraction of days with an observation by month and pixel, pixels ordered from south to north; dark in northern winters"}}
monthly = np.isfinite(smap).resample(time="MS").mean()
monthly = monthly.isel(time=monthly.any("pixel").to_numpy())
plot.observation_gaps(monthly, synthetic=synthetic)

# %%
silent = int((~(monthly[-12:] > 0).any("time")).sum()) if len(monthly) > 12 else 0
if silent:
    since = f"{monthly.indexes['time'][-12]:%B %Y}"
    print(f"{silent} of {monthly.sizes['pixel']} pixels have no observation in these data from {since} on")

# %% [markdown]
# ## One pixel: weather in, soil moisture out
#
# Seven daily series drive the network. Precipitation fills the soil in steps; radiation, warmth and dry air
# empty it smoothly. What the satellite measured at the same pixel stands below, to be zoomed into.

# %% mystnb={"image": {"alt": "Seven stacked daily series of one pixel: precipitation, air temperature, longwave and shortwave radiation, specific humidity, and two wind components"}}
example = data.isel(pixel=own[own.size // 2]).load()
place = f"pixel {int(example['pixel'])}, {float(example['lat']):.1f}°N {-float(example['lon']):.1f}°W"
plot.series_panels(example, settings.inputs.forcing, title=f"Forcing of {place}", synthetic=synthetic)

# %%
plot.interactive_series(example, together, title=f"SMAP soil moisture, {place}", synthetic=synthetic)

# %% [markdown]
# ## By what the network's inputs are scaled
#
# The network sees numbers without units: each variable less its mean, divided by its spread. Both come from
# the training period and the training pixels alone, as a test year must not leak into its own prediction.
# Under the rules `author-code` they are the mean and the standard deviation of the values between the 10th
# and the 90th percentile; under `paper-text`, of all values. An input that is missing becomes zero after
# scaling, that is its training mean; `missing` says how often. `mean` and `spread` are in the variable's units.

# %%
names = [*settings.inputs.forcing, *settings.inputs.statics, *together]
days = data.isel(pixel=own).sel(time=training)
held_pixels, held_days = train.held_back(days, settings)
seen = days[names].isel(pixel=~held_pixels)
seen = seen.assign({name: seen[name].where(xr.DataArray(~held_days, dims="time")) for name in together})
scaler = Scaler.fit(seen, names, settings.rules)
scaling = pd.DataFrame(
    {
        "units": [data[name].attrs["units"] for name in names],
        "mean": [scaler.mean[name] for name in names],
        "spread": [scaler.std[name] for name in names],
        "missing": [days[name].size - int(days[name].count()) for name in names],
    },
    index=names,
)
plot.table(scaling, title="Scaling, from the training period", synthetic=synthetic)

# %% [markdown]
# ## Does the twin look like the real sample?
#
# The twin is a simulation experiment with a known truth, there to prove every estimator before it meets
# real data. That proves something only if its soil moisture and rain behave like real ones: the season, how
# fast the past is forgotten, how often which moisture is seen, how it rains. Where the real sample is at
# hand it stands beside the twin, as "real sample"; all else on this page is the run's own.

# %%
sample = data_root() / "conus412"
at_hand = authors_csv.at_hand(sample)
compared = {}
if synthetic:
    compared["twin (synthetic)"] = twin.realism(days)
if at_hand:
    compared["real sample"] = twin.realism(authors_csv.open_sample(sample, [2015, 2016]))
if not synthetic:
    print("This run is of real data itself: compare them with the twin in the profile twin.")
elif not at_hand:
    print("The real sample is not at hand (not whole in conus412 where SMAPNB_DATA points): the twin stands alone.")

# %% mystnb={"image": {"alt": "Four panels comparing the twin and, where it is at hand, the real sample: seasonal cycle of surface soil moisture, its autocorrelation by lag, its distribution, and the seasonal cycle of precipitation"}}
plot.realism(compared) if compared else None

# %%
scalars = {k: v[[n for n in v if not v[n].dims]] for k, v in compared.items()}
units = {name: array.attrs["units"] for statistics in scalars.values() for name, array in statistics.items()}
side_by_side = pd.DataFrame({"units": units} | {k: v.to_pandas() for k, v in scalars.items()})
title = "Surface soil moisture and precipitation, by source"
plot.table(side_by_side, title=title, synthetic=None, precision=3) if compared else None

# %% [markdown]
# ## What stands in the ground
#
# The stations that later judge the hindcast are brought to days and written to `runs/<profile>/stations.zarr`, unjudged
# and unaveraged: a sparse network (`crn`) and dense sites (`core`), where these data hold them. The training never sees
# them.

# %%
store = stations.build(settings, folder / "stations.zarr")
ground = stations.open_stations(store)
rows = {}
for name, place in (("crn", "site"), ("core", "station")):
    if name in ground:
        group = ground[name]
        span = group.indexes["time"]
        some = group["soil_moisture"].notnull()
        rows[name] = {
            "places": group.sizes[place],
            "depths (cm)": ", ".join(f"{depth:g}" for depth in group["depth"].values),
            "days": f"{span[0]:%Y-%m-%d} to {span[-1]:%Y-%m-%d}",
            "share of values present": float(some.mean()),
            "source": group.attrs["source"],
        }
absent = [name for name in ("crn", "core") if name not in rows]
print("not in these data:", ", ".join(absent) or "nothing")
plot.table(pd.DataFrame.from_dict(rows, orient="index"), title="Stations", synthetic=synthetic, precision=2)

# %% [markdown]
# ## What was learned
#
# - The cube holds forcing, soil and targets of every pixel and day of this run, with what is missing counted.
# - When and where the satellite saw the ground; the network will learn from those days only.
# - Scaling uses the training period alone.
# - Whether the twin behaves like the real sample is measured, not assumed; its autumn is too wet.
