"""The average of several checkpoints of one training run: ``python -m rdrop_fairseq.evaluation.average``.

    python -m rdrop_fairseq.evaluation.average --inputs checkpoints --num-epoch-checkpoints 5 --output out.pt

The result is a checkpoint for fairseq-generate, fairseq-validate and ``--finetune-from-model``. Sums are
formed in float64, one checkpoint at a time, and rounded once to the type of the parameter. Of everything but
the parameters the newest checkpoint's value is kept, except the state of the optimizer, the meters and any
moving average of the weights: those belong to one checkpoint and to no average.
"""

import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from rdrop_fairseq.common.command_line import Parser, positive_number
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike
from rdrop_fairseq.compat import load_checkpoint, save_checkpoint

# The names that fairseq gives to checkpoints, by what is counted. A best checkpoint's number has three
# decimals of the metric and then a digit that fairseq adds against equal names.
_NAMES = {
    "epoch": re.compile(r"checkpoint(?P<number>\d+)\.pt"),
    "update": re.compile(r"checkpoint_\d+_(?P<number>\d+)\.pt"),
    "best": re.compile(r"checkpoint\.best_(?P<metric>.+)_(?P<number>-?\d+\.\d+)\.pt"),
}
# Suffixes of metrics of which less is better, where no checkpoint says which way its run was told to go.
_SMALLER_IS_BETTER = ("loss", "ppl", "perplexity", "wer", "cer", "ter", "uer")


def _flag(kind: str) -> str:
    return f"--num-{kind}-checkpoints"


def select_checkpoints(directory: PathLike, kind: str, count: int, upper_bound: Optional[int] = None) -> List[Path]:
    """The newest or best ``count`` checkpoints of a run, oldest (or worst of these) first.

    Args:
        directory: the ``--save-dir`` of a fairseq run.
        kind: ``"epoch"`` (checkpoint12.pt), ``"update"`` (checkpoint_3_1500.pt, written by
            ``--save-interval-updates``) or ``"best"`` (checkpoint.best_bleu_31.2000.pt, written by
            ``--keep-best-checkpoints``).
        count: how many, at least 1.
        upper_bound: the last epoch or update that may be used; not for ``"best"``.

    Raises:
        UserError: there are fewer, the folder is missing, or its best checkpoints are by different metrics.
    """
    directory = Path(directory)
    if kind == "best" and upper_bound is not None:
        raise UserError("--checkpoint-upper-bound is for epochs or updates; leave it out with --num-best-checkpoints")
    if not os.path.isdir(directory):
        raise UserError(f"no such folder: {directory}; give the --save-dir of a fairseq run as --inputs")

    matches = [(_NAMES[kind].fullmatch(path.name), path) for path in directory.iterdir()]
    candidates = sorted((float(match["number"]), path) for match, path in matches if match)
    if upper_bound is not None:
        candidates = [(number, path) for number, path in candidates if number <= upper_bound]
    if len(candidates) < count:
        bound = "" if upper_bound is None else f" up to {kind} {upper_bound}"
        raise UserError(
            f"{_flag(kind)} {count}, but {directory} has {len(candidates)} such checkpoint(s){bound}; "
            "ask for fewer, or keep more while training (--keep-last-epochs, --keep-interval-updates, "
            "--keep-best-checkpoints)"
        )
    if kind == "best":
        metrics = sorted({match["metric"] for match, _ in matches if match})
        if len(metrics) > 1:
            raise UserError(
                f"the best checkpoints in {directory} are by different metrics ({', '.join(metrics)}); "
                "name the files themselves as --inputs"
            )
        if len(candidates) > count and _smaller_is_better(metrics[0], candidates[0][1]):
            candidates.reverse()
    return [path for _, path in candidates[-count:]]


def last_checkpoints(run: Path, folder: Path, count: int, remedy: str) -> List[Path]:
    """The last ``count`` checkpoints of a run, to be averaged, oldest first.

    Those after so many updates, where there are any, are equally far apart whatever the size of an epoch.

    Args:
        run: its folder, for the message.
        folder: of its checkpoints.
        count: how many.
        remedy: for the message.

    Raises:
        UserError: there are fewer.
    """
    kind = "update" if any(folder.glob("checkpoint_[0-9]*_[0-9]*.pt")) else "epoch"
    try:
        return select_checkpoints(folder, kind, count)
    except UserError as error:
        found = len([path for path in folder.glob("checkpoint*[0-9].pt") if "best" not in path.name])
        raise UserError(f"{run} has {found} checkpoints of the {count} to average; {remedy}") from error


