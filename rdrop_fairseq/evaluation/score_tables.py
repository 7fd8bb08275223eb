"""The scores of :mod:`rdrop_fairseq.evaluation.score` as text for a terminal and as Markdown."""

from typing import List

from rdrop_fairseq.evaluation.paper_bleu import DESCRIPTION
from rdrop_fairseq.evaluation.score_report import SIGNIFICANCE_LEVEL, MetricResult, ScoreReport, SystemResult


def format_table(report: ScoreReport) -> str:
    """The scores as text for a terminal, with the lines that the sacrebleu command prints."""
    header = ["system", "BLEU", "mean +- 95% CI", "p", "chrF2", "mean +- 95% CI", "p"]
    rows = [header] + [[system.name] + _cells(system.bleu) + _cells(system.chrf) for system in report.systems]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    table.insert(1, "-" * max(map(len, table)))
    table += [f"{system.name}: {line}" for system in report.systems for line in system.sacrebleu_lines]
    table += [f"{system.name}: {line}" for system in report.systems for line in _paper_lines(system)]
    table += _explanations(report)
    return "\n".join(table)


def format_markdown(report: ScoreReport) -> str:
    """The scores as a Markdown table with the signatures below."""
    rows = [
        "| system | BLEU | mean +- 95% CI | p | chrF2 | mean +- 95% CI | p |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for system in report.systems:
        rows.append("| " + " | ".join([system.name] + _cells(system.bleu) + _cells(system.chrf)) + " |")
    rows.append("")
    paper_scores = [(system.name, system.paper_bleu) for system in report.systems if system.paper_bleu]
    if paper_scores:
        rows += [
            f"{DESCRIPTION.capitalize()}:",
            "",
            "| system | tokenised BLEU | compound-split BLEU |",
            "|---|---:|---:|",
        ]
        rows += [f"| {name} | {scores.tokenised:.2f} | {scores.compound_split:.2f} |" for name, scores in paper_scores]
        rows.append("")
    rows += [f"- {name}: `{signature}`" for name, signature in report.signatures.items()]
    rows += [f"- {line}" for line in _explanations(report)]
    return "\n".join(rows) + "\n"


def _cells(result: MetricResult) -> List[str]:
    p_value = "" if result.p_value is None else f"{result.p_value:.4f}"
    return [f"{result.score:.2f}", f"{result.mean:.2f} +- {result.confidence:.2f}", p_value]


def _paper_lines(system: SystemResult) -> List[str]:
    scores = system.paper_bleu
    if scores is None:
        return []
    return [
        f"tokenised BLEU = {scores.tokenised:.2f}, compound-split BLEU = {scores.compound_split:.2f} ({DESCRIPTION})"
    ]


def _explanations(report: ScoreReport) -> List[str]:
    pair = ""
    if report.source_lang and report.target_lang:
        pair = f", {report.source_lang}-{report.target_lang}"
    lines = [f"{report.sentences} sentences{pair}, reference {report.reference}"]
    lines += [f"{system.name}: {system.origin}" for system in report.systems if system.origin]
    if len(report.systems) > 1:
        lines.append(
            f"p: paired bootstrap test against {report.baseline}; "
            f"below {SIGNIFICANCE_LEVEL} the difference is significant"
        )
    signatures = ", ".join(f"{name}|{signature}" for name, signature in report.bootstrap_signatures.items())
    lines.append(f"bootstrap means, intervals{' and p' if len(report.systems) > 1 else ''}: {signatures}")
    return lines
