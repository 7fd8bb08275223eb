"""fairseq's training log (``--log-format json``) as records with updates and elapsed time.

Two forms occur. Captured standard output has a time and a tag before each record:

    2026-11-21 01:02:03 | INFO | train_inner | {"epoch": 1, "loss": "5.1", "num_updates": "100", "wall": "12"}
    2026-11-21 01:02:04 | INFO | valid | {"epoch": 1, "valid_loss": "4.6", "valid_num_updates": "100"}
    2026-11-21 01:02:04 | INFO | train | {"epoch": 1, "train_loss": "5.1", "train_wall": "13"}

The file of ``--log-file`` has the bare records, and each once more for every epoch that the process has seen.
So the keys tell what a record is. ``wall`` counts the seconds since the process began to train (validation
included), and begins at 0 again when a run is resumed; validations carry no time of their own.
"""

import json
import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple, Union

from rdrop_fairseq.common.errors import UserError

_LINE = re.compile(r"(?:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* \| INFO \| \S+ \| )?(\{.*\})\s*")
# fairseq-train says this once per process, right after its clock was started.
_PROCESS_START = re.compile(r"(?:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* \| .* \| )?training on \d+ devices \(GPUs/TPUs\)")


@dataclass(frozen=True)
class TrainingRecord:
    """Averages over the updates since the previous record (``--log-interval``), or over an epoch.

    ``nll_loss`` and ``rdrop_kl_loss`` are in bits per target token; ``elapsed_seconds`` is the time trained
    so far.
    """

    epoch: int
    update: int
    elapsed_seconds: float
    loss: Optional[float]
    nll_loss: Optional[float]
    rdrop_kl_loss: Optional[float]


@dataclass(frozen=True)
class ValidationRecord:
    """One validation; ``nll_loss`` in bits per target token, ``bleu`` only with ``--eval-bleu``."""

    epoch: int
    update: int
    elapsed_seconds: float
    loss: Optional[float]
    nll_loss: Optional[float]
    perplexity: Optional[float]
    bleu: Optional[float]


@dataclass(frozen=True)
class TrainingLog:
    """A run, possibly trained by several processes one after the other; all lists are in order of updates."""

    training: List[TrainingRecord]
    """One for each ``--log-interval``."""
    epochs: List[TrainingRecord]
    """One for each finished epoch: averages over that epoch."""
    validation: List[ValidationRecord]
    elapsed_seconds: float
    """Time trained, over all processes, with what was trained twice after a kill."""

    @property
    def updates(self) -> int:
        """The last update in the log."""
        return max(record.update for record in [*self.training, *self.epochs, *self.validation])

    def best_validation(self) -> Optional[ValidationRecord]:
        """The validation of the lowest nll_loss, the first of equals; None if no validation has a number."""
        best: Optional[ValidationRecord] = None
        lowest = math.inf
        for record in self.validation:
            if record.nll_loss is not None and record.nll_loss < lowest:
                best, lowest = record, record.nll_loss
        return best

    def kl_records(self) -> List[TrainingRecord]:
        """The records that have an R-Drop KL: by log interval, or by epoch if that was not reached."""
        for records in (self.training, self.epochs):
            with_kl = [record for record in records if record.rdrop_kl_loss is not None]
            if with_kl:
                return with_kl
        return []


def read_training_log(path: Union[str, Path], subset: str = "valid") -> TrainingLog:
    """Read a training log.

    Args:
        path: captured output of fairseq-train, or the file of its ``--log-file``.
        subset: the ``--valid-subset`` whose validations are wanted.

    Raises:
        UserError: the file is missing, or has no record (another ``--log-format``, or training never began).
    """
    path = Path(path)
    try:
        # A log may be cut anywhere, also inside a character.
        text = path.read_text(encoding="utf-8", errors="replace")
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
        match = _LINE.fullmatch(line)
        stats = _json_object(match[2]) if match else None
        if match is None or stats is None:
            continue
        kind, stats = _classify(stats, subset)
        if kind is None:
            continue
        if processes[-1].ended_before(kind, stats):
            processes.append(_Process())
        processes[-1].add(kind, stats, _timestamp(match[1]))
    return _join(processes)