def average_checkpoints(paths: Sequence[PathLike]) -> Dict[str, Any]:
    """The average of the parameters of checkpoints, as the contents of one fairseq checkpoint.

    Args:
        paths: one or more checkpoints of one model, the newest last; it also gives all that is not averaged.

    Raises:
        UserError: a file is missing, damaged or no fairseq checkpoint; names, shapes or types of parameters
            differ; a parameter is not a number; an integer buffer differs.
    """
    state = load_checkpoint(paths[0])
    sums = _Sums(state["model"], paths[0])
    for path in paths[1:]:
        # Nothing else refers to the previous checkpoint here: at most one is in memory, beside the sums.
        state = None
        state = load_checkpoint(path)
        sums.add(state["model"], path)
    return {
        "args": state.get("args"),
        "cfg": state.get("cfg"),
        "model": sums.average(len(paths), state["model"]),
        "criterion": state.get("criterion"),
        "optimizer_history": state.get("optimizer_history", []),
        "task_state": state.get("task_state", {}),
        # The position in the data is what fairseq's trainer reads from here in every checkpoint.
        "extra_state": {"train_iterator": _train_iterator(state.get("extra_state"))},
    }


def _train_iterator(extra_state: Any) -> Any:
    of_training = extra_state if isinstance(extra_state, dict) else {}
    return of_training.get("train_iterator", {"epoch": 1})


def write_average(paths: Sequence[PathLike], output: PathLike) -> None:
    """Average checkpoints (see :func:`average_checkpoints`) into a file, which appears when it is complete.

    Raises:
        UserError: as :func:`average_checkpoints`; ``output`` is one of the inputs or cannot be written.
    """
    output = Path(output)
    files = [_file(path) for path in paths]
    for path in paths:
        if files.count(_file(path)) > 1:
            raise UserError(f"{path} is given twice; average different checkpoints")
    if _file(output) in files:
        raise UserError(f"--output {output} is one of the checkpoints to average; choose another name")
    if os.path.isdir(output):
        raise UserError(f"--output {output} is a folder; give the name of a file, such as {output / 'averaged.pt'}")
    save_checkpoint(average_checkpoints(paths), output)


def _file(path: PathLike) -> Any:
    """What is equal for all names of a file, links among them."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.abspath(path)
    return status.st_dev, status.st_ino


class _Sums:
    """Sums of the parameters over checkpoints. Those that share memory in the first one are one, and stay shared."""

    def __init__(self, model: Dict[str, Tensor], path: PathLike) -> None:
        self._first_path = path
        self._types = {name: _describe(tensor) for name, tensor in _checked(model, path).items()}
        names_in_memory: Dict[Any, str] = {}
        self._summed_as = {
            name: names_in_memory.setdefault(_memory(name, tensor), name) for name, tensor in model.items()
        }
        # Floating point: the sum so far, in float64. Other types: the value, which all checkpoints must have.
        self._sums = {
            name: model[name].to(torch.float64, copy=True) if model[name].is_floating_point() else model[name].clone()
            for name in names_in_memory.values()
        }

    def add(self, model: Dict[str, Tensor], path: PathLike) -> None:
        """Add the parameters of the next checkpoint.

        Raises:
            UserError: it is not of the same model, or cannot be averaged with the others.
        """
        first, same_model = self._first_path, "average checkpoints of one model only"
        for name in sorted(set(self._types) ^ set(_checked(model, path))):
            owner, other = (path, first) if name in model else (first, path)
            raise UserError(f"{owner} has the parameter {name} and {other} has not; {same_model}")
        for name, summed_as in self._summed_as.items():
            tensor = model[name]
            if _describe(tensor) != self._types[name]:
                raise UserError(
                    f"{name} is {_describe(tensor)} in {path} but {self._types[name]} in {first}; {same_model}"
                )
            if name != summed_as:
                if not torch.equal(tensor, model[summed_as]):
                    raise UserError(
                        f"{summed_as} and {name} are one shared parameter in {first} but differ in {path}; {same_model}"
                    )
            elif tensor.is_floating_point():
                self._sums[name].add_(tensor.to(torch.float64))
            elif not torch.equal(self._sums[name], tensor):
                raise UserError(
                    f"the integer buffer {name} differs between {first} and {path} and has no average; "
                    "average other checkpoints"
                )

    def average(self, count: int, model: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The average of ``count`` models, in the order and sharing of the first and the types of ``model``."""
        averages = {
            name: (total / count).to(model[name].dtype) if model[name].is_floating_point() else total
            for name, total in self._sums.items()
        }
        return OrderedDict((name, averages[summed_as]) for name, summed_as in self._summed_as.items())


