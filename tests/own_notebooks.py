"""A working folder with notebooks that a test writes, and a run of them."""

import json
from pathlib import Path

import nbformat
import pytest

from smapnb import runner

PARAMETERS = """# %% tags=["parameters"]
profile = "none"
overrides = {}
"""
PROFILES = Path(__file__).parent.parent / "profiles"


@pytest.fixture(name="workplace")
def make_workplace(tmp_path, monkeypatch):
    """A working folder with the project's smoke profile and an empty folder of notebooks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMAPNB_RUNS", raising=False)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "smoke.yml").write_text((PROFILES / "smoke.yml").read_text())
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def add(workplace, name, *cells, parameters=PARAMETERS):
    text = "# %% [markdown]\n# # Title\n\n" + parameters + "".join(f"\n# %%\n{cell}\n" for cell in cells)
    (workplace / "notebooks" / f"{name}.py").write_text(text)


def run(**keywords):
    return runner.run("smoke", progress=False, **keywords)


def printed(path):
    outputs = [o for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs]
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


def provenance(workplace):
    return json.loads((workplace / "runs" / "smoke" / "provenance.json").read_text())
