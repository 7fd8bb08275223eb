r"""A report on trained systems, as Markdown with figures: ``python -m rdrop_fairseq.evaluation.report``.

    python -m rdrop_fairseq.evaluation.report --run baseline=runs/baseline --run r-drop=runs/r-drop \
        --scores scores.json --output report

A run's folder holds ``train.log`` (fairseq-train's output with ``--log-format json``) and, if there is one,
``command.txt``, which is quoted. The scores are those of :mod:`rdrop_fairseq.evaluation.score`. Every sentence about
the results is made from the numbers, and says no more than they do.
"""

import argparse
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from rdrop_fairseq.common.command_line import parse_named_paths, quiet_libraries
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.evaluation.plots import Figure, plot_training_curves
from rdrop_fairseq.evaluation.score import read_hypotheses
from rdrop_fairseq.evaluation.score_report import (
    SIGNIFICANCE_LEVEL,
    MetricResult,
    ScoreReport,
    SystemResult,
    read_scores,
)
from rdrop_fairseq.evaluation.training_log import TrainingLog, read_training_log

PathLike = Union[str, Path]

LOG_NAME = "train.log"
COMMAND_NAME = "command.txt"
REPORT_NAME = "report.md"
_SAMPLES = 5


@dataclass(frozen=True)
class Run:
    """A training run: its log, and the command lines beside it (None if missing)."""

    log: TrainingLog
    command: Optional[str]


@dataclass(frozen=True)
class Sample:
    """One sentence of the test set; translations by system name."""

    number: int
    source: Optional[str]
    reference: str
    translations: Dict[str, str]


def read_run(directory: PathLike) -> Run:
    """Read the folder of a run.

    Raises:
        UserError: there is no folder, or no ``train.log`` with records in it.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"no such run folder: {directory}; give --run NAME=DIR with DIR/{LOG_NAME} in it")
    return Run(
        log=read_training_log(directory / LOG_NAME),
        command=_optional_text(directory / COMMAND_NAME),
    )


def write_report(
    runs: Mapping[str, PathLike],
    scores: Optional[PathLike],
    output_directory: PathLike,
    source: Optional[PathLike] = None,
    data: Optional[str] = None,
) -> Path:
    """Write ``report.md`` and its figures.

    Args:
        runs: folders of runs by name. A run and a system of the same name are one row of the table.
        scores: the JSON of :mod:`rdrop_fairseq.evaluation.score`; None for a report on training alone.
        output_directory: where the files go; each appears there when it is complete, ``report.md`` last.
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
    output_directory = Path(output_directory)
    contents = {name: read_run(directory) for name, directory in runs.items()}
    score_report = None if scores is None else read_scores(scores)
    samples = [] if score_report is None else sample_translations(score_report, source)
    figures = plot_training_curves({name: run.log for name, run in contents.items()}, output_directory)
    text = format_report(contents, score_report, figures, samples, data)
    path = output_directory / REPORT_NAME
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def sample_translations(scores: ScoreReport, source: Optional[PathLike] = None, count: int = _SAMPLES) -> List[Sample]:
    """The first sentences of the test set on which the systems differ (or the first, of one system).

    They are the first, not chosen ones. Empty if the scored files are no longer where they were.

    Raises:
        UserError: ``source`` cannot be read or has another number of lines.
    """
    sources = None if source is None else read_lines(source)
    if sources is not None and len(sources) != scores.sentences:
        raise UserError(
            f"--source {source} has {len(sources)} lines and the test set {scores.sentences}; "
            "give the source of the test set"
        )
    if not all(Path(path).is_file() for path in [scores.reference, *(system.path for system in scores.systems)]):
        return []
    references = read_lines(scores.reference)
    texts = {system.name: read_hypotheses(system.path, scores.sentences) for system in scores.systems}
    samples = []
    for index, reference in enumerate(references):
        translations = {name: lines[index] for name, lines in texts.items()}
        if len(translations) == 1 or len(set(translations.values())) > 1:
            samples.append(Sample(index + 1, None if sources is None else sources[index], reference, translations))
        if len(samples) == count:
            break
    return samples


