"""Commands in processes of their own, forked from one that has imported torch and fairseq: that alone takes 7 seconds.

Each runs its entry point with its own arguments, environment, folder and output. Of this repository nothing but this
file is imported before the fork. Unlike an interpreter's own process it has a parent in the sense of multiprocessing.
"""

import logging
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from multiprocessing import forkserver
from pathlib import Path
from typing import Dict, List
from unittest import mock

# These set up the log before they import fairseq; otherwise fairseq does.
LOG_FIRST = ("fairseq-train", "fairseq-preprocess", "fairseq-interactive", "fairseq-validate")
REPOSITORY = Path(__file__).resolve().parents[1]
# torch's first optimiser imports torch._dynamo, for nearly 3 seconds; matplotlib may be absent.
PRELOADED = ["torch", "matplotlib.backends.backend_agg", "sacrebleu", "fairseq", "fairseq.trainer", "torch._dynamo"]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*PRELOADED, __name__])


def is_known(words: List[str]) -> bool:
    """Whether :func:`run` can run the command: a fairseq-PROGRAM, or a module or program of this repository."""
    if Path(words[0]).name.startswith("fairseq-"):
        return True
    if words[0] != sys.executable:
        return False
    if words[1] == "-m":
        return words[2].split(".")[0] == "rdrop_fairseq"
    return REPOSITORY in Path(words[1]).parents


def run(words: List[str], environment: Dict[str, str], folder: Path, timeout: float) -> subprocess.CompletedProcess:
    """As ``subprocess.run`` with captured text; ``timeout`` in seconds."""
    with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}):  # which torch reads once
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory() as outputs:
        paths = [Path(outputs) / name for name in ("stdout", "stderr")]
        process = _context.Process(target=_become, args=(words, environment, folder.resolve(), paths))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout)
        output, errors = (path.read_text(encoding="utf-8") for path in paths)
    return subprocess.CompletedProcess(words, process.exitcode, output, errors)


def _become(words: List[str], environment: Dict[str, str], folder: Path, paths: List[Path]) -> None:
    """In the forked process: be the command."""
    for descriptor, path in enumerate(paths, start=1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    if Path(words[0]).name in LOG_FIRST:
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.simplefilter(environment.get("PYTHONWARNINGS", "default"))
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    try:
        if words[1:2] == ["-m"]:
            if not environment.get("PYTHONSAFEPATH"):
                sys.path.insert(0, str(folder))
            sys.argv = words[2:]
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        elif words[1:2] == ["-c"]:
            sys.argv = words[1:2] + words[3:]
            exec(compile(words[2], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = words[1:] if words[0] == sys.executable else words
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        raise
    except Exception:
        # multiprocessing would print another text than the interpreter does.
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
