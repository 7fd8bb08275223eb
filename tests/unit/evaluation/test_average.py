"""Averaging checkpoints: against an average formed by hand, and every refusal."""

import argparse
import os
import subprocess
import sys
from collections import OrderedDict

import numpy
import pytest
import torch

from rdrop_fairseq import compat
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation import average


def make_checkpoint(path, seed=0, data_type=torch.float32, model=None, maximise=None):
    """A checkpoint with what fairseq puts into one: tied embeddings, optimizer state, meters."""
    generator = torch.Generator().manual_seed(seed)
    if model is None:
        embedding = torch.randn(5, 4, generator=generator).to(data_type)
        model = OrderedDict(
            [
                ("encoder.embed_tokens.weight", embedding),
                ("decoder.embed_tokens.weight", embedding),
                ("decoder.layers.0.bias", torch.randn(7, generator=generator).to(data_type)),
                ("decoder.steps", torch.tensor([3])),
            ]
        )
    state = {
        "args": None,
        "cfg": {
            "model": argparse.Namespace(arch="transformer", seed=seed),
            "checkpoint": {} if maximise is None else {"maximize_best_checkpoint_metric": maximise},
        },
        "model": model,
        "criterion": None,
        "optimizer_history": [{"num_updates": 100 + seed, "optimizer_name": "FairseqAdam"}],
        "task_state": {},
        "extra_state": {
            "train_iterator": {"version": 2, "epoch": 1 + seed, "iterations_in_epoch": 0},
            "ema": {"weight": torch.zeros(3)},
            "metrics": {"sum": numpy.array([1, 2])},
        },
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.zeros(5, 4)}}},
    }
    torch.save(state, path)
    return path


