"""fairseq's training log (``--log-format json``) as records with updates and elapsed time.

Two forms occur. Captured standard output has a time and a tag before each record:

    2026-11-21 01:02:03 | INFO | train_inner | {"epoch": 1, "loss": "5.1", "num_updates": "100", "wall": "12"}
    2026-11-21 01:02:04 | INFO | valid | {"epoch": 1, "valid_loss": "4.6", "valid_num_updates": "100"}
    2026-11-21 01:02:04 | INFO | train | {"epoch": 1, "train_loss": "5.1", "train_wall": "13"}

The file of ``--log-file`` has the bare records, and each once more for every epoch that the process has seen.
So the keys tell what a record is. ``wall`` counts the seconds since the process began to train (validation
included), and begins at 0 again when a run is resumed. Validations carry no time of their own.
"""

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike

_TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
_LINE = re.compile(rf"(?:{_TIME}\S* \| INFO \| \S+ \| )?(\{{.*\}})\s*")
# fairseq-train says this once per process, right after its clock was started.
_PROCESS_START = re.compile(rf"(?:{_TIME}\S* \| .* \| )?training on \d+ devices \(GPUs/TPUs\)")
_KINDS = ("training", "epochs", "validation")
_MOST = 10**15  # updates, epochs or seconds; nobody trains so long


@dataclass(frozen=True)
class Record:
    """Averages since the previous record (``--log-interval``), over an epoch, or of a validation.

    ``nll_loss`` and ``rdrop_kl_loss`` are in bits per target token; ``elapsed_seconds`` is the time trained so far.
    None stands for what was not logged: ``bleu`` comes from ``--eval-bleu``, ``rdrop_kl_loss`` from training by R-Drop.
    """

    epoch: int
    update: int
    elapsed_seconds: float
    loss: Optional[float] = None
    nll_loss: Optional[float] = None
    perplexity: Optional[float] = None
    bleu: Optional[float] = None
    rdrop_kl_loss: Optional[float] = None


@dataclass(frozen=True)
class TrainingLog:
    """A run, possibly trained by several processes one after the other; all lists are in order of updates."""

    training: List[Record]
    """One for each ``--log-interval``."""
    epochs: List[Record]
    """One for each epoch: averages over it, or over the part of the last one that was trained."""
    validation: List[Record]
    elapsed_seconds: float
    """Time trained, over all processes, with what was trained twice after a kill."""

    @property
    def updates(self) -> int:
        """The last update in the log."""
        return max(record.update for record in [*self.training, *self.epochs, *self.validation])

    def best_validation(
        self, value: str = "nll_loss", maximise: bool = False, last_update: float = math.inf
    ) -> Optional[Record]:
        """The validation of the lowest, or highest, ``value``, the first of equals; None if none has a number.

        Args:
            value: the name of a value of :class:`Record`.
            maximise: the highest is the best.
            last_update: of the validations until this update.
        """
        numbers = [
            record
            for record in self.validation
            if record.update <= last_update and math.isfinite(_or_nan(getattr(record, value)))
        ]
        return (max if maximise else min)(numbers, key=lambda record: getattr(record, value), default=None)

    def kl_records(self) -> List[Record]:
        """The records that have an R-Drop KL: by log interval, or by epoch if that was not reached."""
        for records in (self.training, self.epochs):
            with_kl = [record for record in records if record.rdrop_kl_loss is not None]
            if with_kl:
                return with_kl
        return []


def read_training_log(path: PathLike, subset: str = "valid") -> TrainingLog:
    """Read a training log.

    Args:
        path: captured output of fairseq-train, or the file of its ``--log-file``.
        subset: the ``--valid-subset`` whose validations are wanted.

    Raises:
        UserError: the file is missing, or has no record (another ``--log-format``, or training never began).
    """
    try:
        # A log may be cut anywhere, also inside a character.
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read the training log {path}: {error.strerror or error}; check the path") from error
    log = parse_training_log(text, subset)
    if not (log.training or log.epochs or log.validation):
        raise UserError(
            f"{path} has no training records; train with --log-format json and save the output of fairseq-train there"
        )
    return log


def parse_training_log(text: str, subset: str = "valid") -> TrainingLog:
    """Parse a training log; lines that are no records, such as one cut off by a kill, are passed over.

    A resumed run repeats the updates since its checkpoint: what the later process logged counts. A process
    that leaves nothing of the earlier ones began anew, and so does the time.
    """
    processes = [_Process()]
    for line in text.split("\n"):
        start = _PROCESS_START.fullmatch(line.rstrip("\r"))
        if start:
            processes.append(_Process(_timestamp(start[1])))
            continue
        match = _LINE.fullmatch(line)
        logged = match and _parse_record(match[2], subset)
        if not logged:
            continue
        kind, record = logged
        if processes[-1].ended_before(kind, record):
            processes.append(_Process())
        processes[-1].add(kind, record, _timestamp(match[1]))
    return _join(processes)


