"""Continuing from a checkpoint: whether it fits, what is left to do, and its place in the data.

fairseq stores its place in an epoch as the number of batches that each process has read, and takes that number as it
is: with twice as many processes it would skip sentences, with half as many it would read some again. Batch by batch the
data are the same as long as --max-tokens is, and every update takes as many of them in a row. So the place in the
checkpoint is converted, and the run with the other number of processes goes on with exactly the sentences that follow.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat import load_checkpoint, save_checkpoint
from rdrop_fairseq.data.binarised_data import dictionary_path, vocabulary_size


@dataclass
class LastCheckpoint:
    """The checkpoint that fairseq-train will continue from."""

    path: Path
    state: Dict[str, Any]

    @property
    def updates(self) -> int:
        """How many updates it has had."""
        history = self.state.get("optimizer_history") or [{}]
        return int(history[-1].get("num_updates", 0))

    def check_vocabulary(self, data: Path, source_language: str, target_language: str) -> None:
        """Assert that its embeddings have as many rows as the dictionaries of the data.

        Raises:
            UserError: it is of another vocabulary.
        """
        for side, language in (("encoder", source_language), ("decoder", target_language)):
            embedding = self.state["model"].get(f"{side}.embed_tokens.weight")
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
        before = self.state["cfg"]["distributed_training"]["distributed_world_size"]
        max_tokens_before = self.state["cfg"]["dataset"]["max_tokens"]
        place = self.state["extra_state"]["train_iterator"]
        batches = place["iterations_in_epoch"]
        if (before, max_tokens_before) == (processes, max_tokens) or batches == 0:
            return None
        if max_tokens == max_tokens_before:
            # Whole updates, each of which takes as many batches with any number of processes.
            place["iterations_in_epoch"] = batches * before // processes
            change = f"after batch {batches * before} of epoch {place['epoch']}, as it was with {before} process(es)"
        else:
            # Other batches come in another order, so there is no place among them that corresponds.
            place["iterations_in_epoch"] = 0
            change = f"at the beginning of epoch {place['epoch']}, because the batches changed with --max-tokens"
        self.state["cfg"]["distributed_training"]["distributed_world_size"] = processes
        self.state["cfg"]["dataset"]["max_tokens"] = max_tokens
        save_checkpoint(self.state, self.path)
        return change


def read_last_checkpoint(path: Path) -> Optional[LastCheckpoint]:
    """The checkpoint to continue from, None where there is none.

    Raises:
        UserError: it is damaged.
    """
    return LastCheckpoint(path, load_checkpoint(path)) if path.exists() else None
