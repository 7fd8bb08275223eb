"""A resumed training has the batches, the figures and the count of early stopping of one never interrupted."""

import itertools
import os

import fairseq_tools
import pytest
from fairseq.logging import metrics
from fairseq.trainer import Trainer

from rdrop_fairseq.compat import load_checkpoint, save_checkpoint
from rdrop_fairseq.compat.resuming import CRITERIA_REPLACED

RDROP = "label_smoothed_cross_entropy_with_rdrop"
HYDRA = "rdrop_label_smoothed_cross_entropy"
BATCHES = 3  # of an epoch that are read before the interruption


def make_trainer(data_bin, *flags, criterion=RDROP) -> Trainer:
    config = fairseq_tools.training_config(
        data_bin, "--task", "translation", "--criterion", criterion, "--max-tokens", "40",
        *fairseq_tools.TINY_TRANSFORMER, *flags,
    )  # fmt: skip
    return Trainer(config, *fairseq_tools.build(config))


def epochs(trainer, iterator):
    """The iterators of one epoch after the other, as fairseq-train takes them."""
    sharded = trainer.task.has_sharded_data("train")
    while True:
        yield iterator, iterator.next_epoch_itr()
        iterator = trainer.get_train_iterator(
            iterator.next_epoch_idx, load_dataset=sharded, disable_iterator_cache=sharded
        )


def sentences(batches) -> list:
    return [batch["id"].tolist() if batch else [] for batch in batches]


@pytest.fixture(scope="module")
def two_folders(data_bin, parallel_text, tmp_path_factory):
    """Two data folders, of which each epoch takes the next."""
    return f"{data_bin}{os.pathsep}{fairseq_tools.binarise(parallel_text, tmp_path_factory.mktemp('more') / 'bin')}"


@pytest.fixture(scope="module")
def upsampled(data_bin, tmp_path_factory):
    """train1 beside train."""
    folder = tmp_path_factory.mktemp("upsampled")
    for path in data_bin.iterdir():
        (folder / path.name).symlink_to(path)
        if path.name.startswith("train."):
            (folder / path.name.replace("train.", "train1.")).symlink_to(path)
    return folder


@pytest.mark.parametrize("read", [0, BATCHES], ids=["between epochs", "inside"])
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--update-ordered-indices-seed",),
        ("--update-epoch-batch-itr", "True"),
        ("--grouped-shuffling",),
        ("--upsample-primary", "2"),
        ("two folders",),
        ("two processes",),
    ],
    ids=" ".join,
)
def test_the_rest_of_the_epoch_is_what_would_have_followed(request, data_bin, monkeypatch, flags, read):
    """Until the end of the epoch after it, too."""
    data = data_bin
    if flags == ("two processes",):
        flags = ()
        monkeypatch.setattr(Trainer, "data_parallel_world_size", 2)
        monkeypatch.setattr(Trainer, "data_parallel_rank", 1)
        monkeypatch.setattr(Trainer, "model", property(lambda self: self._model))  # without the other process
    elif flags == ("two folders",):
        data, flags = request.getfixturevalue("two_folders"), ()
    elif "--upsample-primary" in flags:
        data = request.getfixturevalue("upsampled")

    trainer = make_trainer(data, *flags)
    sharded = trainer.task.has_sharded_data("train")
    straight = epochs(trainer, trainer.get_train_iterator(1, disable_iterator_cache=sharded))
    for _ in range(2):
        iterator, batches = next(straight)
        list(batches)
    if read:
        iterator, batches = next(straight)
        list(itertools.islice(batches, read))
    place = iterator.state_dict()
    assert place["epoch"] == 3 and place["iterations_in_epoch"] == read
    expected = sentences(batches) if read else []
    expected += [sentences(next(straight)[1]) for _ in range(2)]

    trainer = make_trainer(data, *flags)
    iterator = trainer.get_train_iterator(3, load_dataset=True, disable_iterator_cache=sharded)
    iterator.load_state_dict(place)
    resumed = epochs(trainer, iterator)
    actual = sentences(next(resumed)[1]) if read else []
    actual += [sentences(next(resumed)[1]) for _ in range(2)]
    assert actual == expected and len(expected[-1]) > BATCHES


