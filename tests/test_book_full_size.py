"""Numbers on the page "Run it at full size" are those of the package: plan, steps, bytes, weights."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from smapnb import cli, variables
from smapnb.batch import iterations_per_epoch
from smapnb.cube_tasks import VARIABLES
from smapnb.profile import load
from smapnb.train_checkpoint import network

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "book" / "full_size.md").read_text(encoding="utf-8")
PIXELS = {"surface": 6321, "rootzone": 7365}  # of Fang, Pan & Shen (2019)


@pytest.fixture
def conus(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load("conus")


def days(period) -> int:
    return len(pd.date_range(period.start, period.end))


def test_the_plan_is_that_of_the_command(conus, monkeypatch, tmp_path):
    monkeypatch.setenv("SMAPNB_DATA", str(tmp_path))
    result = CliRunner().invoke(cli.app, ["fetch", "plan", "conus", "--window"], catch_exceptions=False)
    shown = PAGE.split("```text\n")[1].split("```")[0]
    assert shown.splitlines()[0].startswith("product")
    assert shown.splitlines()[-1].startswith("all ")
    assert shown in result.stdout
    less = ["-p", "data.archive.land_models=[]"]
    total = CliRunner().invoke(cli.app, ["fetch", "plan", "conus", "--window", *less]).stdout.split("\nall ")[1]
    assert total.split()[1:3] == ["321", "GB"] and "321 GB in 24 h" in PAGE
    assert round(float(total.split()[6])) == 24


def test_steps_follow_from_the_profile(conus):
    training = conus.training
    assert (training.batch_size, training.seq_length, training.epochs) == (100, [30], 500)
    for quantity, text in (("surface", "9569"), ("rootzone", "5.6 million for 6,629 cells")):
        pixels = PIXELS[quantity] - round(training.validation.pixel_fraction * PIXELS[quantity])
        steps = iterations_per_epoch(pixels, days(training), 100, 30)
        assert text in PAGE
        assert str(steps) in text or f"{steps * 500 / 1e6:.1f} million for {pixels:,}" in text
    large = iterations_per_epoch(5689, days(training), 1024, 30) * 500
    assert f"{large:,}" in PAGE


def test_bytes_follow_from_the_profile(conus):
    cells = sum(PIXELS.values())
    numbers = len(variables.names("forcing")) + 1 + len(VARIABLES["NOAH"]) + len(VARIABLES["VIC"])
    assert numbers == 12
    assert f"{cells * days(conus.data) * numbers * 4 / 1e9:.1f}\\ \\text{{GB}}" in PAGE
    assert f"{cells * days(conus.data) / 1e6:.0f}\\ \\text{{million pixel-days}}" in PAGE
    of_training = len(conus.inputs.forcing) + 3  # target, observed, scored
    for quantity in conus.targets:
        assert f"{PIXELS[quantity] * days(conus.training) * of_training * 4 / 1e6:.0f} MB" in PAGE


def test_weights_are_counted(conus):
    n_inputs = len(conus.inputs.forcing) + len(conus.inputs.statics)
    weights = sum(p.numel() for p in network(n_inputs, conus.training).parameters())
    assert f"{weights:,} gradients" in PAGE
    flops = 2 * (n_inputs * 256 + 8 * 256**2 + 256)  # a product and a sum for each weight of a day
    assert f"{flops / 1e6:.2f} MFLOP" in PAGE
    assert f"{3 * flops * 3000 / 1e9:.1f} GFLOP" in PAGE
    assert f"{3 * flops * 3000 * 9569 * 500 / 1e15:.0f} PFLOP" in PAGE
