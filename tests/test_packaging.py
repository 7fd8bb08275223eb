"""The package as a wheel in an empty environment, and what scripts/setup.sh does where it cannot go on."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Dict, List, Optional

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent


def run(command: List[object], **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def read_pins() -> List[Requirement]:
    lines = (REPOSITORY / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without network and with the setuptools that is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"  # a copy, because a build leaves files among its sources
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "build", "dist")
    shutil.copytree(REPOSITORY, sources, ignore=ignore)
    result = run(
        [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
        + ["--wheel-dir", folder, sources]
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new virtual environment with the wheel; torch and fairseq come from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment") / "new"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    result = run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"]
        + ["--prefix", folder, "--ignore-installed", wheel]
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (site_packages,) = folder.glob("lib/python*/site-packages")
    outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "outer.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    return folder


def environment_variables() -> Dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run_in_environment(environment: Path, *arguments: object, folder: Path) -> subprocess.CompletedProcess:
    return run([environment / "bin" / "python", *arguments], cwd=folder, env=environment_variables())


@pytest.mark.slow
def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        (license_file,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        license_text = archive.read(license_file).decode()
    sources = wheel.parent / "sources"
    package = [path for path in (sources / "rdrop_fairseq").rglob("*") if path.is_file()]
    assert files == {path.relative_to(sources).as_posix() for path in package}
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
        for extra in ("", "plot", "test")
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra, "python_version": "3.12"})
    }
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in read_pins()}
    assert {"fairseq-fixed", "torch", "matplotlib", "pytest"} <= set(wanted)
    for name, requirement in wanted.items():
        assert name in pins, f"{name} stands in setup.py but not in constraints.txt"
        assert requirement.specifier.contains(pins[name])


@pytest.fixture(scope="module")
def user_directory(environment, tmp_path_factory) -> str:
    """What the documented command prints, called from an unrelated folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = run_in_environment(environment, "-m", "rdrop_fairseq", folder=elsewhere)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_installed_package_prints_its_directory(environment, user_directory):
    (site_packages,) = environment.glob("lib/python*/site-packages")
    assert user_directory == f"{site_packages / 'rdrop_fairseq'}\n"


@pytest.mark.slow
@pytest.mark.parametrize("flag, known", [("--rdrop-alpha", True), ("--no-such-flag", False)])
def test_fairseq_train_knows_the_flags_of_the_installed_package(environment, user_directory, tmp_path, flag, known):
    result = run_in_environment(
        environment, "-c", "from fairseq_cli.train import cli_main; cli_main()", tmp_path,
        "--user-dir", user_directory.strip(), "--task", "rdrop_translation", "--arch", "transformer",
        "--criterion", "label_smoothed_cross_entropy_with_rdrop", flag, "many", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 2
    # A value that is no number shows whether the flag was recognised, without any training.
    assert ("argument --rdrop-alpha: invalid" in result.stderr) is known
    assert (f"unrecognized arguments: {flag}" in result.stderr) is not known


# The pinned set


def test_pins_are_exact_and_unique():
    pins = read_pins()
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names))
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version, f"{pin} exists in one build only"


# The scripts, in a copy of the repository so that the one at hand keeps its environment


@pytest.fixture
def clone(tmp_path) -> Path:
    """A repository with the scripts, in a folder with a space in its name."""
    folder = tmp_path / "a clone"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts", ignore=ignore)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def write_program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run_setup(clone: Path, *options: object, programs: Optional[Path] = None) -> subprocess.CompletedProcess:
    variables = environment_variables()
    if programs is not None:
        variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    return run([clone / "scripts" / "setup.sh", *options], cwd=clone.parent, env=variables)


def assert_refused(result: subprocess.CompletedProcess, *words: str) -> None:
    """Status 1, nothing on stdout, and one error line, the last, with all of ``words`` and a remedy."""
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert sum("error" in line.lower() for line in lines) == 1, result.stderr
    assert "; " in lines[-1]
    for word in words:
        assert word in lines[-1]


