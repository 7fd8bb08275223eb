"""A training that is told to end: after which update it saves and ends, with a loop like fairseq's in its place."""

import os
import signal
import sys
from types import SimpleNamespace

import pytest
from fairseq import checkpoint_utils

from rdrop_fairseq.compat import preemption

UPDATES = 5


class Training:
    """As much of fairseq_cli.train as is replaced: ``train`` calls ``validate_and_save`` after each update."""

    def __init__(self, at_update) -> None:
        self.updates, self.saved, self._at_update = 0, [], at_update

    def get_num_updates(self) -> int:
        return self.updates

    def validate_and_save(self, cfg, trainer, task, epoch_itr):
        """It stops after the last update, and saves then."""
        return [1.5], self.updates == UPDATES

    def train(self):
        should_stop = False
        while not should_stop:
            self.updates += 1
            self._at_update(self.updates)
            _, should_stop = self.validate_and_save(SimpleNamespace(checkpoint=None), self, None, None)
        return "trained"


@pytest.fixture
def mended(monkeypatch):
    """Makes a training whose process does something in each update; handlers are as before afterwards."""
    monkeypatch.setattr(preemption, "_received", None)
    monkeypatch.setattr(preemption, "_ending", None)
    previous = {number: signal.signal(number, signal.SIG_DFL) for number in preemption.SIGNALS}

    def make(at_update) -> Training:
        training = Training(at_update)

        def save(cfg, trainer, epoch_itr, loss) -> None:
            training.saved.append((trainer.updates, loss))

        monkeypatch.setattr(checkpoint_utils, "save_checkpoint", save)
        monkeypatch.setitem(sys.modules, "fairseq_cli.train", training)
        preemption.save_when_told_to_end()
        return training

    yield make
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_it_saves_after_the_update_and_its_status_says_why(mended, number):
    training = mended(lambda update: os.kill(os.getpid(), number) if update == 2 else None)
    with pytest.raises(SystemExit) as end:
        training.train()
    assert end.value.code == 128 + number
    # Without a validation: time is short.
    assert training.saved == [(2, None)]


def test_a_second_signal_changes_nothing(mended):
    """Slurm sends one to every process, and the launcher passes another one on."""

    def twice(update: int) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)

    training = mended(twice)
    with pytest.raises(SystemExit) as end:
        training.train()
    assert end.value.code == 128 + signal.SIGUSR1 and training.saved == [(1, None)]


def test_a_training_at_its_end_is_complete(mended):
    training = mended(lambda update: os.kill(os.getpid(), signal.SIGTERM) if update == UPDATES else None)
    assert training.train() == "trained" and training.saved == []


def test_without_a_signal_nothing_changes(mended):
    training = mended(lambda update: None)
    assert training.train() == "trained" and training.updates == UPDATES and training.saved == []


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
