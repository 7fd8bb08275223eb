"""A fairseq batch concatenated with itself, as R-Drop needs it; the caller's sample is never changed."""

from typing import Any, Dict

import torch

PASSES_KEY = "rdrop_passes"
"""The entry that marks a concatenated sample and tells how many passes it holds."""


def concatenate_passes(sample: Dict[str, Any], passes: int) -> Dict[str, Any]:
    """A new sample whose ``net_input`` holds every sentence ``passes`` times, pass after pass: [x; x].

    Args:
        sample: a fairseq mini-batch with ``net_input`` and ``target`` (batch, length).
        passes: how many copies, >= 1.

    Returns:
        A new dictionary. Every tensor of ``net_input`` (also inside lists, tuples and dictionaries) whose first
        dimension is the batch is concatenated ``passes`` times; all else is shared with ``sample``: ``target``,
        ``ntokens``, ``nsentences`` and ``id`` stay those of one copy. ``result["rdrop_passes"] == passes``.

        A mask from positions to positions, (length, length), is the same for all sentences, and stays as it is where
        the length happens to be the size of the batch too. It is told by its name, which ends in ``mask``; those of
        ``...padding_mask`` and ``attention_mask`` are (batch, length).

    Raises:
        ValueError: ``sample`` is concatenated already.
    """
    if PASSES_KEY in sample:
        raise ValueError(f"the sample is concatenated already ({PASSES_KEY}={sample[PASSES_KEY]})")
    batch_size = sample["target"].size(0)

    def concatenate(value: Any, name: str) -> Any:
        if torch.is_tensor(value):
            if value.dim() > 0 and value.size(0) == batch_size and not _is_mask_of_positions(value, name):
                return torch.cat([value] * passes, dim=0)
            return value
        if isinstance(value, dict):
            return {key: concatenate(entry, str(key)) for key, entry in value.items()}
        if type(value) in (list, tuple):
            return type(value)(concatenate(entry, name) for entry in value)
        return value

    return {**sample, "net_input": concatenate(sample["net_input"], "net_input"), PASSES_KEY: passes}


def _is_mask_of_positions(tensor: torch.Tensor, name: str) -> bool:
    """Whether this is a square matrix under a name that fairseq gives to masks of (length, length)."""
    square = tensor.dim() == 2 and tensor.size(0) == tensor.size(1)
    return square and name.endswith("mask") and not name.endswith(("padding_mask", "attention_mask"))
