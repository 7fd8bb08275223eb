"""Train a configuration: ``scripts/train.sh``, whose --help says what the options do.

First everything is looked at and what cannot work is refused, with nothing changed; then the run folder is taken; then
fairseq-train runs in it.
"""

import shlex
import sys
from typing import List, Optional

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.options import PROGRAM, parse_options
from rdrop_fairseq.experiments.resuming import read_last_checkpoint
from rdrop_fairseq.experiments.training import Training, plan_training
from rdrop_fairseq.experiments.training_process import TrainingProcess, full_environment


def main(argv: Optional[List[str]] = None) -> int:
    """Train; returns the exit status.

    Raises:
        UserError: something cannot work, or the training failed.
    """
    words = sys.argv[1:] if argv is None else argv
    options, command_line = parse_options(words)
    training = plan_training(options, command_line)
    _say(_summary(training))
    if options.dry_run:
        print(training.shell_command)
        return 0
    folder, placement = training.folder, training.placement
    environment = full_environment(placement.environment)
    lock = None
    if placement.node_rank == 0:
        # Of several nodes, which may share a file system, one alone writes to the folder.
        lock = folder.lock()
    folder.check_settings(training.settings)
    if folder.is_complete(training.limits) or _reached_its_limit(training):
        _say(f"{folder.path}: done before; more updates with --max-update or --max-epoch")
        if placement.node_rank == 0:
            folder.update_evaluation(training.record(), training.configuration.path)
        return 0
    log = folder.log
    if placement.node_rank == 0:
        folder.begin(training.record(), training.configuration.path, [_typed(words), training.shell_command])
    else:
        log = folder.path / f"train.node{placement.node_rank}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
    _say(f"training in {folder.path}; all output is in {log}")
    process = TrainingProcess(training.command, environment, log, lock)
    status = process.follow(training.variant)
    if placement.node_rank == 0:
        folder.write_exit_status(status)
    if status > 128:
        _say(f"ended by signal {status - 128}; the same command continues from the last checkpoint")
    elif status != 0:
        raise UserError(f"training failed with status {status}: {process.last_message()}; the whole log is {log}")
    else:
        _say(f"done: {folder.checkpoints}")
    return status


def _summary(training: Training) -> str:
    """The global batch, and how it comes about."""
    processes, update_freq = training.placement.processes, training.update_freq
    return (
        f"{training.configuration.name}, {training.variant}, on {training.placement.description}: "
        f"{training.tokens_per_update} tokens per update = {training.max_tokens} (max-tokens) * "
        f"{processes} (process{'es' if processes > 1 else ''}) * {update_freq} (update-freq)"
    )


def _reached_its_limit(training: Training) -> bool:
    """Look at the checkpoint that fairseq-train would continue from, and put it in order for it.

    fairseq-train does another update with a checkpoint that has had all of them.
    """
    last = read_last_checkpoint(training.folder.last_checkpoint)
    if last is None:
        return False
    last.check_vocabulary(training.data, *training.languages)
    if 0 < training.limits["max_update"] <= last.updates:
        if training.placement.node_rank == 0:
            training.folder.write_exit_status(0)
        return True
    if training.placement.node_rank == 0:
        place = last.continue_with(training.placement.processes, training.max_tokens)
        _say(f"resuming after update {last.updates}" + (f", {place}" if place else ""))
    return False


def _typed(words: List[str]) -> str:
    return shlex.join([PROGRAM, *words])


def _say(message: str) -> None:
    say(PROGRAM.rpartition("/")[2], message)


if __name__ == "__main__":
    sys.exit(main())
