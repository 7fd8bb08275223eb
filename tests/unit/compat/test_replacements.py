"""What the plugin replaces in fairseq: how, and what: checkpoints, two models, bf16, the end of process groups."""

import argparse
import contextlib
import functools
import io
import os
import pickle
import sys
import types
import warnings

import numpy
import pytest
import torch

from rdrop_fairseq import compat
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat import plain_data, versions
from rdrop_fairseq.compat.preemption import ToldToEnd
from rdrop_fairseq.compat.replacement import replace_once


@pytest.fixture(autouse=True, scope="module")
def _mended():
    """fairseq as a training with R-Drop has it."""
    compat.prepare_fairseq()
    compat.mend_training()


def save(path, **extra):
    torch.save({"model": {"weight": torch.arange(3.0)}, "args": argparse.Namespace(arch="x"), **extra}, path)


def test_checkpoint_with_namespace_and_numpy_meters_loads_safely(torch_of_any_age, tmp_path):
    path = tmp_path / "checkpoint.pt"
    meters = {"sum": numpy.array([3, 4]), "best": numpy.float64(31.5), "count": numpy.int64(2)}
    save(path, meters=meters)
    state = compat.load_checkpoint(path)
    assert state["args"].arch == "x"
    assert numpy.array_equal(state["meters"]["sum"], [3, 4]) and state["meters"]["best"] == 31.5


@pytest.fixture(params=["this torch", "torch 2.4", "torch 1.13"])
def torch_of_any_age(request, monkeypatch):
    """How loading is told what to allow: by pairs or names, by names alone, or not at all."""
    serialization = torch.serialization
    if request.param == "torch 2.4" and hasattr(serialization, "add_safe_globals"):
        add = serialization.add_safe_globals

        def add_by_name(allowed):
            # The later torch 2.4 looks for these names when it loads, where a pair has none.
            assert len({f"{thing.__module__}.{thing.__name__}" for thing in allowed}) == len(allowed)
            add(allowed)

        monkeypatch.setattr(serialization, "add_safe_globals", add_by_name)
    if request.param == "torch 1.13":
        monkeypatch.setattr(serialization, "_weights_only_unpickler", serialization._weights_only_unpickler)
        monkeypatch.delattr(serialization, "add_safe_globals", raising=False)


def test_a_buffer_that_fairseq_leaves_uninitialised_is_no_parameter(tmp_path):
    """It would be one that is no number, now and then."""
    name = "encoder.embed_positions._float_tensor"
    save(tmp_path / "checkpoint.pt", model={name: torch.full((1,), float("nan")), "weight": torch.ones(1)})
    assert compat.load_checkpoint(tmp_path / "checkpoint.pt")["model"] == {
        name: torch.zeros(1),
        "weight": torch.ones(1),
    }


class Harmful:
    """Unpickling this runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_loading_runs_no_code(torch_of_any_age, tmp_path):
    target = tmp_path / "made"
    save(tmp_path / "checkpoint.pt", harmful=Harmful(str(target)))
    with pytest.raises(UserError, match="not allowed"):
        compat.load_checkpoint(tmp_path / "checkpoint.pt")
    assert not target.exists()


def test_a_state_is_given_to_plain_data_alone():
    """Python's unpickler would give one to a class or a function too, which would do something else from then on."""
    text = "cargparse\nNamespace\n}S'__eq__'\nNsb."
    with pytest.raises(pickle.UnpicklingError, match="builtins.type"):
        plain_data.load(io.BytesIO(text.encode()), encoding="utf-8")
    assert argparse.Namespace() == argparse.Namespace()


def test_numpy_1_26_has_a_stub_of_numpy_2(monkeypatch):
    """Its numpy._core holds nothing."""
    monkeypatch.setattr(numpy, "__version__", "1.26.4")
    monkeypatch.setattr(numpy, "_core", types.ModuleType("numpy._core"), raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2 would rather have the other name
        names = list(plain_data._allowed.__wrapped__())
    assert [name for name in names if name.endswith("scalar")] == [
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    ]


def test_files_loaded_without_restriction_are_named(tmp_path, monkeypatch, caplog):
    """As all are before torch 2.6: in a line of the log, which says what to trust."""
    from fairseq import checkpoint_utils

    path = tmp_path / "checkpoint.pt"
    save(path)
    monkeypatch.setattr(checkpoint_utils, "_upgrade_state_dict", lambda state: state)  # it is no complete checkpoint
    if versions.torch_version() >= (2, 6):
        with caplog.at_level("INFO"):
            checkpoint_utils.load_checkpoint_to_cpu(str(path))
        assert not caplog.records
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with caplog.at_level("INFO"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    (line,) = [record.message for record in caplog.records if "restriction" in record.message]
    assert str(path) in line and "trust" in line


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


def test_a_post_norm_encoder_does_without_the_fast_path_of_fairseq_0_12_2(monkeypatch):
    """Which calls a function of torch without an argument that it demands since 1.13."""
    from fairseq.modules import transformer_layer

    class Layer:
        def __init__(self, normalize_before):
            self.can_use_fastpath = not normalize_before

    monkeypatch.setattr(transformer_layer, "TransformerEncoderLayerBase", Layer)
    compat.prepare_fairseq()
    assert not Layer(False).can_use_fastpath and not Layer(True).can_use_fastpath


def test_untested_versions_are_named():
    fixed = "0.12.3.1 (fairseq-fixed)"
    for known in [("0.12.2", (3, 8), (1, 13)), ("0.12.2", (3, 10), (2, 6)), (fixed, (3, 13), (2, 13))]:
        assert versions.remark_on_versions(*known) is None
    for version, python, torch_version in [
        ("0.12.2", "3.8", "1.12"), ("0.12.2", "3.11", "2.6"), (fixed, "3.14", "2.13"), ("1.0", "3.11", "2.6"),
    ]:  # fmt: skip
        numbers = [tuple(map(int, text.split("."))) for text in (python, torch_version)]
        remark = versions.remark_on_versions(version, *numbers)
        assert remark.startswith(f"untested: fairseq {version} with Python {python} and torch {torch_version}; ")
        assert "fairseq 0.12.2 with Python 3.8 to 3.10 and torch 1.13 to 2.6, or fairseq 0.12.3.1" in remark


@pytest.mark.parametrize("rank, warnings", [("0", 1), ("1", 0)])
def test_untested_versions_are_said_by_one_process(monkeypatch, caplog, rank, warnings):
    monkeypatch.setattr(versions, "TESTED", ())
    monkeypatch.setenv("RANK", rank)
    compat.prepare_fairseq()
    assert sum("untested: fairseq" in record.message for record in caplog.records) == warnings


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


@pytest.mark.parametrize("error", [None, ToldToEnd(143), OverflowError(), SystemExit(1)], ids=repr)
def test_process_groups_end_with_what_they_were_for(tmp_path, error):
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
        if error is not None:
            raise error

    try:
        with contextlib.nullcontext() if error is None else pytest.raises(type(error)) as raised:
            utils.call_main(configuration, main)
        assert error is None or raised.value is error
        assert torch.distributed.is_initialized() is not (error is None or isinstance(error, ToldToEnd))
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
