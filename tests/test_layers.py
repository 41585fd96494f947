"""Every module imports only what its room allows: the table of rooms, held against the source by `ast`."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "smapnb"

# Room -> what it may import from smapnb. `sources` stands for each reader; readers never import one another.
# A helper module (`_twin_soil`, `lstm_kernel`) belongs to the room it is named after; no other imports it.
# A room may be a folder (`plot/maps.py` is in the room plot).
TABLE: dict[str, set[str]] = {
    "variables": set(),
    "grid": set(),
    "nldas_grid": {"grid"},
    "folders": set(),
    "metrics": set(),
    "trends": {"rules"},
    "fusion": set(),
    "lstm": set(),
    "rules": set(),
    "tables": set(),
    "profile": {"variables"},
    "plot": {"variables"},
    "claims": {"variables", "tables"},
    "sources": {"variables", "folders", "grid", "nldas_grid"},
    # Which cells a profile asks for: what is fetched, and what the cube is made of.
    "places": {"profile", "grid", "nldas_grid", "variables"},
    "fetch": {"folders", "profile", "grid", "places"},
    "cube": {"cluster", "sources", "folders", "grid", "nldas_grid", "variables", "profile", "places"},
    # Made like the cube, of what stands in the ground.
    "stations": {"sources", "folders", "grid", "variables", "profile", "insitu", "rules"},
    "batch": {"variables", "rules"},
    # The checkpoint is all of training that a hindcast may know, so it has a module of its own.
    "train_checkpoint": {"batch", "lstm", "profile"},
    "train": {"batch", "lstm", "profile", "train_checkpoint", "variables"},
    "cluster": set(),
    "hindcast": {"batch", "cluster", "folders", "lstm", "train_checkpoint", "variables"},
    "insitu": {"grid", "rules", "variables"},
    # Products against site series: collocation, periods, scores, differences.
    "comparison": {"metrics", "fusion", "rules", "variables"},
    "runner": {"folders", "profile"},
}
TABLE["cli"] = {*TABLE}
TABLE["__main__"] = {"cli"}
# What readers share: it knows no file and no layout, and imports nothing of smapnb.
SHARED_BY_READERS = "sources._text_cells"
TABLE[SHARED_BY_READERS] = set()
READERS = {path.stem for path in (PACKAGE / "sources").glob("[a-z]*.py")}
TORCH_ROOMS = {"batch", "lstm", "train", "train_checkpoint", "hindcast"}
NETWORK_ROOMS = {"fetch"}
NETWORK = {
    "aiohttp",
    "earthaccess",
    "ftplib",
    "http",
    "httpx",
    "pooch",
    "requests",
    "socket",
    "urllib",
    "urllib3",
}


def room_of(module: str) -> str | None:
    """`sources._twin_soil` -> `sources.twin`, `lstm_kernel` -> `lstm`; None: no such room."""
    first, _, reader = module.partition(".")
    if first == "sources":
        if reader.startswith("_"):
            owners = [name for name in READERS if f"{reader}_".startswith(f"_{name}_")]
            reader = max(owners, key=len, default=reader)
        return f"sources.{reader}" if reader else "sources"
    plain = first if first in TABLE else first.removeprefix("_")
    owners = [room for room in TABLE if plain == room or plain.startswith(f"{room}_")]
    return max(owners, key=len, default=None)


def imported(source: str, module: str):
    """Yield (line, dotted name) of each import anywhere in the file, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = f"smapnb.{module}".split(".")[: -node.level]
                base = ".".join([*parents, base]).rstrip(".")
            whole = base.split(".")[0] == "smapnb"
            yield from ((node.lineno, f"{base}.{alias.name}" if whole else base) for alias in node.names)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "smapnb":
            yield node.lineno, f"smapnb.{node.attr}"
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            for argument in node.args[:1]:
                yield node.lineno, str(getattr(argument, "value", "a computed name"))


def modules():
    """Dotted names of the package's modules below `smapnb`, with their files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts).removesuffix("__init__").rstrip("."), path


def target_of(name: str, known: set[str]) -> str:
    """The module of smapnb that a dotted import means; "" is the package itself."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def forbidden(name: str, room: str, known: set[str]) -> bool:
    root = name.split(".")[0]
    if root == "torch":
        return room not in TORCH_ROOMS
    if root in NETWORK:
        return room not in NETWORK_ROOMS
    if root != "smapnb" or name in (
        "smapnb",
        "smapnb.__version__",
    ):  # what follows `smapnb.` is judged by itself
        return False
    target = target_of(name, known)
    if target == SHARED_BY_READERS:
        return not room.startswith("sources.")
    owner = room_of(target) if target else None
    if owner is None:
        return True
    helper = target.split(".")[0] != owner.split(".")[0] or "._" in f".{target}"
    allowed = TABLE.get(room, TABLE.get(room.partition(".")[0], set()))
    return owner != room and (helper or owner.partition(".")[0] not in allowed)


