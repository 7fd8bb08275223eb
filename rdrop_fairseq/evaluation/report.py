r"""A report on trained systems, as Markdown with figures: ``python -m rdrop_fairseq.evaluation.report``.

    python -m rdrop_fairseq.evaluation.report --run baseline=runs/baseline --run r-drop=runs/r-drop \
        --scores scores.json --output report

A run's folder holds ``train.log`` (fairseq-train's output with ``--log-format json``) and, if there is one,
``command.txt``, which is quoted. The scores are those of :mod:`rdrop_fairseq.evaluation.score`.
"""

import contextlib
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, parse_named_paths, quiet_libraries
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike, atomic_output
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.evaluation.generate_output import read_translations
from rdrop_fairseq.evaluation.plots import FIGURE_NAMES, plot_training_curves
from rdrop_fairseq.evaluation.report_text import Run, fenced, format_report
from rdrop_fairseq.evaluation.score_report import ScoreReport, read_scores
from rdrop_fairseq.evaluation.training_log import read_training_log

LOG_NAME = "train.log"
COMMAND_NAME = "command.txt"
REPORT_NAME = "report.md"
_SAMPLES = 5


def read_run(directory: PathLike) -> Run:
    """Read the folder of a run.

    Raises:
        UserError: there is no folder, or no ``train.log`` with records in it.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"no such run folder: {directory}; give --run NAME=DIR with DIR/{LOG_NAME} in it")
    command = directory / COMMAND_NAME
    try:
        text = command.read_text(encoding="utf-8", errors="replace").strip() if command.is_file() else ""
    except OSError as error:
        raise UserError(f"cannot read {command}: {error.strerror}; check its permissions") from error
    return Run(read_training_log(directory / LOG_NAME), text or None)


def write_report(
    runs: Mapping[str, PathLike],
    scores: Optional[PathLike],
    output_directory: PathLike,
    source: Optional[PathLike] = None,
    data: Optional[str] = None,
) -> Path:
    """Write ``report.md`` and its figures.

    They appear, and replace those of an earlier report, when all of them are complete.

    Args:
        runs: folders of runs by name. A run and a system of the same name are one row of the table.
        scores: the JSON of :mod:`rdrop_fairseq.evaluation.score`; None for a report on training alone.
        output_directory: where the files go.
        source: the source side of the test set, for the sample translations.
        data: what the systems were trained on, in words.

    Returns:
        The path of ``report.md``.

    Raises:
        UserError: a run or the scores cannot be read; the source has another number of lines than the test
            set; matplotlib is missing; the output cannot be written.
    """
    contents = {name: read_run(directory) for name, directory in runs.items()}
    score_report = None if scores is None else read_scores(scores)
    samples = [] if score_report is None else _sample_translations(score_report, source)
    figures = plot_training_curves({name: run.log for name, run in contents.items()})
    text = format_report(contents, score_report, figures, samples, data)

    folder = Path(output_directory)
    files = {REPORT_NAME: text.encode("utf-8"), **{figure.name: figure.content for figure in figures}}
    with contextlib.ExitStack() as outputs:
        for name, content in files.items():  # the first one gets its name last
            outputs.enter_context(atomic_output(folder / name)).write_bytes(content)
        for path in (folder / name for name in FIGURE_NAMES if name not in files):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"cannot remove the outdated {path}: {error.strerror}; remove it") from error
    return folder / REPORT_NAME


def _sample_translations(scores: ScoreReport, source: Optional[PathLike]) -> List[str]:
    """The first sentences of the test set on which the systems differ (or the first, of one system), as Markdown.

    Empty if the scored files are no longer where they were.
    """
    texts: List[Tuple[str, Sequence[str]]] = []  # label and sentences; a system may be called "source" too
    if source is not None:
        texts.append(("source", _test_set_lines(source, scores, "give the source of the test set as --source")))
    if not all(Path(path).is_file() for path in [*scores.references, *(system.path for system in scores.systems)]):
        return []
    references = {path: _test_set_lines(path, scores, "score the systems again") for path in scores.references}
    texts += [("reference", lines) for lines in references.values()]
    systems = [(system.name, read_translations(system.path, references).lines) for system in scores.systems]
    width = max(len(label) for label, _ in texts + systems)
    samples: List[str] = []
    for number, translations in enumerate(zip(*(lines for _, lines in systems)), start=1):
        if len(translations) > 1 and len(set(translations)) == 1:
            continue
        sample = "\n".join(f"{label.ljust(width)}  {lines[number - 1]}" for label, lines in texts + systems)
        samples.append(f"Sentence {number}:\n\n{fenced(sample)}")
        if len(samples) == _SAMPLES:
            break
    return samples


def _test_set_lines(path: PathLike, scores: ScoreReport, remedy: str) -> List[str]:
    lines = read_lines(path)
    if len(lines) != scores.sentences:
        raise UserError(f"{path} has {len(lines)} lines and the test set {scores.sentences}; {remedy}")
    return lines


def main(argv: Optional[Sequence[str]] = None) -> None:
    """The command line."""
    parser = Parser(
        prog="python -m rdrop_fairseq.evaluation.report",
        description="Write report.md with tables and training curves of one or more systems.",
    )
    parser.add_argument(
        "--run",
        action="append",
        required=True,
        metavar="NAME=DIR",
        help=f"a folder with {LOG_NAME} and, if there, {COMMAND_NAME}; one --run for each",
    )
    parser.add_argument("--scores", metavar="FILE", help="JSON of python -m rdrop_fairseq.evaluation.score --json")
    parser.add_argument("--source", metavar="FILE", help="source side of the test set, for the sample translations")
    parser.add_argument("--data", metavar="TEXT", help="what the systems were trained on, in words")
    parser.add_argument("--output", required=True, metavar="DIR", help=f"folder for {REPORT_NAME} and the figures")
    arguments = parser.parse_args(argv)
    quiet_libraries()
    runs = parse_named_paths(arguments.run, "--run")
    path = write_report(runs, arguments.scores, arguments.output, source=arguments.source, data=arguments.data)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
