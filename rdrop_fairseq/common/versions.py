"""What a result was obtained with: versions, hardware, and the state of this package."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Dict, List, Optional

from rdrop_fairseq.common.processes import available_cores

_PACKAGES = ("torch", "sacrebleu", "sentencepiece", "sacremoses", "numpy")
# fairseq is published under two names; both are imported as ``fairseq``.
_FAIRSEQ_DISTRIBUTIONS = ("fairseq", "fairseq-fixed")


def package_versions() -> Dict[str, str]:
    """Versions of Python and of the packages that training and scoring rest on, 'not installed' where so."""
    versions = {"Python": platform.python_version()}
    for distribution in _FAIRSEQ_DISTRIBUTIONS:
        version = _version(distribution)
        if version is not None:
            versions["fairseq"] = version if distribution == "fairseq" else f"{version} ({distribution})"
    versions.setdefault("fairseq", "not installed")
    for package in _PACKAGES:
        versions[package] = _version(package) or "not installed"
    return versions


def hardware() -> Dict[str, str]:
    """The processor, the cores this process may use, memory, and GPUs if torch sees any."""
    description = {"CPU": _processor(), "cores": f"{available_cores()} of {os.cpu_count()}"}
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        description["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    description["GPU"] = ", ".join(_gpus()) or "none"
    return description


def plugin_state() -> str:
    """The git commit of this package if it is used from a checkout, else its version."""
    import rdrop_fairseq

    folder = Path(rdrop_fairseq.__file__).resolve().parent
    version = f"rdrop_fairseq {rdrop_fairseq.__version__}"
    # A package that is installed inside somebody's checkout, in its .venv say, is no part of that checkout.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return version
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{version}, git commit {commit}{' with local changes' if changed else ''}"


def _version(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> List[str]:
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _git(folder: Path, *arguments: str) -> Optional[str]:
    try:
        completed = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip() if completed.returncode == 0 else None
