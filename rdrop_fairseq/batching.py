"""A fairseq batch concatenated with itself, as R-Drop needs it; the caller's sample is never changed."""

from typing import Any, Callable, Dict, NamedTuple, Optional

import torch
from torch import Tensor

PASSES_KEY = "rdrop_passes"
"""The entry that marks a concatenated sample and tells how many passes it holds."""
ROWS_KEY = "rdrop_rows"
"""The entry with the :class:`Rows` of a concatenated sample; None if all its sentences have all passes."""


class Rows(NamedTuple):
    """Which sentences of a batch go through the model in every pass, and which in the first alone."""

    repeated: Tensor
    """(K,) int64, in order."""
    single: Tensor
    """(B - K,) int64, in order."""


def mark_passes(sample: Dict[str, Any], passes: int, rows: Optional[Rows] = None) -> Dict[str, Any]:
    """A new sample that is marked as :func:`concatenate_passes` does, with the input of one pass.

    Raises:
        ValueError: ``sample`` is marked already.
    """
    if PASSES_KEY in sample:
        raise ValueError(f"the sample is concatenated already ({PASSES_KEY}={sample[PASSES_KEY]})")
    return {**sample, PASSES_KEY: passes, ROWS_KEY: rows}


def concatenate_passes(
    sample: Dict[str, Any], passes: int, rows: Optional[Rows] = None, source_once: bool = False
) -> Dict[str, Any]:
    """A new sample whose ``net_input`` holds every sentence ``passes`` times, pass after pass: [x; x].

    Args:
        sample: a fairseq mini-batch with ``net_input`` and ``target`` (batch, length).
        passes: how many copies, >= 1.
        rows: the sentences of which there are so many copies, if not all: [x; x[repeated]].
        source_once: leave the input whose name begins with ``src_`` as it is.

    Returns:
        A new dictionary. Every tensor of ``net_input`` (also inside lists, tuples and dictionaries) whose first
        dimension is the batch is concatenated ``passes`` times; all else is shared with ``sample``: ``target``,
        ``ntokens``, ``nsentences`` and ``id`` stay those of one copy. ``result["rdrop_passes"] == passes``, and
        ``result["rdrop_rows"]`` is ``rows``.

        A mask from positions to positions, (length, length), is the same for all sentences, and stays as it is where
        the length happens to be the size of the batch too. It is told by its name, which ends in ``mask``; those of
        ``...padding_mask`` and ``attention_mask`` are (batch, length).

    Raises:
        ValueError: ``sample`` is concatenated already.
    """
    result = mark_passes(sample, passes, rows)
    if rows is not None and len(rows.repeated) == 0:
        return result

    def concatenate(tensor: Tensor) -> Tensor:
        again = tensor if rows is None else tensor.index_select(0, rows.repeated)
        return torch.cat([tensor, *[again] * (passes - 1)], dim=0)

    inputs = _change_sentences(sample["net_input"], "net_input", sample["target"].size(0), concatenate)
    if source_once:
        inputs.update({name: it for name, it in sample["net_input"].items() if name.startswith("src_")})
    return {**result, "net_input": inputs}


def select_sentences(inputs: Dict[str, Any], sentences: Tensor, batch_size: int) -> Dict[str, Any]:
    """The ``net_input`` of some sentences (K,) of a batch, told as :func:`concatenate_passes` tells them."""
    return _change_sentences(inputs, "net_input", batch_size, lambda tensor: tensor.index_select(0, sentences))


def of_all_passes(values: Tensor, rows: Optional[Rows], batch_size: int, dim: int = 0) -> Tensor:
    """What belongs to the sentences with all passes, pass after pass, of a model's values for a concatenated sample.

    Args:
        values: with (B + (m-1)*K) sentences in dimension ``dim``, as :func:`concatenate_passes` has them.
        rows: as there; None for all, where K = B.
        batch_size: B.
    """
    if rows is None:
        return values
    later = values.narrow(dim, batch_size, values.size(dim) - batch_size)
    return torch.cat([values.index_select(dim, rows.repeated), later], dim)


def _change_sentences(value: Any, name: str, batch_size: int, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``change`` done to every tensor in it that has a row for each sentence."""
    if torch.is_tensor(value):
        has_sentences = value.dim() > 0 and value.size(0) == batch_size and not _is_mask_of_positions(value, name)
        return change(value) if has_sentences else value
    if isinstance(value, dict):
        return {key: _change_sentences(entry, str(key), batch_size, change) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_change_sentences(entry, name, batch_size, change) for entry in value)
    return value


def _is_mask_of_positions(tensor: Tensor, name: str) -> bool:
    """Whether this is a square matrix under a name that fairseq gives to masks of (length, length)."""
    square = tensor.dim() == 2 and tensor.size(0) == tensor.size(1)
    return square and name.endswith("mask") and not name.endswith(("padding_mask", "attention_mask"))
