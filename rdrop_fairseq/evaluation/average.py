"""The average of several checkpoints of one training run: ``python -m rdrop_fairseq.evaluation.average``.

    python -m rdrop_fairseq.evaluation.average --inputs checkpoints --num-epoch-checkpoints 5 --output out.pt

The result is a checkpoint for fairseq-generate, fairseq-validate and ``--finetune-from-model``. Sums are
formed in float64, one checkpoint at a time, and rounded once to the type of the parameter. Of everything but
the parameters the newest checkpoint's value is kept, except the state of the optimizer, the meters and any
moving average of the weights: those belong to one checkpoint and to no average.
"""

import argparse
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat import load_checkpoint, save_checkpoint

PathLike = Union[str, Path]

# The names that fairseq gives to checkpoints, by what is counted. A best checkpoint's number has three
# decimals of the metric and then a digit that fairseq adds against equal names.
_NAMES = {
    "epoch": re.compile(r"checkpoint(?P<number>\d+)\.pt"),
    "update": re.compile(r"checkpoint_\d+_(?P<number>\d+)\.pt"),
    "best": re.compile(r"checkpoint\.best_(?P<metric>.+)_(?P<number>-?\d+\.\d+)\.pt"),
}
_FLAGS = {
    "epoch": "--num-epoch-checkpoints",
    "update": "--num-update-checkpoints",
    "best": "--num-best-checkpoints",
}
# Suffixes of metrics of which less is better, where no checkpoint says which way its run was told to go.
_SMALLER_IS_BETTER = ("loss", "ppl", "perplexity", "wer", "cer", "ter", "uer")


def select_checkpoints(directory: PathLike, kind: str, count: int, upper_bound: Optional[int] = None) -> List[Path]:
    """The newest or best ``count`` checkpoints of a run, oldest (or worst of these) first.

    Args:
        directory: the ``--save-dir`` of a fairseq run.
        kind: ``"epoch"`` (checkpoint12.pt), ``"update"`` (checkpoint_3_1500.pt, written by
            ``--save-interval-updates``) or ``"best"`` (checkpoint.best_bleu_31.2000.pt, written by
            ``--keep-best-checkpoints``).
        count: how many.
        upper_bound: the last epoch or update that may be used; not for ``"best"``.

    Raises:
        UserError: there are fewer, the folder is missing, or its best checkpoints are by different metrics.
    """
    directory = Path(directory)
    if count < 1:
        raise UserError(f"{_FLAGS[kind]} {count}: give a number of checkpoints of at least 1")
    if kind == "best" and upper_bound is not None:
        raise UserError("--checkpoint-upper-bound is for epochs or updates; leave it out with --num-best-checkpoints")
    if not directory.is_dir():
        raise UserError(f"no such folder: {directory}; give the --save-dir of a fairseq run as --inputs")

    candidates: List[Tuple[float, Path]] = []
    metrics = set()
    for path in sorted(directory.iterdir()):
        match = _NAMES[kind].fullmatch(path.name)
        if match is None:
            continue
        number = float(match["number"])
        if upper_bound is not None and number > upper_bound:
            continue
        metrics.add(match.groupdict().get("metric"))
        candidates.append((number, path))
    if len(candidates) < count:
        bound = "" if upper_bound is None else f" up to {kind} {upper_bound}"
        raise UserError(
            f"{_FLAGS[kind]} {count}, but {directory} has {len(candidates)} such checkpoint(s){bound}; "
            "ask for fewer, or keep more while training (--keep-last-epochs, --keep-interval-updates, "
            "--keep-best-checkpoints)"
        )
    if len(metrics) > 1:
        raise UserError(
            f"the best checkpoints in {directory} are by different metrics ({', '.join(sorted(metrics))}); "
            "name the files themselves as --inputs"
        )
    candidates.sort()
    if kind == "best" and len(candidates) > count and _smaller_is_better(metrics.pop(), candidates[0][1]):
        candidates.reverse()
    return [path for _, path in candidates[-count:]]


