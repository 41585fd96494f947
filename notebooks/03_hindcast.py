# %% [markdown]
# # Hindcast
#
# The trained network needs only weather and soil, so it can be run on days without a satellite: before the
# launch, in the gaps, under the snow. Here it is run over the whole period of the profile, and then it has
# to answer for it: on days that neither the training nor any choice has touched.
#
# You will learn
#
# - how the network is run from day to day, and why it needs time to find its state,
# - how well it agrees with the satellite on the evaluation period, with the number of days and the uncertainty,
# - where it is good and where it is not, pixel by pixel,
# - when the weather leaves what the network has been trained on,
# - in the twin, where the truth is known: whether its errors grow with the distance from the training.

# %%
import numpy as np
import pandas as pd
from scipy import stats

from smapnb import cube, hindcast, metrics, plot, tables
from smapnb.metrics_baselines import climatology
from smapnb.profile import data_root, load, run_folder, variable
from smapnb.sources import authors_csv

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %% [markdown]
# The state of the network starts at zero and is run through the days before the hindcast begins, which are
# thrown away. Where the data begin with the hindcast, as on the real sample, there are no such days: its first months are
# those of a cold start, and the evaluation begins a year later. The result is written block by block to
# `runs/<profile>/hindcast.zarr`, so that its length is not limited by memory.

# %%
settings = load(profile, overrides)
folder = run_folder(settings.name)
data = cube.open_cube(folder / "cube.zarr")
result = hindcast.run(data, settings, folder, folder / "hindcast.zarr")
first = settings.targets[0]
estimate = variable(first, "lstm")
synthetic = settings.synthetic
note = " (synthetic)" if synthetic else ""

# %% tags=["nbval-check-output"]
days = result.indexes["time"]
print(f"{settings.title}: {result.sizes['pixel']} pixels, {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}")
print(f"{len(days)} days kept, {result.attrs['spinup_days']} days of spin-up before them")
print("missing values:", int(result[estimate].size - result[estimate].count()))

# %% [markdown]
# ## The hindcast at a glance
#
# The mean over all days, and how much a pixel's moisture moves in time.

# %% mystnb={"image": {"alt": "Two maps of the conterminous United States: mean of the hindcast soil moisture, and its standard deviation in time"}}
moisture = result[estimate].load()
spread = moisture.std("time").assign_attrs(long_name="standard deviation in time", units=moisture.units)
plot.static_maps(
    {"Mean": moisture.mean("time").assign_attrs(moisture.attrs), "Variability": spread}, synthetic=synthetic
)

# %% [markdown]
# ## The score
#
# The evaluation period is disjoint from the training period: the profile refuses anything else. Every
# estimate is scored on the days on which the satellite has a value. The LSTM stands beside a climatology,
# made of the training period's observations around the same day of the year; where the data hold land
# models, those are scored too (in the twin: models like Noah and VIC, with errors of our making). On the real sample
# the authors' published output of a network of theirs stands beside it, on the same pixels and days: one CuDNN variant of
# the LSTM with 256 hidden units, trained for 100 epochs on April 2015 to March 2016 with an RMSE loss.

# %%
period = slice(str(settings.evaluation.start), str(settings.evaluation.end))
training = slice(str(settings.training.start), str(settings.training.end))
models = {"Noah-like": "noah", "VIC-like": "vic"} if synthetic else {"Noah": "noah", "VIC": "vic"}
estimates = {}
for quantity in settings.targets:
    smap = data[variable(quantity, "smap")].load()
    known = smap.sel(time=training)
    estimates[quantity, "LSTM"] = result[variable(quantity, "lstm")].sel(time=period).load()
    estimates[quantity, "climatology"] = climatology(known, smap.sel(time=period).indexes["time"])
    for name, product in models.items():
        if variable(quantity, product) in data:
            estimates[quantity, name] = data[variable(quantity, product)].sel(time=period).load()

# %%
published = data_root() / "authors_predictions"
theirs = authors_csv.PREDICTION_DAYS
covered = theirs[0] <= period.start and period.stop <= theirs[1]
if settings.data.source != "conus412":
    print("The authors' output is of the real sample: it has no place in this run.")
elif not covered or not (published / authors_csv.PREDICTIONS).is_file():
    print(
        f"The authors' output is not shown: it covers {' to '.join(theirs)} and lies in {published.name}/, if at hand."
    )
else:
    estimates["surface", "authors"] = authors_csv.open_predictions(published, data["pixel"]).sel(time=period)

# %%
settled = {"n_boot": settings.evaluation.bootstrap_samples, "block": settings.evaluation.block_days}
scores = {
    (quantity, product): metrics.evaluate(sim=sim, obs=data[variable(quantity, "smap")].sel(time=period), **settled)
    for (quantity, product), sim in estimates.items()
}