def format_report(
    runs: Mapping[str, Run],
    scores: Optional[ScoreReport],
    figures: Sequence[Figure],
    samples: Sequence[Sample],
    data: Optional[str] = None,
) -> str:
    """The text of ``report.md``."""
    systems = {} if scores is None else {system.name: system for system in scores.systems}
    title = "Training report"
    if scores is not None and scores.source_lang and scores.target_lang:
        title += f": {scores.source_lang} to {scores.target_lang}"
    parts = [
        [f"# {title}", "", f"Made {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC with {plugin_state()}."],
        [f"Data: {data}."] if data else [],
        ["## Results", "", *_table(runs, systems), "", *_footnotes(scores)],
        ["## What the numbers say", "", *(f"- {line}" for line in conclusions(runs, scores))],
    ]
    if figures:
        parts.append(["## Curves", "", *_figure_lines(figures)])
    if samples:
        parts.append(_sample_lines(samples))
    parts.append(_command_lines(runs))
    parts.append(_environment_lines())
    return "\n\n".join("\n".join(part).rstrip() for part in parts if part) + "\n"


def conclusions(runs: Mapping[str, Run], scores: Optional[ScoreReport]) -> List[str]:
    """Sentences on what the numbers show and what they cannot show, one for each comparison."""
    lines: List[str] = []
    if scores is not None:
        baseline = scores.system(scores.baseline)
        others = [system for system in scores.systems if system.name != scores.baseline]
        lines += [_difference(system, baseline, scores) for system in others]
        if others:
            lines.append(
                "The test resamples sentences. It does not cover what another random seed or more training "
                "would change."
            )
    lines += _likelihood_lines(runs)
    if scores is not None:
        lines += _cost_lines(runs, scores.baseline)
    return lines


def _difference(system: SystemResult, baseline: SystemResult, scores: ScoreReport) -> str:
    parts = []
    for metric, ours, theirs in (("BLEU", system.bleu, baseline.bleu), ("chrF2", system.chrf, baseline.chrf)):
        verdict = "significant" if _significant(ours) else "not significant"
        parts.append(f"{ours.score - theirs.score:+.2f} {metric} (p = {ours.p_value:.4f}, {verdict})")
    return (
        f"{system.name} against {baseline.name}: {' and '.join(parts)}, by a paired bootstrap test with "
        f"{scores.resamples} resamples of {scores.sentences} sentences at the level {SIGNIFICANCE_LEVEL}."
    )


def _significant(result: MetricResult) -> bool:
    return result.p_value is not None and result.p_value < SIGNIFICANCE_LEVEL


def _likelihood_lines(runs: Mapping[str, Run]) -> List[str]:
    lines = []
    for name, run in runs.items():
        best = run.log.best_validation()
        if best is None:
            continue
        last = [record for record in run.log.validation if record.nll_loss is not None][-1]
        line = f"{name}: best validation nll {best.nll_loss:.3f} bits per token, at update {best.update}"
        if last.update == best.update:
            line += ", its last validation: it was still improving, and more updates might help it."
        else:
            line += f"; at its last validation, at update {last.update}, {last.nll_loss:.3f}."
        lines.append(line)
    return lines


def _cost_lines(runs: Mapping[str, Run], baseline: str) -> List[str]:
    """Time per update relative to the baseline, validation included; the logs' times are whole seconds."""
    if baseline not in runs:
        return []
    reference = _seconds_per_update(runs[baseline].log)
    lines = []
    for name, run in runs.items():
        own = _seconds_per_update(run.log)
        if name != baseline and own is not None and reference is not None:
            lines.append(
                f"{name} took {own / reference:.2f} times the time of {baseline} per update, validation included."
            )
    return lines