def average_checkpoints(paths: Sequence[PathLike]) -> Dict[str, Any]:
    """The average of the parameters of checkpoints, as the contents of one fairseq checkpoint.

    Args:
        paths: checkpoints of one model, the newest last; it also gives all that is not averaged.

    Raises:
        UserError: a file is missing, damaged or no fairseq checkpoint; names, shapes or types of parameters
            differ; a parameter is not a number; an integer buffer differs.
    """
    if not paths:
        raise UserError("no checkpoints to average; name at least one as --inputs")
    average = _ParameterAverage()
    for path in paths:
        # Nothing else refers to the previous checkpoint here: at most one is in memory, beside the sums.
        state = None
        state = load_checkpoint(path)
        average.add(state["model"], str(path))
    return {
        "args": state.get("args"),
        "cfg": state.get("cfg"),
        "model": average.result(),
        "criterion": state.get("criterion"),
        "optimizer_history": state.get("optimizer_history", []),
        "task_state": state.get("task_state", {}),
        # The position in the data is what fairseq's trainer reads from here in every checkpoint.
        "extra_state": {
            "train_iterator": state.get("extra_state", {}).get("train_iterator", {"epoch": 1}),
        },
    }


def write_average(paths: Sequence[PathLike], output: PathLike) -> None:
    """Average checkpoints (see :func:`average_checkpoints`) into a file, which appears when it is complete.

    Raises:
        UserError: as :func:`average_checkpoints`; ``output`` is one of the inputs or cannot be written.
    """
    output = Path(output)
    if any(Path(path).resolve() == output.resolve() for path in paths):
        raise UserError(f"--output {output} is one of the checkpoints to average; choose another name")
    if output.is_dir():
        raise UserError(f"--output {output} is a folder; give the name of a file, such as {output / 'averaged.pt'}")
    save_checkpoint(average_checkpoints(paths), output)


class _Summand(NamedTuple):
    """One distinct tensor of the model, which may go by several names (shared embeddings)."""

    names: List[str]
    value: Tensor
    """Floating point: the sum so far, in float64. Other types: the value, equal in all checkpoints."""
    data_type: torch.dtype


@dataclass
class _ParameterAverage:
    """Sums over checkpoints. Tensors that share memory in the first one are summed once and stay shared."""

    count: int = 0
    order: Sequence[str] = ()
    first_path: str = ""
    summands: Sequence[_Summand] = ()

    def add(self, model: Dict[str, Tensor], path: str) -> None:
        for name, tensor in model.items():
            if not isinstance(tensor, Tensor):
                raise UserError(
                    f"{path}: {name} is no tensor but {type(tensor).__name__}; this model cannot be averaged"
                )
            if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
                raise UserError(f"{path}: {name} has values that are not numbers (NaN); leave this checkpoint out")
        if self.count == 0:
            self._start(model, path)
        else:
            self._add_next(model, path)
        self.count += 1

    def result(self) -> "OrderedDict[str, Tensor]":
        averaged: Dict[str, Tensor] = {}
        for summand in self.summands:
            value = summand.value
            if summand.data_type.is_floating_point:
                value = (value / self.count).to(summand.data_type)
            averaged.update({name: value for name in summand.names})
        return OrderedDict((name, averaged[name]) for name in self.order)

    def _start(self, model: Dict[str, Tensor], path: str) -> None:
        groups: Dict[Any, List[str]] = {}
        for name, tensor in model.items():
            groups.setdefault(_memory(name, tensor), []).append(name)
        self.order, self.first_path = list(model), path
        self.summands = [_Summand(names, _for_sum(model[names[0]]), model[names[0]].dtype) for names in groups.values()]

    def _add_next(self, model: Dict[str, Tensor], path: str) -> None:
        different = sorted(set(self.order) ^ set(model))
        if different:
            owner, other = (path, self.first_path) if different[0] in model else (self.first_path, path)
            raise UserError(
                f"{owner} has the parameter {different[0]} and {other} has not; average checkpoints of one model only"
            )
        for names, value, data_type in self.summands:
            first = model[names[0]]
            for name in names:
                self._check_alike(name, model[name], value, data_type, path)
                if model[name] is not first and not torch.equal(model[name], first):
                    raise UserError(
                        f"{names[0]} and {name} are one shared parameter in {self.first_path} "
                        f"but differ in {path}; "
                        "average checkpoints of one model only"
                    )
            if data_type.is_floating_point:
                value.add_(first)  # promoted to float64, the type of the sum
            elif not torch.equal(value, first):
                raise UserError(
                    f"the integer buffer {names[0]} differs between {self.first_path} and {path} and has no "
                    "average; average other checkpoints"
                )

    def _check_alike(self, name: str, tensor: Tensor, value: Tensor, data_type: torch.dtype, path: str) -> None:
        if tensor.shape != value.shape or tensor.dtype != data_type:
            raise UserError(
                f"{name} is {_describe(tensor.dtype, tensor.shape)} in {path} but "
                f"{_describe(data_type, value.shape)} in {self.first_path}; "
                "average checkpoints of one model only"
            )


