"""The runner on notebooks that the tests write: order, parameters, failure, records."""

import json
import sys
from pathlib import Path

import nbformat
import pydantic
import pytest
from own_notebooks import PARAMETERS, PROFILES, add, make_workplace, printed, provenance, run  # noqa: F401  (a fixture)

from smapnb import runner
from smapnb.profile import ProfileError


def test_runs_in_order_one_process_each_with_the_parameters(workplace):
    note = "import os; print(os.getpid(), profile, overrides['training.epochs'], file=open('log.txt', 'a'))"
    add(workplace, "02_second", note)
    add(workplace, "01_first", note)
    (workplace / "notebooks" / "helper.py").write_text("raise SystemError\n")
    paths = run(overrides={"training.epochs": 3})
    folder = workplace / "runs" / "smoke" / "notebooks"
    assert [p.resolve() for p in paths] == [folder / "01_first.ipynb", folder / "02_second.ipynb"]
    first, second = (line.split() for line in (workplace / "log.txt").read_text().splitlines())
    assert first[1:] == second[1:] == ["smoke", "3"]
    assert first[0] != second[0]
    assert sorted(p.name for p in folder.iterdir()) == ["01_first.ipynb", "02_second.ipynb"]


def test_kernel_is_this_interpreter_whatever_is_installed(workplace, monkeypatch):
    """A kernel of the same name, installed by another environment, is not taken."""
    other = workplace / "share" / "kernels" / runner.KERNEL
    other.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(workplace / "share"))
    add(workplace, "01_first", "import sys; print(sys.executable)")
    assert printed(run()[0]).strip() == sys.executable


