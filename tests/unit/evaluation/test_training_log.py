"""Reading training logs: both forms that fairseq writes, resumed runs and damaged files."""

import json
import re

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation.training_log import parse_training_log, read_training_log


def clock(seconds):
    return f"2026-11-21 {1 + seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class LogWriter:
    """Writes what fairseq writes, captured (with times and tags) or by --log-file (without)."""

    def __init__(self, captured=True, start=0):
        self.lines = []
        self.captured = captured
        self.start = start

    def _add(self, seconds, tag, text):
        self.lines.append(f"{clock(self.start + seconds)} | INFO | {tag} | {text}" if self.captured else text)

    def begin(self):
        self._add(0, "fairseq_cli.train", "{'_name': None, 'common': {'log_format': 'json'}}")
        self._add(0, "fairseq_cli.train", "training on 1 devices (GPUs/TPUs)")

    def train(self, update, wall, kl=None, loss="5.151", epoch=1):
        stats = {"epoch": epoch, "update": 0.3, "loss": loss, "nll_loss": "5.016", "ppl": "32.36"}
        if kl is not None:
            stats["rdrop_kl_loss"] = kl
        stats.update({"num_updates": str(update), "lr": "0.005", "train_wall": "0", "wall": str(wall)})
        self._add(wall, "train_inner", json.dumps(stats))

    def valid(self, update, seconds, nll="4.5", bleu=None, subset="valid", epoch=1):
        stats = {"epoch": epoch, f"{subset}_loss": "4.7", f"{subset}_nll_loss": nll, f"{subset}_ppl": "23.17"}
        if bleu is not None:
            stats[f"{subset}_bleu"] = bleu
        stats[f"{subset}_num_updates"] = str(update)
        self._add(seconds, subset, json.dumps(stats))

    def epoch(self, update, wall, kl=None, epoch=1):
        stats = {"epoch": epoch, "train_loss": "5.2", "train_nll_loss": "5.0"}
        if kl is not None:
            stats["train_rdrop_kl_loss"] = kl
        stats.update({"train_num_updates": str(update), "train_train_wall": "0", "train_wall": str(wall)})
        self._add(wall, "train", json.dumps(stats))

    @property
    def text(self):
        return "".join(f"{line}\n" for line in self.lines)


def one_run(captured):
    log = LogWriter(captured)
    log.begin()
    log.train(100, 20, kl="0.125")
    log.train(200, 40, kl="0.25")
    log.valid(250, 60, nll="4.5", bleu="1.25")
    log.epoch(250, 61, kl="0.2")
    log.train(300, 71, kl="0.5")
    return log


@pytest.mark.parametrize("captured", [True, False])
def test_records(captured):
    log = parse_training_log(one_run(captured).text)
    assert [(r.epoch, r.update, r.elapsed_seconds, r.rdrop_kl_loss) for r in log.training] == [
        (1, 100, 20.0, 0.125),
        (1, 200, 40.0, 0.25),
        (1, 300, 71.0, 0.5),
    ]
    assert (log.training[0].loss, log.training[0].nll_loss) == (5.151, 5.016)
    assert [(r.update, r.elapsed_seconds, r.rdrop_kl_loss) for r in log.epochs] == [(250, 61.0, 0.2)]
    (validation,) = log.validation
    assert (validation.epoch, validation.update, validation.nll_loss) == (1, 250, 4.5)
    assert (validation.loss, validation.perplexity, validation.bleu) == (4.7, 23.17, 1.25)
    # By its time stamp; without one, when the epoch ended whose last update it is of.
    assert validation.elapsed_seconds == (60.0 if captured else 61.0)
    assert (log.updates, log.elapsed_seconds) == (300, 71.0)


def test_log_file_repeats_records():
    """fairseq adds a handler for --log-file in every epoch: each line comes once more."""
    log = one_run(captured=False)
    log.lines = [line for line in log.lines for _ in range(3 if line.startswith('{"') else 1)]
    assert parse_training_log(log.text) == parse_training_log(one_run(captured=False).text)


def test_validation_time_between_records_of_training():
    log = LogWriter(captured=False)
    log.begin()
    log.train(100, 20)
    log.valid(100, 0, nll="5")
    log.valid(150, 0)
    log.train(200, 60)
    log.valid(250, 0)
    times = {r.update: r.elapsed_seconds for r in parse_training_log(log.text).validation}
    assert times == {100: 20.0, 150: 40.0, 250: 60.0}