# %% [markdown]
# The table gives the median over the pixels and the quartiles, in the column's `units`. `pixel_lower` and
# `pixel_upper` are no limits of the median: they are the medians of the pixels' own 95 % confidence limits, and say how
# far the score of one pixel is uncertain because its days are few and alike. `n_pixels` have a score, from `n_days`
# pixel-days on which both SMAP and the product have a value; R needs three such days, and values that change. The table
# is saved as `runs/<profile>/tables/scores.csv`. Below it a box spans the quartiles over the pixels, its whiskers reach
# from 5 to 95 %.

# %%
rows = []
for (quantity, product), score in scores.items():
    row = metrics.summarise(score).reset_index()
    limits = np.array([score[f"{name}_ci"].median("pixel") for name in row["metric"]])
    row = row.assign(pixel_lower=limits[:, 0], pixel_upper=limits[:, 1], n_days=int(score["n"].sum()))
    rows.append(row.assign(target=quantity, product=product))
table = pd.concat(rows).assign(start=period.start, end=period.stop, synthetic=synthetic)
table = table.set_index(["target", "product", "metric"])
tables.write(table, folder, "scores", index=True)
shown = table.drop(columns=["start", "end", "synthetic"])
plot.table(shown, title=f"Against SMAP, {period.start} to {period.stop}", synthetic=synthetic)

# %% tags=["nbval-check-output"]
for quantity in settings.targets:
    summary, n = metrics.summarise(scores[quantity, "LSTM"]), int(scores[quantity, "LSTM"]["n"].sum())
    r, rmse = summary["median"][["pearson_r", "rmse"]]
    print(f"{quantity}, LSTM against SMAP{note}: R {r:.2f}, RMSE {rmse:.2f} m3 m-3")
    print(f"  medians of {summary['n_pixels'].max()} pixels, {n} pixel-days, {period.start} to {period.stop}")

# %% mystnb={"image": {"alt": "Box plots over pixels of correlation, root-mean-square error and unbiased root-mean-square error, one box an estimate"}}
shown = {product: score for (quantity, product), score in scores.items() if quantity == first}
heading = f"Against SMAP, {first}, {period.start} to {period.stop}"
plot.score_boxes(shown, ["pearson_r", "rmse", "ubrmse"], title=heading, synthetic=synthetic)

# %% [markdown]
# Two medians may differ by chance. Below, each product is compared with the LSTM on the pixels that both
# have: the difference of the medians and its 95 % limits, `lower` and `upper`, from drawing pixels with replacement, in
# the metric's units. Where the limits include zero, the two cannot be told apart on this sample. Where they do not, the
# difference may still be chance: neighbouring pixels are alike, the drawing takes them for independent, and so the
# limits are too narrow.

# %%
differences = {
    product: metrics.difference(shown["LSTM"], score) for product, score in shown.items() if product != "LSTM"
}
compared = pd.concat(differences, names=["LSTM less"])
plot.table(compared, title=f"Difference of medians, {first}, {period.start} to {period.stop}", synthetic=synthetic)

# %% [markdown]
# ## Where it is good, and where it is not

# %% mystnb={"image": {"alt": "Two maps of the conterminous United States: Pearson correlation and root-mean-square error of the hindcast against SMAP in the evaluation period"}}
score = scores[first, "LSTM"]
limits = {"R against SMAP": (0, 1), "RMSE against SMAP": (0, 0.1)}
plot.static_maps(
    {"R against SMAP": score["pearson_r"], "RMSE against SMAP": score["rmse"]}, limits=limits, synthetic=synthetic
)

# %% [markdown]
# Click a pixel to see its series below the map; drag a box to zoom, click a name in the legend to hide it.
# Pixels without an observation in the evaluation period are grey. Series of more than four years are means
# of seven days.

# %%
names = [variable(first, product) for product in ("smap", "noah") if variable(first, product) in data]
series = data[names].sel(time=days).load().assign({estimate: moisture})
series = series.coarsen(time=7, boundary="trim").mean() if len(days) > 1500 else series
at = int(np.nanargmax(score["pearson_r"]))
plot.explorer(score["pearson_r"], series, title="R against SMAP", synthetic=synthetic, start=at)

# %%
plot.interactive_map(score["rmse"], title="RMSE against SMAP", synthetic=synthetic)

# %% [markdown]
# ## Why it must find its state first
#
# The network remembers. Started from zero on the first day of the evaluation it does not know how wet the
# ground is, and has to find out from the weather. The figure shows how far such a cold start is from one that had a
# year to settle, and how long that takes; the table, what it costs (RMSE and ubRMSE in m³ m⁻³, `n_days` matched
# pixel-days). Both run once, with dropout off, so the numbers differ a little from the scores above.

# %%
runs = {}
for name, spinup in {"after a year": 365, "cold start": 0}.items():
    update = {"start": settings.evaluation.start, "end": settings.evaluation.end, "spinup_days": spinup}
    without = settings.hindcast.model_copy(update=update | {"dropout_passes": 0})
    changed = settings.model_copy(update={"hindcast": without, "targets": [first]})
    store = folder / f"started_{name.replace(' ', '_')}.zarr"
    runs[name] = hindcast.run(data, changed, folder, store)[estimate].load()
