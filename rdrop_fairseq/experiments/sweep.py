"""Many settings and seeds of one configuration, compared: ``scripts/sweep.sh``; see its --help."""

import argparse
import math
import os
import shlex
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Dict, List, Optional, Sequence, Set

from rdrop_fairseq.common.command_line import Parser, positive_number, say, split_words
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import write_text
from rdrop_fairseq.common.processes import available_cores
from rdrop_fairseq.common.work_folder import WorkFolder
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.evaluation.plots import new_figure
from rdrop_fairseq.evaluation.report import write_report
from rdrop_fairseq.evaluation.score_report import ScoreReport, write_scores
from rdrop_fairseq.experiments import experiment
from rdrop_fairseq.experiments import options as training_options
from rdrop_fairseq.experiments.comparison import compare, make_scorer
from rdrop_fairseq.experiments.configuration import (
    CONFIGURATIONS,
    REPOSITORY,
    Configuration,
    Setting,
    closest,
    find_configuration,
)
from rdrop_fairseq.experiments.placement import place
from rdrop_fairseq.experiments.sweep_file import Cell, read_sweep
from rdrop_fairseq.experiments.sweep_report import TABLE, Row, format_rows, write_tables
from rdrop_fairseq.experiments.sweep_training import check_schedule, has_come_so_far, read_log, train_at_once
from rdrop_fairseq.experiments.training import Training, default_data, plan_training
from rdrop_fairseq.experiments.translation import Translation

SCRIPT = "scripts/sweep.sh"
_PROGRAM = Path(SCRIPT).name
SWEEPS = CONFIGURATIONS / "sweeps"
# The metrics of fairseq by which settings can be chosen, and their names in the records of a log.
METRICS = {"loss": "loss", "nll_loss": "nll_loss", "ppl": "perplexity", "bleu": "bleu"}


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit status.

    Raises:
        UserError: something cannot work, or trainings failed; the others are trained, and the table is there.
    """
    parser = sweep_parser()
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    training_options.check_training_options(options)
    training_options.refuse_options_of_train(others, of_recipe=False)
    configuration, path = find_configuration(options.config), _find_sweep(options.sweep)
    cells, command_line = read_sweep(path), training_options.settings_of_words(others, "fairseq-train")
    _check_flags(cells, command_line, parser)
    options.source_lang = options.source_lang or configuration.source_language
    options.target_lang = options.target_lang or configuration.target_language
    options.default_gpus = 1
    experiment.find_data(options)
    if options.parallel > 1 and place(options).on_cpu:
        # Before the trainings are planned: they divide the cores among the processes of one.
        cores = available_cores() // (options.parallel * (options.processes or 1))
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores)))
    folder = WorkFolder(options.run_dir or REPOSITORY / "runs" / "sweeps" / path.stem, _PROGRAM, "--run-dir")
    key = experiment.key_of_report(words, options.data, configuration.path, path)
    table, mark = folder.path / TABLE, folder.path / ".done" / "sweep"
    if experiment.holds_key(mark, key) and table.is_file() and not options.dry_run:
        say(_PROGRAM, f"{folder.path}: done before; the table is {table}")
        return 0
    sweep = Sweep(configuration, options, command_line, cells, folder.path, [SCRIPT, *words])
    sweep.check()
    if options.dry_run:
        return 0
    settings = [f"configuration {configuration.name}", f"sweep {path.stem}", f"data {sweep.description}"]
    with folder.opened(settings, lasting=["runs/*/checkpoints/*.pt"]):
        print(format_rows(sweep.run()))
        print(f"table: {table}")
        if sweep.failed:
            raise UserError(
                f"failed, so that their settings are left out: {', '.join(sorted(sweep.failed))}; "
                "the causes stand above, and the same command tries again"
            )
        write_text(mark, key)
    return 0


def sweep_parser() -> Parser:
    """The options of the script that are not fairseq-train's."""
    parser = Parser(prog=SCRIPT, allow_abbrev=False)
    training_options.add_training_options(parser)
    experiment.add_text_options(parser)
    parser.add_argument("config", metavar="CONFIG", help="a name in configs/, or a path")
    parser.add_argument("sweep", metavar="SWEEP", help="a name in configs/sweeps/, or a path")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="raw reference text of the test set")
    parser.add_argument("--parallel", type=positive_number, default=1, metavar="N", help="trainings at once")
    parser.add_argument("--halving", type=positive_number, metavar="N", help="updates before the first choice")
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and do nothing")
    return parser