def test_validation_before_any_training_record_has_the_time_since_the_start():
    log = LogWriter(start=100)
    log.begin()
    log.valid(5, 17)
    assert parse_training_log(log.text).validation[0].elapsed_seconds == 17.0


def test_values_that_are_no_numbers():
    log = LogWriter()
    log.train(100, 20, loss="nan")
    log.lines.append(log.lines[0].replace('"nan"', "null").replace('"100"', '"200"'))
    log.valid(100, 20, nll="nan")
    log.valid(200, 21, nll="3.5")
    records = parse_training_log(log.text)
    assert records.training[0].loss != records.training[0].loss
    assert records.training[1].loss is None
    assert records.best_validation().update == 200


def test_best_validation_is_the_first_of_equals():
    log = LogWriter()
    for update, nll in ((100, "4.0"), (200, "3.5"), (300, "3.5"), (400, "3.9")):
        log.valid(update, update, nll=nll)
    assert parse_training_log(log.text).best_validation().update == 200
    assert parse_training_log("").best_validation() is None


def test_best_validation_by_another_value_until_an_update():
    log = LogWriter()
    for update, nll, bleu in ((100, "4.0", "20.5"), (200, "nan", "23.5"), (300, "3.5", "22.5"), (400, "3.9", "inf")):
        log.valid(update, update, nll=nll, bleu=bleu)
    records = parse_training_log(log.text)
    assert records.best_validation("bleu", maximise=True).update == 200
    assert records.best_validation(last_update=299).update == 100
    assert records.best_validation("rdrop_kl_loss") is None and records.best_validation(last_update=99) is None


def test_other_valid_subsets():
    log = LogWriter()
    log.valid(100, 1, nll="4.0")
    log.valid(100, 1, nll="3.0", subset="valid1")
    assert [r.nll_loss for r in parse_training_log(log.text).validation] == [4.0]
    assert [r.nll_loss for r in parse_training_log(log.text, subset="valid1").validation] == [3.0]