def _checked(model: Any, path: PathLike) -> Dict[str, Tensor]:
    if not isinstance(model, dict) or not model:
        raise UserError(f"{path} has no parameters; give checkpoints that fairseq-train wrote")
    for name, tensor in model.items():
        if not isinstance(name, str):
            raise UserError(f"{path} has a parameter named {name!r}; give checkpoints that fairseq-train wrote")
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            kind = (
                type(tensor).__name__ if not isinstance(tensor, Tensor) else "meta" if tensor.is_meta else tensor.layout
            )
            raise UserError(f"{path}: {name} is no tensor of numbers but {kind}; this model cannot be averaged")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.to(torch.float64)).all()):
            raise UserError(f"{path}: {name} has values that are infinite or no numbers; leave this checkpoint out")
    return model


def _memory(name: str, tensor: Tensor) -> Any:
    """Equal for names of the same elements in the same memory, and only for those."""
    if tensor.numel() == 0:
        return name
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).replace('torch.', '')} {list(tensor.shape)}"


def _smaller_is_better(metric: str, checkpoint: Path) -> bool:
    """Which way a metric goes: as the run was told (--maximize-best-checkpoint-metric), else by its name."""
    cfg = load_checkpoint(checkpoint).get("cfg")
    try:
        return not cfg["checkpoint"]["maximize_best_checkpoint_metric"]
    except (KeyError, TypeError):
        return metric.lower().endswith(_SMALLER_IS_BETTER)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """The command line."""
    parser = Parser(
        prog="python -m rdrop_fairseq.evaluation.average",
        description="Average the parameters of several checkpoints of one run into a new checkpoint.",
    )
    parser.add_argument(
        "--inputs",
        nargs="+",
        required=True,
        type=Path,
        metavar="PATH",
        help="checkpoint files, newest last; or one folder",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the checkpoint to write")
    number = parser.add_mutually_exclusive_group()
    for kind, names in (
        ("epoch", "last N checkpointE.pt"),
        ("update", "last N checkpoint_E_U.pt"),
        ("best", "best N checkpoint.best_METRIC_VALUE.pt"),
    ):
        number.add_argument(
            _flag(kind), dest=kind, type=positive_number, metavar="N", help=f"the {names} of the folder"
        )
    parser.add_argument(
        "--checkpoint-upper-bound",
        type=positive_number,
        metavar="N",
        help="use no checkpoint after this epoch (or update, with --num-update-checkpoints)",
    )
    options = parser.parse_args(argv)
    paths = options.inputs
    kind = next((kind for kind in _NAMES if getattr(options, kind) is not None), None)
    if kind is not None:
        if len(paths) != 1:
            raise UserError(f"{_flag(kind)} chooses from one folder; give exactly one as --inputs")
        paths = select_checkpoints(paths[0], kind, getattr(options, kind), options.checkpoint_upper_bound)
    elif options.checkpoint_upper_bound is not None:
        raise UserError("--checkpoint-upper-bound needs --num-epoch-checkpoints or --num-update-checkpoints")
    for path in paths:
        if os.path.isdir(path):
            raise UserError(f"{path} is a folder; say which checkpoints of it: {', '.join(map(_flag, _NAMES))}")
    write_average(paths, options.output)
    print(f"wrote {options.output}, the average of {len(paths)} checkpoint(s):")
    for path in paths:
        print(f"  {path}")


if __name__ == "__main__":
    main()
