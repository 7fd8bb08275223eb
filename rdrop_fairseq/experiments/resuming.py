"""Continuing from a checkpoint: whether it fits, what is left to do, and its place in the data.

fairseq stores its place in an epoch as the number of batches that each process has read, and takes that number as it
is: with twice as many processes it would skip sentences, with half as many it would read some again. Batch by batch the
data are the same as long as --max-tokens is, and every update takes as many of them in a row. So the place in the
checkpoint is converted, and the run with the other number of processes goes on with exactly the sentences that follow.
"""

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Pattern, Tuple, Type

import torch

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.compat import load_checkpoint, save_checkpoint
from rdrop_fairseq.data.binarised_data import dictionary_path, vocabulary_size

LAST = "checkpoint_last.pt"
_AFTER_UPDATES, _AFTER_EPOCH = _NUMBERED = re.compile(r"checkpoint_\d+_(\d+)\.pt"), re.compile(r"checkpoint(\d+)\.pt")
_OF_FAIRSEQ = re.compile(r"checkpoint(\d+|_\d+_\d+|_last|_best|\.best_.+)\.pt")


@dataclass
class Checkpoint:
    """What fairseq-train continues from, or a translation is made with.

    Raises:
        UserError: an entry that is asked for is not what fairseq-train writes.
    """

    path: Path
    state: Dict[str, Any]

    @property
    def updates(self) -> int:
        """How many updates it has had."""
        history = self._entry(list, "optimizer_history")
        updates = history[-1].get("num_updates") if history and isinstance(history[-1], dict) else None
        if type(updates) is not int:
            raise self._unknown("optimizer_history", history)
        return updates

    @property
    def parameters(self) -> Dict[str, Any]:
        """By name."""
        parameters = self._entry(dict, "model")
        for name, value in parameters.items():
            if not isinstance(value, torch.Tensor):
                raise self._unknown(f"model.{name}", value)
        return parameters

    @property
    def has_table_of_positions(self) -> bool:
        """Whether the model has learnt its positions one by one, so that it can take no more of them."""
        return "encoder.embed_positions.weight" in self.parameters

    @property
    def positions(self) -> Tuple[float, float]:
        """How many positions the source and the target of the model were limited to; infinity where it does not say."""
        configuration = self.state.get("cfg")
        model = configuration.get("model") if isinstance(configuration, dict) else self.state.get("args")
        options = model if isinstance(model, dict) else getattr(model, "__dict__", {})
        limits = (options.get(f"max_{side}_positions") for side in ("source", "target"))
        source, target = (limit if isinstance(limit, int) else math.inf for limit in limits)
        return source, target

    def check_vocabulary(self, data: Path, source_language: str, target_language: str) -> None:
        """Assert that its embeddings have as many rows as the dictionaries of the data.

        Raises:
            UserError: it is of another vocabulary.
        """
        for side, language in (("encoder", source_language), ("decoder", target_language)):
            embedding = self.parameters.get(f"{side}.embed_tokens.weight")
            size = vocabulary_size(data, language)
            if embedding is not None and embedding.size(0) != size:
                raise UserError(
                    f"{self.path} is of another vocabulary: {embedding.size(0)} symbols on the {side}'s side where "
                    f"{dictionary_path(data, language)} has {size}; choose another run folder, or give the "
                    "data it was trained on with --data"
                )

    def continue_with(self, processes: int, max_tokens: int) -> Optional[str]:
        """Rewrite its place in the data for another number of processes or other batches.

        Returns:
            What was changed, for a person; None where nothing had to be.

        Raises:
            UserError: the checkpoint cannot be written.
        """
        distribution = self._entry(dict, "cfg", "distributed_training")
        dataset = self._entry(dict, "cfg", "dataset")
        before = self._entry(int, "cfg", "distributed_training", "distributed_world_size")
        max_tokens_before = dataset.get("max_tokens")
        place = self._entry(dict, "extra_state", "train_iterator")
        batches = self._entry(int, "extra_state", "train_iterator", "iterations_in_epoch")
        if (before, max_tokens_before) == (processes, max_tokens) or batches == 0:
            return None
        if max_tokens == max_tokens_before:
            # Whole updates, each of which takes as many batches with any number of processes.
            place["iterations_in_epoch"] = batches * before // processes
            change = (
                f"after batch {batches * before} of epoch {place.get('epoch')}, as it was with {before} process(es)"
            )
        else:
            # Other batches come in another order, so there is no place among them that corresponds.
            place["iterations_in_epoch"] = 0
            change = f"at the beginning of epoch {place.get('epoch')}, because the batches changed with --max-tokens"
        distribution["distributed_world_size"], dataset["max_tokens"] = processes, max_tokens
        save_checkpoint(self.state, self.path)
        return change

    def put_last(self) -> None:
        """Have fairseq-train continue from it: give it the name of the last one, in the place of any other.

        Raises:
            UserError: it cannot be written.
        """
        last = self.path.parent / LAST
        if self.path != last:
            with atomic_output(last) as temporary:
                shutil.copyfile(self.path, temporary)
            self.path = last

    def _entry(self, kind: Type, *names: str) -> Any:
        value: Any = self.state
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            raise self._unknown(".".join(names), value)
        return value

    def _unknown(self, name: str, value: Any) -> UserError:
        return UserError(
            f"{self.path} is not what fairseq-train writes ({name} is {repr(value)[:40]}); use another checkpoint"
        )


