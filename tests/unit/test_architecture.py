"""What imports what: the layers that pyproject.toml names hold, and no two packages import each other."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import grimp

REPOSITORY = Path(__file__).resolve().parents[2]


def check_contracts(repository: Path) -> subprocess.CompletedProcess:
    """Run import-linter on a repository, with the contracts of its pyproject.toml."""
    # The folder that the command runs in comes first on the path of its modules.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


def test_every_layer_imports_only_what_stands_below_it():
    result = check_contracts(REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_of_a_higher_layer_is_found(tmp_path):
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(REPOSITORY / "rdrop_fairseq", tmp_path / "rdrop_fairseq")
    with (tmp_path / "rdrop_fairseq" / "common" / "files.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef upwards():\n    import rdrop_fairseq.experiments\n")
    result = check_contracts(tmp_path)
    assert result.returncode == 1
    assert "rdrop_fairseq.common.files -> rdrop_fairseq.experiments" in result.stdout


def test_no_two_packages_import_each_other():
    graph = grimp.build_graph("rdrop_fairseq", cache_dir=None)
    packages = graph.find_children("rdrop_fairseq")
    assert {"rdrop_fairseq.losses", "rdrop_fairseq.experiments"} <= packages
    for first, second in itertools.combinations(sorted(packages), 2):
        assert not all(
            graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
            for importer, imported in ((first, second), (second, first))
        ), f"{first} and {second}"
