"""scripts/setup.sh in a copy of the repository: refused, killed, repeated, moved, and in an existing environment.

Nothing is downloaded: where a set-up comes to its end, the environment sees the packages that the tests run with.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import List, Optional

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# What a user has set for pip must not count. Port 9 (discard) of this machine has no listener: nothing is sent.
VARIABLES = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))},
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "0",
}


def run(command: List[object], **options) -> subprocess.CompletedProcess:
    options = {"env": VARIABLES, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
    return subprocess.run([str(part) for part in command], **options)


@pytest.fixture
def clone(tmp_path) -> Path:
    """A repository with the package and the scripts, in a folder with a space in its name."""
    folder = tmp_path / "a clone"
    for name in ("scripts", "rdrop_fairseq"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def write_program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run_setup(clone: Path, *options: object, programs: Optional[Path] = None, **more) -> subprocess.CompletedProcess:
    variables = {**VARIABLES, **more}
    if programs is not None:
        variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    return run([clone / "scripts" / "setup.sh", *options], cwd=clone.parent, env=variables)


def assert_refused(result: subprocess.CompletedProcess, *words: str) -> None:
    """Status 1, nothing on stdout, and one error line, the last, with all of ``words`` and a remedy."""
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line for line in lines if "error" in line.lower()] == lines[-1:], result.stderr
    assert "; " in lines[-1]
    for word in words:
        assert word in lines[-1]


def make_environment(folder: Path) -> Path:
    """A virtual environment of one's own at ``folder``, without pip; returns its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    return site_packages