@pytest.mark.parametrize("data_type", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_average_equals_one_by_hand(tmp_path, data_type):
    paths = [make_checkpoint(tmp_path / f"{seed}.pt", seed, data_type) for seed in range(3)]
    output = tmp_path / "averaged.pt"
    average.write_average(paths, output)
    averaged = compat.load_checkpoint(output)["model"]
    inputs = [torch.load(path, weights_only=False)["model"] for path in paths]
    for name in inputs[0]:
        assert averaged[name].dtype == inputs[0][name].dtype
        if name == "decoder.steps":
            assert averaged[name].tolist() == [3]
            continue
        by_hand = numpy.mean([model[name].double().numpy() for model in inputs], axis=0, dtype=numpy.float64)
        # The sum in float64, rounded once: equal to the last bit.
        assert torch.equal(averaged[name], torch.from_numpy(by_hand).to(data_type)), name
    assert list(averaged) == list(inputs[0])


def test_half_precision_is_not_summed_in_half_precision(tmp_path):
    # In float16 2048 + 1 is 2048: 3 checkpoints, two of them of ones, would average to 682.5.
    paths = []
    for number, value in enumerate((2048.0, 1.0, 1.0)):
        model = {"weight": torch.full((2,), value, dtype=torch.float16)}
        paths.append(make_checkpoint(tmp_path / f"{number}.pt", model=model))
    expected = torch.tensor(2050.0 / 3, dtype=torch.float64).to(torch.float16)
    assert average.average_checkpoints(paths)["model"]["weight"].tolist() == [expected.item()] * 2


def test_shared_parameters_stay_shared(tmp_path):
    paths = [make_checkpoint(tmp_path / f"{seed}.pt", seed) for seed in range(2)]
    average.write_average(paths, tmp_path / "averaged.pt")
    model = compat.load_checkpoint(tmp_path / "averaged.pt")["model"]
    tied = model["encoder.embed_tokens.weight"], model["decoder.embed_tokens.weight"]
    assert tied[0].data_ptr() == tied[1].data_ptr()
    assert model["decoder.layers.0.bias"].data_ptr() != tied[0].data_ptr()


def test_parameters_tied_in_the_first_checkpoint_only(tmp_path):
    first = make_checkpoint(tmp_path / "first.pt", 0)
    second = make_checkpoint(tmp_path / "second.pt", 1)
    state = torch.load(second, weights_only=False)
    state["model"]["decoder.embed_tokens.weight"] = state["model"]["encoder.embed_tokens.weight"].clone()
    torch.save(state, second)
    average.average_checkpoints([first, second])  # equal values: no less one parameter
    state["model"]["decoder.embed_tokens.weight"][0, 0] += 1
    torch.save(state, second)
    with pytest.raises(UserError, match=r"encoder\.embed_tokens.* one shared parameter .*second\.pt"):
        average.average_checkpoints([first, second])


def test_views_of_one_memory_that_differ_in_their_strides_are_not_shared(tmp_path):
    paths, expected = [], []
    for seed in range(2):
        square = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
        views = {"square": square, "transposed": square.t(), "row": square[0], "column": square[:, 0]}
        paths.append(make_checkpoint(tmp_path / f"{seed}.pt", model=OrderedDict(views)))
        expected.append(square.double())
    average.write_average(paths, tmp_path / "averaged.pt")
    model = compat.load_checkpoint(tmp_path / "averaged.pt")["model"]
    square = ((expected[0] + expected[1]) / 2).float()
    wanted = {"square": square, "transposed": square.t(), "row": square[0], "column": square[:, 0]}
    assert list(model) == list(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(model[name], tensor), name


def test_the_newest_gives_everything_else_and_no_optimizer_state(tmp_path):
    paths = [make_checkpoint(tmp_path / f"{seed}.pt", seed) for seed in range(3)]
    state = average.average_checkpoints(paths)
    assert state["cfg"]["model"].seed == 2
    assert state["optimizer_history"][-1]["num_updates"] == 102
    assert state["extra_state"] == {"train_iterator": {"version": 2, "epoch": 3, "iterations_in_epoch": 0}}
    assert "last_optimizer_state" not in state


def change_name(model):
    model["decoder.layers.0.other"] = model.pop("decoder.layers.0.bias")


def change_shape(model):
    model["decoder.layers.0.bias"] = torch.zeros(8)


def change_type(model):
    model["decoder.layers.0.bias"] = torch.zeros(7, dtype=torch.float16)


def change_integer(model):
    model["decoder.steps"] = torch.tensor([4])


def change_number(model):
    model["decoder.layers.0.bias"] = torch.full((7,), float("nan"))


def change_to_infinity(model):
    model["decoder.layers.0.bias"] = torch.tensor([0.0] * 6 + [-float("inf")])


def change_device(model):
    model["decoder.layers.0.bias"] = torch.zeros(7, device="meta")


def change_key(model):
    model[7] = model.pop("decoder.layers.0.bias")


def change_layout(model):
    model["decoder.layers.0.bias"] = torch.zeros(7).to_sparse()


def change_object(model):
    model["decoder.layers.0.bias"] = [1.0, 2.0]


def remove_all(model):
    model.clear()


@pytest.mark.parametrize(
    "change, message",
    [
        (change_layout, r"second\.pt: decoder\.layers\.0\.bias is no tensor of numbers but torch\.sparse_coo"),
        (change_object, r"second\.pt: decoder\.layers\.0\.bias is no tensor of numbers but list"),
        (remove_all, r"second\.pt has no parameters"),
        (change_name, r"second\.pt has the parameter|first\.pt has the parameter decoder\.layers\.0\.bias"),
        (change_shape, r"decoder\.layers\.0\.bias is float32 \[8\] in .*second\.pt but float32 \[7\]"),
        (change_type, r"decoder\.layers\.0\.bias is float16 \[7\] in .*second\.pt but float32 \[7\]"),
        (change_integer, r"integer buffer decoder\.steps differs between .*first\.pt and .*second\.pt"),
        (change_number, r"second\.pt: decoder\.layers\.0\.bias has values that are infinite or no numbers"),
        (change_to_infinity, r"second\.pt: decoder\.layers\.0\.bias has values that are infinite or no numbers"),
        (change_device, r"second\.pt: decoder\.layers\.0\.bias is no tensor of numbers but meta"),
        (change_key, r"second\.pt has a parameter named 7; give checkpoints that fairseq-train wrote"),
    ],
)
def test_checkpoints_of_different_models_are_refused(tmp_path, change, message):
    first, second = (make_checkpoint(tmp_path / name, seed) for seed, name in enumerate(("first.pt", "second.pt")))
    state = torch.load(second, weights_only=False)
    change(state["model"])
    torch.save(state, second)
    output = tmp_path / "averaged.pt"
    output.write_bytes(b"an older result")
    with pytest.raises(UserError, match=message):
        average.main(["--inputs", str(first), str(second), "--output", str(output)])
    assert output.read_bytes() == b"an older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["averaged.pt", "first.pt", "second.pt"]


def test_a_checkpoint_without_a_model_is_refused(tmp_path):
    torch.save({"model": None}, tmp_path / "0.pt")
    with pytest.raises(UserError, match=r"0\.pt has no parameters; give checkpoints that fairseq-train wrote"):
        average.write_average([tmp_path / "0.pt"], tmp_path / "averaged.pt")


def test_a_checkpoint_counts_once(tmp_path):
    first = make_checkpoint(tmp_path / "first.pt")
    (tmp_path / "link.pt").symlink_to(first)
    os.link(first, tmp_path / "hard.pt")
    for twice in ([first, first], [tmp_path / "link.pt", first], [first, tmp_path / "hard.pt"]):
        with pytest.raises(UserError, match=r"\.pt is given twice; average different checkpoints"):
            average.write_average(twice, tmp_path / "averaged.pt")
    assert not (tmp_path / "averaged.pt").exists()


@pytest.mark.parametrize("extra_state", [None, [1], "x", {}])
def test_other_state_of_any_type_is_no_hindrance(tmp_path, extra_state):
    path = make_checkpoint(tmp_path / "0.pt")
    torch.save({**torch.load(path, weights_only=False), "extra_state": extra_state}, path)
    assert average.average_checkpoints([path])["extra_state"] == {"train_iterator": {"epoch": 1}}


@pytest.mark.skipif(not hasattr(torch, "float8_e4m3fn"), reason="this torch has no such type")
def test_types_without_arithmetic_are_averaged_as_others(tmp_path):
    models = [{"weight": torch.tensor(values).to(torch.float8_e4m3fn)} for values in ([1.0, 4.0], [3.0, 4.0])]
    paths = [make_checkpoint(tmp_path / f"{number}.pt", model=model) for number, model in enumerate(models)]
    weight = average.average_checkpoints(paths)["model"]["weight"]
    assert weight.dtype == torch.float8_e4m3fn and weight.float().tolist() == [2.0, 4.0]


def test_damaged_checkpoint_is_refused(tmp_path):
    first, second = (make_checkpoint(tmp_path / f"{seed}.pt", seed) for seed in range(2))
    second.write_bytes(second.read_bytes()[:900])
    with pytest.raises(UserError, match=r"1\.pt is incomplete or damaged"):
        average.write_average([first, second], tmp_path / "averaged.pt")
    assert not (tmp_path / "averaged.pt").exists()


@pytest.fixture
def save_dir(tmp_path):
    """Files with the names that fairseq gives; selecting opens none of them."""
    names = [
        "checkpoint1.pt", "checkpoint2.pt", "checkpoint9.pt", "checkpoint10.pt",
        "checkpoint_1_500.pt", "checkpoint_2_1000.pt", "checkpoint_3_1500.pt", "checkpoint_10_900.pt",
        "checkpoint_best.pt", "checkpoint_last.pt", "checkpoint1.pt.partial", "averaged.pt",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "kind, count, upper_bound, expected",
    [
        ("epoch", 2, None, ["checkpoint9.pt", "checkpoint10.pt"]),
        ("epoch", 2, 9, ["checkpoint2.pt", "checkpoint9.pt"]),
        ("epoch", 4, None, ["checkpoint1.pt", "checkpoint2.pt", "checkpoint9.pt", "checkpoint10.pt"]),
        ("update", 2, None, ["checkpoint_2_1000.pt", "checkpoint_3_1500.pt"]),
        ("update", 2, 1000, ["checkpoint_10_900.pt", "checkpoint_2_1000.pt"]),
    ],
)
def test_selection_by_epoch_and_update(save_dir, kind, count, upper_bound, expected):
    selected = average.select_checkpoints(save_dir, kind, count, upper_bound)
    assert [path.name for path in selected] == expected


@pytest.mark.parametrize(
    "metric, maximise, expected",
    [
        ("bleu", None, ["31.2000", "31.2001"]),
        ("loss", None, ["9.5000", "4.3211"]),
        ("nll_loss", None, ["9.5000", "4.3211"]),
        ("ppl", None, ["9.5000", "4.3211"]),
        # What the run was told stands above the name.
        ("bleu", False, ["9.5000", "4.3211"]),
        ("loss", True, ["31.2000", "31.2001"]),
    ],
)
def test_selection_of_the_best(tmp_path, metric, maximise, expected):
    for value in ("31.2000", "31.2001", "9.5000", "4.3211"):
        make_checkpoint(tmp_path / f"checkpoint.best_{metric}_{value}.pt", maximise=maximise)
    selected = average.select_checkpoints(tmp_path, "best", 2)
    assert [path.name for path in selected] == [f"checkpoint.best_{metric}_{value}.pt" for value in expected]


def test_best_by_two_metrics_is_refused(tmp_path):
    for metric in ("bleu", "loss"):
        make_checkpoint(tmp_path / f"checkpoint.best_{metric}_3.0000.pt")
    with pytest.raises(UserError, match="by different metrics .bleu, loss."):
        average.select_checkpoints(tmp_path, "best", 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--num-epoch-checkpoints", "5"], "--num-epoch-checkpoints 5, but .* has 4 such"),
        (["--num-epoch-checkpoints", "3", "--checkpoint-upper-bound", "2"], "has 2 such .* up to epoch 2"),
        (["--num-best-checkpoints", "1"], "--num-best-checkpoints 1, but .* has 0 such"),
        (["--num-update-checkpoints", "0"], "argument --num-update-checkpoints: '0' is not a whole number above 0"),
        (["--num-epoch-checkpoints", "x"], "argument --num-epoch-checkpoints: 'x' is not a whole number above 0; see"),
        (["--num-epoch-checkpoints", "1", "--num-best-checkpoints", "1"], "not allowed with argument"),
        (["--num-best-checkpoints", "1", "--checkpoint-upper-bound", "2"], "for epochs or updates"),
        (["--checkpoint-upper-bound", "2"], "needs --num-epoch-checkpoints"),
        ([], "is a folder; say which checkpoints"),
    ],
)
def test_wrong_choices_are_refused(save_dir, arguments, message):
    output = save_dir / "new.pt"
    with pytest.raises(UserError, match=message):
        average.main(["--inputs", str(save_dir), "--output", str(output), *arguments])
    assert not output.exists()


def test_output_must_not_be_an_input_or_a_folder(tmp_path):
    path = make_checkpoint(tmp_path / "checkpoint1.pt")
    before = path.read_bytes()
    for output, message in ((path, "is one of the checkpoints"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=message):
            average.main(["--inputs", str(path), "--output", str(output)])
    with pytest.raises(UserError, match="no such folder"):
        average.main(["--inputs", str(tmp_path / "x"), "--num-epoch-checkpoints", "1", "--output", "out.pt"])
    for arguments in (["--inputs", "n" * 300, "--output", "out.pt"], ["--inputs", str(path), "--output", "n" * 300]):
        with pytest.raises(UserError, match="no checkpoint n|cannot write n.*: File name too long"):
            average.main(arguments)
    assert path.read_bytes() == before


def run_python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_a_kill_while_writing_leaves_the_older_file(tmp_path):
    paths = [make_checkpoint(tmp_path / f"{seed}.pt", seed) for seed in range(2)]
    output = tmp_path / "averaged.pt"
    output.write_bytes(b"an older result")
    code = """
import os, sys, torch
from rdrop_fairseq.evaluation import average
def save(state, stream):
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), 9)
torch.save = save
average.write_average(sys.argv[2:], sys.argv[1])
"""
    assert run_python(code, output, *paths).returncode == -9
    assert output.read_bytes() == b"an older result"


def test_a_full_disk_leaves_the_older_file(tmp_path):
    paths = [make_checkpoint(tmp_path / f"{seed}.pt", seed) for seed in range(2)]
    output = tmp_path / "averaged.pt"
    output.write_bytes(b"an older result")
    code = """
import resource, sys
from rdrop_fairseq.evaluation import average
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
average.write_average(sys.argv[2:], sys.argv[1])
"""
    result = run_python(code, output, *paths)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"cannot write {output}")
    assert "Traceback" not in result.stderr
    assert output.read_bytes() == b"an older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.pt", "1.pt", "averaged.pt"]


def test_command_line_prints_what_was_averaged(tmp_path, capsys):
    for epoch in (1, 2, 3):
        make_checkpoint(tmp_path / f"checkpoint{epoch}.pt", epoch)
    output = tmp_path / "averaged.pt"
    average.main(["--inputs", str(tmp_path), "--num-epoch-checkpoints", "2", "--output", str(output)])
    printed = capsys.readouterr().out
    assert "average of 2 checkpoint(s)" in printed and "checkpoint1.pt" not in printed
    both = [torch.load(tmp_path / f"checkpoint{epoch}.pt", weights_only=False)["model"] for epoch in (2, 3)]
    name = "decoder.layers.0.bias"
    expected = ((both[0][name].double() + both[1][name].double()) / 2).float()
    assert torch.equal(compat.load_checkpoint(output)["model"][name], expected)
