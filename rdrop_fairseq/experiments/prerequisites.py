"""What a training and its evaluation will need, checked before the first update: lengths, checkpoints, disk."""

import argparse
import math
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.archives import check_space, readable_size
from rdrop_fairseq.data.binarised_data import sentence_lengths
from rdrop_fairseq.data.parallel_text import PairOfFiles
from rdrop_fairseq.experiments.run_folder import RunRecord

_POSITIONS = ("--max-source-positions", "--max-target-positions")
_POSITIONS_OF_FAIRSEQ = 1024
_SKIP = "--skip-invalid-size-inputs-valid-test"
# For each parameter Adam keeps two numbers in float32.
_BYTES_OF_ADAM = 8


class TooLong(NamedTuple):
    """A sentence that fairseq does not take."""

    side: int
    """0 for the source, 1 for the target."""
    line: int
    """From 1."""
    length: int
    """In sub-words, with the symbol for the end."""
    limit: int

    @property
    def flag(self) -> str:
        """The flag of the limit on this side."""
        return _POSITIONS[self.side]


def position_limits(values: argparse.Namespace) -> Tuple[int, int]:
    """The longest source and target that the task takes, in sub-words."""
    # What is not given fairseq's parser leaves out, in the flags of a task.
    source, target = (getattr(values, f"max_{side}_positions", _POSITIONS_OF_FAIRSEQ) for side in ("source", "target"))
    return source, target


def lengths_taken(data: Path, split: str, languages: Tuple[str, str], values: argparse.Namespace) -> Sequence:
    """The lengths of the sources and of the targets of a split as the task has them: truncated, where it does that.

    Returns:
        Two arrays of shape (sentences,), in sub-words with the symbol for the end.
    """
    sources, targets = sentence_lengths(data, split, *languages)
    if getattr(values, "truncate_source", False):
        sources = sources.clip(max=position_limits(values)[0])
    return sources, targets


def longest_beyond(lengths: Sequence, limits: Tuple[float, float]) -> Optional[TooLong]:
    """The longest sentence above the limit of its side, None where all fit.

    Args:
        lengths: of the sources and of the targets, arrays of shape (sentences,).
        limits: of sources and targets.
    """
    for side, (of_side, limit) in enumerate(zip(lengths, limits)):
        if len(of_side) and of_side.max() > limit:
            return TooLong(side, int(of_side.argmax()) + 1, int(of_side.max()), int(limit))
    return None


def check_lengths(
    data: Path,
    languages: Tuple[str, str],
    values: argparse.Namespace,
    max_tokens: int,
    texts: Dict[str, PairOfFiles],
    with_test: bool,
) -> Optional[str]:
    """Assert that fairseq will take the sentences of all splits, which it finds out when it comes to each of them.

    Args:
        data: the binarised data.
        languages: source and target.
        values: the flags of fairseq-train.
        max_tokens: of one batch.
        texts: for each split the files that were binarised, where they are known, to be named.
        with_test: the test set too, whose limits are those of the model.

    Returns:
        What is to be said about training sentences that fairseq leaves out, if any.

    Raises:
        UserError: a sentence of validation or test is too long, or every pair of the training text.
    """

    def place(split: str, found: TooLong) -> str:
        name = texts[split][found.side] if split in texts else f"the {split} text in {data} ({languages[found.side]})"
        return f"line {found.line} of {name} has {found.length} sub-words"

    positions = position_limits(values)
    lengths = lengths_taken(data, "train", languages, values)
    limits = tuple(min(limit, max_tokens) for limit in positions)
    fit = (lengths[0] <= limits[0]) & (lengths[1] <= limits[1])
    if not fit.any():
        raise UserError(
            f"none of the {len(fit):,} training pairs in {data} has at most {limits[0]} and {limits[1]} sub-words; "
            f"raise --max-tokens, {_POSITIONS[0]} or {_POSITIONS[1]}"
        )
    tokens = int(values.max_tokens_valid or max_tokens)  # fairseq's parser keeps it as text
    for split in () if values.disable_validation else values.valid_subset.split(","):
        if values.skip_invalid_size_inputs_valid_test:
            break
        valid = lengths_taken(data, split, languages, values)
        found = longest_beyond(valid, positions)
        if found:
            raise UserError(
                f"{place(split, found)} and the model takes {found.limit}; give {found.flag} {found.length}, or {_SKIP}"
            )
        found = longest_beyond(valid, (tokens, tokens))
        if found:
            raise UserError(
                f"{place(split, found)}, more than a batch of validation takes ({found.limit}); "
                f"give --max-tokens-valid {found.length}, or {_SKIP}"
            )
    found = longest_beyond(lengths_taken(data, "test", languages, values), positions) if with_test else None
    if found:
        or_truncate = ", or --truncate-source" if found.side == 0 else ""
        raise UserError(
            f"{place('test', found)} and the model takes {found.limit}, but every sentence of the test set is "
            f"translated; give {found.flag} {found.length}{or_truncate}"
        )
    left_out = int((~fit).sum())
    if left_out:
        return f"warning: {left_out:,} of {len(fit):,} training pairs are left out, as they exceed {limits} sub-words"
    return None


