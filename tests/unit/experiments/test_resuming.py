"""The checkpoint to continue from: its vocabulary, and its place in the data."""

import pytest
import torch

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments import resuming
from rdrop_fairseq.experiments.resuming import newest_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint after 6 batches of each of 2 processes, 3 updates."""
    state = {
        "model": {"encoder.embed_tokens.weight": torch.zeros(9, 2), "decoder.embed_tokens.weight": torch.zeros(9, 2)},
        "cfg": {"distributed_training": {"distributed_world_size": 2}, "dataset": {"max_tokens": 50}},
        "extra_state": {"train_iterator": {"epoch": 4, "iterations_in_epoch": 6, "shuffle": True, "version": 2}},
        "optimizer_history": [{"num_updates": 3}],
    }
    torch.save(state, tmp_path / "checkpoint_last.pt")
    return tmp_path / "checkpoint_last.pt"


def read_last_checkpoint(path):
    """Where nothing is wrong with it, so that nothing is said."""
    return newest_checkpoint(path.parent, pytest.fail)


def place(checkpoint) -> tuple:
    iterator = read_last_checkpoint(checkpoint).state["extra_state"]["train_iterator"]
    return iterator["epoch"], iterator["iterations_in_epoch"]


def test_nothing_to_continue_from(tmp_path):
    assert read_last_checkpoint(tmp_path / "checkpoint_last.pt") is None


@pytest.mark.parametrize("processes, batches", [(1, 12), (4, 3), (6, 2)])
def test_another_number_of_processes(checkpoint, processes, batches):
    last = read_last_checkpoint(checkpoint)
    assert last.updates == 3
    assert last.continue_with(processes, 50) == "after batch 12 of epoch 4, as it was with 2 process(es)"
    assert place(checkpoint) == (4, batches)
    # The file knows what it was made for now: a second start, after a kill, say, changes nothing.
    before = checkpoint.stat().st_mtime_ns
    assert read_last_checkpoint(checkpoint).continue_with(processes, 50) is None
    assert checkpoint.stat().st_mtime_ns == before
    assert read_last_checkpoint(checkpoint).continue_with(2, 50) is not None
    assert place(checkpoint) == (4, 6)


def test_other_batches_begin_the_epoch_again(checkpoint):
    message = read_last_checkpoint(checkpoint).continue_with(2, 25)
    assert message == "at the beginning of epoch 4, because the batches changed with --max-tokens"
    assert place(checkpoint) == (4, 0)


def test_the_same_processes_change_nothing(checkpoint):
    before = checkpoint.read_bytes()
    assert read_last_checkpoint(checkpoint).continue_with(2, 50) is None
    assert checkpoint.read_bytes() == before


def test_another_vocabulary_is_refused(checkpoint, tmp_path):
    """A dictionary has four symbols more than its file has lines."""
    for language, lines in (("en", 5), ("de", 6)):
        (tmp_path / f"dict.{language}.txt").write_text("".join(f"word{n} 1\n" for n in range(lines)))
    last = read_last_checkpoint(checkpoint)
    last.check_vocabulary(tmp_path, "en", "en")
    with pytest.raises(UserError) as error:
        last.check_vocabulary(tmp_path, "en", "de")
    assert str(error.value).startswith(
        f"{checkpoint} is of another vocabulary: 9 symbols on the decoder's side where {tmp_path}/dict.de.txt has 10;"
    )


def save_after(checkpoint, name: str, updates: int) -> None:
    """Another checkpoint beside it."""
    state = torch.load(checkpoint)
    torch.save({**state, "optimizer_history": [{"num_updates": updates}]}, checkpoint.parent / name)


@pytest.mark.parametrize("damage", ["half", "empty", "gone", "model: None", "model: list", "model: none", "history"])
def test_the_newest_one_takes_the_place_of_a_damaged_last_one(checkpoint, damage):
    names = ("checkpoint_1_2.pt", "checkpoint_best.pt", "checkpoint1.pt", "checkpoint.best_loss_2.5.pt")
    for updates, name in zip((2, 1, 1, 1), names):
        save_after(checkpoint, name, updates)
    save_after(checkpoint, "checkpoint_average.pt", 9)  # not of fairseq-train
    content = checkpoint.read_bytes()
    if damage == "gone":
        checkpoint.unlink()
    elif damage in ("half", "empty"):
        checkpoint.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    else:
        changes = {
            "model: None": {"model": None},
            "model: none": {"model": {}},
            "model: list": {"model": {"encoder.embed_tokens.weight": [1]}},
            "history": {"optimizer_history": [3]},
        }[damage]
        torch.save({**torch.load(checkpoint), **changes}, checkpoint)
    said = []
    found = newest_checkpoint(checkpoint.parent, said.append)
    assert found.updates == 2 and found.path.name == "checkpoint_1_2.pt"
    cause = {
        "half": f"checkpoint {checkpoint} is incomplete or damaged (probably cut off while it was written or copied)",
        "gone": f"{checkpoint} is gone",
        "model: None": f"{checkpoint} is not what fairseq-train writes (model is None)",
        "model: none": f"{checkpoint} has no parameters",
    }
    assert len(said) == 1 and said[0].startswith(f"warning: {cause.get(damage, '')}")
    assert said[0].endswith("; training on from checkpoint_1_2.pt, after update 2")
    found.put_last()
    assert read_last_checkpoint(checkpoint).updates == 2
    assert checkpoint.read_bytes() == (checkpoint.parent / "checkpoint_1_2.pt").read_bytes()


def test_not_every_checkpoint_is_loaded(checkpoint, monkeypatch):
    """Names with numbers say which one is the newest."""
    for name, updates in (("checkpoint_2_9.pt", 9), ("checkpoint_2_10.pt", 10), ("checkpoint_3_11.pt", 11)):
        save_after(checkpoint, name, updates)
    for name, updates in (("checkpoint9.pt", 9), ("checkpoint10.pt", 12), ("checkpoint_best.pt", 8)):
        save_after(checkpoint, name, updates)
    checkpoint.unlink()
    (checkpoint.parent / "checkpoint_3_11.pt").write_bytes(b"")
    loaded, load = [], resuming.load_checkpoint
    monkeypatch.setattr(resuming, "load_checkpoint", lambda path: loaded.append(path.name) or load(path))
    assert newest_checkpoint(checkpoint.parent, str).path.name == "checkpoint10.pt"
    assert loaded == ["checkpoint_3_11.pt", "checkpoint_2_10.pt", "checkpoint10.pt", "checkpoint_best.pt"]


def test_checkpoints_none_of_which_can_be_read(checkpoint):
    """Nobody starts at update 1 without having said so."""
    checkpoint.write_bytes(checkpoint.read_bytes()[:300])
    (checkpoint.parent / "checkpoint1.pt").touch()
    with pytest.raises(UserError) as error:
        newest_checkpoint(checkpoint.parent, pytest.fail)
    assert str(error.value).startswith(f"checkpoint {checkpoint} is incomplete or damaged")
    assert str(error.value).endswith(
        "nor can 1 more; train from the beginning with --start-over, which sets them aside"
    )


@pytest.mark.parametrize(
    "part, value, name",
    [
        ("cfg", None, "cfg.distributed_training is None"),
        ("cfg", {"distributed_training": [], "dataset": {}}, "cfg.distributed_training is \\[\\]"),
        ("extra_state", {"train_iterator": {"iterations_in_epoch": "abc"}}, "iterations_in_epoch is 'abc'"),
    ],
)
def test_entries_of_other_types_are_named(checkpoint, part, value, name):
    torch.save({**torch.load(checkpoint), part: value}, checkpoint)
    with pytest.raises(UserError, match=f"checkpoint_last.pt is not what fairseq-train writes .*{name}"):
        read_last_checkpoint(checkpoint).continue_with(1, 50)
