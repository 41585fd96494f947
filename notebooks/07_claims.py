# %% [markdown]
# # The paper's statements, one by one
#
# The paper states numbers ("the median R is above 0.72") and patterns ("Comb has a higher R than Noah at six of nine
# sites"). Here each of them is held against the tables that the other chapters have left in `runs/<profile>/tables`,
# and gets a verdict that nobody has typed. On the synthetic twin this tests the method, not the world: a verdict
# there says whether the chain can find such a pattern where its answer is of our making.
#
# You will learn
#
# - how a verdict is made, and why some statements get none,
# - which statements hold on this run, experiment by experiment, with limits and the number of sites,
# - what cannot be tested on this run, and why.

# %%
import pandas as pd

from smapnb import claims, plot, rules
from smapnb.profile import load, run_folder

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %% [markdown]
# ## How a verdict is made
#
# Every statement stands in `smapnb/data/claims.yml` with its place in the paper, what the paper says, and which rows of
# which table answer it. From these rows comes our value with its 95 % limits: those of the table for a single site,
# those of the sign test for a median, Wilson's for "so many of so many". Then a rule that depends only on the kind of
# the statement gives one of three verdicts.
#
# | kind | reproduced if |
# |---|---|
# | a number | ours is within the stated tolerance, or limits not wider than four tolerances hold it |
# | a bound | ours obeys it, and our limits do not hold it; without limits ours alone decides, as the reason says |
# | k of n sites | the paper's share is within our limits and on the same side of one half |
# | named sites | ours are the same |
# | the direction of an effect | our limits lie on that side of zero |
#
# Else it *differs*; or it is *not testable*: because the run lacks what it takes, or because the limits are so wide that
# they would let anything pass. With fewer than six sites a median has no 95 % limits at all: five signs agree by chance
# in 6 of 100 cases. A statement that few runs could contradict is marked as a weak test.
#
# **Which days.** The figures of the chapters on core sites and on the reference network compare all products on the
# same days (`matched`). The statements take the days of the rule set, which the line below names: under `author-code`
# these are the paper's own (`author`), each product on all of its own days, SMAP on fewer than the rest. So a number
# here may differ from the same bar or box there; the scores on both kinds of days are in the tables. Only where a
# statement needs the limits or p-values of a difference at single sites, and for the seasons, are the days matched here
# too; a row that is judged by them says so.

# %%
settings = load(profile, overrides)
folder = run_folder(settings.name)
synthetic = settings.synthetic
tables = claims.read_tables(folder / "tables")
known = claims.facts(
    tables,
    synthetic=synthetic,
    targets=settings.targets,
    rules=settings.rules,
    sampling=rules.of(settings.rules).sampling,
)
table = claims.check(tables, known)
claims.write(table, folder / "claims.csv")
aim = "tests the method, not the world" if synthetic else "real data"
days = {"author": "each product on its own days", "matched": "all products on the same days"}[known.sampling]
print(f"{settings.title}: {aim}\nRules: {known.rules}\nDays of the statements: {known.sampling} ({days})")
print(f"Tables: {', '.join(tables) or 'none'}")

# %% [markdown]
# The whole table is saved as `runs/<profile>/claims.csv`. Its verdicts, counted by experiment (E: section and figure of
# the paper, C: conclusions and abstract, D: sites and pixels):

# %%
experiment = table["id"].str.partition(".")[0].rename("experiment")
counts = pd.crosstab(experiment, table["verdict"]).reindex(experiment.unique())
counts = counts.reindex(columns=list(claims.VERDICTS), fill_value=0)
plot.table(counts, title=f"Verdicts by experiment; {aim}", synthetic=synthetic)

# %% tags=["nbval-check-output"]
note = " (synthetic: tests the method, not the world)" if synthetic else ""
print(f"{len(table)} statements of the paper{note}")
for verdict, number in counts.sum().items():
    print(f"  {verdict}: {number}")

# %% [markdown]
# ## Core sites, surface
#
# E1: from training to hindcast. E2: SMAP and LSTM against Noah. E3: Comb, the mean of LSTM and Noah. E5 and E6: another
# partner for Noah, and a network trained in one year and tested in another. ubRMSE and bias are in m³ m⁻³. A count says
# how many sites are on one side, however slightly; the rows on the median difference say by how much, and how surely.
# Where p-values are at hand, the reason says how many sites are higher, and how many lower, by more than chance.

# %%
both = table[["lower", "upper"]].to_numpy()
limits = [f"{low:.3g} to {high:.3g}" if low == low else "" for low, high in both]
columns = ["verdict", "statement", "paper", "ours", "limits", "n", "reason", "place"]
shown = table.assign(limits=limits).set_index("id")[columns]
surface = experiment.isin(["E1", "E2", "E3"]).to_numpy()
plot.table(shown[surface], title="Core sites, surface", synthetic=synthetic, words=True)

# %%
controls = experiment.isin(["E5", "E6"]).to_numpy()
plot.table(shown[controls], title="Controls", synthetic=synthetic, words=True)

# %% [markdown]
# ## Core sites, root zone
#
# The paper says once that SMAP beats Noah at two sites and once that it does at one: both statements are here. It has
# five sites: too few for limits of a median, so that no statement on such a median can be tested, here or with the paper's data.

# %%
rootzone = experiment.eq("E4").to_numpy()
plot.table(shown[rootzone], title="Core sites, root zone", synthetic=synthetic, words=True)

# %% [markdown]
# ## Series
#
# What the paper reads off its series by eye is here a number: the e-folding time of dry spells, the quantiles of the
# anomalies, the change from day to day.

# %%
series = experiment.isin(["E7", "E8"]).to_numpy()
plot.table(shown[series], title="Series at core sites", synthetic=synthetic, words=True)

# %% [markdown]
# ## Reference network

# %%
network = experiment.isin(["E9", "E10"]).to_numpy()
plot.table(shown[network], title="Reference network", synthetic=synthetic, words=True)

# %% [markdown]
# ## Trends of the root zone
#
# Slopes are in volumetric per cent a year. The paper lets the records start in 2000 in one place and in 2005 in
# another: both statements are here. Choosing sites by their measured slope raises the correlation by itself, so
# the row on all sites (C.4 below) is the one to trust.

# %%
trends = experiment.eq("E11").to_numpy()
plot.table(shown[trends], title="Trends", synthetic=synthetic, words=True)

# %% [markdown]
# ## Conclusions, sites and pixels

# %%
conclusions = experiment.str.match("C|D").to_numpy()
plot.table(shown[conclusions], title="Conclusions, sites and pixels", synthetic=synthetic, words=True)

# %% [markdown]
# ## What cannot be tested here, and why
#
# A statement about a named place needs that place. The daily records of the core stations before the launch are not
# public, so that without them half of the bars of Figs. 3 and 4 cannot be drawn by anyone else. And some effects are
# smaller than what so few sites can show.

# %%
untested = table[table["verdict"] == "not testable"]
reasons = untested.groupby("reason", sort=False)["id"].agg(statements=", ".join, number="count")
reasons = reasons.sort_values("number", ascending=False, kind="stable").reset_index()
plot.table(reasons, title="Reasons for no verdict", synthetic=synthetic, words=True)

# %% [markdown]
# ## What was learned
#
# - Every number and pattern of the paper has a row: what it says, what this run gives, and how the two compare.
# - Verdicts follow from rules stated beforehand, and the same rules judge every run.
# - A statement that this run cannot judge says so, with the reason: it is not counted for or against the paper.
