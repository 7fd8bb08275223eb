"""A training that is told to end saves first: SIGTERM and SIGUSR1 are how schedulers announce that time is up."""

import copy
import logging
import os
import signal
import sys
import threading
from typing import Any, Callable, List, Optional

import torch

from rdrop_fairseq.compat.replacement import replace_once

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

UPDATES_BETWEEN_QUESTIONS = 4
"""How often several processes ask each other for signals: on GPUs each time waits for all that is being computed."""

_received: Optional[int] = None
"""The first of these signals that has reached this process."""
_ending: Optional[int] = None
"""That for which the training, all its processes, ends."""


class ToldToEnd(SystemExit):
    """The end of a training that was told to end: all its processes have come this far."""


def save_when_told_to_end() -> None:
    """Have a training that receives one of :data:`SIGNALS` finish its update, write checkpoint_last.pt, and end.

    Its exit status is 128 plus the number of the signal, so that nobody takes the training for complete. By itself
    fairseq ends at once, and all updates since the last checkpoint are lost. A validation or a checkpoint that is due
    after the update is done, as it would be missing in the resumed training; none is added, as time is short. Several
    processes look for a signal at each :data:`UPDATES_BETWEEN_QUESTIONS`-th update. For all three versions.
    """
    # fairseq-train that is started as a module (python -m fairseq_cli.train) goes by the other name.
    for name in ("fairseq_cli.train", "__main__"):
        module = sys.modules.get(name)
        if hasattr(module, "validate_and_save"):
            replace_once(module, "validate_and_save", _saving_when_told)
            replace_once(module, "train", _ending_when_told)


def _ending_when_told(train: Callable) -> Callable:
    def train_until_told(*args: Any, **kwargs: Any) -> Any:
        # Before the first update there is nothing to save, and a signal ends the process as ever.
        _listen()
        result = train(*args, **kwargs)
        if _ending is not None:
            _end(_ending)
        return result

    return train_until_told


def _saving_when_told(validate_and_save: Callable) -> Callable:
    def validate_and_save_when_told(
        cfg: Any, trainer: Any, task: Any, epoch_itr: Any, valid_subsets: List[str], end_of_epoch: bool
    ) -> Any:
        global _ending
        losses, should_stop = validate_and_save(cfg, trainer, task, epoch_itr, valid_subsets, end_of_epoch)
        number = _first_signal(trainer)
        if number is None or should_stop:  # a training at its end has saved, and is not interrupted
            return losses, should_stop
        _save_the_last(cfg.checkpoint, trainer, epoch_itr, number)
        if not end_of_epoch:
            # Here and now: fairseq would log the averages over a part of the epoch as those of the epoch.
            _end(number)
        _ending = number
        return losses, True

    return validate_and_save_when_told


def _save_the_last(cfg: Any, trainer: Any, epoch_itr: Any, number: int) -> None:
    """Write checkpoint_last.pt alone: the checkpoints that are kept have been written, if one was due."""
    from fairseq import checkpoint_utils

    told = f"told to end by signal {number} after update {trainer.get_num_updates()}"
    for option in ("no_save", "no_last_checkpoints"):
        if getattr(cfg, option):
            flag = "--" + option.replace("_", "-")
            logger.warning(f"{told}: {flag} forbids checkpoint_last.pt, so updates since the last checkpoint are lost")
            return
    logger.info(f"{told}: saving")
    only_last = copy.deepcopy(cfg)
    only_last.no_epoch_checkpoints, only_last.save_interval_updates = True, 0
    # The best checkpoints are chosen by a validation loss, so that without one there are none.
    checkpoint_utils.save_checkpoint(only_last, trainer, epoch_itr, None)


def _end(number: int) -> None:
    if torch.distributed.is_initialized():
        # torchrun ends all processes when the first one has ended, and the one that saves takes longest.
        torch.distributed.barrier()
    raise ToldToEnd(128 + number)


def _listen() -> None:
    """Note the signals, where they would end the process; whoever has set other handlers keeps them."""
    if threading.current_thread() is not threading.main_thread():
        return  # Python sets handlers there alone
    owner = os.getpid()

    def note(number: int, frame: Any) -> None:
        global _received
        if os.getpid() != owner:
            # A process that loads data: it ends as ever.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif _received is None:
            _received = number

    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, note)


def _first_signal(trainer: Any) -> Optional[int]:
    """The signal that one of the processes has received; all of them have to end after the same update."""
    if not torch.distributed.is_initialized():
        return _received
    if trainer.get_num_updates() % UPDATES_BETWEEN_QUESTIONS:
        return None  # in all of them, as they have made the same number of updates
    from fairseq.distributed import utils

    number = torch.tensor([_received or 0], device=trainer.device)
    utils.all_reduce(number, group=utils.get_global_group(), op="max")
    return int(number.item()) or None
