"""What the plugin replaces in fairseq: how, and what: checkpoints, two models, bf16, the end of process groups."""

import argparse
import contextlib
import functools
import os
import pickle
import sys

import numpy
import pytest
import torch

from rdrop_fairseq import compat
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat.replacement import replace_once


@pytest.fixture(autouse=True, scope="module")
def _mended():
    """fairseq as a training with R-Drop has it."""
    compat.prepare_fairseq()
    compat.mend_training()


def save(path, **extra):
    torch.save({"model": {"weight": torch.arange(3.0)}, "args": argparse.Namespace(arch="x"), **extra}, path)


def test_checkpoint_with_namespace_and_numpy_meters_loads_safely(tmp_path):
    path = tmp_path / "checkpoint.pt"
    meters = {"sum": numpy.array([3, 4]), "best": numpy.float64(31.5), "count": numpy.int64(2)}
    save(path, meters=meters)
    state = compat.load_checkpoint(path)
    assert state["args"].arch == "x"
    assert numpy.array_equal(state["meters"]["sum"], [3, 4]) and state["meters"]["best"] == 31.5


class Harmful:
    """Unpickling this runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_loading_runs_no_code(tmp_path):
    target = tmp_path / "made"
    save(tmp_path / "checkpoint.pt", harmful=Harmful(str(target)))
    with pytest.raises(UserError, match="not allowed"):
        compat.load_checkpoint(tmp_path / "checkpoint.pt")
    assert not target.exists()


@pytest.mark.parametrize("keep", [0, 10, 600])
def test_truncated_checkpoint_names_file_and_remedy(tmp_path, keep):
    from fairseq import checkpoint_utils

    path = tmp_path / "checkpoint_last.pt"
    save(path)
    path.write_bytes(path.read_bytes()[:keep])
    for load in (compat.load_checkpoint, lambda file: checkpoint_utils.load_checkpoint_to_cpu(str(file))):
        with pytest.raises(UserError, match="checkpoint_last.pt is incomplete or damaged.*use another"):
            load(path)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        compat.load_checkpoint(tmp_path / "absent.pt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="not a fairseq checkpoint"):
        compat.load_checkpoint(tmp_path / "other.pt")


def test_copy_of_a_checkpoint_appears_whole(tmp_path, monkeypatch):
    from fairseq.file_io import PathManager

    source, destination = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new")
    destination.write_bytes(b"old")
    assert PathManager.copy(str(source), str(destination), overwrite=True)
    assert destination.read_bytes() == b"new"

    def broken_copy(_, temporary):
        with open(temporary, "wb") as stream:
            stream.write(b"ne")
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", broken_copy)
    source.write_bytes(b"newer")
    with pytest.raises(KeyboardInterrupt):
        PathManager.copy(str(source), str(destination), overwrite=True)
    assert destination.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_best.pt", "checkpoint_last.pt"]


def test_adaptive_softmax_is_the_same_with_a_gradient():
    from fairseq.modules import AdaptiveSoftmax

    torch.manual_seed(0)
    module = AdaptiveSoftmax(30, 8, [10, 20], dropout=0.0).double()
    features = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        expected = module.get_log_prob(features, None)
    actual = module.get_log_prob(features, None)
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(actual.exp().sum(-1), torch.ones(2, 5, dtype=torch.float64))
    actual.sum().backward()
    assert features.grad.abs().sum() > 0


def test_other_errors_of_loading_are_not_called_damage(tmp_path):
    """A wrong --model-overrides, say, is no fault of the file."""
    from fairseq import checkpoint_utils

    path = tmp_path / "checkpoint.pt"
    save(path, extra_state={}, optimizer_history=[], cfg={"model": {"_name": "x"}})
    with pytest.raises(Exception) as raised:
        checkpoint_utils.load_checkpoint_to_cpu(str(path), arg_overrides={"model": 3})
    assert "damaged" not in str(raised.value)


def test_bf16_does_not_ask_for_a_tpu(data_bin):
    """fairseq's parser makes of --bf16 a --tpu, which no machine without torch_xla can train with."""
    import fairseq_tools

    words = [str(data_bin), "--source-lang", "en", "--target-lang", "de", "--max-tokens", "100", "--bf16"]
    words += fairseq_tools.TINY_TRANSFORMER
    code = (
        "import rdrop_fairseq; from fairseq import options; "
        f"arguments = options.parse_args_and_arch(options.get_training_parser(), {words!r}); "
        "print(arguments.bf16, arguments.tpu)"
    )
    assert fairseq_tools.run(sys.executable, "-c", code).stdout.split() == ["True", "False"]


@pytest.mark.parametrize("fails", [False, True])
def test_process_groups_end_with_what_they_were_for(tmp_path, fails):
    """Left to the end of the interpreter they abort it now and then; after an error their end could wait for ever."""
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.distributed import utils

    configuration = FairseqConfig()
    configuration.common.cpu = True
    distributed = configuration.distributed_training
    distributed.distributed_init_method = f"file://{tmp_path}/store"
    distributed.distributed_world_size, distributed.distributed_rank = 1, 0
    distributed.distributed_backend, distributed.distributed_no_spawn = "gloo", True

    def main(configuration):
        assert torch.distributed.is_initialized()
        if fails:
            raise OverflowError

    try:
        with pytest.raises(OverflowError) if fails else contextlib.nullcontext():
            utils.call_main(configuration, main)
        assert torch.distributed.is_initialized() is fails
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    # fairseq pickles the function by its name, for the processes that it starts itself.
    assert pickle.loads(pickle.dumps(utils.distributed_main)) is utils.distributed_main


class Owner:
    """What has functions to replace."""

    def method(self):
        return ["fairseq's"]

    @staticmethod
    def static():
        return ["fairseq's"]


def add_ours(function):
    return lambda *arguments: [*function(*arguments), "ours"]


def wrapped_by_another_plugin(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return [*function(*arguments), "another's"]

    return wrapper


@pytest.mark.parametrize("name", ["method", "static"])
def test_a_function_is_replaced_once(name):
    owner = type("OwnerOfItsOwn", (Owner,), {})
    for _ in range(2):
        replace_once(owner, name, add_ours)
    assert getattr(owner(), name)() == ["fairseq's", "ours"]
    assert getattr(owner, name).__name__ == name and getattr(owner, name).__doc__ == getattr(Owner, name).__doc__
    assert getattr(Owner(), name)() == ["fairseq's"]


def test_wrappers_of_another_plugin_do_not_stand_in_the_way():
    """functools.wraps marks what it wraps; that is no sign of us. It also carries our mark along with our function."""
    owner = type("OwnerOfItsOwn", (Owner,), {"method": wrapped_by_another_plugin(Owner.method)})
    replace_once(owner, "method", add_ours)
    assert owner().method() == ["fairseq's", "another's", "ours"]
    owner.method = wrapped_by_another_plugin(owner.method)
    replace_once(owner, "method", add_ours)
    assert owner().method() == ["fairseq's", "another's", "ours", "another's"]


def test_a_fork_without_the_function_is_left_alone():
    replace_once(Owner, "absent", add_ours)
    assert not hasattr(Owner, "absent")
