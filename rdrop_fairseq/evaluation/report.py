r"""A report on trained systems, as Markdown with figures: ``python -m rdrop_fairseq.evaluation.report``.

    python -m rdrop_fairseq.evaluation.report --run baseline=runs/baseline --run r-drop=runs/r-drop \
        --scores scores.json --output report

A run's folder holds ``train.log`` (fairseq-train's output with ``--log-format json``) and, if there is one,
``command.txt``, which is quoted. The scores are those of :mod:`rdrop_fairseq.evaluation.score`. Every sentence about
the results is made from the numbers, and says no more than they do.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, parse_named_paths, quiet_libraries
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike, atomic_output
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.evaluation.generate_output import read_hypotheses
from rdrop_fairseq.evaluation.plots import FIGURE_NAMES, Figure, plot_training_curves
from rdrop_fairseq.evaluation.score_report import (
    SIGNIFICANCE_LEVEL,
    ScoreReport,
    SystemResult,
    markdown_table,
    read_scores,
    score_notes,
)
from rdrop_fairseq.evaluation.training_log import TrainingLog, read_training_log

LOG_NAME = "train.log"
COMMAND_NAME = "command.txt"
REPORT_NAME = "report.md"
_SAMPLES = 5
_COLUMNS = ("system", "BLEU", "p", "chrF2", "p", "best valid nll", "at update", "updates", "training time")


@dataclass(frozen=True)
class Run:
    """A training run: its log, and the command lines beside it (None if missing)."""

    log: TrainingLog
    command: Optional[str]


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
    if not runs:
        raise UserError("no run to report on; give at least one --run NAME=DIR")
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
    if not all(Path(path).is_file() for path in [scores.reference, *(system.path for system in scores.systems)]):
        return []
    texts.append(("reference", _test_set_lines(scores.reference, scores, "score the systems again")))
    systems = [(system.name, read_hypotheses(system.path, scores.sentences)) for system in scores.systems]
    width = max(len(label) for label, _ in texts + systems)
    samples: List[str] = []
    for number, translations in enumerate(zip(*(lines for _, lines in systems)), start=1):
        if len(translations) > 1 and len(set(translations)) == 1:
            continue
        lines = [f"{label.ljust(width)}  {lines[number - 1]}" for label, lines in texts + systems]
        samples.append(f"Sentence {number}:\n\n{_fenced(lines)}")
        if len(samples) == _SAMPLES:
            break
    return samples


def _test_set_lines(path: PathLike, scores: ScoreReport, remedy: str) -> List[str]:
    lines = read_lines(path)
    if len(lines) != scores.sentences:
        raise UserError(f"{path} has {len(lines)} lines and the test set {scores.sentences}; {remedy}")
    return lines


def format_report(
    runs: Mapping[str, Run],
    scores: Optional[ScoreReport],
    figures: Sequence[Figure],
    samples: Sequence[str],
    data: Optional[str],
) -> str:
    """The text of ``report.md``."""
    title = "# Training report"
    if scores is not None and scores.source_lang and scores.target_lang:
        title += f": {scores.source_lang} to {scores.target_lang}"
    parts = [title, f"Made {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC with {plugin_state()}."]
    if data:
        parts.append(f"Data: {data}.")
    parts += ["## Results", _results_table(runs, scores), _bullets(_footnotes(scores))]
    parts += ["## What the numbers say", _bullets(conclusions(runs, scores))]
    if figures:
        parts.append("## Curves")
    for figure in figures:
        parts.append(f"![{figure.title}]({figure.name})")
        if figure.missing:
            parts.append(f"Not in the log of, and so without a curve for: {', '.join(figure.missing)}.")
    if samples:
        several = scores is not None and len(scores.systems) > 1
        parts.append("## Sample translations")
        parts.append(f"The first {len(samples)} test sentences{' on which the systems differ' if several else ''}.")
        parts += samples
    commands = {name: run.command for name, run in runs.items() if run.command is not None}
    if commands:
        parts.append("## How the systems were trained")
    for name, command in commands.items():
        parts += [f"{name}:", _fenced([command])]
    parts.append("## Environment")
    parts.append("Of the machine on which this report was made; a log does not tell where a system was trained.")
    environment = {**package_versions(), **hardware()}
    rows = [[label, value.replace("|", "/")] for label, value in environment.items()]
    parts.append(markdown_table(["", ""], rows, alignment="left"))
    return "\n\n".join(parts) + "\n"


def conclusions(runs: Mapping[str, Run], scores: Optional[ScoreReport]) -> List[str]:
    """Sentences on what the numbers show and what they cannot show, one for each comparison."""
    lines: List[str] = []
    if scores is not None and len(scores.systems) > 1:
        lines += [_difference(system, scores) for system in scores.systems if system.name != scores.baseline]
        lines.append(
            "The test resamples sentences. It does not cover what another random seed or more training would change."
        )
    lines += [line for name, run in runs.items() for line in _likelihood_lines(name, run.log)]
    if scores is not None:
        lines += _cost_lines(runs, scores.baseline)
    return lines


def _difference(system: SystemResult, scores: ScoreReport) -> str:
    baseline = scores.system(scores.baseline)
    parts = []
    for metric, result in system.metrics.items():
        verdict = "significant" if result.p_value < SIGNIFICANCE_LEVEL else "not significant"
        difference = result.score - baseline.metrics[metric].score
        parts.append(f"{difference:+.2f} {metric} (p = {result.p_value:.4f}, {verdict})")
    return (
        f"{system.name} against {baseline.name}: {' and '.join(parts)}, by a paired bootstrap test with "
        f"{scores.resamples} resamples of {scores.sentences} sentences at the level {SIGNIFICANCE_LEVEL}."
    )


def _likelihood_lines(name: str, log: TrainingLog) -> List[str]:
    best = log.best_validation()
    if best is None:
        return []
    last = [record for record in log.validation if record.nll_loss is not None][-1]
    line = f"{name}: best validation nll {best.nll_loss:.3f} bits per token, at update {best.update}"
    if last.update == best.update:
        return [f"{line}, its last validation: it was still improving, and more updates might help it."]
    return [f"{line}; at its last validation, at update {last.update}, {last.nll_loss:.3f}."]


def _cost_lines(runs: Mapping[str, Run], baseline: str) -> List[str]:
    """Time per update relative to the baseline, validation included; the logs' times are whole seconds."""
    seconds = {
        name: run.log.elapsed_seconds / run.log.updates
        for name, run in runs.items()
        if run.log.updates > 0 and run.log.elapsed_seconds >= 10  # below, rounding to seconds is the larger part
    }
    return [
        f"{name} took {seconds[name] / seconds[baseline]:.2f} times the time of {baseline} per update, "
        "validation included."
        for name in seconds
        if name != baseline and baseline in seconds
    ]


