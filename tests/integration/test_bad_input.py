"""Mistakes of a user: each ends with status not 0 and one line that names cause and remedy; no file is touched."""

import resource
import shutil
import sys

import fairseq_tools
import pytest
from training_runs import PLAIN, RDROP, train_arguments


def contents(folder) -> dict:
    """Name -> bytes of every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fails(command, *arguments, **options) -> str:
    """The line in which a command that has to fail says why."""
    result = fairseq_tools.run(command, *arguments, fails=True, **options)
    line = fairseq_tools.last_line(result.stderr)
    assert "Traceback" not in result.stderr
    return line


@pytest.fixture
def checkpoints(rdrop_run, tmp_path):
    """A folder that holds the checkpoints of a run already; it must be left as it is."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(rdrop_run.folder, folder)
    before = contents(folder)
    yield folder
    assert contents(folder) == before


@pytest.mark.parametrize(
    "flag, value, remedy",
    [
        ("--rdrop-alpha", "-1", "give a finite number >= 0"),
        ("--rdrop-alpha", "nan", "give a finite number >= 0"),
        ("--label-smoothing", "1.5", "give a number from 0 to below 1"),
    ],
)
def test_number_out_of_range(data_bin, checkpoints, flag, value, remedy):
    arguments = train_arguments(data_bin, checkpoints, RDROP, "--rdrop-alpha", "5", flag, value)
    line = fails("fairseq-train", *arguments)
    assert line.startswith(f"{flag} is {float(value)}; {remedy}")


def test_other_criterion(data_bin, tmp_path):
    """It is refused before the first update, so that fairseq leaves no crash.pt behind."""
    folder = tmp_path / "new"
    line = fails("fairseq-train", *train_arguments(data_bin, folder, PLAIN))
    assert "--task rdrop_translation cannot train with" in line
    assert f"use --criterion {RDROP}, or --task translation" in line
    assert list(folder.iterdir()) == []


def test_missing_split(data_bin, checkpoints):
    line = fails("fairseq-train", *train_arguments(data_bin, checkpoints, RDROP, "--train-subset", "absent"))
    assert line.startswith(f"no absent split for en-de in {data_bin}; make it with fairseq-preprocess")


def test_missing_language(data_bin, checkpoints):
    line = fails("fairseq-train", *train_arguments(data_bin, checkpoints, RDROP, "--source-lang", "xx"))
    assert line.startswith(f"cannot find {data_bin}/dict.xx.txt for --source-lang xx --target-lang de; give a data")


def test_missing_split_of_generation(data_bin, rdrop_run):
    line = fails(
        "fairseq-generate", data_bin, "--user-dir", fairseq_tools.PLUGIN, "--task", "rdrop_translation",
        "--path", rdrop_run.folder / "checkpoint_best.pt", "--gen-subset", "absent", "--cpu",
    )  # fmt: skip
    assert line.startswith(f"no absent split for en-de in {data_bin}")


def truncate(path, share: float) -> None:
    with open(path, "rb+") as stream:
        stream.truncate(int(path.stat().st_size * share))


# torch fails in different ways according to how much is missing.
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_truncated_checkpoint_stops_a_resumed_training(data_bin, rdrop_run, tmp_path, share):
    folder = tmp_path / "checkpoints"
    shutil.copytree(rdrop_run.folder, folder)
    truncate(folder / "checkpoint_last.pt", share)
    before = contents(folder)
    line = fails("fairseq-train", *train_arguments(data_bin, folder, RDROP, "--max-update", "12"))
    assert f"checkpoint {folder}/checkpoint_last.pt is incomplete or damaged" in line
    assert "use another one" in line
    assert contents(folder) == before


@pytest.mark.parametrize("command", ["fairseq-generate", "average"])
def test_truncated_checkpoint_cannot_be_used(data_bin, rdrop_run, tmp_path, command):
    broken = tmp_path / "checkpoint_best.pt"
    shutil.copyfile(rdrop_run.folder / "checkpoint_best.pt", broken)
    truncate(broken, 0.4)
    if command == "average":
        inputs = ["--inputs", rdrop_run.folder / "checkpoint_last.pt", broken, "--output", tmp_path / "average.pt"]
        line = fails(sys.executable, "-m", "rdrop_fairseq.evaluation.average", *inputs, cwd=fairseq_tools.PLUGIN.parent)
    else:
        line = fails(
            command, data_bin, "--user-dir", fairseq_tools.PLUGIN, "--task", "rdrop_translation",
            "--path", broken, "--max-tokens", "100", "--cpu",
        )  # fmt: skip
    assert f"checkpoint {broken} is incomplete or damaged" in line and "use another one" in line
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_best.pt"]


def test_folder_that_cannot_be_made(data_bin, tmp_path):
    (tmp_path / "file").write_text("kept")
    line = fails("fairseq-train", *train_arguments(data_bin, tmp_path / "file" / "checkpoints", RDROP))
    assert line.startswith(f"cannot write checkpoints to {tmp_path}/file/checkpoints: Not a directory; choose another")
    assert (tmp_path / "file").read_text() == "kept"


def test_disk_that_is_full(data_bin, checkpoints):
    """A limit on the size of files stands for the disk: both let a write fail in the middle of a checkpoint."""

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    arguments = train_arguments(data_bin, checkpoints, RDROP, "--rdrop-alpha", "5", "--max-update", "10")
    line = fails("fairseq-train", *arguments, preexec_fn=limit_files)
    assert line.startswith(f"cannot write {checkpoints}/checkpoint_best.pt: ")
    assert "free space or choose another folder" in line


def test_training_that_diverges_says_so(data_bin, tmp_path):
    """fairseq looks for the origin of the NaN first, which must not fail and hide the message."""
    arguments = train_arguments(data_bin, tmp_path, RDROP, "--rdrop-alpha", "5", "--lr", "1e30")
    result = fairseq_tools.run("fairseq-train", *arguments, fails=True)
    assert fairseq_tools.last_line(result.stderr) == "FloatingPointError: gradients are Nan/Inf"
    assert "NaN detected in output of" in result.stdout
