"""Folders of the quickstart of rdrop_fairseq 0.1, whose trainings go on as run folders of today."""

import shutil
from pathlib import Path
from typing import List, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.binarised_data import fingerprint
from rdrop_fairseq.experiments.options import words_of
from rdrop_fairseq.experiments.training import Training

_OWN_OPTIONS = ("--data", "--source-lang", "--target-lang", "--test-set", "--vocab-size", "--run-dir")


def is_earlier(folder: Path) -> bool:
    """Whether version 0.1 made this folder, and may have trained in it."""
    return (folder / "data-bin").is_dir() and (folder / "settings.txt").is_file()


def check_settings(folder: Path, words: Sequence[str], trainings: Sequence[Training]) -> None:
    """Assert that version 0.1, given this command line, would have gone on in the folder.

    Raises:
        UserError: it belongs to another command line.
    """
    configuration = trainings[0].configuration
    for_all, for_rdrop = _split(words)
    with_model = not any(word.partition("=")[0] == "--arch" for word in for_all)
    common = words_of(configuration.sections["model"] if with_model else ())
    common += words_of(configuration.sections["training"])
    expected = {
        f"languages {'-'.join(trainings[0].record.languages)}",
        f"options {' '.join([*common, '--max-tokens', str(configuration.max_tokens), *for_all])}",
        f"baseline options {' '.join(words_of(configuration.sections['baseline']))}",
        f"R-Drop options {' '.join([*words_of(configuration.sections['rdrop']), *for_rdrop])}",
    }
    lines = (folder / "settings.txt").read_text("utf-8", errors="replace").splitlines()
    if not any(line.startswith("options ") for line in lines):
        return  # taking over was interrupted after this was checked
    there = {line for line in lines if line.split(" ")[0] in ("languages", "options", "baseline", "R-Drop")}
    if there != expected:
        shown = sorted(there - expected)[0][:120]
        raise UserError(f"{folder} was made with other settings ({shown}); choose another folder with --run-dir")


def take_over(folder: Path, trainings: Sequence[Training], command: str) -> None:
    """Put the checkpoints of both trainings where a run folder has them; what is made again in seconds is removed.

    Args:
        folder: of the quickstart.
        trainings: of today, whose data have been made.
        command: the command that asked for it, to be noted.

    Raises:
        UserError: the text is another one than that of the earlier training.
    """
    record = trainings[0].record
    if fingerprint(folder / "data-bin", *record.languages) != fingerprint(Path(record.data), *record.languages):
        raise UserError(f"{folder} was made of other text; choose another folder with --run-dir")
    for training in trainings:
        run = training.folder
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        for path in run.path.glob("checkpoint*.pt"):
            path.replace(run.checkpoints / path.name)
        run.begin(training.record, training.configuration.path, [command])
    # The folder by which it is known goes last.
    for name in ("text", "subwords", "data-bin"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _split(words: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The options of a command line for both trainings, and for R-Drop, as version 0.1 took them apart."""
    for_all: List[str] = []
    for_rdrop: List[str] = []
    remaining: List[str] = []
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        remaining += [name, value] if equals else [word]
    while remaining:
        word = remaining.pop(0)
        if word in _OWN_OPTIONS:
            remaining.pop(0)
        elif word.startswith("--rdrop-"):
            for_rdrop += [word, remaining.pop(0)]
        else:
            for_all.append(word)
    return for_all, for_rdrop