def _find_sweep(name: str) -> Path:
    """A sweep by its name in configs/sweeps/, or by its path."""
    if os.sep in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    names = sorted(path.stem for path in SWEEPS.glob("*.yaml"))
    if name not in names:
        raise UserError(f"no sweep {name}; {closest(name, names) or 'choose from ' + ', '.join(names)}, or give a path")
    return SWEEPS / f"{name}.yaml"


def _check_flags(cells: Sequence[Cell], command_line: Sequence[Setting], parser: argparse.ArgumentParser) -> None:
    """Refuse flags that are not for the file of a sweep, or that are given beside it."""
    if any(setting.flag == "--seed" for setting in command_line):
        raise UserError("--seed would be that of all trainings; write seeds: into the sweep")
    given = {setting.flag for setting in command_line}
    for cell, setting in [(it, setting) for it in cells for setting in (*it.common, *it.settings)]:
        flag, reason = setting.flag, training_options.refusal(setting.flag, "fairseq-train")
        if flag in parser._option_string_actions:  # argparse has no public way to ask
            reason = f"is an option of {SCRIPT}; give it on the command line"
        elif flag == "--seed":
            reason = "would be that of all trainings; write seeds: in its place"
        elif setting in cell.settings and cell.variant == "baseline" and flag.startswith("--rdrop-"):
            reason = "is an option of R-Drop, which a baseline has not; leave it out"
        elif setting in cell.settings and flag in given:
            reason = "is given on the command line as well; leave it out there"
        if reason:
            raise UserError(f"{setting.place}: {flag} {reason}")


