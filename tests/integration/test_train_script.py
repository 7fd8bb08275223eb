"""scripts/train.sh and its Slurm job on the CPU: trained, again, killed and continued, on other processes, refused."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import fairseq_tools
import pytest

from rdrop_fairseq.experiments.__main__ import train_parser
from rdrop_fairseq.experiments.resuming import newest_checkpoint

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TRAIN = SCRIPTS / "train.sh"
# Two batches of 50 tokens make an update: 6 updates an epoch.
TINY = [
    "wmt14_en_de", *fairseq_tools.TINY_TRANSFORMER, "--num-workers", "0", "--log-interval", "1", "--cpu",
    "--tokens-per-update", "100", "--max-tokens", "50",
]  # fmt: skip

pytestmark = pytest.mark.slow


def train(*arguments, fails=False):
    return fairseq_tools.run_module_of(TRAIN, *TINY, *arguments, fails=fails)


def last_error(*arguments) -> str:
    return fairseq_tools.last_line(train(*arguments, fails=True).stderr)


def updates(folder) -> list:
    """What the log says of every update, in order, without what depends on the random numbers of each process."""
    entries = fairseq_tools.logged((folder / "train.log").read_text(), "train_inner")
    return [(int(entry["num_updates"]), entry["epoch"], entry["wpb"], entry["bsz"]) for entry in entries]


def updates_of_checkpoint(folder) -> int:
    """How many updates the checkpoint has had with which a run continues."""
    return newest_checkpoint(folder / "checkpoints", pytest.fail).updates


def contents(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trainings_in(folder) -> list:
    """The processes, but for shells, whose command line names the folder and that still run."""
    listing = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
    lines = (line.split(None, 1) for line in listing.splitlines())
    return [words for state, words in lines if "fairseq-train" in words and str(folder) in words and state[0] != "Z"]


def wait_until(condition) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def wait_for_updates(process, folder) -> None:
    """Until a training in the background has had three updates."""
    log = folder / "train.log"

    def trains() -> bool:
        assert process.poll() is None, f"it ended with status {process.returncode}"
        return log.exists() and '"num_updates": "3"' in log.read_text()

    wait_until(trains)


@pytest.fixture(scope="module")
def finished(data_bin, tmp_path_factory):
    """A run of 12 updates, two epochs, in one process; what was printed; and its arguments."""
    folder = tmp_path_factory.mktemp("runs") / "a run"
    arguments = ["--data", data_bin, "--run-dir", folder, "--max-update", "12", "--tensorboard"]
    return folder, fairseq_tools.run(TRAIN, *TINY, *arguments), arguments


def test_what_a_run_leaves(finished, data_bin):
    folder, result, _ = finished
    assert "100 tokens per update = 50 (max-tokens) * 1 (process) * 2 (update-freq)" in result.stderr
    assert "update 12  epoch 2 validated" in result.stderr
    assert (folder / "exit_status").read_text() == "0\n"
    assert [number for number, *_ in updates(folder)] == list(range(1, 13))
    assert (folder / "checkpoints" / "checkpoint_last.pt").is_file() and list(folder.glob("tensorboard/*/events*"))
    assert (folder / "config.yaml").read_bytes() == (SCRIPTS.parent / "configs" / "wmt14_en_de.yaml").read_bytes()
    typed, command = (folder / "command.txt").read_text().splitlines()
    assert typed.startswith("scripts/train.sh wmt14_en_de --arch transformer ") and " fairseq-train " in command

    record = json.loads((folder / "run.json").read_text())
    expected = {
        "config": "wmt14_en_de", "variant": "rdrop", "data": str(data_bin), "source_language": "en",
        "target_language": "de", "tokens_per_update": 100, "max_tokens": 50, "processes": 1, "update_freq": 2,
        "average": 10, "checkpoint": "average", "generation": ["--beam", "4", "--lenpen", "0.6"],
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert record["versions"]["torch"] and record["commit"].startswith("rdrop_fairseq ")
    assert "--update-freq" in record["command"] and record["device"].startswith("1 CPU process: ")


def test_again_does_nothing_and_more_updates_continue(finished, tmp_path):
    folder, _, arguments = finished
    before = contents(folder)
    assert "done before" in train(*arguments).stderr
    assert "done before" in train(*arguments, "--max-update", "4").stderr
    assert contents(folder) == before
    longer = shutil.copytree(folder, tmp_path / "longer")
    # As after a kill between the last checkpoint and the note that the training is complete, on the way to update 14.
    (longer / "exit_status").unlink()
    record = json.loads((longer / "run.json").read_text())
    record["limits"]["max_update"] = 14
    (longer / "run.json").write_text(json.dumps(record))
    assert "done before" in train(*arguments, "--run-dir", longer).stderr
    assert (longer / "exit_status").read_text() == "0\n"
    result = train(*arguments, "--run-dir", longer, "--max-update", "14")
    assert "resuming after update 12" in result.stderr
    assert [number for number, *_ in updates(longer)] == list(range(1, 15))
    # The log goes on; what is asked for twice is noted once.
    assert (longer / "train.log").read_bytes().startswith((folder / "train.log").read_bytes())
    assert json.loads((longer / "run.json").read_text())["limits"]["max_update"] == 14


def test_without_its_checkpoints_a_run_is_not_done(finished, tmp_path):
    folder, _, arguments = finished
    run = shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    assert "done before" not in train(*arguments, "--run-dir", run, "--max-update", "2").stderr
    assert (run / "checkpoints" / "checkpoint_last.pt").is_file()


def test_a_run_with_other_settings_is_left_alone(finished, data_bin, tmp_path):
    folder, _, arguments = finished
    before = contents(folder)
    for options, difference in (
        (["--lr", "0.5"], "--lr is 0.001 there and 0.5 here"),
        (["--baseline"], "variant is rdrop there and baseline here and 3 more"),
        (["--tokens-per-update", "200"], "tokens per update is 100 there and 200 here"),
        (["--layernorm-embedding"], "--layernorm-embedding is not given there and given here"),
    ):
        message = last_error(*arguments, *options)
        assert f"holds a run with other settings: {difference}; choose another" in message
    vocabulary = shutil.copytree(data_bin, tmp_path / "bin")
    with open(vocabulary / "dict.en.txt", "a") as stream:
        stream.write("another 1\n")
    assert "other settings: dictionary of en is 40 symbols" in last_error(*arguments, "--data", vocabulary)
    with open(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process works in" in last_error(*arguments)
    assert contents(folder) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    assert "has files that are not of scripts/train.sh" in last_error(*arguments, "--run-dir", tmp_path / "other")


def test_a_last_checkpoint_that_was_cut_off(finished, tmp_path):
    folder, _, arguments = finished
    run = shutil.copytree(folder, tmp_path / "run")
    last, best = (run / "checkpoints" / f"checkpoint_{name}.pt" for name in ("last", "best"))
    last.write_bytes(last.read_bytes()[:5000])
    result = train(*arguments, "--run-dir", run, "--max-update", "13")
    assert f"warning: checkpoint {last} is incomplete or damaged" in result.stderr
    assert "; training on from checkpoint_best.pt, after update 12" in result.stderr
    assert [number for number, *_ in updates(run)] == list(range(1, 14))
    for path in (last, best):
        path.write_bytes(path.read_bytes()[:5000])
    again = [*arguments, "--run-dir", run, "--max-update", "14"]
    message = last_error(*again)
    assert message.startswith(f"checkpoint {last} is incomplete or damaged") and "--start-over" in message
    result = train(*again, "--max-update", "2", "--start-over")
    assert f"{run}: what was there is in {run}/earlier.1 now" in result.stderr
    assert [number for number, *_ in updates(run)] == [1, 2] and len(updates(run / "earlier.1")) == 13


def test_killed_and_continued_with_another_number_of_processes(finished, data_bin, tmp_path):
    """SIGKILL for the launcher alone: what it started ends, and the sentences go on where they were."""
    straight, _, arguments = finished
    folder = tmp_path / "run"
    arguments = [*arguments, "--run-dir", folder, "--save-interval-updates", "1", "--keep-interval-updates", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [TRAIN, *TINY, *arguments, "--max-update", "100000", "--processes", "2"]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.DEVNULL, env=environment)
    wait_for_updates(process, folder)
    process.kill()
    process.wait()
    with open(folder / ".lock") as lock:  # nobody has inherited it
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    wait_until(lambda: not trainings_in(folder))
    assert not (folder / "exit_status").exists()
    done = max(number for number, *_ in updates(folder))
    assert done < 100000

    result = train(*arguments, "--max-update", str(max(12, done + 2)), "--processes", "1")
    assert "resuming after update" in result.stderr and (folder / "exit_status").read_text() == "0\n"
    # An update may be there twice, if it came after the last checkpoint.
    assert len(set(updates(folder))) == len({number for number, *_ in updates(folder)})
    assert sorted(set(updates(folder)))[:12] == updates(straight)

    result = train(*arguments, "--max-update", str(max(12, done + 2) + 3), "--processes", "2")
    assert len(set(updates(folder))) == len({number for number, *_ in updates(folder)}) == max(12, done + 2) + 3


def test_ended_by_a_signal(data_bin, tmp_path):
    folder = tmp_path / "run"
    arguments = ["--data", data_bin, "--run-dir", folder, "--max-update", "100000"]
    words = [str(word) for word in (TRAIN, *TINY, *arguments)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for_updates(process, folder)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "ended by signal 15; the same command continues" in fairseq_tools.last_line(errors)
    assert (folder / "exit_status").read_text() == "143\n" and trainings_in(folder) == []
    assert updates_of_checkpoint(folder) == updates(folder)[-1][0]


def test_a_reader_that_goes_away(data_bin, tmp_path):
    """As in ``scripts/train.sh ... 2>&1 | head -1``."""
    folder = tmp_path / "run"
    words = [str(word) for word in (TRAIN, *TINY, "--data", data_bin, "--run-dir", folder, "--max-update", "12")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert (folder / "exit_status").read_text() == "0\n" and max(updates(folder))[0] == 12


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_fails_says_why(data_bin, tmp_path, processes):
    folder = tmp_path / "run"
    arguments = ["--data", data_bin, "--run-dir", folder, "--max-update", "1", "--processes", str(processes)]
    message = last_error(*arguments, "--encoder-attention-heads", "3")
    assert message.startswith("training failed with status 1: AssertionError: embed_dim must be divisible by num_heads")
    assert message.endswith(f"the whole log is {folder}/train.log") and (folder / "exit_status").read_text() == "1\n"
    if processes == 1:
        # Nothing was trained, so that the mistake can be corrected in the same folder.
        train(*arguments)
        assert (folder / "exit_status").read_text() == "0\n"


def test_help_names_every_option():
    result = subprocess.run([str(TRAIN), "--help"], capture_output=True, text=True, check=True)
    for flag in train_parser()._option_string_actions:
        assert flag == "-h" or flag in result.stdout


SRUN = """#!/usr/bin/env bash
# Runs the command once for each node, on this machine, and passes SIGTERM on.
while [[ $1 == --* ]]; do shift; done
trap 'kill -TERM $(jobs -p)' TERM
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do SLURM_NODEID=$node "$@" & done
status=0
for task in $(jobs -p); do
    while true; do
        code=0
        wait "$task" || code=$?
        kill -0 "$task" 2>/dev/null || break
    done
    ((code == 0)) || status=$code
