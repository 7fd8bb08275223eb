"""How far the sub-models of dropout are from one another and from the full model: what R-Drop is for.

    python -m rdrop_fairseq.evaluation.consistency runs/baseline runs/rdrop --output consistency

Dropout trains sub-models, one for each mask, and inference uses the full model without dropout. R-Drop pulls the
sub-models together, and the theoretical analysis in the paper (arXiv 2106.14448) says that this bounds the difference
between the loss of the full model and the expected loss of a sub-model. With P_1 ... P_N of N masks, Q of the full
model, and J(P, P') = 1/2 [KL(P||P') + KL(P'||P)] as in the objective, the means over all target tokens that are no
padding (teacher forcing) are measured, in bits:

    between sub-models        mean_{i<j} J(P_i, P_j)
    to the full model         mean_i J(P_i, Q): the same measure, so that the two compare
    nll and the gap           mean_i [-log P_i(target)], -log Q(target), and the first minus the second

and the calibration of Q: the expected calibration error (Guo et al. 2017, arXiv 1706.04599) of the next token. Tokens
fall into B bins of equal width by the probability of their most probable class, the confidence. The error is the mean
over the tokens of |accuracy - confidence| of their bin.
"""

import math
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Sequence, Tuple

import torch
from torch import Tensor

from rdrop_fairseq.common.command_line import (
    Parser,
    name_of_path,
    parse_named_paths,
    positive_number,
    quiet_libraries,
    say,
    whole_number,
)
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.records import read_record
from rdrop_fairseq.compat import load_checkpoint
from rdrop_fairseq.evaluation.average import last_checkpoints, write_average
from rdrop_fairseq.evaluation.consistency_report import (
    Bin,
    Consistency,
    ConsistencyReport,
    MeasuredModel,
    Settings,
    format_table,
    write_report,
)

_PROGRAM = "consistency"
DEFAULT_SAMPLES, DEFAULT_BINS, DEFAULT_SEED, DEFAULT_MAX_TOKENS = 8, 15, 1, 2048
# A KL below this, in bits per token, is rounding: the sub-models of any dropout differ by far more.
EQUAL_MODELS_KL = 1e-8
# Stands for -inf, the log-probability of a banned class: finite, so that differences and products are numbers.
_BANNED = -1e30


def measure(
    model: Any, batches: Iterable[Dict[str, Any]], padding: int, samples: int, bins: int, seed: int
) -> Consistency:
    """Measure one model on batches of one split.

    With r_i = log P_i - log Q, whose small values keep what rounding would take from log P_i, all pairs follow from
    two sums over the samples, of P_i and of r_i, so that no more than one sample is held at a time:

        sum_i KL(P_i||Q) = sum_i E_{P_i}[r_i]        sum_i KL(Q||P_i) = -E_Q[sum_i r_i]
        mean_{i<j} J(P_i, P_j) = 1/(N-1) (sum_i E_{P_i}[r_i] - 1/N sum_v (sum_i P_i)(sum_j r_j))

    Args:
        model: a fairseq model. What its train mode has beside dropout (LayerDrop, say) is part of its sub-models.
        batches: on the device of the model.
        padding: the target value that does not count.
        samples: N, at least 2.
        bins: of the calibration.
        seed: of the masks. The random state of the process is as before.

    Raises:
        UserError: there are no target tokens.
    """
    device = next(model.parameters()).device
    calibration = Calibration(bins, device)
    # KL(P_i||Q), KL(Q||P_i), J(P_i, P_j), nll of P_i, nll of Q
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    devices = [device] if device.type == "cuda" else []
    was_training = model.training
    with torch.no_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for batch in batches:
            full, target = _log_probs(model.eval(), batch, padding)  # (n, V), (n,)
            if not len(target):
                continue
            calibration.add(full, target)
            sum_of_probs, sum_of_ratios = torch.zeros_like(full), torch.zeros_like(full)
            to_full = sums.new_zeros(())
            model.train()
            for _ in range(samples):
                log_probs, _ = _log_probs(model, batch, padding)
                sums[3] -= _at(log_probs, target) / samples
                ratio = log_probs - full
                probs = log_probs.exp_()
                to_full += _dot(probs, ratio)
                sum_of_probs += probs
                sum_of_ratios += ratio
                del log_probs, ratio, probs  # before the next forward pass
            sums[0] += to_full / samples
            sums[2] += (to_full - _dot(sum_of_probs, sum_of_ratios) / samples) / (samples - 1)
            sums[4] -= _at(full, target)
            sums[1] -= _dot(full.exp_(), sum_of_ratios) / samples
    model.train(was_training)
    table = calibration.table()
    tokens = sum(it.tokens for it in table)
    if tokens == 0:
        raise UserError("there are no target tokens to measure on; give another --split")
    sub_to_full, full_to_sub, between, nll_sub, nll_full = (sums / tokens / math.log(2)).tolist()
    return Consistency(
        tokens=tokens,
        # Below 0 only by rounding.
        kl_between=max(0.0, between),
        kl_sub_to_full=max(0.0, sub_to_full),
        kl_full_to_sub=max(0.0, full_to_sub),
        nll_sub=nll_sub,
        nll_full=nll_full,
        accuracy=sum(it.tokens * it.accuracy for it in table) / tokens,
        confidence=sum(it.tokens * it.confidence for it in table) / tokens,
        calibration_error=sum(it.tokens * abs(it.accuracy - it.confidence) for it in table) / tokens,
        bins=table,
    )