def better_half(cells: Sequence[Cell], values: Dict[str, Optional[float]]) -> List[Cell]:
    """The cells that train on: of each family the better half, rounded up, in the order they had.

    Args:
        cells: of one or more families.
        values: by name, the higher the better; None for a cell that failed, which goes.
    """
    kept = []
    for cell in cells:
        members = [values[it.name] for it in cells if it.family == cell.family]
        # Of equal ones the first are taken.
        better = [it.name for it in cells if it.family == cell.family and values[it.name] is not None]
        better.sort(key=lambda name: values[name], reverse=True)
        kept += [cell] if cell.name in better[: (len(members) + 1) // 2] else []
    return kept


class Sweep:
    """All steps of a sweep in its folder, each of which continues where it was.

    Args:
        configuration: the hyper-parameters that no cell changes.
        options: of the command line (see :func:`sweep_parser`), complete.
        command_line: flags of fairseq-train for all cells.
        cells: what is compared.
        folder: where everything goes.
        command: the command that asked for it, to be noted.
    """

    def __init__(
        self,
        configuration: Configuration,
        options: argparse.Namespace,
        command_line: Sequence[Setting],
        cells: Sequence[Cell],
        folder: Path,
        command: Sequence[str],
    ) -> None:
        self._configuration, self._options, self._command_line = configuration, options, command_line
        self._cells, self._folder, self._typed = cells, folder, shlex.join(command)
        self._preparation: Optional[Preparation] = None
        self._data = options.data or default_data(configuration, options.source_lang, options.target_lang)
        self.description = str(self._data)
        is_sample = options.data is None and configuration.recipe == "quickstart"
        if is_sample or (options.data is not None and not any(options.data.glob("dict.*.txt"))):
            # The text may be corrected until something was trained on it.
            lasting = ["../runs/*/checkpoints/*.pt"]
            self._preparation = experiment.text_preparation(options, folder / "data", _PROGRAM, lasting)
            self._data = self._preparation.bin
            self.description = f"{options.data or 'the sample corpus'}, {options.vocab_size} sub-words"
        self._metric, self._maximise = "", False
        self._trainings: Dict[str, Training] = {}
        self.failed: Set[str] = set()
        """The names of runs."""

    def check(self) -> None:
        """Assert, before the first training, what all of them and their evaluation need.

        Raises:
            UserError: something cannot work; the message says what, and what to do.
        """
        say(_PROGRAM, f"checking the options of {len(self._cells)} settings")
        if self._preparation:
            self._preparation.check()
        to_come = self._preparation is not None
        trainings = {run: self._plan(cell, run, data_to_come=to_come) for cell in self._cells for run in cell.runs}
        new_figure((1, 1), "")  # matplotlib is there
        experiment.check_evaluation(list(trainings.values()))
        reference = self._options.reference or self._data / f"reference.{self._options.target_lang}"
        if not (self._preparation or self._options.dry_run or reference.is_file()):
            raise UserError(f"no raw reference {reference}; give the detokenised test text with --reference")
        values = [training.values for training in trainings.values()]
        metric, *others = sorted({(it.best_checkpoint_metric, it.maximize_best_checkpoint_metric) for it in values})
        if others or metric[0] not in METRICS:
            found = ", ".join(name for name, _ in [metric, *others])
            raise UserError(
                f"settings are chosen by --best-checkpoint-metric, which is {found}; "
                f"give one of {', '.join(METRICS)} for all"
            )
        if metric[0] == "loss" and len({it.label_smoothing for it in values}) > 1:
            raise UserError(
                "losses of different --label-smoothing do not compare; give --best-checkpoint-metric nll_loss"
            )
        self._metric, self._maximise = METRICS[metric[0]], metric[1]
        for training in trainings.values() if self._options.halving else ():
            check_schedule(training)
        if self._options.dry_run:
            print("\n".join(f"# {name}\n{training.shell_command}" for name, training in trainings.items()))

    def run(self) -> List[Row]:
        """Data, trainings, translations and scores, and the tables; returns their rows."""
        if self._preparation:
            self._preparation.run()
        self._trainings = {run: self._plan(cell, run) for cell in self._cells for run in cell.runs}
        for training in self._trainings.values():
            if self._options.start_over:
                training.folder.set_aside(self._typed)
            training.folder.check_settings(training.record.settings)
        stopped = self._train_all()
        values = {cell.name: self._value(cell) for cell in self._cells if cell.name not in stopped}
        order = sorted(filter(lambda it: values.get(it.name) is not None, self._cells), key=lambda it: -values[it.name])
        chosen = {cell.family: cell for cell in reversed(order)}  # of each family the first one in order
        # The best baseline comes first: the others are compared with it.
        tested = sorted(chosen.values(), key=lambda cell: (cell.variant != "baseline", order.index(cell)))
        if not tested or tested[0].variant != "baseline":
            say(_PROGRAM, "no baseline was trained to its end, so the test set is not translated")
            tested = []
        rows = {cell.name: self._row(cell, stopped) for cell in self._cells}
        if not any(row.logs for row in rows.values()):
            raise UserError("all trainings failed before their first record; correct what stands above")
        scores = self._score(tested, rows) if tested else None
        self._report(rows, tested, scores)
        return list(rows.values())

    def _plan(self, cell: Cell, run: str, updates: int = 0, data_to_come: bool = False) -> Training:
        """The training of a run, to its end or until so many updates."""
        options = argparse.Namespace(**vars(self._options))
        options.run_dir, options.data, options.name = self._folder / "runs" / run, self._data, run
        options.data_to_come = data_to_come
        settings = training_options.for_variant([*cell.common, *self._command_line], cell.variant)
        settings += [*cell.settings, Setting("--seed", str(cell.runs[run]), f"the seeds of {cell.name}")]
        settings += [Setting("--max-update", str(updates), "--halving")] if updates else []
        return plan_training(self._configuration, cell.variant, options, settings)

    def _train_all(self) -> Dict[str, int]:
        """Train all cells to their end, or with --halving those that stay; returns the updates of those stopped.

        This is successive halving (Jamieson and Talwalkar, AISTATS 2016) within each family.
        """
        cells, stopped, updates = list(self._cells), {}, self._options.halving
        while updates:
            families = [cell.family for cell in cells]
            undecided = [cell for cell in cells if families.count(cell.family) > 1]
            if updates >= max((self._limit(run) for cell in undecided for run in cell.runs), default=0):
                break
            self._train(undecided, updates)
            kept = better_half(undecided, {cell.name: self._value(cell, updates) for cell in undecided})
            stopped.update({cell.name: updates for cell in undecided if cell not in kept})
            cells = [cell for cell in cells if cell.name not in stopped]
            say(_PROGRAM, f"after {updates} updates these are left: {', '.join(cell.name for cell in cells)}")
            updates *= 2
        self._train(cells)
        return stopped

    def _train(self, cells: Sequence[Cell], updates: int = 0) -> None:
        left = {}
        for cell, run in [(it, run) for it in cells for run in it.runs]:
            is_longer = 0 < updates < self._limit(run)
            training = self._plan(cell, run, updates) if is_longer else self._trainings[run]
            if not has_come_so_far(training, updates or math.inf):
                left[run] = training
        if left:
            say(_PROGRAM, f"{len(left)} trainings" + (f" until update {updates}" if updates else ""))
        self.failed.update(train_at_once(left, self._typed, _PROGRAM, self._options.parallel))

    def _limit(self, run: str) -> float:
        """Its --max-update."""
        return self._trainings[run].record.limits["max_update"] or math.inf

    def _value(self, cell: Cell, updates: float = math.inf) -> Optional[float]:
        """The mean best validation of its seeds until an update, the higher the better; None where one failed."""
        logs = [read_log(self._folder / "runs" / run) for run in cell.runs]
        best = [log and log.best_validation(self._metric, self._maximise, updates) for log in logs]
        if self.failed.intersection(cell.runs) or not all(best):
            return None
        value = mean(getattr(record, self._metric) for record in best)
        return value if self._maximise else -value

    def _row(self, cell: Cell, stopped: Dict[str, int]) -> Row:
        logs = [read_log(self._folder / "runs" / run) for run in cell.runs]
        state = f"stopped at {stopped[cell.name]}" if cell.name in stopped else "trained"
        return Row(cell, "failed" if self.failed.intersection(cell.runs) else state, list(filter(None, logs)))

    def _score(self, cells: Sequence[Cell], rows: Dict[str, Row]) -> ScoreReport:
        """Translate and score the test set with these cells, and put their scores into the rows."""
        translations = [
            Translation(self._folder / "runs" / run, name=run, reference=self._options.reference, cpu=self._options.cpu)
            for cell in cells
            for run in cell.runs
        ]
        scorer = make_scorer(translations[0])
        report = compare(translations, _PROGRAM, self._folder, scorer=scorer)
        for cell in cells:
            scores = [report.system(run).metrics["BLEU"].score for run in cell.runs]
            rows[cell.name] = row = replace(rows[cell.name], state="best of its family", test_scores=scores)
            if cell is not cells[0]:
                difference = mean(scores) - mean(rows[cells[0].name].test_scores)
                p_value = scorer.p_value_of_means(list(cell.runs), list(cells[0].runs))
                rows[cell.name] = replace(row, difference=difference, p_value=p_value)
        return report

    def _report(self, rows: Dict[str, Row], tested: Sequence[Cell], scores: Optional[ScoreReport]) -> None:
        folder, path = self._folder, self._folder / "scores.json"
        if scores is not None:
            write_scores(scores, path)
        # Curves of all settings, with all seeds where these were scored.
        shown = [run for cell in self._cells for run in list(cell.runs)[: None if cell in tested else 1]]
        curves = {run: folder / "runs" / run for run in shown if read_log(folder / "runs" / run)}
        source = self._data / f"source.{self._options.source_lang}"
        write_report(curves, scores and path, folder, source if source.is_file() else None, self.description)
        device = next(iter(self._trainings.values())).record.device
        notes = [
            f"of each family the setting of the {'highest' if self._maximise else 'lowest'} mean {self._metric} in "
            "validation was chosen, and the test set translated with that alone",
            *([f"the baseline is {tested[0].name}"] if tested else []),
            f"trained on {device}, up to {self._options.parallel} at once, by `{self._typed}`",
        ]
        title = f"Sweep {folder.name} of {self._configuration.name}"
        write_tables(folder, title, list(rows.values()), scores, notes)
