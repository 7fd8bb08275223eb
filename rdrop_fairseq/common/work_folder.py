"""A folder that belongs to one set of settings, and stages in it that are done once."""

import contextlib
import os
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence, Tuple

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import write_text
from rdrop_fairseq.common.locks import locked_folder

_SETTINGS = "settings.txt"
_MARKS = ".done"


def stage_range(stages: Sequence[str], first: Optional[str], last: Optional[str]) -> Tuple[int, int]:
    """The places of the first and the last stage to do; None stands for the first and the last there is.

    Raises:
        UserError: there is no such stage, or the last one comes before the first.
    """
    names = " ".join(stages)
    for stage in (first, last):
        if stage is not None and stage not in stages:
            raise UserError(f"unknown stage {stage}; the stages are {names}")
    start, end = stages.index(first or stages[0]), stages.index(last or stages[-1])
    if start > end:
        raise UserError(f"--stop-stage {last} comes before --stage {first}; the stages are {names}")
    return start, end


class WorkFolder:
    """The folder: ``settings.txt`` says what it belongs to, ``.done/STAGE`` which stages are done.

    Args:
        path: the folder.
        program: the name of the program, for what it says.
        option: the option of the program that chooses another folder, for messages.
    """

    def __init__(self, path: Path, program: str, option: str) -> None:
        self.path = Path(os.path.realpath(path))
        self._shown = path
        self._program, self._option = program, option

    @contextlib.contextmanager
    def opened(
        self, settings: Sequence[str], lasting: Sequence[str], late: str = "", late_stage: str = ""
    ) -> Iterator[None]:
        """Make the folder, or come back to it, and keep other processes out for the time of the block.

        Args:
            settings: what it belongs to, a line each. Other settings are refused as soon as something lasting was made.
            lasting: patterns of files, relative to the folder, that are lasting.
            late: lines that begin so may be changed until ``late_stage`` is done.
            late_stage: the first stage to which those lines matter.

        Raises:
            UserError: other settings, files of something else, another process, or a folder that cannot be written.
        """
        foreign = self.path.is_dir() and not (self.path / _SETTINGS).exists()
        if foreign and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise UserError(
                f"{self._shown} has files that are not of this script; choose another folder with {self._option}"
            )
        with contextlib.ExitStack() as stack:
            # A folder that cannot be written suffices where nothing is left to do.
            if not self.path.is_dir() or os.access(self.path, os.W_OK):
                remedy = f"choose another folder with {self._option}"
                stack.enter_context(locked_folder(self.path, self._program, remedy))
            self._take_over(list(settings), lasting, late, late_stage)
            yield

    def _take_over(self, settings: Sequence[str], lasting: Sequence[str], late: str, late_stage: str) -> None:
        path = self.path / _SETTINGS
        there = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else None
        if there == settings:
            return
        if there is not None:
            changed = [line for line in (*there, *settings) if (line in there) != (line in settings)]
            may_change = late and not self.is_done(late_stage) and all(line.startswith(late) for line in changed)
            if not may_change and any(True for pattern in lasting for _ in self.path.glob(pattern)):
                shown = changed[0] if changed else "their order"
                raise UserError(
                    f"{self._shown} was made with other settings ({shown[:120]}); "
                    f"choose another folder with {self._option}, or delete it"
                )
            if not may_change:
                # Settings with which nothing lasting was made may be changed, so that a mistake can be corrected.
                for mark in (self.path / _MARKS).glob("*"):
                    self.forget(mark.name)
        write_text(path, "".join(f"{line}\n" for line in settings))

    def is_done(self, stage: str) -> bool:
        """Whether the stage succeeded before."""
        return (self.path / _MARKS / stage).exists()

    def forget(self, stage: str) -> None:
        """Have the stage done again.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            (self.path / _MARKS / stage).unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._cannot_write(error) from error

    def stage(self, name: str, title: str, work: Callable[[], object]) -> None:
        """Do ``work`` unless it succeeded before.

        Raises:
            UserError: the folder cannot be written; and what ``work`` raises.
        """
        if self.is_done(name):
            say(self._program, f"{title}: done before")
            return
        marks = self.path / _MARKS
        try:
            marks.mkdir(parents=True, exist_ok=True)
            if not os.access(marks, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise self._cannot_write(error) from error
        say(self._program, title)
        work()
        write_text(marks / name, "")

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write to {self._shown}: {error.strerror}; free space or choose another folder with {self._option}"
        )
