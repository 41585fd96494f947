# %% [markdown]
# # Training
#
# The satellite has seen a few years. A network that learns from them how weather turns into soil moisture
# can be driven with the weather of years that the satellite has not seen. Here that network is trained, one
# for each target of the profile.
#
# You will learn
#
# - what the network is, equation by equation, and what its dropout does,
# - how it is trained, and how the training watches itself without looking at the test period,
# - how much better than two simple expectations it is on what was held back from it,
# - what each choice in the recipe is worth.

# %%
import numpy as np
import pandas as pd
import torch
import xarray as xr
from IPython.display import display

from smapnb import cube, plot, train
from smapnb.lstm import SoilMoistureLSTM
from smapnb.metrics_baselines import climatology
from smapnb.profile import load, project_folder, run_folder, variable
from smapnb.variables import pixels_of

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %%
settings = load(profile, overrides)
folder = run_folder(settings.name)
data = cube.open_cube(folder / "cube.zarr")
synthetic = settings.synthetic
recipe = settings.training
training = data.sel(time=slice(str(recipe.start), str(recipe.end)))
print(f"{settings.title}; trained on {recipe.start} to {recipe.end}, {training.sizes['pixel']} pixels")

# %% [markdown]
# ## The network
#
# A day's inputs $x_0$, weather and soil side by side, pass a rectified linear layer; a long short-term
# memory cell keeps a state $s$ from day to day, which it may forget ($f$), add to ($i$, $g$) and show
# ($o$); a linear layer turns what it shows into soil moisture (Fang, Pan & Shen 2019, equations 1-8):
#
# $$
# \begin{aligned}
# x_t &= \mathrm{ReLU}(W_x x_{0,t} + b_x) \\ g_t &= \tanh\left(W_{gx} D(x_t) + W_{gh} D(h_{t-1}) +
# b_g\right) \\ i_t, f_t, o_t &= \sigma\left(W_{\cdot x} D(x_t) + W_{\cdot h} D(h_{t-1}) + b_\cdot\right) \\
# s_t &= D(g_t) \odot i_t + s_{t-1} \odot f_t \\ h_t &= \tanh(s_t) \odot o_t, \qquad y_t = W_y h_t + b_y
# \end{aligned}
# $$
#
# $D$ is dropout: it switches off a share of the units and scales up the others. Its masks are drawn once for a training
# instance and then stay the same on all its days, so that a unit which is off cannot carry anything from
# the past. In the figure every line is one instance of a batch; on the next day of the same instance the
# line would be the same.

# %% mystnb={"image": {"alt": "Three panels of dropout masks on x, h and g: light where a hidden unit is kept, dark where it is dropped, one line an instance"}}
n_inputs = len(settings.inputs.forcing) + len(settings.inputs.statics)
network = SoilMoistureLSTM(n_inputs, recipe.hidden_size, recipe.dropout, tuple(recipe.dropout_on))
drawn = network.draw_masks(20, torch.Generator().manual_seed(recipe.seed))
panels = {name: mask[:, :64].numpy() for name, mask in drawn._asdict().items()}
plot.masks(
    panels, title=f"Dropout masks, share {recipe.dropout}: first {panels['x'].shape[1]} of {recipe.hidden_size} units"
)

# %% [markdown]
# ## Training
#
# A batch is a number of instances: stretches of days, each of one pixel, drawn at random. The loss adds up the squared
# errors on the days on which the satellite saw something and divides by the length of the instance, not by the number
# of those days (equation 9; `training.loss_per` switches this), so that losses of two targets that are seen on
# different shares of the days do not compare. The days between are run, as the state must pass through them, but not
# scored. Some pixels, and in some profiles some months, are held back and only looked at. The test period is never
# touched.
#
# After every epoch the whole state is written to disk. A training that is killed goes on where it stood
# when this cell is run again, and one that is finished is not repeated.

# %%
results = {quantity: train.train(data, settings, quantity, folder / quantity) for quantity in settings.targets}
how = pd.DataFrame(
    {
        quantity: {
            "members": recipe.members,
            "instance lengths (days)": ", ".join(map(str, recipe.seq_length)),
            "optimiser": recipe.optimiser,
            "epochs": int(result.history["epoch"].max()),
            "parameters a member": result.parameters,
            "minutes": f"{result.seconds / 60:.1f}",
            "device": result.device,
        }
        for quantity, result in results.items()
    }
)
plot.table(how, title="Trained networks", synthetic=synthetic)

# %% [markdown]
# Left: the loss, on values scaled to a spread of about one, falls while the network learns. Right: the
# error on what was held back, in the units of soil moisture. While the right curve follows the left one
# down, the network learns what holds elsewhere too; where the right one turns up, it has begun to learn its
# training pixels by heart. There is a point for each epoch after which it was measured.