def test_help_is_printed_from_anywhere_and_through_a_symlink(clone, tmp_path):
    for name in ("setup.sh", "test.sh"):
        link = tmp_path / "a link"
        link.symlink_to(clone / "scripts" / name)
        result = run([link, "--help"], cwd="/")
        link.unlink()
        assert result.returncode == 0
        assert f"Usage: scripts/{name}" in result.stdout
        assert "set -euo" not in result.stdout
    assert not (clone / ".setup").exists()


def test_setup_refuses_options_that_make_no_sense(clone):
    assert_refused(run_setup(clone, "--bogus"), "--bogus", "--help")
    assert_refused(run_setup(clone, "--venv"), "--venv")
    assert_refused(run_setup(clone, "--torch", "no-such-wheel.whl"), "no-such-wheel.whl")
    assert_refused(run_setup(clone, "--existing", "--venv", "here"), "--existing", "--venv")


@pytest.mark.parametrize("version", ["2.7.18", "3.10.13", "3.13.0"])
def test_setup_refuses_an_unsuitable_python(clone, tmp_path, version):
    python = write_program(tmp_path / "programs" / "python", f"echo {version}")
    assert_refused(run_setup(clone, "--python", python), version, "3.11 or 3.12", "--python")
    assert not (clone / ".venv").exists()


def test_setup_refuses_a_python_without_venv(clone, tmp_path):
    python = write_program(tmp_path / "python", "case $2 in *ensurepip*) exit 1 ;; esac", "echo 3.12.4")
    assert_refused(run_setup(clone, "--python", python), "ensurepip", "apt-get install")


def test_setup_passes_over_a_python_that_does_not_run(clone, tmp_path):
    programs = tmp_path / "programs"
    for name in ("python3", "python"):
        write_program(programs / name, "exit 127")
    write_program(programs / "python3.12", "echo 3.12.4; exit 127")
    write_program(programs / "python3.11", "echo 3.9.1")
    assert_refused(run_setup(clone, "--venv", "here", programs=programs), "python3.11 is 3.9.1")


