"""A run's folder: which settings it belongs to, what is done in it, and who works in it."""

import itertools
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output, write_json, write_text
from rdrop_fairseq.common.records import read_record
from rdrop_fairseq.experiments.configuration import VARIANTS
from rdrop_fairseq.experiments.resuming import LAST

Settings = Dict[str, Union[str, int, None]]
"""By flag, or in words: what was trained; a switch has None."""

# More of these continues a run; all other settings are part of what a run is.
LIMITS = ("max_update", "max_epoch", "stop_time_hours")
_EARLIER = "earlier."


@dataclass(frozen=True)
class RunRecord:
    """What run.json holds: how a run is trained, with what, and how it is to be evaluated."""

    config: str
    variant: str
    data: str
    source_language: str
    target_language: str
    tokens_per_update: int
    max_tokens: int
    processes: int
    update_freq: int
    precision: str
    average: Optional[int]
    """How many of the last checkpoints are averaged, None where ``checkpoint`` is ``"best"``."""
    checkpoint: str
    generation: Tuple[str, ...]
    """Flags of fairseq-generate."""
    command: Tuple[str, ...]
    environment: Dict[str, str]
    versions: Dict[str, str]
    commit: str
    device: str
    limits: Dict[str, float]
    """How long it was to be trained, by the names in ``LIMITS``; 0 stands for no limit."""
    settings: Settings
    """All that decides what is trained; a run folder belongs to one set of these."""

    def __post_init__(self) -> None:
        """Raises a ValueError for what no training writes."""
        if self.variant not in VARIANTS or self.precision not in ("fp32", "fp16", "bf16"):
            raise ValueError(f"variant is {self.variant!r} and precision {self.precision!r}")
        if self.checkpoint != ("best" if self.average is None else "average") or self.average == 0:
            raise ValueError(f"checkpoint is {self.checkpoint!r} and average {self.average}")

    @property
    def languages(self) -> Tuple[str, str]:
        return self.source_language, self.target_language


class RunFolder:
    """The folder of one run (``RUN``): ``run.json``, ``train.log``, ``exit_status``, ``checkpoints/`` and so on.

    Args:
        path: the folder.
        option: the option of the program that chooses another one, for messages.
    """

    def __init__(self, path: Path, option: str = "--run-dir") -> None:
        self.path, self._option = path, option
        self.record = path / "run.json"
        self.log = path / "train.log"
        self.commands = path / "command.txt"
        self.checkpoints = path / "checkpoints"
        self.last_checkpoint = self.checkpoints / LAST
        self.best_checkpoint = self.checkpoints / "checkpoint_best.pt"
        self._exit_status = path / "exit_status"

    def read_record(
        self, remedy: str = "choose another run folder, or set it aside with --start-over"
    ) -> Optional[RunRecord]:
        """The contents of run.json, None where there is none.

        Raises:
            UserError: it is damaged, or says less than a record has to; the message ends with ``remedy``.
        """
        return read_record(self.record, RunRecord, "scripts/train.sh", remedy) if self.record.exists() else None

    def check_settings(self, settings: Settings) -> None:
        """Refuse a folder that holds something else than a run with these settings.

        Settings with which nothing was trained yet may change, so that a mistake can be corrected.

        Raises:
            UserError: other settings, which the message names, or files of something else.
        """
        earlier = self.read_record()
        if earlier is None:
            # A lock, a file cut off by a kill and the logs of other nodes may be older than the record.
            own = (".", "train.", _EARLIER)
            if self.path.is_dir() and any(not path.name.startswith(own) for path in self.path.iterdir()):
                raise UserError(
                    f"{self.path} has files that are not of scripts/train.sh; choose another folder with {self._option}"
                )
            return
        if not self.has_checkpoints():
            return
        differences = _differences(earlier.settings, settings)
        if differences:
            more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
            raise UserError(
                f"{self.path} holds a run with other settings: {differences[0]}{more}; "
                f"choose another folder with {self._option}, or set it aside with --start-over"
            )

    def is_complete(self, limits: Dict[str, float]) -> bool:
        """Whether a training ended well here whose limits were not lower than these; a limit of 0 is none.

        Without its checkpoints, which somebody removed, it counts for nothing.
        """
        earlier = self.read_record()
        if earlier is None or self.read_exit_status() != 0 or not self.has_checkpoints():
            return False
        return all(_at_most(limits[name], earlier.limits.get(name, 0)) for name in LIMITS)

    def has_checkpoints(self) -> bool:
        """Whether something is in one of them; on a full disk empty files are left."""
        return any(path.stat().st_size > 0 for path in self.checkpoints.glob("checkpoint*.pt"))

    def set_aside(self, typed: Optional[str] = None) -> Optional[Path]:
        """Move a run out of the way of one that is to start over.

        Args:
            typed: the command that asks for it. A run that this command began stays, so that it can continue. None
                for a run that cannot.

        Returns:
            The folder that has the earlier run now, RUN/earlier.1 or so; None where nothing was moved.

        Raises:
            UserError: the folder cannot be written.
        """
        if not self.record.exists() or (typed is not None and self._noted_commands()[:1] == [typed]):
            return None
        folder = next(path for number in itertools.count(1) if not (path := self.path / f"{_EARLIER}{number}").exists())
        try:
            folder.mkdir()
            # The record goes last: after a kill in between, the folder is still known for that of a run.
            for path in sorted(self.path.iterdir(), key=lambda path: path == self.record):
                if not path.name.startswith((".", _EARLIER)):
                    path.rename(folder / path.name)
        except OSError as error:
            raise UserError(
                f"cannot write to {self.path}: {error.strerror}; choose another folder with {self._option}"
            ) from error
        return folder

    def read_exit_status(self) -> Optional[int]:
        """The exit status of the last training, None where there was none or it was killed before it had one."""
        try:
            return int(self._exit_status.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write_exit_status(self, status: int) -> None:
        write_text(self._exit_status, f"{status}\n")

    def begin(self, record: RunRecord, configuration: Path, commands: List[str]) -> None:
        """Note what is about to be trained; an exit status from before no longer holds."""
        if self._exit_status.exists():
            self._exit_status.unlink()
        self._write_record(record, configuration)
        noted = self._noted_commands()
        lines = noted + [command for command in commands if command not in noted]
        write_text(self.commands, "\n".join(lines) + "\n")

    def _noted_commands(self) -> List[str]:
        if not self.commands.exists():
            return []
        return self.commands.read_text(encoding="utf-8", errors="replace").splitlines()

    def update_evaluation(self, record: RunRecord, configuration: Path) -> None:
        """Note how a complete run is to be evaluated, which the configuration may have changed since."""
        earlier = self.read_record()
        assert earlier is not None
        updated = replace(earlier, average=record.average, checkpoint=record.checkpoint, generation=record.generation)
        if updated != earlier:
            self._write_record(updated, configuration)

    def _write_record(self, record: RunRecord, configuration: Path) -> None:
        write_json(self.record, asdict(record))
        with atomic_output(self.path / f"config{configuration.suffix}") as temporary:
            shutil.copyfile(configuration, temporary)


def _differences(there: Settings, here: Settings) -> List[str]:
    pairs = [(name, _shown(there, name), _shown(here, name)) for name in {**there, **here}]
    return [f"{name} is {earlier} there and {now} here" for name, earlier, now in pairs if earlier != now]


def _shown(settings: Settings, name: str) -> str:
    value = settings.get(name, "not given")
    return "given" if value is None else str(value)


def _at_most(wanted: float, reached: float) -> bool:
    """Whether a limit was reached; 0 stands for none."""
    return reached == 0 or 0 < wanted <= reached
