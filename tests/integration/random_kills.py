"""Kill trainings at random moments, resume them, and compare them with trainings that were left alone.

    python tests/integration/random_kills.py --kills 40 --seed 1

Each training is killed (SIGKILL) several times on its way. In the end its parameters, its optimiser and every figure
that it logged must be those of the uninterrupted training, to the last bit and digit. The exit status is 0 if they are.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fairseq_tools
from training_runs import EVAL_BLEU, PLAIN, RDROP, start_processes

from rdrop_fairseq.compat import load_checkpoint

EPOCHS = 5
KILLS_OF_A_TRAINING = 5
TIMEOUT = 300  # seconds of one start
# The interval of the log divides neither that of the checkpoints nor the updates of an epoch.
SETTINGS = (
    "--max-tokens", "60", "--max-update", "0", "--max-epoch", EPOCHS, "--log-interval", "3", "--patience", "100",
    "--save-interval-updates", "5", "--keep-interval-updates", "2", "--required-batch-size-multiple", "1", *EVAL_BLEU,
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of training."""

    criterion: Tuple[str, ...] = (RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1")
    task: str = "rdrop_translation"
    processes: int = 1
    flags: Tuple[str, ...] = ()


KINDS = {
    "plain": Kind(),
    "update-freq": Kind(flags=("--update-freq", "2")),
    "two-processes": Kind(processes=2),
    "baseline": Kind(criterion=(PLAIN, "--label-smoothing", "0.1"), task="translation"),
}


def run(kind: Kind, data: Path, folder: Path, kill: Optional[Tuple[int, float]] = None) -> Tuple[str, bool]:
    """Start a training, and kill it some seconds after it has logged an update, if ``kill`` says which and how many.

    Returns:
        The output of its first process, and whether it is complete, as it may be before it is killed.

    Raises:
        RuntimeError: it failed, or took too long.
    """
    logs = [folder.parent / f"{folder.name}-{rank}.log" for rank in range(kind.processes)]
    processes = start_processes(
        data, folder, *kind.criterion, *SETTINGS, *kind.flags, task=kind.task, logs=logs,
        env={"RDROP_FAIRSEQ_MEND_TRAINING": "1", "PYTHONPATH": str(fairseq_tools.PLUGIN.parent)},
    )  # fmt: skip
    deadline = time.monotonic() + TIMEOUT
    killed = False
    try:
        while not killed and any(process.poll() is None for process in processes):
            if kill is not None and kill[0] <= max(updates_logged(logs[0]), default=-1):
                time.sleep(kill[1])
                killed = True
            if time.monotonic() > deadline:
                raise RuntimeError(f"a training took more than {TIMEOUT} seconds")
            time.sleep(0.005)
        complete = all(process.poll() == 0 for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    output = logs[0].read_text()
    if not killed and not complete:
        raise RuntimeError(f"a training failed:\n{output}")
    return output, complete


def updates_logged(log: Path) -> List[int]:
    return [int(entry["num_updates"]) for entry in fairseq_tools.logged(log.read_text(), "train_inner")]


def figures(outputs: Sequence[str]) -> Dict[Tuple[str, str], List[dict]]:
    """Kind of line and update -> all that was logged for it, without timings."""
    result: Dict[Tuple[str, str], List[dict]] = {}
    for tag, prefix in (("train_inner", ""), ("train", "train_"), ("valid", "valid_")):
        for output in outputs:
            for entry in fairseq_tools.logged(output, tag):
                result.setdefault((tag, entry[f"{prefix}num_updates"]), []).append(entry)
    return result


def differences(outputs: Sequence[str], folder: Path, straight: str, straight_folder: Path) -> List[str]:
    """What a training that was killed has otherwise than the one that was not; empty if nothing."""
    found = []
    logged, expected = figures(outputs), figures([straight])
    for place, (entry,) in expected.items():
        # The line that sums an epoch up comes after the checkpoint: a kill in between leaves none to compare.
        if place not in logged and place[0] != "train":
            found.append(f"nothing logged at {place}")
        found += [f"{place}: {other} in place of {entry}" for other in logged.pop(place, []) if other != entry]
    found += [f"logged besides: {place}" for place in logged]
    states = [load_checkpoint(it / "checkpoint_last.pt") for it in (folder, straight_folder)]
    for state in states:
        state["place"] = {key: state["extra_state"].get(key) for key in ("train_iterator", "best", "early_stopping")}
        state["schedule"] = state["optimizer_history"][-1]
    for part in ("model", "last_optimizer_state", "place", "schedule"):
        try:
            fairseq_tools.assert_equal(states[0][part], states[1][part])
        except AssertionError as error:
            found.append(f"{part} of the last checkpoint: {error or 'differs'}")
    return found


def killed_training(kind: Kind, data: Path, folder: Path, kills: Sequence[Tuple[int, float]]) -> List[str]:
    """Train with kills at these moments; the outputs of all starts, as many as there were kills, and one."""
    outputs = []
    for update, delay in kills:
        output, complete = run(kind, data, folder, kill=(update, delay))
        outputs.append(output)
        if complete:
            return outputs
        print(f"    killed {delay:.2f} s after it had logged update {update}", flush=True)
    return [*outputs, run(kind, data, folder)[0]]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Do as many kills, spread over the kinds of training; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="how many in all (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default 1)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of training (default all)")
    options = parser.parse_args(arguments)
    generator = random.Random(options.seed)
    done, trainings, failed = 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "text").mkdir()
        fairseq_tools.write_parallel_text(work / "text", train=160)
        data = fairseq_tools.binarise(work / "text", work / "bin")
        straight: Dict[str, str] = {}
        while done < options.kills:
            kind = options.kinds[trainings % len(options.kinds)]
            if kind not in straight:
                straight[kind], _ = run(KINDS[kind], data, work / kind)
            updates = max(int(update) for _, update in figures([straight[kind]]))
            count = min(KILLS_OF_A_TRAINING, options.kills - done)
            moments = sorted((generator.randrange(1, updates), generator.uniform(0, 0.3)) for _ in range(count))
            print(f"{kind}: {updates} updates in {EPOCHS} epochs, to be killed {count} times", flush=True)
            folder = work / f"{kind}-{trainings}"
            outputs = killed_training(KINDS[kind], data, folder, moments)
            found = differences(outputs, folder, straight[kind], work / kind)
            done += len(outputs) - 1  # fewer where one was complete before its last kill
            trainings += 1
            failed += bool(found)
            print(
                "  " + ("\n  ".join(found[:5]) if found else "equal: parameters, optimiser, every figure"), flush=True
            )
    print(f"{done} kills of {trainings} trainings; {failed} of them differ from the uninterrupted ones")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
