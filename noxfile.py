"""The matrix of versions. ``nox`` runs every cell whose interpreter is there, each from an empty environment.

    nox --list                                 the cells
    nox -s "matrix(python3.8, torch 1.13.1)"   one of them
    nox -- --index-url URL                     what stands behind -- goes to pip: an index with torch for the CPU, say

In a cell tests/try_environment.py runs every command once. torch from the ordinary index brings its CUDA libraries: 2
to 3 GB to download for each version, and 4 to 8 GB on the disk, until the cell has passed.
"""

import shutil

import nox

nox.options.error_on_missing_interpreters = False
nox.needs_version = ">=2024.3.2"

PINNED = "--constraint=scripts/constraints.txt"
# Name, Python, fairseq, torch, and what else is asked for. docs/installation.md and compat/versions.py follow.
CELLS = (
    ("python3.8, torch 1.13.1", "3.8", "fairseq==0.12.2", "torch==1.13.1", ()),
    (
        "python3.8, torch 1.13.1, oldest",
        "3.8",
        "fairseq==0.12.2",
        "torch==1.13.1",
        ("sacrebleu==2.0.0", "sentencepiece==0.1.96", "sacremoses==0.0.43"),
    ),
    ("python3.10, torch 2.1.2", "3.10", "fairseq==0.12.2", "torch==2.1.2", ("numpy==1.26.4",)),
    ("python3.10, torch 2.4.1", "3.10", "fairseq==0.12.2", "torch==2.4.1", ("numpy==1.26.4",)),
    ("python3.10, torch 2.6.0", "3.10", "fairseq==0.12.2", "torch==2.6.0", ("numpy==1.26.4",)),
    ("python3.11, torch 2.6.0", "3.11", "fairseq-fixed==0.12.3.1", "torch==2.6.0", ()),
    ("python3.11, pinned", "3.11", "fairseq-fixed==0.12.3.1", "torch==2.13.0", (PINNED,)),
    ("python3.12, torch 2.11.0", "3.12", "fairseq-fixed==0.12.3.1", "torch==2.11.0", ()),
    ("python3.13, pinned", "3.13", "fairseq-fixed==0.12.3.1", "torch==2.13.0", (PINNED,)),
)


@nox.session(venv_backend="venv", reuse_venv=False)
@nox.parametrize("python, fairseq, torch, others", [nox.param(*cell, id=name) for name, *cell in CELLS])
def matrix(session: nox.Session, fairseq: str, torch: str, others: tuple) -> None:
    """Every command once, with one combination of versions."""

    def install(*requirements: str) -> None:
        session.install(*requirements, torch, *others, *session.posargs, silent=False)

    if fairseq.startswith("fairseq=="):
        session.install("pip<24.1", *session.posargs)  # later ones refuse the omegaconf 2.0.6 that it asks for
        # In an environment of its own, as there is no torch. With torch it wants sources that it lacks.
        install(fairseq, "--editable", ".[fairseq,plot]")
    else:
        # Here, as in an environment of its own the build would fetch the newest torch once more.
        install("setuptools>=61,<80", "wheel", "cython", "numpy", "ninja")
        install("--no-build-isolation", fairseq, "--editable", ".[fairseq,plot]")
    session.run("python", "tests/try_environment.py")
    shutil.rmtree(session.virtualenv.location)