def _results_table(runs: Mapping[str, Run], scores: Optional[ScoreReport]) -> str:
    systems = {} if scores is None else {system.name: system for system in scores.systems}
    rows = []
    for name in {**systems, **runs}:
        row = [name]
        for result in systems[name].metrics.values() if name in systems else ():
            row += [f"{result.score:.2f}", "" if result.p_value is None else f"{result.p_value:.4f}"]
        row += [""] * (5 - len(row))
        if name in runs:
            log = runs[name].log
            best = log.best_validation()
            row += ["", ""] if best is None else [f"{best.nll_loss:.3f}", str(best.update)]
            row += [str(log.updates), _duration(log.elapsed_seconds)]
        rows.append(row + [""] * (len(_COLUMNS) - len(row)))
    return markdown_table(_COLUMNS, rows)


def _footnotes(scores: Optional[ScoreReport]) -> List[str]:
    notes = ["nll in bits per target token; training time includes validation."]
    if scores is not None:
        notes += score_notes(scores)
        for system in scores.systems:
            lines = [f"{system.name}: `{system.path}`", *(f"`{line}`" for line in system.sacrebleu_lines)]
            notes.append("\n    - ".join(lines))
    return notes


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _fenced(lines: Sequence[str]) -> str:
    """A literal block whose fence is longer than any in the text."""
    text = "\n".join(lines)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
