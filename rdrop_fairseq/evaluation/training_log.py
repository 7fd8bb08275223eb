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
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

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
    """One for each finished epoch: averages over that epoch."""
    validation: List[Record]
    elapsed_seconds: float
    """Time trained, over all processes, with what was trained twice after a kill."""

    @property
    def updates(self) -> int:
        """The last update in the log."""
        return max(record.update for record in [*self.training, *self.epochs, *self.validation])

    def best_validation(self) -> Optional[Record]:
        """The validation of the lowest nll_loss, the first of equals; None if no validation has a number."""
        numbers = [record for record in self.validation if record.nll_loss is not None and record.nll_loss < math.inf]
        return min(numbers, key=lambda record: record.nll_loss, default=None)

    def kl_records(self) -> List[Record]:
        """The records that have an R-Drop KL: by log interval, or by epoch if that was not reached."""
        by_interval, by_epoch = (
            [record for record in records if record.rdrop_kl_loss is not None]
            for records in (self.training, self.epochs)
        )
        return by_interval or by_epoch


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
            processes.append(_Process())
            processes[-1].set_clock(_timestamp(start[1]), 0.0)
            continue
        logged = _parse_line(line, subset)
        if logged is None:
            continue
        if processes[-1].ended_before(logged):
            processes.append(_Process())
        processes[-1].add(logged)
    return _join(processes)


class _Logged(NamedTuple):
    """A line of the log: a record that has no time yet, and what its time comes from."""

    kind: str
    record: Record
    wall: Optional[float]
    timestamp: Optional[datetime]


def _parse_line(line: str, subset: str) -> Optional[_Logged]:
    """What a line of the log says, or None for one that is no record."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    try:
        stats = json.loads(match[2])
    except (ValueError, RecursionError):
        return None
    # fairseq puts a prefix before the names of what is no average over a log interval.
    for kind, prefix in zip(_KINDS, ("", "train_", f"{subset}_")):
        epoch, update, wall = (_number(stats, key) for key in ("epoch", f"{prefix}num_updates", f"{prefix}wall"))
        if update is None or not 0 <= update < _MOST:
            continue
        record = Record(
            epoch=int(epoch) if epoch is not None and 0 <= epoch < _MOST else 0,
            update=int(update),
            elapsed_seconds=0.0,
            loss=_number(stats, f"{prefix}loss"),
            nll_loss=_number(stats, f"{prefix}nll_loss"),
            perplexity=_number(stats, f"{prefix}ppl"),
            bleu=_number(stats, f"{prefix}bleu"),
            rdrop_kl_loss=_number(stats, f"{prefix}rdrop_kl_loss"),
        )
        has_wall = kind != "validation" and wall is not None and 0 <= wall < _MOST
        return _Logged(kind, record, wall if has_wall else None, _timestamp(match[1]))
    return None


def _number(stats: Dict[str, Any], key: str) -> Optional[float]:
    """fairseq writes numbers as strings; None stands for a value that was never measured."""
    try:
        return float(stats[key])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _timestamp(text: Optional[str]) -> Optional[datetime]:
    try:
        return None if text is None else datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    except ValueError:  # there is no such day
        return None


@dataclass
class _Process:
    """What one process logged, by kind and update; its times count from its own start."""

    records: Dict[str, Dict[int, Record]] = field(default_factory=lambda: {kind: {} for kind in _KINDS})
    without_time: Set[int] = field(default_factory=set)
    """Updates of validations that have no time stamp."""
    clock: Optional[Tuple[datetime, float]] = None
    """A time of day, and the seconds since the start that belong to it."""
    last_wall: float = 0.0
    last_update: int = 0

    def set_clock(self, timestamp: Optional[datetime], wall: float) -> None:
        self.clock = None if timestamp is None else (timestamp, wall)

    def ended_before(self, logged: _Logged) -> bool:
        """Whether a training record is of a later process: its time or update count went back."""
        went_back = logged.wall is not None and logged.wall < self.last_wall
        return logged.kind != "validation" and (went_back or logged.record.update < self.last_update)

    def add(self, logged: _Logged) -> None:
        update, elapsed = logged.record.update, self.last_wall
        if logged.kind != "validation":
            if logged.wall is not None:
                elapsed = self.last_wall = logged.wall
                self.set_clock(logged.timestamp, elapsed)
            self.last_update = max(self.last_update, update)
        elif self.clock is not None and logged.timestamp is not None:
            elapsed = self.clock[1] + max(0.0, (logged.timestamp - self.clock[0]).total_seconds())
        else:
            self.without_time.add(update)
        self.records[logged.kind][update] = replace(logged.record, elapsed_seconds=elapsed)

    def settle_times(self) -> None:
        """Bring the times of validations between those of training just before and just after them.

        A time stamp and a wall time are both whole seconds, one cut off and one rounded, so their sum can be
        off by one. A validation without a time stamp gets the time at which training reached its update.
        """
        training, epochs = (
            {update: record.elapsed_seconds for update, record in self.records[kind].items()} for kind in _KINDS[:2]
        )
        reached = {0: 0.0, **epochs, **training}
        points = sorted(reached)
        for update, record in self.records["validation"].items():
            if update in self.without_time:
                elapsed = float(numpy.interp(update, points, [reached[point] for point in points]))
            else:
                # The record of an epoch is written after the validation at its last update.
                before = [time for point, time in training.items() if point <= update]
                after = [time for point, time in training.items() if point > update]
                after += [time for point, time in epochs.items() if point >= update]
                elapsed = min([max([record.elapsed_seconds, *before]), *after])
            self.records["validation"][update] = replace(record, elapsed_seconds=elapsed)

    def first_update(self) -> Optional[int]:
        return min((update for records in self.records.values() for update in records), default=None)

    def duration(self) -> float:
        """The seconds from its start to what it logged last, which may be a validation."""
        return max([self.last_wall, *(record.elapsed_seconds for record in self.records["validation"].values())])


def _join(processes: List[_Process]) -> TrainingLog:
    joined: Dict[str, Dict[int, Record]] = {kind: {} for kind in _KINDS}
    elapsed = 0.0
    for process in processes:
        first_update = process.first_update()
        if first_update is None:
            continue
        process.settle_times()
        for kind, records in joined.items():
            joined[kind] = {update: record for update, record in records.items() if update < first_update}
        if not any(joined.values()):
            elapsed = 0.0
        for kind, records in process.records.items():
            for update, record in records.items():
                joined[kind][update] = replace(record, elapsed_seconds=elapsed + record.elapsed_seconds)
        elapsed += process.duration()
    in_order = {kind: [records[update] for update in sorted(records)] for kind, records in joined.items()}
    return TrainingLog(elapsed_seconds=elapsed, **in_order)