def checkpoints_in(folder: Path) -> List[Path]:
    """The checkpoints that fairseq-train wrote to a folder."""
    return sorted(path for path in folder.glob("checkpoint*.pt") if _OF_FAIRSEQ.fullmatch(path.name))


def newest_checkpoint(folder: Path, report: Callable[[str], None]) -> Optional[Checkpoint]:
    """The checkpoint to continue from: the last one, or where it is damaged or gone the newest that can be read.

    Args:
        folder: of the checkpoints.
        report: takes a line on what is wrong with the last one, and what is taken in its place.

    Returns:
        None where there are no checkpoints.

    Raises:
        UserError: there are some, and none can be read.
    """
    last = folder / LAST
    found, errors = _newest([last] if last.exists() else [])
    if found is not None:
        return found
    found, more_errors = _newest([path for path in checkpoints_in(folder) if path != last])
    errors += more_errors
    if found is not None:
        cause = errors[0].cause if last.exists() else f"{last} is gone"
        report(f"warning: {cause}; training on from {found.path.name}, after update {found.updates}")
        return found
    if errors:
        more = f", nor can {len(errors) - 1} more" if len(errors) > 1 else ""
        raise UserError(f"{errors[0].cause}{more}; train from the beginning with --start-over, which sets them aside")
    return None


def _newest(paths: List[Path]) -> Tuple[Optional[Checkpoint], List[UserError]]:
    """The one of most updates, and why others cannot be read."""
    newest, most, errors = None, -1, []
    # Of those after so many updates, and of those after epochs, the first that can be read is the newest. So it is
    # enough to load that one; each may have gigabytes. What the others have had, they alone know.
    for form in (_AFTER_UPDATES, _AFTER_EPOCH, None):
        for path in _sorted_by(form, paths):
            try:
                checkpoint = Checkpoint(path, load_checkpoint(path))
                if not checkpoint.parameters:
                    raise UserError(f"{path} has no parameters; use another checkpoint")
                if checkpoint.updates > most:
                    newest, most = checkpoint, checkpoint.updates
                if form is not None:
                    break
            except UserError as error:
                errors.append(error)
    return newest, errors


def _sorted_by(form: Optional[Pattern], paths: List[Path]) -> List[Path]:
    """Those with names of this form, the highest number first; with None those of neither form."""
    if form is None:
        return [path for path in paths if not any(other.fullmatch(path.name) for other in _NUMBERED)]
    numbers = {path: int(match[1]) for path in paths for match in [form.fullmatch(path.name)] if match}
    return sorted(numbers, key=lambda path: numbers[path], reverse=True)