def test_setup_leaves_other_folders_and_files_alone(clone, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert_refused(run_setup(clone, "--venv", file), str(file), "is a file")
    assert_refused(run_setup(clone, "--venv", file / "below", "--python", sys.executable), "is a file")
    assert_refused(run_setup(clone, "--venv", folder), str(folder), "no virtual environment")
    assert file.read_text(encoding="utf-8") == "mine"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    # What an earlier call chose is not lost by a call that was refused.
    assert not (clone / ".setup" / "environment").exists()


def test_setup_says_when_the_disk_is_too_small(clone, tmp_path):
    header = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    disk = f"echo '{header}'; echo '/dev/disk 9000000 8000000 1000000 90% /'"
    write_program(tmp_path / "programs" / "df", disk)
    result = run_setup(clone, programs=tmp_path / "programs")
    assert_refused(result, "GB", "free", "--venv")
    assert not (clone / ".venv").exists()


@pytest.mark.slow
def test_setup_says_when_the_index_cannot_be_reached(clone, tmp_path):
    configuration = tmp_path / "pip.conf"
    # Port 9 (discard) of this machine: nothing listens there, so no name is looked up and nothing is sent.
    configuration.write_text("[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 1\n")
    variables = environment_variables()
    for name in [name for name in variables if name.startswith("PIP_")]:
        del variables[name]
    variables["PIP_CONFIG_FILE"] = str(configuration)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        variables[name] = str(tmp_path)
    make_environment_without_packages(clone / ".venv", with_pip=True)
    result = run([clone / "scripts" / "setup.sh"], cwd=tmp_path, env=variables)
    assert_refused(result, "index cannot be reached", "network")
    # The mark of a finished set-up appears only after success, and the other scripts go by it.
    assert "key=" not in (clone / ".setup" / "environment").read_text(encoding="utf-8")
    command = f"set -euo pipefail; source '{clone}/scripts/common.sh'; use_environment; echo passed"
    assert_refused(run(["bash", "-c", command]), "no environment", "setup.sh")


# The steps that look inside an environment


def make_environment_without_packages(folder: Path, with_pip: bool = False) -> Path:
    """A virtual environment at ``folder``; returns its site-packages."""
    options = [] if with_pip else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", *options, str(folder)], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    return site_packages


def run_step(environment: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [environment / "bin" / "python", REPOSITORY / "scripts" / "setup_steps.py", *arguments]
    return run(command, env={**environment_variables(), **variables})


def add_distribution(site_packages: Path, name: str, record: List[str]) -> Path:
    """Version 1.0 of a distribution with one module and with the files ``record`` in its RECORD."""
    metadata = site_packages / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (site_packages / f"{name}.py").write_text("", encoding="utf-8")
    (metadata / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "INSTALLER").write_text("pip\n", encoding="utf-8")
    (metadata / "RECORD").write_text("".join(f"{line},,\n" for line in record), encoding="utf-8")
    return metadata


def test_repair_removes_what_a_killed_pip_left_behind(tmp_path):
    site_packages = make_environment_without_packages(tmp_path / "environment")
    whole = add_distribution(site_packages, "torch", ["torch.py", "torch-1.0.dist-info/INSTALLER"])
    early = add_distribution(site_packages, "numpy", ["numpy.py"])  # RECORD is still that of the wheel
    holed = add_distribution(site_packages, "regex", ["gone.so", "regex-1.0.dist-info/INSTALLER"])
    other = add_distribution(site_packages, "unpinned_package", ["unpinned_package.py"])
    (site_packages / "~ensorboardX").mkdir()
    result = run_step(tmp_path / "environment", "repair")
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.split()) == sorted(
        ["removed", "the", "incomplete", early.name, "removed", "the", "incomplete", holed.name]
    )
    assert whole.exists() and (site_packages / "torch.py").exists()
    assert other.exists()  # nothing would bring it back
    assert not early.exists() and not (site_packages / "numpy.py").exists()
    assert not holed.exists()
    assert not (site_packages / "~ensorboardX").exists()


def test_constraints_keep_what_an_existing_environment_has(tmp_path):
    site_packages = make_environment_without_packages(tmp_path / "environment")
    for name in ("torch", "numpy"):
        add_distribution(site_packages, name, [])
    names = {canonicalize_name(pin.name): pin for pin in read_pins()}
    pins = {name: f"{name}{pin.specifier}" for name, pin in names.items()}

    ordinary = run_step(tmp_path / "environment", "constraints").stdout.split()
    assert sorted(ordinary) == sorted([*(pins[name] for name in pins if name != "torch"), "torch==1.0"])
    existing = run_step(tmp_path / "environment", "constraints", "--existing").stdout.split()
    kept = {"torch": "torch==1.0", "numpy": "numpy==1.0"}
    assert sorted(existing) == sorted({**pins, **kept}.values())
    without = run_step(tmp_path / "environment", "constraints", "--without", "torch").stdout.split()
    # torch decides on triton as well.
    assert sorted(without) == sorted(pins[name] for name in pins if name not in ("torch", "triton"))


def test_moved_environment_is_refused(clone):
    folder = clone / ".venv"
    make_environment_without_packages(folder)
    # What pip writes for a path with a space.
    start = '"/gone/with a space/bin/python" "$0" "$@"'
    (folder / "bin" / "pip").write_text(f"#!/bin/sh\n'''exec' {start}\n' '''\n", encoding="utf-8")
    assert_refused(run_setup(clone), "/gone/with a space/bin", "moved", "remove")


def test_check_names_what_is_missing(tmp_path):
    make_environment_without_packages(tmp_path / "environment")
    result = run_step(tmp_path / "environment", "check")
    assert result.returncode == 1
    assert result.stderr == "the Python package torch is missing\n"


def test_missing_compiler_is_named(tmp_path):
    make_environment_without_packages(tmp_path / "environment")
    result = run_step(tmp_path / "environment", "compiler", CC="/no/such/compiler", CXX="/no/such/compiler")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "fairseq has to be compiled" in line
    assert "apt-get install g++" in line
