"""Running a training: its whole output in a file, its progress on the terminal, its end and its exit status ours."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, Optional, Sequence

from rdrop_fairseq.common.command_line import show
from rdrop_fairseq.common.processes import program_path
from rdrop_fairseq.evaluation.training_log import parse_training_log

SECONDS_BETWEEN_LINES = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
# fairseq-train prints its configuration once, as a Python dictionary.
_LIMITS = re.compile(r"'max_epoch': (\d+), 'max_update': (\d+)")

# After a signal the training finishes its update and saves (see rdrop_fairseq.compat.preemption). Slurm sends one two
# minutes before the end (scripts/slurm/train.sbatch). torchrun kills its processes somewhat earlier, so that it ends
# by itself; older versions of torch do so after 30 seconds, whatever they are told.
SECONDS_TO_END = 110.0
_SECONDS_OF_TORCHRUN = 100
_SECONDS_BETWEEN_LOOKS = 0.2
# torchrun's own report of a failure begins so; everything before it is of the training.
_TORCHRUN_REPORT = re.compile(r"^.*torch[./]distributed[./]elastic.*(?:closing signal|fail)", re.MULTILINE)
# After a signal torchrun fails with such lines in the log, and so does a training one of whose processes it ended.
_ENDED_BY_SIGNAL = re.compile(r"SignalException|killed by signal|exitcode\s*: (?:-|1(?:29|[3-5]\d))")
# An error of the training's own meanwhile, such as a full disk; that others are gone, or were told to end, is none.
_OWN_FAILURE = re.compile(
    r"^(?:\[rank\d+\]: )?(?!.*(?:[Ss]ignal|[Cc]onnection|ChildFailedError))"
    r"([\w.]*(?:Error|Exception)\b.*|cannot write .*)$",
    re.MULTILINE,
)
# The process that failed first; others fail in consequence.
_FIRST_FAILURE = re.compile(r"^Root Cause.*?^\s*rank\s*:\s*(\d+)", re.MULTILINE | re.DOTALL)


class TrainingProcess:
    """A training in the background, whose output, both streams, is appended to a log.

    The training writes to the file itself, not through a pipe: its exit status is its own, nothing is lost when this
    process is killed, and the log goes on across resumes.
    """

    def __init__(self, command: Sequence[str], environment: Dict[str, str], log: Path) -> None:
        """Start it.

        Args:
            command: its words.
            environment: all of its environment.
            log: the file to append to.
        """
        self._log = log
        self._start = log.stat().st_size if log.exists() else 0
        self._end_requested: Optional[float] = None
        self._signal: Optional[int] = None
        self._size_at_signal = 0
        self._signals = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with open(log, "ab") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment,
                # torchrun heeds also what it inherits as ignored: the terminal must not reach it.
                start_new_session=len(self._signals) < len(SIGNALS),
            )  # fmt: skip

    def follow(self, name: str) -> int:
        """Show the progress until the training has ended, whether or not somebody reads it.

        A signal to end (SIGTERM, SIGUSR1, SIGINT, SIGHUP) is passed on to it as SIGTERM. One that is ignored stays so:
        nohup ignores SIGHUP, and a shell SIGINT for what runs in its background.

        Returns:
            The exit status as a shell gives it: 128 plus the number of the signal that ended it. A training that
            completed or failed after a signal has its own.
        """
        previous = {number: signal.signal(number, self._request_end) for number in self._signals}
        progress = Progress(name)
        try:
            with open(self._log, encoding="utf-8", errors="replace") as stream:
                stream.seek(self._start)
                remainder = ""
                while True:
                    ended = self._process.poll() is not None
                    # Whole lines only: the training may be in the middle of one.
                    *lines, remainder = (remainder + stream.read()).split("\n")
                    for line in lines:
                        shown = progress.line(line, time.monotonic())
                        if shown:
                            show(shown)
                    if ended:
                        break
                    self._insist()
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            self._process.kill()
            self._process.wait()
            for number, handler in previous.items():
                signal.signal(number, handler)
        status = self._process.returncode
        status = status if status >= 0 else 128 - status
        if self._signal is not None and (status > 128 or (status != 0 and self._was_ended_by_signal())):
            return 128 + self._signal
        return status

    def last_message(self) -> str:
        """The line in which the training itself says why it failed: the last one that it wrote."""
        # torchrun's report begins with the signal, before what the training wrote after it.
        own = _OWN_FAILURE.findall(self._written_since(self._size_at_signal)) if self._signal is not None else []
        return own[-1] if own else message_of_failure(self._written_since(self._start)) or "it wrote nothing"

    def _was_ended_by_signal(self) -> bool:
        """Whether a training that failed after a signal did so because of it."""
        text = self._written_since(self._size_at_signal)
        return bool(_ENDED_BY_SIGNAL.search(text)) and not _OWN_FAILURE.search(text)

    def _written_since(self, start: int) -> str:
        with open(self._log, encoding="utf-8", errors="replace") as stream:
            stream.seek(start)
            return stream.read()

    def _request_end(self, number: int, frame: object) -> None:
        self._signal = number
        if self._end_requested is None:
            self._end_requested = time.monotonic()
            self._size_at_signal = self._log.stat().st_size
        self._process.send_signal(signal.SIGTERM)

    def _insist(self) -> None:
        if self._end_requested is not None and time.monotonic() - self._end_requested > SECONDS_TO_END:
            self._process.kill()


def message_of_failure(text: str) -> str:
    """The last line that a failed training wrote, in what it and torchrun wrote, or nothing.

    torch puts ``[rank1]:`` in front of the lines of an exception, where there are several processes; an error that ends
    a command in one line goes without.
    """
    report = _TORCHRUN_REPORT.search(text)
    first = _FIRST_FAILURE.search(text)
    lines = [line for line in text[: report.start() if report else len(text)].splitlines() if line.strip()]
    prefix = f"[rank{first[1]}]:" if first else None
    of_first = [line[len(prefix) :].strip() for line in lines if prefix and line.startswith(prefix)]
    without_rank = [line.strip() for line in lines if not line.startswith("[rank")]
    return next((candidates[-1] for candidates in (of_first, without_rank) if candidates), "")


def full_environment(changes: Dict[str, str]) -> Dict[str, str]:
    """This process's environment with changes, and the folder of this Python, where fairseq's programs are, on PATH.

    Raises:
        UserError: they are not there.
    """
    folders = {str(Path(program_path(program)).parent): None for program in ("torchrun", "fairseq-train")}
    path = os.pathsep.join([*folders, os.environ.get("PATH", "")])
    return {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_SECONDS_OF_TORCHRUN), **os.environ, "PATH": path, **changes}


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
        is_due = now - self._last_shown >= SECONDS_BETWEEN_LINES
        if not log.validation and not (log.training and is_due):
            return None
        self._last_shown = now
        minutes, seconds = divmod(int(now - self._start), 60)
        if log.validation:
            record = log.validation[-1]
            parts = [f"update {record.update}", f"epoch {record.epoch} validated:"]
            values = [("nll {:.2f} bits", record.nll_loss), ("BLEU {:.2f}", record.bleu)]
        else:
            record = log.training[-1]
            parts = [f"update {record.update}" + (f"/{self.max_update}" if self.max_update else "")]
            parts.append(f"epoch {record.epoch}" + (f"/{self.max_epoch}" if self.max_epoch else ""))
            values = [("training nll {:.2f} bits", record.nll_loss), ("KL {:.3f} bits", record.rdrop_kl_loss)]
        parts += [form.format(value) for form, value in values if value is not None]
        return f"{self.name:>10} {minutes:3d}:{seconds:02d}  " + "  ".join(parts)