apart = abs(runs["cold start"] - runs["after a year"]).median("pixel").rename("apart")
apart.attrs = {"long_name": "absolute difference, median of pixels", "units": "m3 m-3"}
plot.interactive_series(apart.to_dataset(), ["apart"], title="Cold start less warm", synthetic=synthetic)

# %%
obs = data[variable(first, "smap")].sel(time=period)
rows = {}
for name, sim in runs.items():
    for length in (30, 90, sim.sizes["time"]):
        started = metrics.evaluate(sim=sim[:length], obs=obs[:length], n_boot=1)
        median = metrics.summarise(started)["median"]
        rows[name, length] = median[["rmse", "ubrmse", "pearson_r"]].to_dict() | {"n_days": int(started["n"].sum())}
costs = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["start", "first days"])
plot.table(costs, title="Medians over pixels against SMAP", synthetic=synthetic)

# %% [markdown]
# ## When the weather leaves what it was trained on
#
# A network is not to be trusted where it extrapolates. The hindcast counts, for every day and pixel, the
# forcing variables that are missing or lie beyond the range of the training period.

# %% mystnb={"image": {"alt": "Map of the share of days on which at least one forcing variable was outside the range seen in training"}}
beyond = (result["forcing_out_of_range"] > 0).mean("time").compute()
beyond.attrs = {"long_name": "share of days with forcing out of range", "units": "1"}
plot.static_maps({"Out of the training range": beyond.rename("beyond")}, synthetic=synthetic, cmap="cividis")

# %%
by_year = (result["forcing_out_of_range"] > 0).groupby("time.year").mean(...).to_series()
plot.table(by_year.to_frame("share of pixel-days"), title="Forcing out of range", synthetic=synthetic)

# %% [markdown]
# ## Against a known truth
#
# Only a simulation can say how good a hindcast really is: its truth is known on all days, also before the
# launch. Year by year, the hindcast and the two land models of the twin are held against it. The unbiased error is
# used, as the satellite senses a shallower layer than the truth describes. It takes each year's own mean away: a level
# that drifts over the years is not seen here, but in the chapter on trends. The change is per decade of the calendar, so
# that a negative one means larger errors further back; the land models, which learn nothing, show how much of it is the
# weather's. Its limits take years for independent.

# %%
truth = variable(first, "truth")
known = {k: variable(first, p) for k, p in models.items() if truth in data}
against = {"LSTM": moisture} | {k: data[name].sel(time=days).load() for k, name in known.items()}
rows = []
for product, sim in against.items() if known else ():
    for year, obs in data[truth].sel(time=days).load().groupby("time.year"):
        error = metrics.ubrmse(sim=sim.sel(time=obs["time"]), obs=obs, axis=0)
        q25, median, q75 = np.nanquantile(error, [0.25, 0.5, 0.75])
        row = {"product": product, "year": year, "median": median, "q25": q25, "q75": q75}
        rows.append(row | {"n_pixels": int(np.isfinite(error).sum())})
yearly = pd.DataFrame(rows)

# %% mystnb={"image": {"alt": "Unbiased root-mean-square error against the known truth by year, median and quartiles over pixels, for the LSTM and the land models; on real data only a line of text"}}
attrs = {"long_name": "ubRMSE against the truth", "units": "m3 m-3"}
if rows:
    figure = plot.by_year(yearly, "ubrmse", title="Error against the truth", attrs=attrs, synthetic=synthetic)
else:
    figure = "The truth of real data is not known."
figure

# %% tags=["nbval-check-output"]
before = yearly[yearly["year"] < settings.training.start.year] if rows else pd.DataFrame(columns=["product"])
for product, rows in before.groupby("product", sort=False):
    line = f"{product} before the training{note}: median ubRMSE {rows['median'].mean():.2f} m3 m-3"
    if len(rows) > 2:
        fit = stats.linregress(rows["year"], rows["median"])
        half = stats.t.ppf(0.975, len(rows) - 2) * fit.stderr
        line += f", change {10 * fit.slope:+.3f} ± {10 * half:.3f} per decade (95 %)"
    print(f"{line}, {len(rows)} years, {result.sizes['pixel']} pixels")
if before.empty:
    print(f"no year before the training and with a known truth, 0 of {days.year.nunique()} years")

# %% [markdown]
# ## What was learned
#
# - A hindcast needs nothing but forcing, soil and a checkpoint, and some days to find its state.
# - Its score is given with the number of days and pixels, beside a climatology and every other product at hand, and with the uncertainty of each and of their differences.
# - The map shows where it holds; the flags show when it was asked to extrapolate.
# - In the twin the error before the launch is measured against the truth, year by year.