def violations(module: str, source: str, known: set[str]) -> list[str]:
    """What in this module breaks the table; each entry names the module, the line and the import."""
    room = room_of(module) if module else "the package"
    if room is None:
        return [f"{module}: stands in no row of the table"]
    imports = imported(source, module or "__init__")
    return [f"{module}:{line}: {room} must not import {name}" for line, name in imports if forbidden(name, room, known)]


def test_modules_keep_to_their_rooms():
    files = dict(modules())
    assert {"", "variables", "profile", "metrics", "sources"} <= set(files)
    found = [v for module, path in files.items() for v in violations(module, path.read_text("utf-8"), set(files))]
    assert found == []


def test_data_folder_holds_only_data():
    code = [p.name for p in (PACKAGE / "data").rglob("*") if p.suffix in {".py", ".so", ".pyc", ".ipynb"}]
    assert code == []


KNOWN = {
    *TABLE,
    "sources.twin",
    "sources.smap",
    "sources._twin_soil",
    "lstm_kernel",
    "plot.maps",
    "plot._style",
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metrics", "from smapnb import variables"),
        ("metrics", "from smapnb.variables import TABLE"),
        ("metrics", "from . import variables"),
        ("metrics", "from .variables import TABLE"),
        ("metrics", "import smapnb.grid as g"),
        ("metrics", "import smapnb\nsmapnb.grid.EaseGrid(36)"),
        ("metrics", "def later():\n    from smapnb import grid"),
        ("metrics", "import importlib\nimportlib.import_module('smapnb.grid')"),
        ("plot", "from smapnb.metrics import evaluate"),
        ("profile", "import torch"),
        ("cli", "import torch.nn as nn"),
        ("cube", "from torch import nn"),
        ("cube", "import requests"),
        ("sources.smap", "from urllib.request import urlopen"),
        ("sources.smap", "from smapnb.sources import twin"),
        ("sources.smap", "from smapnb.sources.twin import simulate"),
        ("sources.smap", "from . import twin"),
        ("sources.smap", "from ..metrics import bias"),
        ("sources.smap", "from smapnb.sources import _twin_soil"),
        ("sources.smap", "from smapnb import cube"),
        ("sources._twin_soil", "from smapnb import cube"),
        ("cube", "from smapnb.sources._twin_soil import soil"),
        ("train", "from smapnb.lstm_kernel import cell"),
        ("cli", "from smapnb.plot import _style"),
        ("cube", "from smapnb.sources._text_cells import numbers"),
        ("sources._text_cells", "from smapnb import variables"),
        ("hindcast", "from smapnb.train import train"),
        ("plot.maps", "from smapnb.grid import EaseGrid"),
        ("lstm_kernel", "from smapnb import grid"),
        ("sources", "from smapnb import profile"),
        ("", "from smapnb import grid"),
        ("kitchen", "import numpy"),
    ],
)
def test_bad_modules_are_caught(module, source):
    assert len(violations(module, source, KNOWN)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("profile", "from smapnb.variables import TARGETS, names\nimport numpy"),
        ("cube", "from smapnb import grid, profile\nfrom smapnb.sources.smap import open_l3"),
        ("cube", "from smapnb.sources import authors_csv, twin"),
        ("sources.twin", "from smapnb.sources import _twin_soil\nfrom smapnb.grid import EaseGrid"),
        ("sources.twin", "from . import _twin_soil\nfrom ..variables import TABLE"),
        ("sources._twin_soil", "from smapnb.sources._text_cells import numbers"),
        ("sources._twin_soil", "from smapnb import variables"),
        ("plot.maps", "from smapnb.plot import _style\nfrom smapnb.variables import TABLE"),
        ("cli", "from smapnb.plot.maps import panel"),
        ("lstm", "import torch\nfrom smapnb import lstm_kernel"),
        ("train", "import torch\nfrom smapnb.lstm import SoilMoistureLSTM"),
        ("fetch", "import requests"),
        ("hindcast", "from smapnb.train_checkpoint import Checkpoint"),
        ("cli", "from smapnb import __version__, profile, runner"),
        ("cube", "import smapnb\nprint(smapnb.__version__)"),
    ],
)
def test_good_modules_pass(module, source):
    assert violations(module, source, KNOWN) == []
