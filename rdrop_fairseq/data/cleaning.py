"""Drop the pairs of a parallel corpus that teach nothing, and report how many and why.

Lengths are in words separated by white space. A pair is dropped for the first reason that holds, in this order: a side
is empty, or has nothing but control and format characters, of which tokenising would leave no text; a side is longer
than ``max_length``; one side is more than ``ratio`` times as long as the other (up to here the rules of Moses'
clean-corpus-n); the same pair came before.
"""

import hashlib
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional

import numpy

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output, write_json, write_text
from rdrop_fairseq.data.parallel_text import PairOfFiles, numbered_pairs

REASONS = ("empty", "too long", "length ratio", "duplicate")
EXAMPLES = 5  # line numbers in the report, for each reason


@dataclass(frozen=True)
class Rules:
    """What is kept: pairs of 1 to ``max_length`` words, at most ``ratio`` times as long on one side as on the other.

    Raises:
        UserError: a limit is below 1 or no number.
    """

    max_length: int
    ratio: float
    drop_duplicates: bool

    def __post_init__(self) -> None:
        # Not `ratio < 1`, which NaN would pass.
        if not (self.max_length >= 1 and self.ratio >= 1):
            raise UserError(f"at most {self.max_length} words and a ratio of {self.ratio}: give numbers of at least 1")

    def reason_to_drop(self, source: str, target: str) -> Optional[str]:
        """The first of ``REASONS`` that holds for a pair by itself, or None."""
        lengths = len(source.split()), len(target.split())
        if min(lengths) == 0 or _is_invisible(source) or _is_invisible(target):
            return "empty"
        if max(lengths) > self.max_length:
            return "too long"
        if max(lengths) > self.ratio * min(lengths):
            return "length ratio"
        return None


def _is_invisible(line: str) -> bool:
    """Whether a line has only white space and characters that do not show, such as a zero-width space."""
    # Asked first as it is fast, and true of nearly every line.
    return not line.isprintable() and all(
        character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in line
    )


def clean(source: PairOfFiles, destination: PairOfFiles, rules: Rules, report: Path) -> Dict[str, object]:
    """Write the pairs of ``source`` that are kept, in their order, to ``destination``, and ``report`` (JSON, and .txt).

    Looking for duplicates takes about 40 bytes a pair in memory.

    Returns:
        The report: pairs ``read``, ``kept``, ``dropped`` by reason, ``examples`` of line numbers from 1, ``rules``.

    Raises:
        UserError: the files differ in their number of lines, are not UTF-8, or no pair is left; the disk is full.
    """
    dropped = dict.fromkeys(REASONS, 0)
    examples: Dict[str, List[int]] = {}
    read = kept = 0
    repeated = _repeated_pairs(source) if rules.drop_duplicates else None
    with atomic_output(destination[0]) as first, atomic_output(destination[1]) as second:
        with open(first, "wb") as first_stream, open(second, "wb") as second_stream:
            for read, pair in numbered_pairs(source):
                reason = rules.reason_to_drop(*pair)
                if reason is None and repeated is not None and repeated[read - 1]:
                    reason = "duplicate"
                if reason is None:
                    kept += 1
                    first_stream.write(pair[0].encode("utf-8") + b"\n")
                    second_stream.write(pair[1].encode("utf-8") + b"\n")
                    continue
                dropped[reason] += 1
                if dropped[reason] <= EXAMPLES:
                    examples.setdefault(reason, []).append(read)
        if not kept:
            raise UserError(f"no pair of {source[0]} and {source[1]} is left after cleaning; check the files")
    result = {"read": read, "kept": kept, "dropped": dropped, "examples": examples, "rules": asdict(rules)}
    write_json(report, result)
    write_text(report.with_suffix(".txt"), as_text(result))
    return result


def as_text(report: Dict[str, object]) -> str:
    """The report of :func:`clean` for people."""
    rows = [("pairs read", report["read"], "")]
    for reason, count in report["dropped"].items():
        lines = ", ".join(map(str, report["examples"].get(reason, [])))
        rows.append((f"dropped: {reason}", count, f"such as lines {lines}" if lines else ""))
    rows.append(("pairs kept", report["kept"], f"{report['kept'] / max(1, report['read']):.2%}"))
    return "".join(f"{name:<24}{count:>12,}   {remark}".rstrip() + "\n" for name, count, remark in rows)


def _repeated_pairs(files: PairOfFiles) -> numpy.ndarray:
    """For each pair, whether the same one came before: booleans, of shape (pairs)."""
    # 64 bits: that any two of 40 million different pairs share a hash has a probability of 1 in 23,000.
    hashes = bytearray()
    for _, pair in numbered_pairs(files):
        hashes += hashlib.blake2b("\n".join(pair).encode("utf-8"), digest_size=8).digest()
    _, first = numpy.unique(numpy.frombuffer(hashes, dtype=numpy.uint64), return_index=True)
    repeated = numpy.ones(len(hashes) // 8, dtype=bool)
    repeated[first] = False
    return repeated