def _parse_record(text: str, subset: str) -> Optional[Tuple[str, Record]]:
    """Kind and content of a record, whose time is the wall time of its process or NaN; None if it is no record."""
    try:
        stats = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # fairseq puts a prefix before the names of what is no average over a log interval.
    for kind, prefix in zip(_KINDS, ("", "train_", f"{subset}_")):
        epoch, update, wall = (_number(stats, key) for key in ("epoch", f"{prefix}num_updates", f"{prefix}wall"))
        if not _is_count(update):
            continue
        return kind, Record(
            epoch=int(epoch) if _is_count(epoch) else 0,
            update=int(update),
            elapsed_seconds=wall if _is_count(wall) else math.nan,
            loss=_number(stats, f"{prefix}loss"),
            nll_loss=_number(stats, f"{prefix}nll_loss"),
            perplexity=_number(stats, f"{prefix}ppl"),
            bleu=_number(stats, f"{prefix}bleu"),
            rdrop_kl_loss=_number(stats, f"{prefix}rdrop_kl_loss"),
        )
    return None


def _number(stats: Dict[str, Any], key: str) -> Optional[float]:
    """fairseq writes numbers as strings; None stands for a value that was never measured."""
    try:
        return float(stats[key])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _or_nan(number: Optional[float]) -> float:
    return math.nan if number is None else number


def _is_count(number: Optional[float]) -> bool:
    return number is not None and 0 <= number < _MOST


def _timestamp(text: Optional[str]) -> Optional[datetime]:
    try:
        return None if text is None else datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    except ValueError:  # there is no such day
        return None


class _Process:
    """What one process logged, by kind and update; its times count from its own start."""

    def __init__(self, start: Optional[datetime] = None) -> None:
        self.records: Dict[str, Dict[int, Record]] = {kind: {} for kind in _KINDS}
        self._last_wall = 0.0
        self._last_timestamp = start  # the time of day at the last wall time
        self._last_update = 0

    def ended_before(self, kind: str, record: Record) -> bool:
        """Whether a training record is of a later process: its time or update count went back."""
        went_back = record.elapsed_seconds < self._last_wall or record.update < self._last_update
        return kind != "validation" and went_back

    def add(self, kind: str, record: Record, timestamp: Optional[datetime]) -> None:
        """Add a record with the time that its line tells; a validation without a time stamp has NaN for now."""
        elapsed = record.elapsed_seconds
        if kind == "validation":
            elapsed = math.nan
            if self._last_timestamp is not None and timestamp is not None:
                elapsed = self._last_wall + max(0.0, (timestamp - self._last_timestamp).total_seconds())
        else:
            self._last_update = max(self._last_update, record.update)
            if math.isnan(elapsed):
                elapsed = self._last_wall
            else:
                self._last_wall, self._last_timestamp = elapsed, timestamp
        self.records[kind][record.update] = replace(record, elapsed_seconds=elapsed)

    def settle_times(self) -> float:
        """Bring the times of validations between those of training just before and just after them.

        A time stamp and a wall time are both whole seconds, one cut off and one rounded, so their sum can be
        off by one. A validation without a time stamp gets the time at which training reached its update.

        Returns:
            The seconds from the start of the process to what it logged last, which may be a validation.
        """
        training, epochs = (
            {update: record.elapsed_seconds for update, record in self.records[kind].items()} for kind in _KINDS[:2]
        )
        reached = {0: 0.0, **epochs, **training}
        points = sorted(reached)
        last = self._last_wall
        for update, record in self.records["validation"].items():
            elapsed = record.elapsed_seconds
            if math.isnan(elapsed):
                elapsed = float(numpy.interp(update, points, [reached[point] for point in points]))
            # The record of an epoch is written after the validation at its last update.
            before = [time for point, time in training.items() if point <= update]
            after = [time for point, time in training.items() if point > update]
            after += [time for point, time in epochs.items() if point >= update]
            elapsed = min([max([elapsed, *before]), *after])
            self.records["validation"][update] = replace(record, elapsed_seconds=elapsed)
            last = max(last, elapsed)
        return last


def _join(processes: List[_Process]) -> TrainingLog:
    joined: Dict[str, Dict[int, Record]] = {kind: {} for kind in _KINDS}
    elapsed = 0.0
    for process in processes:
        first_update = min((update for records in process.records.values() for update in records), default=None)
        if first_update is None:
            continue
        for kind, records in joined.items():
            joined[kind] = {update: record for update, record in records.items() if update < first_update}
        if not any(joined.values()):
            elapsed = 0.0
        duration = process.settle_times()
        for kind, records in process.records.items():
            for update, record in records.items():
                joined[kind][update] = replace(record, elapsed_seconds=elapsed + record.elapsed_seconds)
        elapsed += duration
    in_order = {kind: [records[update] for update in sorted(records)] for kind, records in joined.items()}
    # A training that stops within an epoch (--max-update) logs that part of it, and the whole when it is continued.
    last_updates = {record.epoch: record.update for record in in_order["epochs"]}
    in_order["epochs"] = [record for record in in_order["epochs"] if record.update == last_updates[record.epoch]]
    return TrainingLog(elapsed_seconds=elapsed, **in_order)