def _memory(name: str, tensor: Tensor) -> Any:
    """Equal for names of the same elements in the same memory, and only for those."""
    if tensor.numel() == 0:
        return name
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _for_sum(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor.clone()


def _describe(data_type: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(data_type).replace('torch.', '')} {list(shape)}"


def _smaller_is_better(metric: str, checkpoint: Path) -> bool:
    """Which way a metric goes: as the run was told (--maximize-best-checkpoint-metric), else by its name."""
    cfg = load_checkpoint(checkpoint).get("cfg")
    try:
        return not cfg["checkpoint"]["maximize_best_checkpoint_metric"]
    except (KeyError, TypeError):
        return metric.lower().endswith(_SMALLER_IS_BETTER)


def _chosen_paths(arguments: argparse.Namespace) -> List[Path]:
    inputs = [Path(path) for path in arguments.inputs]
    counts = {kind: getattr(arguments, flag[2:].replace("-", "_")) for kind, flag in _FLAGS.items()}
    for kind, count in counts.items():
        if count is not None:
            if len(inputs) != 1:
                raise UserError(f"{_FLAGS[kind]} chooses from one folder; give exactly one as --inputs")
            return select_checkpoints(inputs[0], kind, count, arguments.checkpoint_upper_bound)
    if arguments.checkpoint_upper_bound is not None:
        raise UserError("--checkpoint-upper-bound needs --num-epoch-checkpoints or --num-update-checkpoints")
    for path in inputs:
        if path.is_dir():
            raise UserError(f"{path} is a folder; say which checkpoints of it: {', '.join(_FLAGS.values())}")
    return inputs


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.evaluation.average",
        description="Average the parameters of several checkpoints of one run into a new checkpoint.",
    )
    parser.add_argument(
        "--inputs",
        nargs="+",
        required=True,
        metavar="PATH",
        help="checkpoint files, newest last; or one folder",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the checkpoint to write")
    number = parser.add_mutually_exclusive_group()
    number.add_argument(_FLAGS["epoch"], type=int, metavar="N", help="the last N checkpointE.pt of the folder")
    number.add_argument(_FLAGS["update"], type=int, metavar="N", help="the last N checkpoint_E_U.pt of the folder")
    number.add_argument(
        _FLAGS["best"], type=int, metavar="N", help="the best N checkpoint.best_METRIC_VALUE.pt of the folder"
    )
    parser.add_argument(
        "--checkpoint-upper-bound",
        type=int,
        metavar="N",
        help="use no checkpoint after this epoch (or update, with --num-update-checkpoints)",
    )
    arguments = parser.parse_args(argv)
    paths = _chosen_paths(arguments)
    write_average(paths, arguments.output)
    print(f"wrote {arguments.output}, the average of {len(paths)} checkpoint(s):")
    for path in paths:
        print(f"  {path}")


if __name__ == "__main__":
    main()