def show_installed_packages(site_packages: Path) -> None:
    """Let an environment see all packages of the one that runs the tests, pip too; but not those that are editable."""
    # A new environment has an older setuptools of its own, which could not be replaced without an index.
    for path in (*site_packages.glob("setuptools*"), *site_packages.glob("*distutils*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "outer.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")


# Refused


@pytest.mark.parametrize("name", ["setup.sh", "test.sh", "quickstart.sh", "prepare_multi30k.sh"])
def test_help_is_printed_from_anywhere_and_through_a_symlink_before_any_set_up(clone, tmp_path, name):
    link = tmp_path / "a link"
    link.symlink_to(clone / "scripts" / name)
    result = run([link, "--help"], cwd="/")
    assert result.returncode == 0
    assert f"usage: scripts/{name}" in result.stdout.replace("Usage", "usage")
    assert "set -euo" not in result.stdout
    assert not (clone / ".setup").exists()


def test_options_that_make_no_sense(clone):
    assert_refused(run_setup(clone, "--bogus"), "--bogus", "--help")
    assert_refused(run_setup(clone, "--venv"), "--venv")
    assert_refused(run_setup(clone, "--torch", "no-such-wheel.whl"), "no-such-wheel.whl")
    assert_refused(run_setup(clone, "--torch", "torchvision"), "torchvision")
    assert_refused(run_setup(clone, "--existing", "--venv", "here"), "--existing", "--venv")
    assert_refused(run_setup(clone, "--existing", "--python", "/no/python"), "/no/python", "activate")


def test_no_suitable_python(clone, tmp_path):
    python = write_program(tmp_path / "old python", "exit 1")  # as where it is too old or lacks venv
    assert_refused(run_setup(clone, "--python", python), f"({python})", "3.11", "ensurepip", "python3-venv")
    for name in ("python3", "python", "python3.11", "python3.12", "python3.13"):
        write_program(tmp_path / "programs" / name, "exit 127")  # as a shim for a version that is not there
    result = run_setup(clone, "--venv", "here", programs=tmp_path / "programs")
    assert_refused(result, "(python3 python python3.12 python3.11 python3.13)", "--python")
    assert not (clone / ".venv").exists()


def test_existing_environment_of_an_old_python_without_fairseq(clone, tmp_path):
    answers = 'case $2 in *sys.executable*) echo "$0" ;; *"import pip") ;; *) exit 1 ;; esac'
    python = write_program(tmp_path / "python", answers)
    assert_refused(run_setup(clone, "--existing", "--python", python), "fairseq-fixed needs Python 3.11", "--python")


def test_environment_of_another_python(clone, tmp_path):
    make_environment(clone / ".venv")
    python = write_program(tmp_path / "python", "echo Python 3.99.1")
    assert_refused(run_setup(clone, "--python", python), f"not {python}", "--venv")


def test_environment_without_pip(clone):
    make_environment(clone / ".venv")
    assert_refused(run_setup(clone), "has no pip", "-m ensurepip")


def test_other_folders_and_files_stay_as_they_are(clone, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    for path in (file, file / "below", folder):
        assert_refused(run_setup(clone, "--venv", path, "--python", sys.executable), str(path), "--venv")
    assert file.read_text(encoding="utf-8") == "mine"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    # What an earlier call chose is not lost by a call that was refused.
    assert not (clone / ".setup" / "environment").exists()


def test_disk_that_is_too_small(clone, tmp_path):
    header = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    disk = f"echo '{header}'; echo '/dev/disk 9000000 8000000 1000000 90% /'"
    write_program(tmp_path / "programs" / "df", disk)
    python = os.path.relpath(sys.executable, clone.parent)  # where run_setup calls it
    result = run_setup(clone, "--python", python, programs=tmp_path / "programs")
    assert_refused(result, "3 GB", str(clone / ".venv"))
    assert not (clone / ".venv" / "bin").exists()


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="fairseq comes compiled for Python 3.12")
def test_missing_compiler(clone):
    (make_environment(clone / ".venv") / "pip.py").touch()
    assert_refused(run_setup(clone, CXX="/no/compiler"), "compiled", "/no/compiler", "g++", "CXX")


# Killed, repeated, moved


@pytest.mark.slow
def test_killed_repeated_and_moved(clone):
    command = [str(clone / "scripts" / "setup.sh"), "--python", sys.executable]
    mark = clone / ".venv" / ".rdrop_fairseq"
    process = subprocess.Popen(command, env=VARIABLES, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert mark.read_text() == ""
    leftover = clone / ".venv" / "half installed"
    leftover.mkdir()

    # The environment is made anew; then the index cannot be reached. The other scripts know that it is not complete.
    result = run(command)
    assert_refused(result, "installing torch", "network", "pip config list")
    assert " making " in result.stderr
    assert not leftover.exists()
    assert "key=" not in (clone / ".setup" / "environment").read_text(encoding="utf-8")
    assert_refused(run([clone / "scripts" / "train.sh", "quickstart"]), "no environment", "setup.sh")

    # What failed without being killed goes on where it was.
    (site_packages,) = (clone / ".venv").glob("lib/python*/site-packages")
    show_installed_packages(site_packages)
    result = run(command)
    assert result.returncode == 0, result.stderr
    assert " making " not in result.stderr
    state = (clone / ".setup" / "environment").read_text(encoding="utf-8").splitlines()
    assert [line.split("=")[0] for line in state] == ["mode", "venv", "torch", "python", "programs", "key"]
    assert f"python={clone}/.venv/bin/python" in state
    files = sorted(site_packages.iterdir())

    start = time.monotonic()
    result = run_setup(clone)
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1:] == result.stderr.splitlines()  # one line
    assert f"{clone}/.venv is ready" in result.stderr
    assert time.monotonic() - start < 10
    assert sorted(site_packages.iterdir()) == files

    # Programs name the folder of their interpreter, so that an environment does not survive a move.
    moved = clone.rename(clone.parent / "another clone")
    result = run_setup(moved, "--python", sys.executable)
    assert f"making {moved}/.venv" in result.stderr


@pytest.mark.slow
def test_existing_environment_keeps_what_it_has(clone, tmp_path):
    site_packages = make_environment(tmp_path / "my environment")
    show_installed_packages(site_packages)
    metadata = site_packages / "hypothesis-1.0.dist-info"  # not the version that is pinned
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hypothesis\nVersion: 1.0\n", encoding="utf-8")
    python = tmp_path / "my environment" / "bin" / "python"
    result = run_setup(clone, "--existing", "--python", python.relative_to(clone.parent))
    assert result.returncode == 0, result.stderr
    assert metadata.exists()
    constraints = (clone / ".setup" / "constraints").read_text(encoding="utf-8").splitlines()
    assert "hypothesis==1.0" in constraints
    assert [line for line in constraints if line.startswith("torch==")] == [f"torch=={version_of('torch')}"]
    location = run([python, "-m", "rdrop_fairseq"], cwd="/").stdout
    assert location == f"{clone}/rdrop_fairseq\n"
    # Without options the choice stays.
    result = run_setup(clone)
    assert f"{python.parents[1]} is ready" in result.stderr and "trying" not in result.stderr
    assert not (clone / ".venv").exists()

    # Packages were changed since, and do not work together: it is no longer ready. fairseq-fixed is not laid over a
    # fairseq of another distribution.
    (site_packages / "fairseq.py").write_text("raise ImportError('of another Python')\n", encoding="utf-8")
    assert_refused(run_setup(clone), "cannot import the fairseq that is there", str(python))


@pytest.mark.slow
def test_another_torch_brings_its_own_libraries(clone):
    show_installed_packages(make_environment(clone / ".venv"))
    result = run_setup(clone, "--torch", "0.0.1")
    assert_refused(result, "installing torch==0.0.1", "torch==0.0.1")
    constraints = (clone / ".setup" / "constraints").read_text(encoding="utf-8")
    assert "numpy==" in constraints
    assert not {"torch", "triton", "sympy"} & {line.split("==")[0] for line in constraints.splitlines()}


def test_versions_that_exclude_each_other(clone, tmp_path):
    """The message names them. pip is a stand-in that answers as the real one does."""
    site_packages = make_environment(clone / ".venv")
    lines = [
        "ERROR: Cannot install torch==2.6.0 because these package versions have conflicting dependencies.",
        "ERROR: ResolutionImpossible: for help visit a page",
    ]
    answer = f"import sys\nif __name__ == '__main__':\n    sys.exit({chr(10).join(lines)!r})\n"
    (site_packages / "pip.py").write_text(answer, encoding="utf-8")
    result = run_setup(clone, "--torch", "2.6.0", CXX="true")
    assert_refused(result, "installing torch==2.6.0 failed: ERROR: Cannot install torch==2.6.0")


def version_of(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)