# %% mystnb={"image": {"alt": "Training loss by epoch on a logarithmic scale, and root-mean-square error on the held-back pixels by epoch, one line a member"}}
for quantity, result in results.items():
    units = data[variable(quantity, "smap")].attrs["units"]
    display(plot.loss_curves(result.history, title=f"Training, {quantity}", units=units, synthetic=synthetic))

# %% [markdown]
# ## Is it better than the mean and the season of other pixels?
#
# An error says little by itself. Two expectations are scored on the very same held-back days: the mean of all training
# observations, and the mean of those around the same day of the year. A pixel that is held back has no past of its own,
# so both are means over the training pixels: they know neither its weather nor its place, and most of their error is
# that places differ. What the weather adds to the climatology of the pixel itself is in the next notebook. The
# network's error is that of a single member, without dropout, and the mean over the members. `n` is the number of
# held-back observations, of few pixels; RMSE is in the column's units.

# %%
rows = []
for quantity, result in results.items():
    own = training.isel(pixel=pixels_of(training, quantity))
    held_pixels, held_days = train.held_back(own, settings)
    held_back = xr.DataArray(held_pixels, dims="pixel") | xr.DataArray(held_days, dims="time")
    obs = own[variable(quantity, "smap")].load()
    seen, hidden = obs.where(~held_back), obs.where(held_back)
    season = climatology(seen.mean("pixel"), obs.indexes["time"])
    errors = {"mean": hidden - seen.mean(), "season": hidden - season}
    rmse = {name: float(np.sqrt((error**2).mean())) for name, error in errors.items()}
    last = result.history.groupby("member").last()
    rmse["LSTM"] = float(last["validation_rmse"].mean()) if "validation_rmse" in last else np.nan
    rows += [{"target": quantity, "estimate": k, "rmse": v, "n": int(hidden.count())} for k, v in rmse.items()]
held = pd.DataFrame(rows).assign(units="m3 m-3", period=f"{recipe.start} to {recipe.end}")
plot.table(held.set_index(["target", "estimate"]), title="Error on what was held back", synthetic=synthetic)

# %% tags=["nbval-check-output"]
for quantity, rows in held.groupby("target", sort=False):
    scores = ", ".join(f"{row.estimate} {row.rmse:.2f}" for row in rows.itertuples())
    print(f"{quantity}{' (synthetic)' if synthetic else ''}: RMSE {scores} m3 m-3, n = {rows['n'].iloc[0]} held back")
print("parameters a member:", next(iter(results.values())).parameters)

# %% [markdown]
# ## What each choice is worth
#
# A recipe has many knobs; on the real sample some of them were turned one at a time.
#
# - The first five rows share the trained ensemble of the profile conus412: fewer of its members, which lack lengths of
#   instances as well, dropout off when it predicts, no spin-up.
# - The others each train one network anew by the recipe of conus412-quick, with dropout in other places, of another
#   share, in other batches or with another optimiser. They compare with conus412-quick, and its other seeds show how far
#   two trainings of one recipe lie apart: a smaller difference says nothing.
#
# Scores are medians over `n_pixels` pixels against SMAP in `period`, RMSE and ubRMSE in m³ m⁻³. `minutes` are those of
# training and hindcast, on two cores that had other work as well: compare them loosely. What each row was made with
# stands at its right. No choice was made from this table: `period` is the test period.

# %%
measured = project_folder() / "benchmarks" / "results" / "ablations_conus412.csv"
real = settings.data.source == "conus412"
ablations = pd.read_csv(measured) if real and measured.exists() else pd.DataFrame()
if not real:
    print("This run is synthetic: see the ablations in this notebook of the profile conus412.")
elif ablations.empty:
    print("No ablations measured yet: python -m benchmarks.ablations takes them.")
else:
    worth = ["pearson_r", "rmse", "ubrmse", "n_pixels", "period", "minutes"]
    ablations = ablations.set_index("variant")
    ablations = ablations[[*worth, *ablations.columns.difference(worth, sort=False)]].astype({"minutes": str})
plot.table(ablations, title="Measured ablations", synthetic=synthetic) if len(ablations) else None

# %% [markdown]
# ## What was learned
#
# - The network is one recurrent layer between two linear ones; its dropout masks stay the same within an instance.
# - Days without an observation are run but not scored, so gaps need no filling.
# - What is held back of the training period says how well the network does where it has not learned; the test period stays untouched until the next notebook.
# - An error is to be read beside that of a simple expectation, with the number of days behind it.
