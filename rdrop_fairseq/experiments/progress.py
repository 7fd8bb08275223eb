"""Show how a training run comes along, and keep its whole log.

    fairseq-train ... --log-format json | python -m rdrop_fairseq.experiments.progress --name NAME --log FILE

appends what fairseq-train prints to FILE and shows a line for each validation, and one every few seconds of training.
"""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import List, Optional, TextIO

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation.training_log import TrainingRecord, ValidationRecord, parse_training_log

SECONDS_BETWEEN_LINES = 5.0
# fairseq-train prints its configuration once, as a Python dictionary.
_LIMITS = re.compile(r"'max_epoch': (\d+), 'max_update': (\d+)")


class Progress:
    """Turns the lines of a log, one at a time, into short lines for a person."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.max_epoch = self.max_update = 0
        self._start = time.monotonic()
        self._last_shown = float("-inf")

    def line(self, text: str, now: float) -> Optional[str]:
        """What to show for a line of the log, or None; ``now`` is in seconds of a monotonic clock."""
        limits = _LIMITS.search(text)
        if limits:
            self.max_epoch, self.max_update = int(limits[1]), int(limits[2])
            return None
        if " | {" not in text:
            return None
        log = parse_training_log(text)
        if log.validation:
            return self._show(now, *_validation(log.validation[-1]))
        if log.training and now - self._last_shown >= SECONDS_BETWEEN_LINES:
            return self._show(now, *self._training(log.training[-1]))
        return None

    def _show(self, now: float, *parts: str) -> str:
        self._last_shown = now
        minutes, seconds = divmod(int(now - self._start), 60)
        return f"{self.name:>10} {minutes:3d}:{seconds:02d}  " + "  ".join(part for part in parts if part)

    def _training(self, record: TrainingRecord) -> List[str]:
        parts = [f"update {record.update}" + (f"/{self.max_update}" if self.max_update else "")]
        parts.append(f"epoch {record.epoch}" + (f"/{self.max_epoch}" if self.max_epoch else ""))
        if record.nll_loss is not None:
            parts.append(f"training nll {record.nll_loss:.2f} bits")
        if record.rdrop_kl_loss is not None:
            parts.append(f"KL {record.rdrop_kl_loss:.3f} bits")
        return parts


def _validation(record: ValidationRecord) -> List[str]:
    parts = [f"update {record.update}", f"epoch {record.epoch} validated:"]
    if record.nll_loss is not None:
        parts.append(f"nll {record.nll_loss:.2f} bits")
    if record.bleu is not None:
        parts.append(f"BLEU {record.bleu:.2f}")
    return parts


def follow(source: TextIO, log: Path, name: str, output: TextIO) -> None:
    """Copy ``source`` to the end of ``log`` as it comes, and show the progress on ``output``.

    Raises:
        UserError: ``log`` cannot be written.
    """
    progress = Progress(name)
    try:
        with open(log, "a", encoding="utf-8") as stream:
            for line in source:
                stream.write(line)
                stream.flush()
                shown = progress.line(line, time.monotonic())
                if shown:
                    print(shown, file=output, flush=True)
    except OSError as error:
        raise UserError(f"cannot write {log}: {error.strerror}; free space or choose another folder") from error


def main(argv: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.experiments.progress", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--name", required=True, help="shown in front of every line")
    parser.add_argument("--log", type=Path, required=True, help="file to append the log to")
    options = parser.parse_args(argv)
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    follow(sys.stdin, options.log, options.name, sys.stderr)


if __name__ == "__main__":
    main()
