"""The `smapnb` command: thin; answers come from the module that owns them, a user error is one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pydantic
import typer
import yaml

from smapnb import __version__, fetch, grid, profile, runner

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
fetch_app = typer.Typer(no_args_is_help=True, help="Say what the data take, and get them.")
app.add_typer(fetch_app, name="fetch")

# What a disk refuses: a user makes room or takes another one.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK = (*FULL, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"smapnb {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Long, gap-free, honestly evaluated soil moisture from a short satellite mission."""


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="Name of a profile, or path of its YAML file.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Number or name of a notebook, as 03; may be repeated.")
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="KEY=VALUE", help="Set a profile key, as training.epochs=5; may be repeated."),
    ] = None,
) -> None:
    """Execute the notebooks in order into runs/PROFILE/notebooks."""
    with _one_line_errors():
        done = runner.run(name, only=only or None, overrides=profile.parse_assignments(assign or []))
        for path in done:
            typer.echo(path)


@app.command()
def profiles() -> None:
    """List the profiles of this folder."""
    with _one_line_errors():
        found = list(Path("profiles").glob("*.yml"))
        if not found:
            raise profile.ProfileError("no profiles/*.yml here: run smapnb in the folder that holds profiles/")
        for path in sorted(found, key=lambda p: p.stem):
            typer.echo(f"{path.stem:<16} {profile.load(path).title}")


Name = Annotated[str, typer.Argument(metavar="PROFILE", help="Name of a profile, or path of its YAML file.")]
Parallel = Annotated[int, typer.Option(min=1, max=16, help="Connections at once.")]
Window = Annotated[bool, typer.Option("--window", help="Windows around the pixels where they are offered.")]
Assign = Annotated[list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="Set a profile key, as for run.")]


Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler, as tcp://node:8786; or local, or serial.")
]


@app.command("cube")
def build_cube(
    name: Name,
    append: Annotated[
        bool, typer.Option("--append", help="Add the days after the cube's last one; write nothing else again.")
    ] = False,
    scheduler: Scheduler = None,
    assign: Assign = None,
) -> None:
    """Build the cube of a run from the data; at full size, a stopped build goes on by the same command."""
    from smapnb import cluster, cube  # here, as the readers take a second to import

    with _one_line_errors(cube.CubeError, cluster.ClusterError):
        chosen = profile.load(name, overrides=profile.parse_assignments(assign or []))
        make = cube.append if append else cube.build
        typer.echo(make(chosen, profile.run_folder(chosen.name) / "cube.zarr", scheduler=scheduler))


@app.command()
def train(
    name: Name,
    only: Annotated[list[str] | None, typer.Option(help="Target, as surface; may be repeated.")] = None,
    assign: Assign = None,
) -> None:
    """Train on the cube of a run; several processes under torchrun share the work.

    torchrun --nproc-per-node 4 -m smapnb train PROFILE
    """
    from smapnb import cube  # here, as torch takes seconds to import
    from smapnb import train as training

    with _one_line_errors(cube.CubeError, training.TrainingError, training.BatchError), training.joined() as ranks:
        chosen = profile.load(name, overrides=profile.parse_assignments(assign or []))
        targets, folder = chosen.targets_among(only), profile.run_folder(chosen.name)
        data = cube.open_cube(folder / "cube.zarr")
        for quantity in targets:
            result = training.train(data, chosen, quantity, folder / quantity, ranks=ranks)
            if ranks.first:
                typer.echo(f"{result.checkpoint}  {result.seconds / 60:.1f} min on {result.device}")


@app.command("hindcast")
def run_hindcast(name: Name, scheduler: Scheduler = None, assign: Assign = None) -> None:
    """Run the trained networks of a run over its cube; a stopped hindcast goes on by the same command."""
    from smapnb import batch, cluster, cube, hindcast, train_checkpoint  # here, as torch takes seconds to import

    errors = (hindcast.HindcastError, train_checkpoint.TrainingError, batch.BatchError, cluster.ClusterError)
    with _one_line_errors(cube.CubeError, *errors):
        chosen = profile.load(name, overrides=profile.parse_assignments(assign or []))
        folder = profile.run_folder(chosen.name)
        data = cube.open_cube(folder / "cube.zarr")
        hindcast.run(data, chosen, folder, folder / "hindcast.zarr", scheduler=scheduler)
        typer.echo(folder / "hindcast.zarr")


@fetch_app.command("plan")
def fetch_plan(
    name: Name,
    parallel: Parallel = 4,
    rate: Annotated[float, typer.Option(min=0.001, help="MB/s of one connection.")] = 2.0,
    window: Window = False,
    assign: Assign = None,
) -> None:
    """Print files, bytes, requests and hours, and how to make it smaller; asks no server."""
    with _one_line_errors():
        chosen = profile.load(name, overrides=profile.parse_assignments(assign or []))
        pace = fetch.Pace(parallel=parallel, rate=rate * 1e6)
        typer.echo(fetch.describe(chosen, profile.data_root(), pace, window=window), nl=False)


@fetch_app.command("get")
def fetch_get(
    name: Name,
    parallel: Parallel = 4,
    window: Window = False,
    assign: Assign = None,
) -> None:
    """Fetch what is missing into the folder of the data; stopped, the same command goes on."""
    with _one_line_errors():
        chosen = profile.load(name, overrides=profile.parse_assignments(assign or []))
        asked = fetch.wish(chosen, window=window)
        done = fetch.get(asked, profile.data_root(), parallel=parallel, say=lambda line: typer.echo(line, err=True))
        typer.echo(f"{done.fetched} files fetched, {done.kept} were there, in {profile.data_root()}")


def one_line(error: Exception) -> str:
    """Say in one line what a user can mend; a profile's every problem with its key, a disk's with the file."""
    message = str(error)
    if isinstance(error, pydantic.ValidationError):
        problems = (f"{'.'.join(map(str, e['loc'])) or 'profile'}: {e['msg']}" for e in error.errors())
        message = "profile does not hold: " + "; ".join(problems)
    elif isinstance(error, OSError):
        mend = "make room there" if error.errno in FULL else "see who may read and write there"
        message = (
            f"{error.filename or 'a file'}: {error.strerror}; {mend}, or name another folder, for runs by SMAPNB_RUNS, "
            "for data by SMAPNB_DATA; the same command goes on"
        )
    return " ".join(message.split())


@contextmanager
def _one_line_errors(*also: type[Exception]) -> Iterator[None]:
    """Turn what a user can mend into one line on stderr and exit code 1; all else keeps its traceback."""
    plain: tuple[type[Exception], ...] = (profile.ProfileError, runner.RunError, fetch.FetchError, grid.GridError)
    plain += (yaml.YAMLError, pydantic.ValidationError)
    try:
        yield
    except plain + also as error:
        _fail(error)
    except OSError as error:
        if error.errno not in DISK:
            raise
        _fail(error)


def _fail(error: Exception) -> None:
    process = f" (process {os.environ['RANK']})" if "RANK" in os.environ else ""  # one of those that torchrun started
    typer.echo(f"smapnb{process}: {one_line(error)}", err=True)
    raise typer.Exit(1)