def test_outputs_hold_no_kernel_warning_and_figures_are_kept(workplace, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    add(workplace, "01_first", "import matplotlib.pyplot as plt", "plt.plot([1, 2]);")
    outputs = [o for c in nbformat.read(run()[0], 4).cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert [o for o in outputs if "image/png" in o.get("data", {})]


def test_failure_names_the_cell_and_leaves_the_partial_output(workplace):
    add(workplace, "01_first", "print('ran')")
    add(workplace, "02_broken", "print('before')", "# why\nratio = 1 / 0", "print('never')")
    add(workplace, "03_later", "print('never')")
    with pytest.raises(runner.RunError, match=r"02_broken failed in cell 4 \(# why\): ZeroDivisionError: division"):
        run()
    folder = workplace / "runs" / "smoke" / "notebooks"
    assert printed(folder / "02_broken.ipynb") == "before\n"
    assert sorted(p.name for p in folder.iterdir()) == ["01_first.ipynb", "02_broken.ipynb"]
    states = {k: v["status"] for k, v in provenance(workplace)["notebooks"].items()}
    assert states == {"01_first": "done", "02_broken": "failed", "03_later": "started"}


def test_a_dead_kernel_is_a_failure_that_names_the_cell(workplace):
    add(workplace, "01_first", "print('alive')", "import os; os._exit(9)")
    with pytest.raises(runner.RunError, match=r"01_first failed in cell 4 \(import os; os._exit\(9\)\): .*[Dd]ied"):
        run()
    assert printed(workplace / "runs" / "smoke" / "notebooks" / "01_first.ipynb") == "alive\n"
    assert provenance(workplace)["notebooks"]["01_first"]["status"] == "failed"


@pytest.mark.parametrize(
    "cell",
    [
        '# %% tags=["parameters"]\nprofile = "none"\n',
        PARAMETERS + "pixels = 3\n",
        "# %%\nprofile = 'none'\noverrides = {}\n",
    ],
    ids=["lacks one", "has another", "not tagged"],
)
def test_other_parameters_are_errors_before_anything_runs(workplace, cell):
    add(workplace, "01_first", "open('ran', 'w')")
    add(workplace, "02_second", parameters=cell)
    with pytest.raises(runner.RunError, match=r"02_second.py: the cell tagged 'parameters' must set"):
        run()
    assert not (workplace / "ran").exists()


def test_unknown_profile_keys_and_notebooks_are_errors(workplace):
    add(workplace, "01_first")
    with pytest.raises(pydantic.ValidationError, match=r"training.epoch\b"):
        run(overrides={"training.epoch": 3})
    with pytest.raises(ProfileError, match="known here: smoke"):
        runner.run("smoky", progress=False)
    with pytest.raises(runner.RunError, match=r"'07'.*known: 01_first"):
        run(only="07")
    with pytest.raises(runner.RunError, match=r"no notebooks.*in the folder of the repository"):
        run(notebooks=workplace / "profiles")
    assert not (workplace / "runs").exists()


def test_only_runs_the_chosen_and_keeps_the_record_of_the_others(workplace):
    for name in ("01_first", "02_second", "03_third"):
        add(workplace, name, "print(overrides)")
    run()
    before = provenance(workplace)
    first = workplace / "runs" / "smoke" / "notebooks" / "01_first.ipynb"
    stamp = first.stat().st_mtime_ns
    paths = run(only=["03", "02_second"], overrides={"training.seed": 7})
    after = provenance(workplace)
    assert [p.stem for p in paths] == ["02_second", "03_third"]
    assert first.stat().st_mtime_ns == stamp
    assert after["notebooks"]["01_first"] == before["notebooks"]["01_first"]
    assert after["notebooks"]["03_third"]["overrides"] == {"training.seed": 7}
    assert after["profile"]["training"]["seed"] == 7


def test_a_profile_of_another_folder_reaches_the_notebooks(workplace):
    """One in the folder that was given, one by its path; neither is taken for the namesake in ./profiles."""
    add(
        workplace, "01_first", "from smapnb.profile import load; print(profile, load(profile, overrides).training.seed)"
    )
    for folder in ("elsewhere", "my"):
        (workplace / folder).mkdir()
        text = (
            (PROFILES / "smoke.yml")
            .read_text()
            .replace("  members:", "#")
            .replace("training:\n", "training:\n  seed: 99\n")
        )
        (workplace / folder / "smoke.yml").write_text(text)
    assert printed(run(profiles=workplace / "elsewhere")[0]).split() == ["elsewhere/smoke.yml", "99"]
    assert printed(runner.run("my/smoke.yml", progress=False)[0]).split() == ["my/smoke.yml", "99"]


def test_provenance_and_default_parameters_are_recorded(workplace):
    add(workplace, "01_first", "import time; time.sleep(0.2)")
    path = run(overrides={"name": "other"})[0]
    assert path == Path("runs/other/notebooks/01_first.ipynb")
    record = json.loads(Path("runs/other/provenance.json").read_text())
    assert record["profile"]["name"] == "other" and record["synthetic"] is True
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["papermill"] and record["device"]["cpu_cores"] >= 1
    assert record["start"] <= record["end"]
    assert record["notebooks"]["01_first"]["seconds"] >= 0.2
    metadata = nbformat.read(path, 4).metadata.papermill
    assert set(metadata["default_parameters"]) == {"profile", "overrides"}
    assert metadata["parameters"] == {"profile": "smoke", "overrides": {"name": "other"}}


NEEDY = """# %% [markdown]
# # Title of it
#
# More.

# %% tags=["parameters"]
profile = "smoke"
overrides = {}

# %% tags=["needs:stations.zarr/core"]
print("ran")
"""


def test_a_notebook_whose_need_is_not_there_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SMAPNB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_needy.py").write_text(NEEDY, encoding="utf-8")
    with pytest.raises(runner.RunError, match=r"01_needy needs .*smoke/stations.zarr, which is not there: run 01"):
        runner.run("smoke", notebooks=tmp_path / "notebooks", profiles=PROFILES, progress=False)
    (tmp_path / "runs" / "smoke" / "stations.zarr").mkdir()  # as of data that hold no station
    (path,) = runner.run("smoke", notebooks=tmp_path / "notebooks", profiles=PROFILES, progress=False)
    cells = nbformat.read(path, as_version=4).cells
    assert [cell.cell_type for cell in cells] == ["markdown"]
    assert cells[0].source.startswith("# Title of it\n\nNot run: this run has no `stations.zarr/core`")
    record = json.loads((path.parents[1] / "provenance.json").read_text(encoding="utf-8"))
    assert record["notebooks"]["01_needy"]["status"] == "left out"

    (path.parents[1] / "stations.zarr" / "core").mkdir(parents=True)
    (path,) = runner.run("smoke", notebooks=tmp_path / "notebooks", profiles=PROFILES, progress=False)
    assert "ran" in nbformat.read(path, as_version=4).cells[-1].outputs[0].text
