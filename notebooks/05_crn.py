# %% [markdown]
# # The sparse network
#
# The U.S. Climate Reference Network (CRN) has one station in a pixel: three probes within a few metres, at up to five
# depths. Its stations are many and stand in every climate, but what one spot says of a pixel of 36 km is uncertain, so
# errors look larger than at the core sites. Differences between products, however, are seen by the same probes, and
# that is what a hundred sites are good for.
#
# You will learn
#
# - which sites can be used, and which rule takes out how many,
# - how the products compare before (PL) and after the launch (AL), over all sites and without favour for dense regions,
# - where the hindcast is good and where it is not,
# - how surely Comb, the mean of LSTM and Noah, is better than Noah alone.

# %%
import pandas as pd
import xarray as xr

from smapnb import comparison, cube, hindcast, insitu, plot, stations, tables
from smapnb import rules as rule_sets
from smapnb.profile import load, run_folder

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %% tags=["needs:stations.zarr/crn"]
settings = load(profile, overrides)
folder = run_folder(settings.name)
data = cube.open_cube(folder / "cube.zarr")
crn = stations.open_stations(folder / "stations.zarr")["crn"].load()
synthetic, rules = settings.synthetic, settings.rules
print("source:", crn.attrs["source"])
print("a day is the", crn.attrs["day"])

# %% [markdown]
# ## Which sites count
#
# Step by step, what each rule takes out. The paper's archive went from 114 sites (as many as the network lists as
# commissioned in the conterminous states) to 104 when those at the coast were left out, 82 of them with five depths and
# 22 with two, and to 72 for the root zone.

# %%
rule = rule_sets.of(rules)
observed = insitu.observed_fraction(crn, data["ssm_smap"])
series, exclusions = insitu.crn_series(crn, rules=rules, observed=observed)
standing = insitu.own_cell(series, data)
if rule.crn_inside_cell:
    series = series.isel(site=(standing != "no pixel").values)
products = comparison.gather(data, hindcast.open_hindcast(folder / "hindcast.zarr"))
collocated, places = comparison.collocate(series, products, farthest=rule.crn_farthest, flat=rule.flat_pixel)
tables.write(exclusions.assign(rules=rules, synthetic=synthetic), folder, "crn_exclusions")
tables.write(places.assign(rules=rules, synthetic=synthetic), folder, "crn_places", index=True)
plot.table(
    exclusions.drop(columns=["sites", "note"]), title=f"Sites left after each rule ({rules})", synthetic=synthetic
)

# %%
plot.table(
    insitu.removed_records(series),
    title=f"Records by depth (cm), and what each rule removed ({rules})",
    synthetic=synthetic,
)

# %% [markdown]
# Each site is compared with the pixel whose centre is nearest, `distance` being |Δlat| + |Δlon| in degrees. `kept` says
# whether that is near enough under the rules of this run, and `stands in` whether the site stands `inside` that pixel:
# where a run holds every fourth row and column only, its own pixel may be `not sampled`. What the numbers
# below say of the product holds for that distance. A day is the day of the network: where that is the local standard day,
# it ends five to eight hours after the UTC day of the products, which lowers R a little on days with rain.

# %%
named = places.assign(name=series["name"].to_series()).sort_values("distance").tail(8)
named["stands in"] = standing.to_series()
columns = ["name", "pixel", "distance", "kept", "stands in"]
plot.table(named[columns], title="The sites farthest from their pixels", synthetic=synthetic, precision=2)

# %% tags=["nbval-check-output"]
print(
    f"{crn.sizes['site']} sites in the archive, {series.sizes['site']} usable, {collocated.sizes['site']} near a pixel"
)
print(f"root zone: {int((collocated['rzsm_insitu'].count('time') > 0).sum())} sites")

# %% [markdown]
# ## How good are they?
#
# The seven series of the paper's Fig. 7. A box spans the quartiles over the sites, its line is the median, its whiskers
# reach from 5 to 95 %. AL holds days on which the network was trained: it shows how well that could learn, PL is the
# test. All products of a period are scored on the same days (`matched`); the table
# `runs/<profile>/tables/crn_scores.csv` holds the authors' sampling as well, with limits and days of each site. With fewer
# than five sites a box is no more than the sites. In the twin the land models share the equations of its truth, so that
# who wins there says nothing on the real ones.

# %%
drawn = {"n_boot": settings.stations.bootstrap_samples, "block": settings.stations.block_days}
scores = comparison.scores(collocated, rules=rules, **drawn)
where = collocated[["lat", "lon"]].to_dataframe()[["lat", "lon"]]
scores = scores.join(where, on="site")
tables.write(scores, folder, "crn_scores")
scored = scores[scores["n"] > 0]
fair = scored[(scored["sampling"] == "matched") & scored["value"].notna()]
if scored.empty:
    print("No day in common of the network and the hindcast.")