@pytest.mark.parametrize("captured", [True, False])
def test_resumed_run(captured):
    """Killed after update 400, resumed from update 250; 20 s for every 100 updates in both processes."""
    first = LogWriter(captured)
    first.begin()
    for update in (100, 200, 300, 400):
        first.train(update, update // 5, loss="9")
        if update == 200:
            first.valid(250, 50, nll="4.5")
    first.valid(400, 80, nll="9.9")
    second = LogWriter(captured, start=5000)
    second.begin()
    for update in (300, 400, 500):
        second.train(update, (update - 250) // 5, loss="2")
        if update == 400:
            second.valid(400, 30, nll="3.5")
    text = first.text + second.text
    log = parse_training_log(text)
    assert [(r.update, r.loss, r.elapsed_seconds) for r in log.training] == [
        (100, 9.0, 20.0),
        (200, 9.0, 40.0),
        (300, 2.0, 90.0),
        (400, 2.0, 110.0),
        (500, 2.0, 130.0),
    ]
    assert [(r.update, r.nll_loss, r.elapsed_seconds) for r in log.validation] == [
        (250, 4.5, 50.0),
        (400, 3.5, 110.0),
    ]
    assert (log.updates, log.elapsed_seconds) == (500, 130.0)
    # Without the line that a process says at its start, the clock that goes back tells the same.
    without_start = "".join(line + "\n" for line in text.split("\n") if "training on" not in line)
    assert parse_training_log(without_start).training == log.training


def test_a_resumed_process_whose_clock_is_already_past_the_first_one():
    first, second = LogWriter(), LogWriter(start=900)
    first.begin()
    first.train(100, 3)
    second.begin()
    second.train(200, 8)
    assert [(r.update, r.elapsed_seconds) for r in parse_training_log(first.text + second.text).training] == [
        (100, 3.0),
        (200, 11.0),
    ]


def test_a_run_that_began_anew_counts_from_zero():
    first, second = LogWriter(), LogWriter(start=900)
    for log, loss in ((first, "9"), (second, "2")):
        log.begin()
        log.train(100, 30, loss=loss)
    log = parse_training_log(first.text + second.text)
    assert [(r.update, r.loss, r.elapsed_seconds) for r in log.training] == [(100, 2.0, 30.0)]
    assert log.elapsed_seconds == 30.0


def test_an_epoch_that_was_continued_counts_once():
    """As with --max-update 60, raised later."""
    first, second = LogWriter(), LogWriter(start=900)
    first.begin()
    first.epoch(40, 8, kl="0.5", epoch=1)
    first.epoch(60, 12, kl="9", epoch=2)
    second.begin()
    second.epoch(80, 4, kl="0.25", epoch=2)
    log = parse_training_log(first.text + second.text)
    assert [(r.epoch, r.update, r.rdrop_kl_loss) for r in log.epochs] == [(1, 40, 0.5), (2, 80, 0.25)]


def test_a_log_cut_anywhere_has_its_whole_records():
    text = one_run(captured=True).text
    whole = parse_training_log(text)
    for end in range(len(text)):
        cut = parse_training_log(text[:end])
        assert cut.training == whole.training[: len(cut.training)]
        assert cut.epochs == whole.epochs[: len(cut.epochs)]
        assert len(cut.validation) <= 1
    # A later process writes on where the line was cut: that line is lost, and no other.
    later = LogWriter(start=900)
    later.begin()
    later.train(400, 9)
    joined = parse_training_log(text[:-20] + later.text)
    assert [r.update for r in joined.training] == [100, 200, 400]


def test_kl_by_epoch_where_the_log_interval_was_never_reached():
    log = LogWriter()
    log.epoch(50, 10, kl="0.25")
    log.epoch(100, 20, kl="0.5", epoch=2)
    records = parse_training_log(log.text)
    assert [(r.update, r.rdrop_kl_loss) for r in records.kl_records()] == [(50, 0.25), (100, 0.5)]
    assert parse_training_log(one_run(True).text).kl_records() == parse_training_log(one_run(True).text).training


def test_files_without_records_are_refused(tmp_path):
    path = tmp_path / "train.log"
    with pytest.raises(UserError, match=r"cannot read the training log .*train\.log"):
        read_training_log(path)
    for content in (b"", b"2026-11-21 01:02:03 | INFO | train | epoch 001 | loss 5.1\n", b"\xff\xfe{}\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="has no training records; train with --log-format json"):
            read_training_log(path)


def test_file_cut_inside_a_character(tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes(one_run(True).text.encode("utf-8") + "example: Stra\u00dfe".encode()[:-2])
    assert read_training_log(path) == parse_training_log(one_run(True).text)


def test_wall_time_of_a_log_that_ends_after_its_last_validation():
    log = LogWriter()
    log.begin()
    log.train(100, 20)
    log.valid(100, 33)
    assert parse_training_log(log.text).elapsed_seconds == 33.0
    later = LogWriter(start=900)
    later.begin()
    later.train(200, 7)
    joined = parse_training_log(log.text + later.text)
    assert [r.elapsed_seconds for r in joined.training] == [20.0, 40.0] and joined.elapsed_seconds == 40.0


ODD_VALUES = ['"inf"', "1e999", '"nan"', "NaN", '"abc"', "null", "[1]", "{}", '""', "-1", '"1e300"', "9" * 400]


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize("key", ["num_updates", "epoch", "wall", "nll_loss"])
def test_odd_values_are_passed_over(key, value):
    log = LogWriter()
    log.train(100, 20)
    log.train(200, 40)
    log.valid(250, 50)
    prefix = "" if key in ("epoch", "wall") else "valid_"
    changed = re.sub(rf'"{prefix}{key}": [^,}}]+', lambda _: f'"{prefix}{key}": {value}', log.text)
    assert changed != log.text
    records = parse_training_log(changed)
    assert records.updates in (200, 250) and 0 <= records.elapsed_seconds < 1e3
    for record in [*records.training, *records.validation]:
        assert record.epoch >= 0 and record.update > 0
    # The same in the records of training.
    changed = re.sub(rf'"{key}": [^,}}]+', lambda _: f'"{key}": {value}', log.text)
    assert parse_training_log(changed).validation[-1].update == 250


def test_odd_lines_are_passed_over():
    log = LogWriter()
    log.train(100, 20)
    expected = parse_training_log(log.text)
    odd = [
        '2026-02-31 01:02:03 | INFO | train_inner | {"loss": "1"}',
        "2026-21-11 01:02:03 | INFO | fairseq_cli.train | nothing",
        '{"num_updates": ' + "[" * 100000 + "]" * 100000 + "}",
        "{}",
        "{" * 1000 + "}" * 1000,
        '{"num_updates": "x"}',
        '{"num_updates": "200", "epoch": ' + "9" * 5000 + ', "loss": nothing}',
    ]
    assert parse_training_log(log.text + "\n".join(odd)) == expected


def test_a_day_that_does_not_exist_is_no_time():
    log = LogWriter()
    log.begin()
    log.train(100, 20)
    log.valid(100, 25)
    text = log.text.replace("2026-11-21", "2026-11-31")
    assert [r.elapsed_seconds for r in parse_training_log(text).validation] == [20.0]
