"""The package as a wheel in an empty environment, its version, and the pinned set of packages."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import List
from unittest.mock import MagicMock

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rdrop_fairseq.compat.versions import TESTED

REPOSITORY = Path(__file__).resolve().parents[2]
VARIABLES = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run(*command: object, folder: Path = REPOSITORY) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), cwd=folder, env=VARIABLES, capture_output=True, text=True)


def copy_of_sources(folder: Path) -> Path:
    """The repository without what runs and set-ups leave, because a build leaves files among its sources."""
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "data-bin", "build", "dist")
    return Path(shutil.copytree(REPOSITORY, folder, ignore=ignore))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without network and with the setuptools that is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = copy_of_sources(folder / "sources")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    result = run(sys.executable, "-m", "pip", "wheel", *options, sources)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new virtual environment with the wheel; torch and fairseq come from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment") / "new"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    options = ["--no-index", "--no-deps", "--prefix", folder, "--ignore-installed"]
    result = run(sys.executable, "-m", "pip", "install", *options, wheel)
    assert result.returncode == 0, result.stdout + result.stderr
    (site_packages,) = folder.glob("lib/python*/site-packages")
    outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "outer.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        (license_file,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        license_text = archive.read(license_file).decode()
    sources = wheel.parent / "sources"
    package = [path for path in (sources / "rdrop_fairseq").rglob("*") if path.is_file()]
    assert files == {path.relative_to(sources).as_posix() for path in package}
    assert {"rdrop_fairseq/py.typed", "rdrop_fairseq/data/sample_corpus.tsv.xz"} <= files
    assert license_text == (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.slow
def test_everything_the_package_asks_for_is_pinned(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata_file,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = HeaderParser().parsestr(archive.read(metadata_file).decode())
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    wanted = {
        canonicalize_name(requirement.name): requirement
        for requirement in requirements
        for extra in ("", "fairseq", "plot", "test")
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra, "python_version": "3.12"})
    }
    wanted.pop("triton", None)  # torch for CUDA asks for one version of it
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in read_pins()}
    assert {"fairseq-fixed", "torch", "matplotlib", "pytest"} <= set(wanted)
    for name, requirement in wanted.items():
        assert name in pins, f"{name} stands in pyproject.toml but not in constraints.txt"
        assert requirement.specifier.contains(pins[name])
    # Two distributions of fairseq would overwrite each other, so that one is asked for by the extra alone.
    plain = [
        requirement for requirement in requirements if not requirement.marker or "extra" not in str(requirement.marker)
    ]
    assert len(plain) >= 9 and not any("fairseq" in requirement.name for requirement in plain)


@pytest.fixture(scope="module")
def user_directory(environment, tmp_path_factory) -> str:
    """What the documented command prints, called from an unrelated folder."""
    python = environment / "bin" / "python"
    result = run(python, "-m", "rdrop_fairseq", folder=tmp_path_factory.mktemp("elsewhere"))
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_installed_package_prints_its_directory(environment, user_directory):
    (site_packages,) = environment.glob("lib/python*/site-packages")
    assert user_directory == f"{site_packages / 'rdrop_fairseq'}\n"


@pytest.mark.slow
@pytest.mark.parametrize("flag, known", [("--rdrop-alpha", True), ("--no-such-flag", False)])
def test_fairseq_train_knows_the_flags_of_the_installed_package(environment, user_directory, tmp_path, flag, known):
    result = run(
        environment / "bin" / "python", "-c", "from fairseq_cli.train import cli_main; cli_main()", tmp_path,
        "--user-dir", user_directory.strip(), "--task", "rdrop_translation", "--arch", "transformer",
        "--criterion", "label_smoothed_cross_entropy_with_rdrop", flag, "many", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 2
    # A value that is no number shows whether the flag was recognised, without any training.
    assert ("argument --rdrop-alpha: invalid" in result.stderr) is known
    assert (f"unrecognized arguments: {flag}" in result.stderr) is not known


def test_setup_py_prints_the_version(tmp_path):
    sources = copy_of_sources(tmp_path / "sources")
    result = run(sys.executable, "setup.py", "--version", folder=sources)
    assert result.returncode == 0, result.stderr
    text = (sources / "rdrop_fairseq" / "__init__.py").read_text(encoding="utf-8")
    assert result.stdout.split()[-1] == re.search(r'__version__ = "(.*)"', text)[1]


def read_pins() -> List[Requirement]:
    lines = (REPOSITORY / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_pins_are_exact_and_unique():
    pins = read_pins()
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names))
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version, f"{pin} exists in one build only"


def test_the_matrix_the_table_and_the_warning_name_the_same_versions(monkeypatch):
    """noxfile.py, docs/installation.md with the day of each cell, and what compat does not warn of."""
    monkeypatch.setitem(sys.modules, "nox", MagicMock())
    cells = runpy.run_path(str(REPOSITORY / "noxfile.py"))["CELLS"]
    document = (REPOSITORY / "docs" / "installation.md").read_text(encoding="utf-8")
    row = r"^\| (3\.\d+) \| (\S+ \S+) \| (\S+) \| (.*?) ?\| (?:\d{4}-\d\d-\d\d|not yet) \|$"
    expected = []
    ranges = {}
    for _, python, fairseq, torch, others in cells:
        besides = ["pinned" if "constraints.txt" in other else other.replace("==", " ") for other in others]
        version = torch.replace("torch==", "")
        expected.append((python, fairseq.replace("==", " "), version, ", ".join(besides)))
        pythons, torches = ranges.setdefault(fairseq, ([], []))
        pythons.append(numbers(python))
        torches.append(numbers(version))
    assert re.findall(row, document, re.MULTILINE) == expected
    assert len(TESTED) == len(ranges)
    for tested, (fairseq, versions) in zip(TESTED, ranges.items()):
        distribution, version = fairseq.split("==")
        assert tested.fairseq == (version if distribution == "fairseq" else f"{version} ({distribution})")
        assert tested[1:] == tuple((min(known), max(known)) for known in versions)


def numbers(version: str) -> tuple:
    """The first two of a version."""
    return tuple(map(int, version.split(".")[:2]))