# %% mystnb={"image": {"alt": "Boxes over the sites of RMSE, bias, unbiased RMSE and correlation against the sparse network, seven series, surface soil moisture"}}
boxed = ["rmse", "bias", "ubrmse", "pearson_r"]
surface, rootzone = (fair[fair["quantity"] == quantity] for quantity in ("surface", "rootzone"))
figure = None
if len(surface):
    figure = plot.score_boxes_by_series(
        surface, boxed, title="Sparse network, surface, matched days", synthetic=synthetic
    )
else:
    print(f"No score of the surface in this run ({settings.name}).")
figure

# %% mystnb={"image": {"alt": "Boxes over the sites of RMSE, bias, unbiased RMSE and correlation against the sparse network, seven series, root-zone soil moisture"}}
figure = None
if len(rootzone):
    figure = plot.score_boxes_by_series(
        rootzone, boxed, title="Sparse network, root zone, matched days", synthetic=synthetic
    )
else:
    print(f"No score of the root zone in this run ({settings.name}).")
figure

# %% tags=["nbval-check-output"]
for (quantity, period, product), rows in surface[surface["metric"] == "pearson_r"].groupby(
    ["quantity", "period", "product"], sort=False
):
    if product in ("smap", "lstm", "noah", "comb"):
        print(f"{quantity} {period} {product}: median R {rows['value'].median():.2f} of {len(rows)} sites")
print(f"{len(fair['site'].unique())} sites with a score")

# %% [markdown]
# Where the network of a run is small each site can be shown, else the ten at which the hindcast's R is lowest: R of LSTM
# and of SMAP after launch on the same days, with limits.

# %%
of_r = surface[(surface["metric"] == "pearson_r") & (surface["period"] == "AL")].set_index(["site", "product"])
lowest = of_r[of_r.index.isin(["lstm"], level="product")]["value"].nsmallest(10).index.get_level_values("site")
each = of_r.loc[of_r.index.isin(["lstm", "smap"], level="product") & of_r.index.isin(lowest, level="site")]
each = each[["value", "lower", "upper", "n", "start", "end"]].sort_index().astype({"start": str, "end": str})
plot.table(each, title="R at single sites after launch, surface", synthetic=synthetic, precision=2)

# %% [markdown]
# Of these days, those of the training are no test. What is left after launch when they are taken out stands below. These
# are other days than above, of all seasons and also those without SMAP: the two tables do not compare.

# %%
days = collocated.indexes["time"]
trained = (days >= str(settings.training.start)) & (days <= str(settings.training.end))
untrained = collocated.where(xr.DataArray(~trained, {"time": days}, "time"))
rest = comparison.scores(untrained, rules=rules, sampling=["author"], products=["smap", "lstm"], **drawn)
rest = rest[
    (rest["metric"] == "pearson_r") & (rest["period"] == "AL") & (rest["quantity"] == "surface") & (rest["n"] > 0)
]
rest = rest.set_index(["site", "product"])[["value", "lower", "upper", "n", "start", "end"]].head(12)
print(f"trained on {settings.training.start} to {settings.training.end}")
heading = "R after launch, training days left out, each product on its days"
plot.table(rest.astype({"start": str, "end": str}), title=heading, synthetic=synthetic, precision=2)

# %% [markdown]
# ## Without favour for dense regions
#
# Where many sites stand together they say the same thing many times. Here sites within 300 km of each other are averaged
# first, and then the clusters; the limits come from the spread of the clusters (Student's t), of which fewer than three
# give none.

# %%
clustered = comparison.cluster_mean(fair, collocated)
tables.write(clustered, folder, "crn_clusters")
seven = [tuple(series.split()) for series in comparison.SERIES]
of_seven = pd.MultiIndex.from_frame(clustered[["period", "product"]]).isin(seven)
picked = clustered[of_seven & clustered["metric"].isin(["ubrmse", "pearson_r"])]
columns = ["mean", "lower", "upper", "mean_of_sites", "n_clusters"]
picked = picked.sort_values(["quantity", "metric"], ascending=False, kind="stable")
picked = picked.set_index(["quantity", "metric", "period", "product"])[columns]
plot.table(picked, title="Means over clusters, and plainly over sites", synthetic=synthetic, precision=3)

# %% [markdown]
# ## Where
#
# The hindcast before launch (PL) beside the satellite after it (AL), as in the paper's Fig. 8.

# %% mystnb={"image": {"alt": "Maps of unbiased RMSE and correlation at the sites of the sparse network, hindcast before launch and SMAP after it, surface"}}
drawn_metrics = ["ubrmse", "pearson_r"]
panels = comparison.site_panels(surface, [("PL", "lstm"), ("AL", "smap"), ("AL", "lstm")], drawn_metrics)
figure = None
if panels:
    figure = plot.site_maps(panels, title="Surface", synthetic=synthetic)
else:
    print(f"No score of the surface in this run ({settings.name}).")
figure

# %% mystnb={"image": {"alt": "Maps of unbiased RMSE and correlation at the sites of the sparse network, hindcast before launch and SMAP after it, root zone"}}
panels = comparison.site_panels(rootzone, [("PL", "lstm"), ("AL", "smap")], drawn_metrics)
figure = None
if panels:
    figure = plot.site_maps(panels, title="Root zone", synthetic=synthetic)
