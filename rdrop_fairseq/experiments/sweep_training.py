"""Several trainings at once on the devices of this machine, and how far they have come."""

import math
import multiprocessing
import os
import signal
import sys
from multiprocessing import connection
from pathlib import Path
from typing import Dict, List, Mapping, Optional

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.processes import end_with_parent
from rdrop_fairseq.evaluation.training_log import TrainingLog, read_training_log
from rdrop_fairseq.experiments.placement import Placement, visible_gpus
from rdrop_fairseq.experiments.training import Training, train
from rdrop_fairseq.experiments.training_process import SIGNALS


def train_at_once(trainings: Mapping[str, Training], typed: str, program: str, parallel: int) -> List[str]:
    """Train all, so many at once, each in a process of its own; one that fails does not end the others.

    A signal to end is passed on to all, and ends this process with them.

    Args:
        trainings: by the name that messages have.
        typed: the command that asked for them, to be noted.
        program: the name of the script, for what it says.
        parallel: how many at once.

    Returns:
        The names of those that failed.
    """
    # Forked, as another interpreter would take seconds and memory for importing what this one has.
    context, owner = multiprocessing.get_context("fork"), os.getpid()
    waiting, failed, received = list(trainings), [], []  # type: List[str], List[str], List[int]
    running: Dict[int, multiprocessing.process.BaseProcess] = {}  # by slot

    def pass_on(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a process that has just been forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(number)
        for process in running.values():
            process.terminate()

    previous = {it: signal.signal(it, pass_on) for it in SIGNALS if signal.getsignal(it) is not signal.SIG_IGN}
    try:
        while running or (waiting and not received):
            while waiting and len(running) < parallel and not received:
                name = waiting.pop(0)
                slot = next(slot for slot in range(parallel) if slot not in running)
                arguments = (trainings[name], typed, program, slot, owner, list(previous))
                running[slot] = context.Process(target=_train_alone, args=arguments, name=name)
                running[slot].start()
                if received:  # while it was started
                    running[slot].terminate()
            connection.wait([process.sentinel for process in running.values()])
            for slot, process in list(running.items()):
                if process.exitcode is not None:
                    del running[slot]
                    failed += [process.name] if process.exitcode != 0 else []
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if received:
        say(program, f"ended by signal {received[0]}; the same command continues")
        sys.exit(128 + received[0])
    return failed


def _train_alone(training: Training, typed: str, program: str, slot: int, parent: int, numbers: List[int]) -> None:
    """In a forked process: train, and end with its exit status."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    end_with_parent(parent)
    os.environ.update(devices_of_slot(training.placement, slot))
    try:
        sys.exit(train(training, typed, program))
    except UserError as error:
        say(program, f"{training.options.name} failed: {error}")
        os._exit(1)


def devices_of_slot(placement: Placement, slot: int) -> Dict[str, str]:
    """The environment in which the trainings of a slot find their GPUs, which the slots are given in turn."""
    if placement.on_cpu:
        return {}
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else list(map(str, range(visible_gpus())))
    first = slot % (len(names) // placement.processes_per_node) * placement.processes_per_node
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[first : first + placement.processes_per_node])}


def check_schedule(training: Training) -> None:
    """Assert that the learning rate does not depend on --max-update, which halving raises again and again.

    Raises:
        UserError: it does.
    """
    schedule = training.values.lr_scheduler
    if schedule in ("cosine", "polynomial_decay", "tri_stage"):
        raise UserError(
            f"--lr-scheduler {schedule} depends on --max-update, which --halving raises step by step; "
            "give --lr-scheduler inverse_sqrt, or leave --halving out"
        )


def read_log(folder: Path) -> Optional[TrainingLog]:
    """What the run of a folder has logged; None where that is nothing."""
    try:
        return read_training_log(folder / "train.log")
    except UserError:
        return None


def has_come_so_far(training: Training, updates: float) -> bool:
    """Whether a run was validated after so many updates, or has come to its end before.

    A run that ended by --patience, say, would train and validate once more only to find that.
    """
    limits, folder = training.record.limits, training.folder
    earlier, log = folder.read_record(), read_log(folder.path)
    if folder.is_complete(limits):
        return True
    if earlier is None or log is None or not folder.has_checkpoints():
        return False
    limit = earlier.limits.get("max_update", 0)
    ended = log.updates < (limit or math.inf) and folder.is_complete({**limits, "max_update": limit})
    return ended or any(record.update >= updates for record in log.validation)
