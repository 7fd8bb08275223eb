"""The parts of scripts/setup.sh that need to look inside an environment; run with that environment's Python.

Uses the standard library only (and the ``packaging`` of pip), because it runs before anything is installed.
Each command prints its result on stdout; a problem ends it with status 1 and one line on stderr.
"""

import argparse
import csv
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

REPOSITORY = Path(__file__).resolve().parent.parent
PINS_PATH = REPOSITORY / "scripts" / "constraints.txt"
PLUGIN = "rdrop_fairseq"
# What the scripts and tests of this repository import or call.
MODULES = (
    "torch",
    "fairseq",
    "fairseq_cli",
    "sacrebleu",
    "sentencepiece",
    "sacremoses",
    "matplotlib",
    "tensorboardX",
    "pytest",
)
SLOW_MODULES = ("torch", "fairseq")  # importing these two loads every compiled library that tends to break
PROGRAMS = ("fairseq-preprocess", "fairseq-train", "fairseq-generate")
EXTRAS = ("", "plot", "test")
# torch for CUDA asks for one exact version of triton; its CPU builds take any.
CHOSEN_BY_TORCH = ("torch", "triton")


def canonical_name(name: str) -> str:
    """The name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path = PINS_PATH) -> Dict[str, str]:
    """The versions that a constraints file of ``name==version`` lines asks for, by canonical name."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {canonical_name(name): version for name, version in (line.split("==") for line in lines if line)}


def installed_versions() -> Dict[str, str]:
    """The versions of the distributions in this environment, by canonical name."""
    versions = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            versions.setdefault(canonical_name(name), distribution.version)
    return versions


def command_key(choices: List[str]) -> None:
    """Print a digest of all that decides what the environment holds: when it changes, set-up runs again."""
    digest = hashlib.sha256()
    parts = [sys.version, sys.prefix, str(REPOSITORY), *choices]
    for path in (PINS_PATH, REPOSITORY / "setup.py", Path(__file__)):
        parts.append(path.read_text(encoding="utf-8"))
    for part in parts:
        digest.update(part.encode() + b"\0")
    print(digest.hexdigest())