class Calibration:
    """Confidence and accuracy of predictions in bins: the first holds (0, 1/B], the last ((B-1)/B, 1]."""

    def __init__(self, bins: int, device: Any = None) -> None:
        # Tokens, sums of their confidences, hits.
        self._sums = torch.zeros(3, bins, dtype=torch.float64, device=device)

    def add(self, log_probs: Tensor, target: Tensor) -> None:
        """Count predictions: log-probabilities (n, V) and what was to be predicted (n,)."""
        largest, prediction = log_probs.max(1)
        confidence = largest.double().exp()
        bins = self._sums.size(1)
        place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
        counted = torch.stack([torch.ones_like(confidence), confidence, prediction.eq(target).double()])  # (3, n)
        self._sums.index_add_(1, place, counted)

    def table(self) -> Tuple[Bin, ...]:
        """All bins, from the lowest confidence; an empty one has confidence and accuracy 0."""
        return tuple(
            Bin(int(tokens), confidence / max(tokens, 1), hits / max(tokens, 1))
            for tokens, confidence, hits in self._sums.t().tolist()
        )


def _log_probs(model: Any, batch: Dict[str, Any], padding: int) -> Tuple[Tensor, Tensor]:
    """Log-probabilities (n, V) and targets (n,) at the n target positions that are no padding."""
    output = model(**batch["net_input"])
    # Without a target, an adaptive softmax gives the probabilities of all classes.
    log_probs = model.get_normalized_probs(output, log_probs=True)  # (B, T, V)
    target = model.get_targets(batch, output)  # (B, T)
    is_token = target.ne(padding)
    log_probs = log_probs[is_token]
    if log_probs.dtype in (torch.float16, torch.bfloat16):
        log_probs = log_probs.float()
    return log_probs.clamp_(min=_BANNED), target[is_token]


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """The sum of the products of (n, V) and (n, V), over the tokens in float64."""
    return (one * other).sum(1).double().sum()


def _at(log_probs: Tensor, target: Tensor) -> Tensor:
    return log_probs.gather(1, target.unsqueeze(1)).double().sum()


@dataclass(frozen=True)
class _RunRecord:
    """What is needed of run.json."""

    average: Optional[int]


def measure_path(name: str, path: Path, data: Optional[Path], settings: Settings) -> MeasuredModel:
    """Measure a run, by its own rule its best checkpoint or the average of its last ones, or a checkpoint.

    Args:
        name: for tables.
        path: a folder that scripts/train.sh made, or a file that fairseq-train wrote.
        data: the binarised data, in place of those of the training.
        settings: on what, and how.

    Raises:
        UserError: a file or folder is missing or something else, or the split is.
    """
    checkpoints = _checkpoints(path)
    with tempfile.TemporaryDirectory() as folder:
        file = checkpoints[0]
        description = file.name
        if len(checkpoints) > 1:
            file = Path(folder) / "average.pt"
            write_average(checkpoints, file)
            description = f"average of {len(checkpoints)} checkpoints, {checkpoints[0].name} to {checkpoints[-1].name}"
        task, model, data = _load(file, data, checkpoints[-1])
    batches = _batches(task, model.to(settings.device), data, settings)
    padding = task.target_dictionary.pad()
    figures = measure(model, batches, padding, settings.samples, settings.bins, settings.seed)
    return MeasuredModel(name, str(path), description, str(data), figures)


def _checkpoints(path: Path) -> Sequence[Path]:
    """The file, or those of a run that evaluation takes."""
    if path.is_file():
        return [path]
    record = path / "run.json"
    if not record.is_file():
        raise UserError(f"{path} has no run.json; give a folder that scripts/train.sh made, or a checkpoint file")
    count = read_record(record, _RunRecord, "scripts/train.sh", "give a checkpoint file", partial=True).average
    if count is not None:
        return last_checkpoints(path, path / "checkpoints", count, "train on, or give a checkpoint file of it")
    best = path / "checkpoints" / "checkpoint_best.pt"
    if not best.is_file():
        raise UserError(f"no checkpoint {best}; train first, or give a checkpoint file")
    return [best]


