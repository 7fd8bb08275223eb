"""A run's folder: which settings it belongs to, what is done in it, and who works in it."""

import json
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.locks import lock_folder

# More of these continues a run; all other settings are part of what a run is.
LIMITS = ("max_update", "max_epoch", "stop_time_hours")


class RunFolder:
    """The folder of one run (``RUN``): ``run.json``, ``train.log``, ``exit_status``, ``checkpoints/`` and so on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = path / "run.json"
        self.log = path / "train.log"
        self.commands = path / "command.txt"
        self.checkpoints = path / "checkpoints"
        self.last_checkpoint = self.checkpoints / "checkpoint_last.pt"
        self._exit_status = path / "exit_status"
        self._lock: Optional[int] = None

    def lock(self) -> int:
        """Make the folder and keep every other process from it until this one, and its children, have ended.

        Returns:
            The file descriptor that holds the lock, for children to inherit.

        Raises:
            UserError: another process holds it, or the folder cannot be written.
        """
        self._lock = lock_folder(
            self.path,
            "train.sh",
            f"another process trains in {self.path}; wait for it, or choose another folder with --run-dir",
            "choose another folder with --run-dir",
        )
        return self._lock

    def read_record(self) -> Optional[Dict[str, Any]]:
        """The contents of run.json, None where there is none.

        Raises:
            UserError: it is damaged.
        """
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            if not isinstance(record, dict):
                raise ValueError("it holds no record of a run")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {self.record} ({error}); choose another run folder, or delete it") from error
        return record

    def check_settings(self, settings: Dict[str, Any]) -> None:
        """Refuse a folder that holds something else than a run with these settings.

        Settings with which nothing was trained yet may change, so that a mistake can be corrected.

        Raises:
            UserError: other settings, which the message names, or files of something else.
        """
        earlier = self.read_record()
        if earlier is None:
            # A lock, a file cut off by a kill and the logs of other nodes may be older than the record.
            own = (".", "train.")
            if self.path.is_dir() and any(not path.name.startswith(own) for path in self.path.iterdir()):
                raise UserError(
                    f"{self.path} has files that are not of scripts/train.sh; choose another folder with --run-dir"
                )
            return
        if not self._has_checkpoints():
            return
        differences = _differences(earlier.get("settings", {}), settings)
        if differences:
            more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
            raise UserError(
                f"{self.path} holds a run with other settings: {differences[0]}{more}; "
                "choose another folder with --run-dir, or delete it"
            )

    def is_complete(self, limits: Dict[str, float]) -> bool:
        """Whether a training ended well here whose limits were not lower than these; a limit of 0 is none.

        Without its checkpoints, which somebody removed, it counts for nothing.
        """
        earlier = self.read_record()
        if earlier is None or self.read_exit_status() != 0 or not self._has_checkpoints():
            return False
        reached = earlier.get("limits", {})
        return all(_at_most(limits[name], reached.get(name, 0)) for name in LIMITS)

    def _has_checkpoints(self) -> bool:
        return any(self.checkpoints.glob("checkpoint*.pt"))

    def read_exit_status(self) -> Optional[int]:
        """The exit status of the last training, None where there was none or it was killed before it had one."""
        try:
            return int(self._exit_status.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write_exit_status(self, status: int) -> None:
        with atomic_output(self._exit_status) as temporary:
            temporary.write_text(f"{status}\n", encoding="utf-8")

    def begin(self, record: Dict[str, Any], configuration: Path, commands: List[str]) -> None:
        """Note what is about to be trained; an exit status from before no longer holds."""
        if self._exit_status.exists():
            self._exit_status.unlink()
        self._write_record(record, configuration)
        noted = self.commands.read_text(encoding="utf-8").splitlines() if self.commands.exists() else []
        with atomic_output(self.commands) as temporary:
            lines = noted + [command for command in commands if command not in noted]
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def update_evaluation(self, record: Dict[str, Any], configuration: Path) -> None:
        """Note how a complete run is to be evaluated, which the configuration may have changed since."""
        earlier = self.read_record()
        assert earlier is not None
        if any(earlier.get(name) != record[name] for name in _EVALUATION):
            self._write_record({**earlier, **{name: record[name] for name in _EVALUATION}}, configuration)

    def _write_record(self, record: Dict[str, Any], configuration: Path) -> None:
        with atomic_output(self.record) as temporary:
            temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with atomic_output(self.path / "config.args") as temporary:
            shutil.copyfile(configuration, temporary)


_EVALUATION = ("average", "checkpoint", "generation")
"""The entries of the record that say how a run is to be evaluated."""


def _differences(there: Dict[str, Any], here: Dict[str, Any]) -> List[str]:
    names = [*there, *(name for name in here if name not in there)]
    return [
        f"{name} is {_shown(there, name)} there and {_shown(here, name)} here"
        for name in names
        if there.get(name, _ABSENT) != here.get(name, _ABSENT)
    ]


_ABSENT = object()


def _shown(settings: Dict[str, Any], name: str) -> str:
    if name not in settings:
        return "not given"
    return "given" if settings[name] is None else str(settings[name])


def _at_most(wanted: float, reached: float) -> bool:
    """Whether a limit was reached; 0 stands for none."""
    return reached == 0 if wanted == 0 else reached == 0 or wanted <= reached
