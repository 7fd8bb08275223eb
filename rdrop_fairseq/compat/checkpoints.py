"""Reading and writing fairseq's checkpoints: safely, atomically, and with errors that say what is wrong."""

import argparse
import contextlib
import glob
import inspect
import io
import logging
import os
import pickle
import re
import shutil
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Union

import torch

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.compat.plain_data import allow_safe_checkpoint_loading
from rdrop_fairseq.compat.replacement import replace_once

logger = logging.getLogger(__name__)

# What R-Drop trains with -> what plain fairseq has for the same model, and for the same figures in validation.
ORDINARY_NAMES = {
    "rdrop_translation": "translation",
    "label_smoothed_cross_entropy_with_rdrop": "label_smoothed_cross_entropy",
    "rdrop_label_smoothed_cross_entropy": "label_smoothed_cross_entropy",
}


def load_checkpoint(path: Union[str, os.PathLike]) -> Dict[str, Any]:
    """The contents of a fairseq checkpoint, its tensors on the CPU, loaded safely.

    Raises:
        UserError: the file is missing, truncated, or no fairseq checkpoint.
    """
    allow_safe_checkpoint_loading()
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise UserError(f"no checkpoint {path}; give the path of a .pt file that fairseq-train wrote")
    state = _load_safely(path)
    if not isinstance(state, dict) or "model" not in state:
        raise UserError(f"{path} is not a fairseq checkpoint (no 'model' in it); give a file that fairseq-train wrote")
    # A buffer of fairseq's whose type alone it uses. Its value is what was in memory, at times no number.
    for name, tensor in state["model"].items() if isinstance(state["model"], dict) else ():
        if str(name).endswith("_float_tensor") and torch.is_tensor(tensor):
            tensor.zero_()
    return state


def save_checkpoint(state: Dict[str, Any], path: Union[str, os.PathLike]) -> None:
    """Write a checkpoint, which appears under its name when it is complete.

    Raises:
        UserError: the folder cannot be written (read-only, full); ``path`` is as it was before.
    """
    with _checkpoint_output(path) as temporary:
        try:
            # Given a name, torch would write it, a temporary one, into the file.
            with open(temporary, "wb") as stream:
                torch.save(state, stream)
        except RuntimeError as error:
            # On a full disk torch complains of a wrong position in the file, in consequence of the error meant here.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _load_safely(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _LOADING_ERRORS as error:
        raise _broken_checkpoint(path, error) from error


# What torch.load raises for a file that was cut off, is empty, or holds something else.
_LOADING_ERRORS = (RuntimeError, EOFError, OSError, pickle.UnpicklingError, LookupError, ValueError)
# How torch names what it refuses to load safely.
_REFUSED = re.compile(r"GLOBAL (\S+)|unrecognized function (.+)")


def _broken_checkpoint(path: str, error: Exception) -> UserError:
    refused = _REFUSED.search(str(error))
    if refused:
        return UserError(
            f"{path} holds an object that is not allowed in a checkpoint loaded safely "
            f"({refused[1] or refused[2]}); if you trust its origin, load it with "
            "torch.load(..., weights_only=False), remove that and save it again"
        )
    # An error with a name comes from opening the file, one without from what is in it.
    if isinstance(error, OSError) and error.filename is not None:
        return UserError(f"cannot read checkpoint {path}: {error.strerror}; check the path and its permissions")
    return UserError(
        f"checkpoint {path} is incomplete or damaged (probably cut off while it was written or copied); "
        "use another one, such as checkpoint_best.pt, or delete it to start without it"
    )


def report_loading() -> None:
    """Have fairseq's loader say which file it loads unsafely, and in one line which is damaged.

    Before torch 2.6 fairseq loads without restriction, and main does with any torch: such a file can run code. torch
    names neither file nor remedy when it fails. For all three versions.
    """
    from fairseq import checkpoint_utils

    def make(load: Callable) -> Callable:
        says_so = False
        with contextlib.suppress(OSError, TypeError):  # there is no source
            says_so = "weights_only=False" in inspect.getsource(inspect.unwrap(load))

        def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> Dict[str, Any]:
            try:
                state = load(path, *args, **kwargs)
            except _LOADING_ERRORS as error:
                # Other steps of loading, such as --model-overrides, raise the same types.
                _load_safely(path)
                raise error
            if says_so or _torch_loads_anything():
                logger.info(f"fairseq loaded {path} without restriction: one that may hold code needs a trusted origin")
            return state

        return load_checkpoint_to_cpu

    replace_once(checkpoint_utils, "load_checkpoint_to_cpu", make)