else:
    print(f"No score of the root zone in this run ({settings.name}).")
figure

# %% [markdown]
# Click a site to see its series below the map. Series of more than four years are means of seven days.

# %%
period = "PL" if "PL" in set(surface["period"]) else "AL"
rows = surface[(surface["period"] == period) & (surface["product"] == "lstm")]
figure = None
if len(rows):
    r = comparison.site_values(rows, "pearson_r")
    drawn_names = [v for p in ("insitu", "smap", "lstm", "noah") if (v := f"ssm_{p}") in collocated]
    shown = collocated[drawn_names].sel(site=r["site"].values)
    shown = shown.coarsen(time=7, boundary="trim").mean() if shown.sizes["time"] > 1500 else shown
    start = int(r.argmax("site"))
    figure = plot.explorer(r, shown, title=f"R of the LSTM, {period}", synthetic=synthetic, start=start, limits=(0, 1))
else:
    print("No site to show.")
figure

# %% [markdown]
# ## How surely is one better than another?
#
# The mean over the sites of the difference of R, with limits from resampling the clusters of sites; then at how many
# sites the first is higher or lower, and in brackets at how many significantly (5 %, false discovery rate controlled over
# the sites). B resamples cannot give a p-value below 2 / (B + 1), so among a hundred sites a few that differ alone would
# not be called significant.

# %%
pairs = comparison.differences(collocated, rules=rules, sampling="matched", **drawn)
tables.write(pairs, folder, "crn_differences")
regions = pairs["site"].map(comparison.clusters(collocated))
effects = comparison.effect(pairs.assign(group=regions))
tables.write(effects.assign(rules=rules), folder, "crn_effects")
of_r = effects[(effects["metric"] == "pearson_r") & (effects["n_sites"] > 0)]
shown_effects = comparison.effect_table(of_r)
plot.table(shown_effects, title="Difference of R, first less second", synthetic=synthetic, precision=3)

# %% [markdown]
# ## By season
#
# Winter is the hard time for the satellite, for the probes and so for the network: fewer sites and days are left, not
# always the same sites. R also falls because moisture moves less; ubRMSE need not grow.

# %%
seasons = comparison.seasonal_scores(collocated, rules=rules, sampling=["matched"], n_boot=1)
seasons = seasons[(seasons["n"] > 0) & seasons["metric"].isin(["ubrmse", "pearson_r"])].join(where, on="site")
tables.write(seasons, folder, "crn_seasons")
main_products = seasons["product"].isin(["smap", "lstm", "noah", "comb"])
by_season = seasons[(seasons["quantity"] == "surface") & main_products].pivot_table(
    index=["metric", "period", "product"], columns="season", values="value", aggfunc="median"
)
by_season = by_season[[season for season in ("DJF", "MAM", "JJA", "SON") if season in by_season]]
plot.table(by_season, title="Median over the sites, surface", synthetic=synthetic, precision=3)

# %%
# The same days for all products, so that one of them tells.
counted = seasons.query("quantity == 'surface' and metric == 'pearson_r' and product == 'lstm'").dropna(subset="value")
behind = counted.groupby(["period", "season"])["n"].agg(["size", "median"])
behind = behind.reindex(by_season.columns, level="season").set_axis(["sites", "days of the median site"], axis=1)
plot.table(behind, title="What stands behind R by season", synthetic=synthetic, precision=0)

# %% [markdown]
# ## Both sets of rules
#
# The same network under the rules of the paper's text and under those of its authors' scripts ({doc}`/rules`).

# %%
columns = {}
for name in rule_sets.SETS:
    rule = rule_sets.of(name)
    varied, _ = insitu.crn_series(crn, rules=name, observed=observed)
    if rule.crn_inside_cell:
        varied = varied.isel(site=(insitu.own_cell(varied, data) != "no pixel").values)
    varied, _ = comparison.collocate(varied, products, farthest=rule.crn_farthest, flat=rule.flat_pixel)
    settled = {"rules": name, "sampling": [rule.sampling], "products": ["smap", "lstm", "noah", "comb"], "n_boot": 1}
    rows = comparison.scores(varied, **settled)
    keys = ["quantity", "metric", "period", "product"]
    grouped = rows[rows["n"] > 0].groupby(keys)["value"]
    columns[f"{name}{' (this run)' if name == rules else ''}"] = grouped.median()
    columns[f"n, {name}"] = grouped.count()
compared = pd.DataFrame(columns)
tables.write(compared.reset_index().assign(synthetic=synthetic), folder, "crn_rules")
few = compared[compared.index.get_level_values("metric").isin(["ubrmse", "pearson_r"])]
plot.table(few, title="Medians over the sites by rule set", synthetic=synthetic, precision=3)

# %% [markdown]
# ## What was learned
#
# - Each rule takes out a known number of sites; the two sets of rules may leave different ones.
# - Scores against single stations hold the station's own distance from its pixel; they compare products, and are not the error of a pixel.
# - Averaging over clusters, and limits on differences, keep dense regions and chance from deciding.
