"""The text of a report: every sentence about the results is made from the numbers, and says no more than they do."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import List, Mapping, Optional, Sequence

from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.evaluation.plots import Figure
from rdrop_fairseq.evaluation.score_report import (
    SIGNIFICANCE_LEVEL,
    ScoreReport,
    SystemResult,
    markdown_table,
    score_notes,
)
from rdrop_fairseq.evaluation.training_log import TrainingLog

_TRAINING_COLUMNS = ("best valid nll", "at update", "updates", "training time")


@dataclass(frozen=True)
class Run:
    """A training run: its log, and the command lines beside it (None if missing)."""

    log: TrainingLog
    command: Optional[str]


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
        parts += [f"{name}:", fenced(command)]
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
    for name, run in runs.items():
        best = run.log.best_validation()
        if best is None:
            continue
        last = [record for record in run.log.validation if record.nll_loss is not None][-1]
        line = f"{name}: best validation nll {best.nll_loss:.3f} bits per token, at update {best.update}"
        if last.update == best.update:
            lines.append(f"{line}, its last validation: it was still improving, and more updates might help it.")
        else:
            lines.append(f"{line}; at its last validation, at update {last.update}, {last.nll_loss:.3f}.")
    return lines + ([] if scores is None else _cost_lines(runs, scores.baseline))


def _difference(system: SystemResult, scores: ScoreReport) -> str:
    baseline = scores.system(scores.baseline)
    parts = []
    for metric, result in system.metrics.items():
        verdict = "significant" if result.p_value < SIGNIFICANCE_LEVEL else "not significant"
        difference = result.score - baseline.metrics[metric].score
        parts.append(f"{difference:+.2f} {metric} (p = {result.p_value:.4f}, {verdict})")
    return (
        f"{system.name} against {baseline.name}: {' and '.join(parts)}, by {scores.test} with "
        f"{scores.test_size} of {scores.sentences} sentences at the level {SIGNIFICANCE_LEVEL}."
    )


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
    metrics = [column for metric in (scores.signatures if scores else ()) for column in (metric, "p")]
    rows = []
    for name in {**systems, **runs}:
        row = [name]
        for result in systems[name].metrics.values() if name in systems else ():
            row += [f"{result.score:.2f}", "" if result.p_value is None else f"{result.p_value:.4f}"]
        row += [""] * (1 + len(metrics) - len(row))
        if name in runs:
            log = runs[name].log
            best = log.best_validation()
            row += ["", ""] if best is None else [f"{best.nll_loss:.3f}", str(best.update)]
            row += [str(log.updates), _duration(log.elapsed_seconds)]
        row += [""] * (1 + len(metrics) + len(_TRAINING_COLUMNS) - len(row))
        rows.append(row)
    return markdown_table(["system", *metrics, *_TRAINING_COLUMNS], rows)


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


def fenced(text: str) -> str:
    """A literal block whose fence is longer than any in the text."""
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