def _torch_loads_anything() -> bool:
    """Whether ``torch.load`` has no restriction unless told: its version and two environment variables decide."""
    stream = io.BytesIO()
    torch.save(UserError, stream)  # a class that nobody allows
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.4 and 2.5 announce the change of the default
        try:
            torch.load(stream)
        except (pickle.UnpicklingError, RuntimeError):
            return False
    return True


def name_what_plain_fairseq_knows() -> None:
    """Have the checkpoints of R-Drop name a task and a criterion that fairseq has without this plugin.

    So they load without it, with the hub's ``from_pretrained`` and fairseq-validate too, which build the task and the
    criterion that the checkpoint names. ``Trainer.state_dict`` is where every way of writing passes. For all three
    versions.
    """
    from fairseq.trainer import Trainer

    def make(state_dict: Callable) -> Callable:
        def state_dict_with_ordinary_names(self: Any) -> Dict[str, Any]:
            return _with_ordinary_names(state_dict(self))

        return state_dict_with_ordinary_names

    replace_once(Trainer, "state_dict", make)


def _with_ordinary_names(state: Dict[str, Any]) -> Dict[str, Any]:
    """The state of a training with the names of :data:`ORDINARY_NAMES`; ``state`` is not changed.

    The flags of the R-Drop criterion, which the other does not know, are kept in ``extra_state["rdrop_criterion"]``.
    """
    state = dict(state)
    if isinstance(state["cfg"], dict):
        cfg = state["cfg"] = dict(state["cfg"])
        for part in ("task", "criterion"):
            name = isinstance(cfg.get(part), dict) and cfg[part].get("_name")
            if name not in ORDINARY_NAMES:
                continue
            if part == "criterion":
                state["extra_state"] = {**state["extra_state"], "rdrop_criterion": cfg[part]}
            kept = {key: value for key, value in cfg[part].items() if not key.startswith("rdrop_")}
            cfg[part] = {**kept, "_name": ORDINARY_NAMES[name]}
        # For a model that is configured by the command line, fairseq keeps the whole of it.
        cfg["model"] = _arguments_with_ordinary_task(cfg.get("model"))
    state["args"] = _arguments_with_ordinary_task(state.get("args"))
    return state


def _arguments_with_ordinary_task(arguments: Any) -> Any:
    """A copy that names the other task, if these are the arguments of a command line, else what is given."""
    if not isinstance(arguments, argparse.Namespace) or getattr(arguments, "task", None) not in ORDINARY_NAMES:
        return arguments
    return argparse.Namespace(**{**vars(arguments), "task": ORDINARY_NAMES[arguments.task]})


def write_checkpoints_atomically() -> None:
    """Replace fairseq's writing and copying of checkpoints by ones that leave whole files only.

    fairseq writes checkpoint_last.pt as a plain copy whenever it saves another checkpoint too: a kill in the middle
    left a truncated file, from which the next start could not resume. On a full disk it left its temporary file. For
    all three versions, without iopath.
    """
    from fairseq import checkpoint_utils, file_io

    if file_io.IOPathManager is not None:
        return  # iopath brings its own handlers, also for stores that are not folders

    def torch_persistent_save(obj: Dict[str, Any], filename: str, async_write: bool = False) -> None:
        save_checkpoint(obj, filename)

    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if not overwrite and os.path.exists(dst_path):
            return False
        with _checkpoint_output(dst_path) as temporary:
            shutil.copyfile(src_path, temporary)
        return True

    replace_once(checkpoint_utils, "torch_persistent_save", lambda _: torch_persistent_save)
    replace_once(file_io.PathManager, "copy", lambda _: copy)


@contextlib.contextmanager
def _checkpoint_output(path: Union[str, os.PathLike]) -> Iterator[Path]:
    """:func:`atomic_output`, which also removes what a killed process left of its attempt at the same file."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):
            leftover.unlink()
    with atomic_output(path) as temporary:
        yield temporary


def report_unusable_checkpoint_folder() -> None:
    """Have fairseq's check of --save-dir end in one line with cause and remedy.

    For all three versions.
    """
    from fairseq import checkpoint_utils

    def make(verify: Callable) -> Callable:
        def verify_checkpoint_directory(save_dir: str) -> None:
            try:
                verify(save_dir)
            except OSError as error:
                raise UserError(
                    f"cannot write checkpoints to {save_dir}: {error.strerror}; choose another --save-dir, or free "
                    "space"
                ) from error

        return verify_checkpoint_directory

    replace_once(checkpoint_utils, "verify_checkpoint_directory", make)