done
exit "$status"
"""
SCONTROL = """#!/usr/bin/env bash
if [[ $1 == requeue ]]; then echo "$2" >>"$REQUEUED"; exit; fi
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do echo 127.0.0.1; done
"""


@pytest.fixture
def slurm(tmp_path):
    """The environment of a Slurm job on two nodes, both of which are this machine."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {
        **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "both", "SLURM_SUBMIT_DIR": str(SCRIPTS.parent),
        "REQUEUED": str(tmp_path / "requeued"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def test_slurm_out_of_time_and_again(data_bin, tmp_path, slurm):
    folder = tmp_path / "run"
    job = shutil.copy(SCRIPTS / "slurm" / "train.sbatch", tmp_path / "slurm_script")  # Slurm runs a copy
    words = [str(word) for word in (job, *TINY, "--data", data_bin, "--run-dir", folder)]
    process = subprocess.Popen([*words, "--max-update", "100000"], env=slurm, stderr=subprocess.PIPE, text=True)
    wait_for_updates(process, folder)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0 and "back into the queue" in errors
    assert Path(slurm["REQUEUED"]).read_text().split() == [slurm["SLURM_JOB_ID"]]
    assert trainings_in(folder) == [] and (folder / "exit_status").read_text() == "143\n"
    done = updates(folder)[-1][0]

    result = fairseq_tools.run(*words, "--max-update", done + 2, env=slurm)
    assert result.stderr.count("2 nodes with 1 CPU process each") == 2
    assert f"resuming after update {done}" in result.stderr  # nothing is lost
    assert (folder / "exit_status").read_text() == "0\n" and json.loads((folder / "run.json").read_text())[
        "processes"
    ] == 2
    assert (folder / "train.node1.log").is_file() and not trainings_in(folder)


def test_slurm_mistakes(slurm, tmp_path):
    job = SCRIPTS / "slurm" / "train.sbatch"
    outside = {**slurm, "SLURM_JOB_ID": ""}
    assert "submit it with sbatch" in fairseq_tools.run(job, "wmt14_en_de", env=outside, fails=True).stderr
    elsewhere = {**slurm, "SLURM_SUBMIT_DIR": str(tmp_path)}
    assert "submit from the root" in fairseq_tools.run(job, "wmt14_en_de", env=elsewhere, fails=True).stderr
    assert "no configuration given" in fairseq_tools.run(job, env=slurm, fails=True).stderr
    # One node that fails ends the job.
    assert "no configuration absent" in fairseq_tools.run(job, "absent", "--cpu", env=slurm, fails=True).stderr