def saved_between_epochs(trainer, path) -> None:
    """A checkpoint after the first epoch, as fairseq-train writes it."""
    iterator = trainer.get_train_iterator(1)
    list(iterator.next_epoch_itr())
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(path), {"train_iterator": iterator.state_dict(), "val_loss": 2.0})


def test_figures_since_the_last_line_of_the_log_are_kept(data_bin, tmp_path):
    """Those of the epoch that is complete are not."""
    metrics.reset()
    for value in (1.0, 2.0):
        with metrics.aggregate("train"), metrics.aggregate("train_inner"):
            metrics.log_scalar("gnorm", value)
    saved_between_epochs(make_trainer(data_bin), tmp_path / "checkpoint.pt")
    metrics.reset()
    assert make_trainer(data_bin).load_checkpoint(str(tmp_path / "checkpoint.pt")) is not None
    with metrics.aggregate("train"), metrics.aggregate("train_inner"):
        metrics.log_scalar("gnorm", 6.0)
    assert metrics.get_meter("train_inner", "gnorm").avg == 3.0
    assert metrics.get_meter("train", "gnorm").avg == 6.0
    make_trainer(data_bin).load_checkpoint(str(tmp_path / "checkpoint.pt"), reset_meters=True)
    assert metrics.get_meter("train", "gnorm").avg == 6.0
    metrics.reset()


def test_early_stopping_goes_on_counting(data_bin, tmp_path, monkeypatch):
    from fairseq_cli import train

    def stop(loss) -> bool:
        return train.should_stop_early(trainer.cfg, loss)

    def forget() -> None:
        for name in ("best", "num_runs"):
            monkeypatch.delattr(train.should_stop_early, name, raising=False)

    trainer = make_trainer(data_bin, "--patience", "2")
    forget()
    assert [stop(loss) for loss in (2.0, 3.0)] == [False, False]
    saved_between_epochs(trainer, tmp_path / "checkpoint.pt")
    forget()
    trainer.load_checkpoint(str(tmp_path / "checkpoint.pt"))
    assert stop(3.0)
    forget()


@pytest.mark.parametrize(
    "written",
    ["RdropLabelSmoothedCrossEntropyCriterion", "RDropLabelSmoothedCrossEntropyCriterion"],
    ids=["fairseq's own", "written by an older version for Hydra"],
)
@pytest.mark.parametrize("criterion", [RDROP, HYDRA])
def test_the_criterion_continues_what_it_takes_the_place_of(data_bin, tmp_path, written, criterion):
    path = tmp_path / "checkpoint.pt"
    trainer = make_trainer(data_bin)
    trainer.train_step([fairseq_tools.batch(trainer.task)])
    saved_between_epochs(trainer, path)
    state = load_checkpoint(path)
    state["optimizer_history"][-1]["criterion_name"] = written
    save_checkpoint(state, path)
    resumed = make_trainer(data_bin, criterion=criterion)
    resumed.load_checkpoint(str(path))
    assert resumed.get_num_updates() == 1


def test_one_name_of_the_criterion_continues_the_other(data_bin, tmp_path):
    for first, second in ((RDROP, HYDRA), (HYDRA, RDROP)):
        trainer = make_trainer(data_bin, criterion=first)
        trainer.train_step([fairseq_tools.batch(trainer.task)])
        saved_between_epochs(trainer, tmp_path / "checkpoint.pt")
        resumed = make_trainer(data_bin, criterion=second)
        resumed.load_checkpoint(str(tmp_path / "checkpoint.pt"))
        assert resumed.get_num_updates() == 1


def test_another_criterion_is_refused_as_before(data_bin, tmp_path):
    saved_between_epochs(make_trainer(data_bin), tmp_path / "checkpoint.pt")
    with pytest.raises(AssertionError, match="Criterion does not match"):
        make_trainer(data_bin, criterion="cross_entropy").load_checkpoint(str(tmp_path / "checkpoint.pt"))


def test_fairseqs_own_criterion_has_the_name_that_is_replaced():
    own = pytest.importorskip("fairseq.criterions.label_smoothed_cross_entropy_with_rdrop")
    assert own.RdropLabelSmoothedCrossEntropyCriterion.__name__ in CRITERIA_REPLACED
