"""What is needed is said once: pyproject.toml, environment.yml, constraints.txt and the imports agree."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import smapnb

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
UNTESTED = {"fetch"}  # what only an archive's user needs is in no environment of ours, so it has no pin
TESTED = [text for extra, needs in EXTRAS.items() if extra not in UNTESTED for text in needs]
DIRECT = [*PROJECT["dependencies"], *TESTED]


def constraint_lines():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def pins():
    return {canonicalize_name(name): version for name, version in (x.split("==") for x in constraint_lines())}


def test_constraints_are_exact_versions_and_nothing_else():
    for line in constraint_lines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    assert len(pins()) == len(constraint_lines()), "a package is pinned twice"
    assert "smapnb" not in pins()
    assert pins()["torch"] == "2.13.0"


@pytest.mark.parametrize("text", DIRECT)
def test_each_need_is_pinned_within_its_range(text):
    need = Requirement(text)
    assert need.specifier.contains(pins()[canonicalize_name(need.name)])


def test_needs_of_pinned_packages_are_pinned():
    pinned, installed = pins(), 0
    for name, version in pinned.items():
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        installed += 1
        assert distribution.version.partition("+")[0] == version, f"{name} is installed in another version"
        for text in distribution.requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert need.specifier.contains(pinned[canonicalize_name(need.name)]), f"{name} needs {need}"
    # The extra `lab` is not needed to run the tests; all else must have been looked at.
    assert installed > 0.8 * len(pinned)


def test_environment_mirrors_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, last = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]
    assert PROJECT["requires-python"].startswith(">=3.11,")
    assert last["pip"] == ["-c constraints.txt", *DIRECT, "-e ."]


@pytest.mark.parametrize("text", DIRECT)
def test_each_need_has_its_reason(text):
    (line,) = [line for line in TEXT.splitlines() if line.strip().startswith(f'"{text}",')]
    reason = line.partition("#")[2].strip()
    assert len(reason.split()) >= 1, line
    assert reason.lower() != Requirement(text).name.lower()


def test_what_the_package_imports_is_declared():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    owners = metadata.packages_distributions()
    undeclared = {}
    for path in (ROOT / "smapnb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for root in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"smapnb"}:
                if not declared & {canonicalize_name(owner) for owner in owners.get(root, [])}:
                    undeclared.setdefault(root, []).append(path.name)
    assert undeclared == {}


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert smapnb.__version__ == PROJECT["version"] == str(citation["version"])
    newest = re.search(r"^## \[([^\]]+)\]", changes, re.MULTILINE)
    assert newest
    assert newest[1] in ("Unreleased", PROJECT["version"])


def test_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (paper,) = [r for r in citation["references"] if r.get("doi") == "10.1109/TGRS.2018.2872131"]
    assert [a["family-names"] for a in paper["authors"]] == ["Fang", "Pan", "Shen"]
    assert (paper["volume"], paper["issue"], paper["start"], paper["end"]) == (57, 4, 2221, 2233)
    assert citation["license"] == PROJECT["license"] == "BSD-3-Clause"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_commands_and_links_of_the_documents_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert asked
    assert asked <= targets
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    missing = [link for link in links if not (ROOT / link).is_file()]
    assert missing == []
    profiles = set(re.findall(r"smapnb run ([a-z0-9-]+)", text))
    assert profiles <= {path.stem for path in (ROOT / "profiles").glob("*.yml")}