def _load(file: Path, data: Optional[Path], shown: Path) -> Tuple[Any, Any, Path]:
    """Task, model and data of a checkpoint; ``shown`` is its name in messages."""
    if data is None:
        noted = _noted_data(load_checkpoint(file))
        if noted is None:
            raise UserError(f"{shown} does not say what it was trained on; give its data with --data")
        data = Path(noted.split(os.pathsep)[0])
        if not data.is_dir():
            raise UserError(f"{shown} was trained on {data}, which is gone; give --data its new place")
    elif not data.is_dir():
        raise UserError(f"no folder {data}; give --data the folder of fairseq-preprocess")
    else:
        load_checkpoint(file)  # refuses what is no checkpoint
    from fairseq import checkpoint_utils  # this takes seconds, and registers the task and the criterion of R-Drop

    quiet_libraries()
    warnings.filterwarnings("ignore", module="torch")  # of how fairseq calls it, in every batch
    try:
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(file)], {"data": str(data)})
    except FileNotFoundError as error:
        raise UserError(f"{data} has no dictionary {error.filename or error}; give other data with --data") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise UserError(
            f"{shown} is of another vocabulary than the data in {data}; give the data it was trained on with --data"
        ) from error
    return task, model, data


def _noted_data(state: Dict[str, Any]) -> Optional[str]:
    """The data that a checkpoint, of any version of fairseq, was trained on."""
    cfg = state.get("cfg")
    settings = cfg.get("task") if isinstance(cfg, dict) else state.get("args")
    data = settings.get("data") if isinstance(settings, dict) else getattr(settings, "data", None)
    return data if isinstance(data, str) else None


def _batches(task: Any, model: Any, data: Path, settings: Settings) -> Iterable[Dict[str, Any]]:
    """The sentences of a split, on the device, but for those that the model cannot take, of which fairseq warns."""
    from fairseq import utils

    try:
        task.load_dataset(settings.split)
    except FileNotFoundError as error:
        raise UserError(f"no {settings.split} split in {data}; give another --split, or --data that has it") from error
    dataset = task.dataset(settings.split)
    iterator = task.get_batch_iterator(
        dataset,
        max_tokens=max(settings.max_tokens, int(dataset.sizes.max(initial=0))),
        max_positions=utils.resolve_max_positions(task.max_positions(), model.max_positions()),
        ignore_invalid_inputs=True,
    )
    move = utils.move_to_cuda if settings.device == "cuda" else lambda batch: batch
    return map(move, filter(None, iterator.next_epoch_itr(shuffle=False)))


def main(argv: Optional[Sequence[str]] = None) -> None:
    """The command line."""
    parser = Parser(
        prog="python -m rdrop_fairseq.evaluation.consistency",
        description="Measure how far the sub-models of dropout are from one another and from the full model.",
    )
    parser.add_argument(
        "run", nargs="+", metavar="RUN", help="a folder of scripts/train.sh or a checkpoint file; NAME=RUN names it"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for table, figures and plot")
    parser.add_argument("--data", type=Path, metavar="DIR", help="binarised data, in place of the training's")
    parser.add_argument("--split", default="valid", help="of the data (default: %(default)s)")
    parser.add_argument("--samples", type=positive_number, default=DEFAULT_SAMPLES, metavar="N", help="sub-models")
    parser.add_argument("--bins", type=positive_number, default=DEFAULT_BINS, metavar="B", help="of the calibration")
    parser.add_argument("--seed", type=whole_number, default=DEFAULT_SEED, help="of the sub-models")
    parser.add_argument(
        "--max-tokens", type=positive_number, default=DEFAULT_MAX_TOKENS, metavar="N", help="of a batch"
    )
    parser.add_argument("--cpu", action="store_true", help="use the CPU although there is a GPU")
    options = parser.parse_args(argv)
    if options.samples < 2:
        raise UserError("--samples is 1; give at least 2, since sub-models are compared with one another")
    words = [word if "=" in word and not os.path.exists(word) else _named(word) for word in options.run]
    runs = parse_named_paths(words, "RUN")
    for path in runs.values():
        _checkpoints(path)  # before the first is measured
    device = "cuda" if torch.cuda.is_available() and not options.cpu else "cpu"
    settings = Settings(options.split, options.samples, options.bins, options.seed, options.max_tokens, device)
    models = []
    for name, path in runs.items():
        say(_PROGRAM, f"{name}: measuring {options.samples} sub-models of {path} on {options.split}")
        model = measure_path(name, path, options.data, settings)
        if model.figures.kl_between < EQUAL_MODELS_KL:
            say(_PROGRAM, f"warning: the sub-models of {name} are equal (KL 0); all its dropout rates seem to be 0")
        models.append(model)
    report = ConsistencyReport.of(settings, models)
    paths = write_report(report, options.output)
    print(format_table(report))
    print(f"wrote {', '.join(map(str, paths))}")


def _named(word: str) -> str:
    return f"{name_of_path(Path(word)) or 'run'}={word}"


if __name__ == "__main__":
    main()