def program_folders() -> List[str]:
    """Where pip puts programs: the folder of the environment, or the user's if it may not write there."""
    return [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")]


def refuse_foreign_program(program: Path) -> None:
    """Fail if an entry point would start the interpreter of another folder: environments cannot be moved."""
    # Two lines, because for a path with a space pip makes a shell script that calls the interpreter.
    lines = program.read_text(encoding="utf-8", errors="replace").splitlines()[:2]
    match = re.search(r"(/[^\"'\n]*)/python[0-9.]*", "\n".join(lines))
    own = {os.path.realpath(folder) for folder in (Path(sys.executable).parent, Path(sys.prefix, "bin"))}
    if match and os.path.realpath(match[1]) not in own:
        sys.exit(f"{program} starts the Python in {match[1]}: the environment was moved, which breaks it")


def command_place() -> None:
    """Fail if this environment was made at another place."""
    program = Path(sysconfig.get_path("scripts"), "pip")
    if program.is_file():
        refuse_foreign_program(program)


def command_programs() -> None:
    """Print the folder with fairseq's programs."""
    folders = program_folders()
    print(next((folder for folder in folders if Path(folder, PROGRAMS[0]).exists()), folders[0]))


def command_check(modules: List[str]) -> None:
    """Fail unless all is found, ``modules`` can be imported, and the plugin is this repository's."""
    for name in MODULES:
        if importlib.util.find_spec(name) is None:
            sys.exit(f"the Python package {name} is missing")
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken library raises whatever it likes; the reason is what matters
            reason = " ".join(str(error).split())
            sys.exit(f"importing {name} fails ({type(error).__name__}: {reason})")
    for name in PROGRAMS:
        program = shutil.which(name, path=os.pathsep.join(program_folders()))
        if program is None:
            sys.exit(f"the program {name} is missing")
        refuse_foreign_program(Path(program))
    plugin = importlib.util.find_spec(PLUGIN)
    expected = REPOSITORY / PLUGIN
    if plugin is None or plugin.origin is None or Path(plugin.origin).resolve().parent != expected:
        sys.exit(f"{PLUGIN} is imported from {plugin and plugin.origin}, not from {expected}")


def command_installed(name: str) -> None:
    """Print the version of a distribution; fail if it is not installed."""
    version = installed_versions().get(canonical_name(name))
    if version is None:
        sys.exit(f"{name} is not installed")
    print(version)


def command_constraints(existing: bool, without: Optional[str]) -> None:
    """Print the pins to install with.

    A torch that is there stays, whichever it is, and so does its triton; with ``existing`` so does every other
    package. The pins of packages that are missing hold on the versions of Python they were tested on.
    """
    installed = installed_versions()
    tested = (3, 11) <= sys.version_info[:2] <= (3, 12)
    for name, pin in read_pins().items():
        if name == without or (without == "torch" and name in CHOSEN_BY_TORCH):
            continue
        if name in installed and (existing or name in CHOSEN_BY_TORCH):
            print(f"{name}=={installed[name]}")
        elif tested:
            print(f"{name}=={pin}")


def command_requirements() -> None:
    """Print what the plugin and its extras ask for, without fairseq where any distribution provides it."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement

    for line in importlib.metadata.requires(PLUGIN) or []:
        requirement = Requirement(line)
        if canonical_name(requirement.name).startswith("fairseq") and importlib.util.find_spec("fairseq"):
            continue
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": name}) for name in EXTRAS):
            print(f"{requirement.name}{requirement.specifier}")


def command_repair() -> None:
    """Remove what a killed pip left half installed, so that the next pip installs it again.

    pip takes a distribution for installed as soon as its metadata are there. Its last act is to write RECORD
    anew, then with INSTALLER in it: without that, or with files missing, a distribution is incomplete.
    """
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        site_packages = Path(folder)
        for leftover in site_packages.glob("~*"):  # what pip renames before it removes it
            _remove(leftover)
        for metadata in site_packages.glob("*.dist-info"):
            if not _is_installed_again(metadata.name.split("-")[0]):
                continue
            record = metadata / "RECORD"
            rows = csv.reader(record.read_text(encoding="utf-8").splitlines()) if record.is_file() else []
            names = [row[0] for row in rows if not row[0].endswith(".pyc")]
            paths = [site_packages / name for name in names]
            if f"{metadata.name}/INSTALLER" not in names or not all(path.exists() for path in paths):
                for path in paths:
                    _remove(path)
                _remove(metadata)
                print(f"removed the incomplete {metadata.name}")


def _is_installed_again(name: str) -> bool:
    """Whether set-up brings this distribution back: a pinned one, pip itself, or a library of torch's."""
    name = canonical_name(name)
    return name == "pip" or name in read_pins() or name.startswith(("nvidia-", "cuda-", "triton"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def command_compiler() -> None:
    """Fail unless a C++ extension of this Python can be compiled."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    purpose = f"fairseq has to be compiled for Python {version} on this machine"
    remedy = f"(Debian and Ubuntu: apt-get install g++ python{version}-dev)"
    if version == "3.11":
        remedy += " or use Python 3.12, for which most machines need no compiling"
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").is_file():
        sys.exit(f"{purpose} and its headers ({include}/Python.h) are missing; install them {remedy}")
    # setuptools compiles and links with the first and the third, torch's build step with the second.
    commands = [
        os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc",
        os.environ.get("CXX") or "c++",
        os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++",
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text("#include <Python.h>\n#include <vector>\nstd::vector<int> probe;\n")
        options = [f"-I{include}", "-fPIC", "-c", str(source), "-o", f"{source}.o"]
        for command in commands:
            try:
                probe = [*shlex.split(command), *options]
                result = subprocess.run(probe, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            except OSError as error:
                reason = error.strerror
            else:
                if result.returncode == 0:
                    continue
                reason = next((line for line in result.stdout.splitlines() if "error" in line), "it failed")
            name = shlex.split(command)[0]
            sys.exit(
                f"{purpose} and there is no working C++ compiler ({name}: {reason}); name yours with "
                f"CC and CXX, install one {remedy}"
            )


def main() -> None:
    """Run the command named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="print what the mark of a finished set-up must say")
    key.add_argument("choices", nargs="*", help="the options of setup.sh that count")
    commands.add_parser("place", help="fail unless the environment was made where it is")
    commands.add_parser("programs", help="print the folder with the programs")
    check = commands.add_parser("check", help="fail unless the environment is complete")
    check.add_argument("--import-all", action="store_true", help="import all, not only torch and fairseq")
    installed = commands.add_parser("installed", help="print the version of a distribution")
    installed.add_argument("name")
    constraints = commands.add_parser("constraints", help="print the pins to install with")
    constraints.add_argument("--existing", action="store_true", help="keep all that is installed as it is")
    constraints.add_argument("--without", help="a distribution to leave out")
    commands.add_parser("requirements", help="print what the plugin needs")
    commands.add_parser("repair", help="remove what a killed pip left half installed")
    commands.add_parser("compiler", help="fail unless C++ extensions can be compiled")
    arguments = parser.parse_args()

    if arguments.command == "key":
        command_key(arguments.choices)
    elif arguments.command == "place":
        command_place()
    elif arguments.command == "programs":
        command_programs()
    elif arguments.command == "check":
        command_check(list(MODULES if arguments.import_all else SLOW_MODULES))
    elif arguments.command == "installed":
        command_installed(arguments.name)
    elif arguments.command == "constraints":
        command_constraints(arguments.existing, arguments.without)
    elif arguments.command == "requirements":
        command_requirements()
    elif arguments.command == "repair":
        command_repair()
    else:
        command_compiler()


if __name__ == "__main__":
    main()
