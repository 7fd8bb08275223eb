"""The figures of :mod:`rdrop_fairseq.evaluation.consistency` for one or more models: JSON, a table, and a plot."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from tabulate import tabulate

from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.evaluation.plots import line_style, new_figure, png_of
from rdrop_fairseq.evaluation.score_report import markdown_table

_COLUMNS = (
    "model", "KL between sub-models", "KL to the full model", "nll, sub-models", "nll, full model", "gap", "accuracy",
    "confidence", "calibration error",
)  # fmt: skip


@dataclass(frozen=True)
class Bin:
    """The predictions of about one confidence."""

    tokens: int
    confidence: float
    """Mean, from 0 to 1."""
    accuracy: float


@dataclass(frozen=True)
class Consistency:
    """What was measured of one model; divergences and nll are in bits per target token."""

    tokens: int
    kl_between: float
    """Mean of J over the pairs of sub-models."""
    kl_sub_to_full: float
    """Mean of KL(sub-model || full model)."""
    kl_full_to_sub: float
    """Mean of KL(full model || sub-model)."""
    nll_sub: float
    """Mean over the sub-models."""
    nll_full: float
    accuracy: float
    """Of the full model, from 0 to 1, and so are ``confidence`` and ``calibration_error``."""
    confidence: float
    calibration_error: float
    bins: Tuple[Bin, ...]

    @property
    def kl_to_full(self) -> float:
        """Mean of J between a sub-model and the full model."""
        return (self.kl_sub_to_full + self.kl_full_to_sub) / 2

    @property
    def gap(self) -> float:
        """The train-inference gap: by how much the nll of sub-models is above that of the full model."""
        return self.nll_sub - self.nll_full


@dataclass(frozen=True)
class MeasuredModel:
    """A model and its figures."""

    name: str
    path: str
    checkpoint: str
    """In words."""
    data: str
    figures: Consistency


@dataclass(frozen=True)
class Settings:
    """On what models are measured, and how."""

    split: str
    samples: int
    """Sub-models."""
    bins: int
    """Of the calibration."""
    seed: int
    """Of the sub-models."""
    max_tokens: int
    """Of a batch; a longer sentence is a batch of its own."""
    device: str
    """"cpu" or "cuda"."""


@dataclass(frozen=True)
class ConsistencyReport:
    """The figures of one or more models on one split, and how they were obtained."""

    settings: Settings
    models: Tuple[MeasuredModel, ...]
    hardware: str
    versions: Dict[str, str]
    commit: str

    @classmethod
    def of(cls, settings: Settings, models: Sequence[MeasuredModel]) -> "ConsistencyReport":
        """A report of what was measured here and now."""
        device = hardware()["GPU" if settings.device == "cuda" else "CPU"]
        return cls(settings, tuple(models), device, package_versions(), plugin_state())


def write_report(report: ConsistencyReport, folder: Path) -> List[Path]:
    """Write consistency.md, consistency.json and consistency.png; all of them appear when they are complete.

    Raises:
        UserError: the folder cannot be written, or matplotlib is not installed.
    """
    parts = ["# Consistency of dropout", markdown_table(_COLUMNS, _rows(report)), "![plot](consistency.png)"]
    parts.append("\n".join(f"- {note}" for note in _notes(report)))
    contents = {
        "consistency.md": ("\n\n".join(parts) + "\n").encode("utf-8"),
        "consistency.json": (json.dumps(_content(report), indent=2, ensure_ascii=False) + "\n").encode("utf-8"),
        "consistency.png": _plot(report),
    }
    with contextlib.ExitStack() as outputs:
        for name, content in contents.items():
            outputs.enter_context(atomic_output(folder / name)).write_bytes(content)
    return [folder / name for name in contents]


def format_table(report: ConsistencyReport) -> str:
    """The table as text for a terminal."""
    return tabulate(_rows(report), _COLUMNS, tablefmt="simple", disable_numparse=True)


def _content(report: ConsistencyReport) -> Dict[str, Any]:
    content = asdict(report)
    for model, of_model in zip(report.models, content["models"]):
        of_model["figures"].update(kl_to_full=model.figures.kl_to_full, gap=model.figures.gap)
    return content


def _rows(report: ConsistencyReport) -> List[List[str]]:
    rows = []
    for model in report.models:
        it = model.figures
        bits = (it.kl_between, it.kl_to_full, it.nll_sub, it.nll_full, it.gap)
        shares = (it.accuracy, it.confidence, it.calibration_error)
        rows.append([model.name, *(f"{value:.3f}" for value in bits), *(f"{100 * value:.2f}%" for value in shares)])
    return rows


def _notes(report: ConsistencyReport) -> List[str]:
    settings = report.settings
    notes = [
        "KL: symmetric, as in the objective, and nll: bits per target token; gap: nll of sub-models minus that of the "
        "full model, which is the model without dropout",
        "accuracy, confidence and expected calibration error: of the full model, next token",
        f"`{settings.split}`, {settings.samples} sub-models, {settings.bins} bins, seed {settings.seed}, batches of "
        f"{settings.max_tokens} tokens",
    ]
    notes += [
        f"{model.name}: `{model.path}`, {model.checkpoint}, {model.figures.tokens:,} tokens of `{model.data}`"
        for model in report.models
    ]
    if len({model.figures.tokens for model in report.models}) > 1:
        notes.append("warning: the targets differ in their number of tokens; bits per token do not compare")
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return [*notes, f"{report.hardware}; {versions}; {report.commit}"]


def _plot(report: ConsistencyReport) -> bytes:
    """Bars of divergences and of nll, and the reliability diagram, as PNG."""
    figure = new_figure((13, 4.4), f"Consistency of dropout on {report.settings.split}")
    divergences, likelihood, reliability = figure.subplots(1, 3)
    for axes, title, groups in (
        (
            divergences,
            "KL (bits per target token)",
            {"between sub-models": "kl_between", "to full model": "kl_to_full"},
        ),
        (likelihood, "nll (bits per target token)", {"sub-models": "nll_sub", "full model": "nll_full"}),
    ):
        width = 0.8 / len(report.models)
        for number, model in enumerate(report.models):
            style = line_style(number, model.name)
            places = [group - 0.4 + (number + 0.5) * width for group in range(len(groups))]
            values = [getattr(model.figures, value) for value in groups.values()]
            bars = axes.bar(places, values, width, color=style["color"], label=style["label"], alpha=0.8)
            axes.bar_label(bars, fmt="%.3f", fontsize=8)
        axes.set_title(title)
        axes.set_xticks(range(len(groups)), list(groups))
    reliability.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="perfect calibration")
    for number, model in enumerate(report.models):
        bins = [it for it in model.figures.bins if it.tokens]
        label = f"{model.name}: error {100 * model.figures.calibration_error:.2f}%"
        reliability.plot([it.confidence for it in bins], [it.accuracy for it in bins], **line_style(number, label))
    reliability.set(title="Reliability of the full model", xlabel="confidence", ylabel="accuracy", aspect="equal")
    reliability.grid(True, linewidth=0.5, alpha=0.4)
    reliability.legend()
    figure.legend(*divergences.get_legend_handles_labels(), loc="outside lower center", ncol=len(report.models))
    return png_of(figure)