def _seconds_per_update(log: TrainingLog) -> Optional[float]:
    enough = log.updates > 0 and log.elapsed_seconds >= 10  # below, rounding to seconds is the larger part
    return log.elapsed_seconds / log.updates if enough else None


def _table(runs: Mapping[str, Run], systems: Mapping[str, SystemResult]) -> List[str]:
    names = [*systems, *(name for name in runs if name not in systems)]
    header = ["system", "BLEU", "p", "chrF2", "p", "best valid nll", "at update", "updates", "training time"]
    rows = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for name in names:
        cells = [name]
        cells += _score_cells(systems[name]) if name in systems else [""] * 4
        cells += _training_cells(runs[name].log) if name in runs else [""] * 4
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _score_cells(system: SystemResult) -> List[str]:
    cells = []
    for result in (system.bleu, system.chrf):
        cells += [f"{result.score:.2f}", "" if result.p_value is None else f"{result.p_value:.4f}"]
    return cells


def _training_cells(log: TrainingLog) -> List[str]:
    best = log.best_validation()
    likelihood = ["", ""] if best is None else [f"{best.nll_loss:.3f}", str(best.update)]
    return [*likelihood, str(log.updates), _duration(log.elapsed_seconds)]


def _footnotes(scores: Optional[ScoreReport]) -> List[str]:
    notes = ["- nll in bits per target token; training time includes validation."]
    if scores is None:
        return notes
    notes += [f"- {name} signature: `{signature}`" for name, signature in scores.signatures.items()]
    if len(scores.systems) > 1:
        notes.append(f"- p: paired bootstrap test against {scores.baseline}.")
        notes += [f"- {name} test signature: `{text}`" for name, text in scores.bootstrap_signatures.items()]
    notes.append(f"- {scores.sentences} test sentences, reference `{scores.reference}`.")
    for system in scores.systems:
        notes.append(f"- {system.name}: `{system.path}`")
        notes += [f"    - `{line}`" for line in system.sacrebleu_lines]
    return notes


def _figure_lines(figures: Sequence[Figure]) -> List[str]:
    lines = []
    for figure in figures:
        lines += [f"![{figure.title}]({figure.path.name})", ""]
        if figure.missing:
            lines += [f"Not in the log of, and so without a curve for: {', '.join(figure.missing)}.", ""]
    return lines


def _sample_lines(samples: Sequence[Sample]) -> List[str]:
    lines = ["## Sample translations", ""]
    several = len(samples[0].translations) > 1
    lines += [
        f"The first {len(samples)} test sentences{' on which the systems differ' if several else ''}.",
        "",
    ]
    for sample in samples:
        texts = {} if sample.source is None else {"source": sample.source}
        entries: List[Tuple[str, str]] = [
            *texts.items(),
            ("reference", sample.reference),
            *sample.translations.items(),
        ]
        width = max(len(label) for label, _ in entries)
        lines += [f"Sentence {sample.number}:", ""]
        lines += [*_fenced("\n".join(f"{label.ljust(width)}  {text}" for label, text in entries)), ""]
    return lines


def _command_lines(runs: Mapping[str, Run]) -> List[str]:
    lines = []
    for name, run in runs.items():
        if run.command is not None:
            lines += [f"{name}:", "", *_fenced(run.command), ""]
    return ["## How the systems were trained", "", *lines] if lines else []


def _environment_lines() -> List[str]:
    rows = {**package_versions(), **hardware()}
    return [
        "## Environment",
        "",
        "Of the machine on which this report was made; a log does not tell where a system was trained.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {label} | {value.replace('|', '/')} |" for label, value in rows.items()),
    ]


def _fenced(text: str) -> List[str]:
    """A literal block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text.strip("\n"), fence]


def _optional_text(path: Path) -> Optional[str]:
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
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
    path = write_report(
        parse_named_paths(arguments.run, "--run"),
        arguments.scores,
        arguments.output,
        source=arguments.source,
        data=arguments.data,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
