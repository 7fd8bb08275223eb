"""A training that is told to end: after which update it saves and ends, with a loop like fairseq's in its place."""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq.dataclass.configs import CheckpointConfig
from fairseq.distributed import utils

from rdrop_fairseq.compat import preemption

UPDATES = 9
UPDATES_OF_AN_EPOCH = 3


class Trainer:
    """As much of fairseq's as it asks to save a checkpoint."""

    device = torch.device("cpu")
    data_parallel_rank = 0
    should_save_checkpoint_on_current_rank = True
    checkpoint_suffix = ""
    task = None

    def __init__(self) -> None:
        self.updates, self.saved = 0, []

    def get_num_updates(self) -> int:
        return self.updates

    def consolidate_optimizer(self) -> None:
        pass

    def save_checkpoint(self, path: str, extra_state: dict) -> str:
        Path(path).touch()
        self.saved.append((self.updates, extra_state["val_loss"]))
        return path


class Training:
    """As much of fairseq_cli.train as is replaced: ``train`` calls ``validate_and_save`` after each update."""

    def __init__(self, at_update, folder: Path, **options) -> None:
        self.trainer, self.logged_epochs, self._at_update = Trainer(), [], at_update
        self.folder = folder
        # Each update and each epoch has a checkpoint that is kept, by fairseq's options.
        self.cfg = SimpleNamespace(
            checkpoint=CheckpointConfig(save_dir=str(folder), save_interval_updates=1, **options)
        )

    def files(self) -> list:
        return sorted(path.name for path in self.folder.iterdir())

    def validate_and_save(self, cfg, trainer, task, epoch_itr, valid_subsets, end_of_epoch):
        """It stops after the last update, and saves then."""
        return [1.5], trainer.updates == UPDATES

    def train(self):
        """All epochs; like fairseq's, which trains one, it logs each at its end."""
        should_stop = False
        while not should_stop:
            self.trainer.updates += 1
            self._at_update(self.trainer.updates)
            epoch = 1 + (self.trainer.updates - 1) // UPDATES_OF_AN_EPOCH
            end_of_epoch = self.trainer.updates % UPDATES_OF_AN_EPOCH == 0
            iterator = SimpleNamespace(epoch=epoch, end_of_epoch=lambda: end_of_epoch, state_dict=dict)  # noqa: B023
            _, should_stop = self.validate_and_save(self.cfg, self.trainer, None, iterator, ["valid"], end_of_epoch)
            if should_stop or end_of_epoch:
                self.logged_epochs.append(self.trainer.updates)
        return "trained"


@pytest.fixture
def mended(monkeypatch, tmp_path):
    """Makes a training whose process does something in each update; handlers are as before afterwards."""
    monkeypatch.setattr(preemption, "_received", None)
    monkeypatch.setattr(preemption, "_ending", None)
    previous = {number: signal.signal(number, signal.SIG_DFL) for number in preemption.SIGNALS}

    def make(at_update, **options) -> Training:
        (tmp_path / "checkpoints").mkdir()
        training = Training(at_update, tmp_path / "checkpoints", **options)
        monkeypatch.setitem(sys.modules, "fairseq_cli.train", training)
        preemption.save_when_told_to_end()
        return training

    yield make
    for number, handler in previous.items():
        signal.signal(number, handler)


def sigterm_at(number: int):
    return lambda update: os.kill(os.getpid(), signal.SIGTERM) if update == number else None


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_it_saves_after_the_update_and_its_status_says_why(mended, number):
    training = mended(lambda update: os.kill(os.getpid(), number) if update == 2 else None)
    with pytest.raises(SystemExit) as end:
        training.train()
    assert end.value.code == 128 + number
    # Without a validation: time is short.
    assert training.trainer.saved == [(2, None)] and training.files() == ["checkpoint_last.pt"]
    # The epoch is logged by the resumed training, which has the whole of it.
    assert training.logged_epochs == []


def test_an_epoch_that_ended_is_logged(mended):
    training = mended(sigterm_at(2 * UPDATES_OF_AN_EPOCH))
    with pytest.raises(SystemExit) as end:
        training.train()
    assert end.value.code == 128 + signal.SIGTERM
    assert training.trainer.saved == [(6, None)] and training.files() == ["checkpoint_last.pt"]
    assert training.logged_epochs == [3, 6]
    assert training.cfg.checkpoint.save_interval_updates == 1 and not training.cfg.checkpoint.no_epoch_checkpoints


@pytest.mark.parametrize("option", ["no_save", "no_last_checkpoints"])
def test_it_says_that_nothing_is_saved(mended, caplog, option):
    training = mended(sigterm_at(2), **{option: True})
    with pytest.raises(SystemExit) as end:
        training.train()
    assert end.value.code == 128 + signal.SIGTERM and training.files() == []
    (message,) = [record.getMessage() for record in caplog.records if record.name == preemption.__name__]
    assert f"--{option.replace('_', '-')} forbids checkpoint_last.pt" in message and "saving" not in message


def test_several_processes_end_together(mended, monkeypatch, tmp_path):
    """Where one of them is told. They ask each other now and then, as each time costs GPUs a wait."""
    asked = []
    all_reduce = utils.all_reduce
    monkeypatch.setattr(utils, "all_reduce", lambda *args, **more: (asked.append(1), all_reduce(*args, **more)))
    monkeypatch.setattr(utils, "get_global_group", lambda: None)
    first = os.getpid()
    training = mended(lambda update: os.kill(first, signal.SIGTERM) if (os.getpid(), update) == (first, 5) else None)

    def train(rank: int) -> tuple:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/store", world_size=2, rank=rank, timeout=timedelta(seconds=60)
        )
        try:
            training.train()
        except preemption.ToldToEnd as end:
            return end.code, training.trainer.saved, len(asked)
        finally:
            torch.distributed.destroy_process_group()

    expected = (128 + signal.SIGTERM, [(8, None)], 2)
    other = os.fork()
    if other == 0:
        status = 1
        try:
            status = 0 if train(1) == expected else 2
        finally:
            os._exit(status)
    result = train(0)
    assert os.waitpid(other, 0)[1] == 0 and result == expected


def test_a_second_signal_changes_nothing(mended):
    """Slurm sends one to every process, and the launcher passes another one on."""

    def twice(update: int) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)

    training = mended(twice)
    with pytest.raises(SystemExit) as end:
        training.train()
    assert end.value.code == 128 + signal.SIGUSR1 and training.trainer.saved == [(1, None)]


def test_a_training_at_its_end_is_complete(mended):
    training = mended(sigterm_at(UPDATES))
    assert training.train() == "trained" and training.trainer.saved == []


def test_without_a_signal_nothing_changes(mended):
    training = mended(lambda update: None)
    assert training.train() == "trained" and training.trainer.updates == UPDATES and training.trainer.saved == []


def test_handlers_of_others_and_processes_that_load_data(mended):
    received = []
    training = mended(lambda update: os.kill(os.getpid(), signal.SIGUSR1) if update == 1 else None)
    signal.signal(signal.SIGUSR1, lambda *_: received.append("theirs"))
    assert training.train() == "trained" and received == ["theirs"]
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