@dataclass
class _Process:
    """What one process logged; its times count from its own start."""

    training: Dict[int, TrainingRecord] = field(default_factory=dict)
    epochs: Dict[int, TrainingRecord] = field(default_factory=dict)
    validation: Dict[int, ValidationRecord] = field(default_factory=dict)
    without_time: Set[int] = field(default_factory=set)
    clock: Optional[Tuple[datetime, float]] = None
    """A time of day, and the seconds since the start that belong to it."""
    last_wall: float = 0.0
    last_update: int = 0

    def set_clock(self, timestamp: Optional[datetime], wall: float) -> None:
        self.clock = None if timestamp is None else (timestamp, wall)

    def ended_before(self, kind: str, stats: Dict[str, Any]) -> bool:
        """Whether a training record is of a later process: its time or update count went back."""
        wall, update = _number(stats, "wall"), _number(stats, "num_updates")
        return kind != "validation" and (
            (wall is not None and wall < self.last_wall) or (update is not None and update < self.last_update)
        )

    def add(self, kind: str, stats: Dict[str, Any], timestamp: Optional[datetime]) -> None:
        update = int(_number(stats, "num_updates") or 0)
        if kind == "validation":
            if self.clock is not None and timestamp is not None:
                elapsed = self.clock[1] + max(0.0, (timestamp - self.clock[0]).total_seconds())
            else:
                elapsed = self.last_wall
                self.without_time.add(update)
            self.validation[update] = ValidationRecord(
                epoch=int(stats.get("epoch") or 0),
                update=update,
                elapsed_seconds=elapsed,
                loss=_number(stats, "loss"),
                nll_loss=_number(stats, "nll_loss"),
                perplexity=_number(stats, "ppl"),
                bleu=_number(stats, "bleu"),
            )
            return
        wall = _number(stats, "wall")
        if wall is not None:
            self.last_wall = wall
            self.set_clock(timestamp, wall)
        self.last_update = max(self.last_update, update)
        records = self.training if kind == "training" else self.epochs
        records[update] = TrainingRecord(
            epoch=int(stats.get("epoch") or 0),
            update=update,
            elapsed_seconds=self.last_wall,
            loss=_number(stats, "loss"),
            nll_loss=_number(stats, "nll_loss"),
            rdrop_kl_loss=_number(stats, "rdrop_kl_loss"),
        )

    def settle_times(self) -> None:
        """Bring the times of validations between those of training just before and just after them.

        A time stamp and a wall time are both whole seconds, one cut off and one rounded, so their sum can be
        off by one. A validation without a time stamp gets the time at which training reached its update.
        """
        before = {0: 0.0, **{update: record.elapsed_seconds for update, record in self.training.items()}}
        for update, record in self.validation.items():
            below = max(point for point in before if point <= update)
            # The record of an epoch is written after the validation at its last update.
            after = [later for point, later in self.training.items() if point > update]
            after += [later for point, later in self.epochs.items() if point >= update]
            above = min(after, key=lambda later: later.update, default=None)
            if update in self.without_time:
                elapsed = before[below]
                if above is not None and above.update > below:
                    share = (update - below) / (above.update - below)
                    elapsed += share * (above.elapsed_seconds - before[below])
            else:
                elapsed = max(before[below], record.elapsed_seconds)
                if above is not None:
                    elapsed = min(elapsed, above.elapsed_seconds)
            self.validation[update] = replace(record, elapsed_seconds=elapsed)

    def first_update(self) -> Optional[int]:
        return min([*self.training, *self.epochs, *self.validation], default=None)

    def duration(self) -> float:
        validated = max((record.elapsed_seconds for record in self.validation.values()), default=0.0)
        return max(self.last_wall, validated)


def _join(processes: List[_Process]) -> TrainingLog:
    training: Dict[int, TrainingRecord] = {}
    epochs: Dict[int, TrainingRecord] = {}
    validation: Dict[int, ValidationRecord] = {}
    everything: Tuple[Dict[int, Any], ...] = (training, epochs, validation)
    elapsed = 0.0
    for process in processes:
        first_update = process.first_update()
        if first_update is None:
            continue
        process.settle_times()
        for records in everything:
            for update in [update for update in records if update >= first_update]:
                del records[update]
        if not any(everything):
            elapsed = 0.0
        for records, new in zip(everything, (process.training, process.epochs, process.validation)):
            for update, record in new.items():
                records[update] = replace(record, elapsed_seconds=elapsed + record.elapsed_seconds)
        elapsed += process.duration()
    in_order = [[records[update] for update in sorted(records)] for records in everything]
    return TrainingLog(training=in_order[0], epochs=in_order[1], validation=in_order[2], elapsed_seconds=elapsed)


def _classify(stats: Dict[str, Any], subset: str) -> Tuple[Optional[str], Dict[str, Any]]:
    """The kind of a record and its values without the prefix that fairseq puts before their names."""
    if "num_updates" in stats:
        return "training", stats
    for kind, prefix in (("epoch", "train_"), ("validation", f"{subset}_")):
        if f"{prefix}num_updates" in stats:
            plain = {key[len(prefix) :]: value for key, value in stats.items() if key.startswith(prefix)}
            return kind, {**plain, "epoch": stats.get("epoch")}
    return None, stats


def _json_object(text: str) -> Optional[Dict[str, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _number(stats: Dict[str, Any], key: str) -> Optional[float]:
    """fairseq writes numbers as strings; None stands for a value that was never measured."""
    try:
        return float(stats[key])
    except (KeyError, TypeError, ValueError):
        return None


def _timestamp(text: Optional[str]) -> Optional[datetime]:
    return None if text is None else datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