def kept_checkpoints(values: argparse.Namespace) -> float:
    """How many checkpoints a training leaves that can be averaged; infinity where that cannot be known before.

    Those after so many updates, where there are any, else those after epochs: see :mod:`.translation`.
    """
    if values.no_save:
        return 0
    if values.save_interval_updates > 0:
        written = values.max_update // values.save_interval_updates if values.max_update else math.inf
        return min(written, values.keep_interval_updates if values.keep_interval_updates > 0 else math.inf)
    if values.no_epoch_checkpoints:
        return 0
    written = values.max_epoch // values.save_interval if values.max_epoch else math.inf
    return min(written, values.keep_last_epochs if values.keep_last_epochs > 0 else math.inf)


def check_checkpoints_to_evaluate(
    values: argparse.Namespace, average: Optional[int], lower: str = "give a lower --average"
) -> None:
    """Assert that a training leaves the checkpoints that are translated with.

    Args:
        values: the flags of fairseq-train.
        average: how many checkpoints are averaged; None for the best one.
        lower: the remedy for an average of more than it keeps.

    Raises:
        UserError: it leaves fewer, or no best one.
    """
    if average is None:
        hindrance = _hindrance_of_best(values)
        if hindrance:
            raise UserError(f"no checkpoint_best.pt, which is translated with, is written with {hindrance}")
        return
    kept = kept_checkpoints(values)
    if kept < average:
        remedy = "keep more with --save-interval-updates and --keep-interval-updates"
        if values.no_save:
            remedy = "leave --no-save out"
        elif kept > 0:
            remedy = f"{lower}, or {remedy}"
        raise UserError(f"{average} checkpoints are to be averaged and the training keeps {kept}; {remedy}")


def _hindrance_of_best(values: argparse.Namespace) -> Optional[str]:
    """The flags with which no best checkpoint is written, and what to do; None where one may be.

    fairseq writes it where it validates and saves at once: after an epoch that both intervals divide, when it saves
    after so many updates, and at the last update (``validate_and_save`` in fairseq_cli/train.py). After the last epoch
    alone it does neither.
    """
    for flag, is_given in (("--no-save", values.no_save), ("--disable-validation", values.disable_validation)):
        if is_given:
            return f"{flag}; leave it out"
    first = values.validate_after_updates
    if first > values.max_update:
        return f"--validate-after-updates {first}; leave it out, or give --max-update {first} or more"
    intervals = {"--validate-interval": values.validate_interval, "--save-interval": values.save_interval}
    common = math.prod(intervals.values()) // (math.gcd(*intervals.values()) or 1)
    if values.max_update > 0 or values.save_interval_updates > 0 or not 0 < values.max_epoch < common:
        return None
    given = ", ".join(f"{flag} {epochs}" for flag, epochs in intervals.items() if epochs > 1)
    remedy = " and ".join(f"{flag} 1" for flag, epochs in intervals.items() if epochs > 1)
    return f"--max-epoch {values.max_epoch} and {given}; give {remedy}"


def check_space_for_checkpoints(values: argparse.Namespace, record: RunRecord, folder: Path, place_option: str) -> None:
    """Assert that the disk has space for the checkpoints that a training is known to write.

    Args:
        values: the flags of fairseq-train.
        record: of the run.
        folder: of the checkpoints, with those that are there already.
        place_option: the option that chooses another folder, for the message.

    Raises:
        UserError: it has not.
    """
    parameters = None if values.no_save else _parameters(values, record)
    if parameters is None:
        return
    size = parameters * (4 if record.precision == "fp32" else 2)
    if "adam" in values.optimizer and not values.no_save_optimizer_state:
        size += parameters * _BYTES_OF_ADAM
    kept = kept_checkpoints(values)
    # Beside those: the last one, the best one, and the one that is being written.
    count = (kept if math.isfinite(kept) else 0) + 2 + (not values.disable_validation)
    there = sum(path.stat().st_size for path in folder.glob("*.pt")) if folder.is_dir() else 0
    what = f"the checkpoints of {record.variant}, {count} of {readable_size(size)},"
    check_space(folder, count * size - there, what, place_option)


def _parameters(values: argparse.Namespace, record: RunRecord) -> Optional[int]:
    """How many numbers the model has; None where only the training can tell."""
    import torch

    if not hasattr(torch.device, "__enter__"):
        return None  # before torch 2.0 a model cannot be made without its memory
    from fairseq import models, tasks

    source, target = record.languages
    values = argparse.Namespace(**{**vars(values), "data": record.data, "source_lang": source, "target_lang": target})
    try:
        with torch.device("meta"):
            model = models.build_model(values, tasks.setup_task(values))
    except Exception:  # a mistake in the flags, which the training reports, or a model that reads its own files
        return None
    sizes: List[int] = [parameter.numel() for parameter in model.parameters()]
    return sum(sizes)
