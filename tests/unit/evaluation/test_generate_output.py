"""Reading outputs of fairseq-generate and fairseq-interactive: synthetic ones in their exact format.

Outputs of the real commands are read in test_evaluation_of_a_run.py.
"""

import os
import re

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation.generate_output import is_generate_output, read_generate_output, read_translations

SENTENCES = ["Ein Haus .", "", "Die Katze schl\u00e4ft .", "Mit\u2028Trenner und\u0085NEL .", "Ende\ttab"]


def block(index, text, nbest=1, reference=True):
    lines = [f"S-{index}\tsource {index}"]
    if reference:
        lines.append(f"T-{index}\treference {index}")
    for rank in range(nbest):
        hypothesis = text if rank == 0 else f"worse {rank}"
        # H- lines keep the subwords when fairseq-generate is given --bpe.
        lines.append(f"H-{index}\t{-0.5 - rank}\t\u2581{hypothesis}")
        lines.append(f"D-{index}\t{-0.5 - rank}\t{hypothesis}")
        lines.append(f"P-{index}\t-0.1000 -0.2000")
    return lines


def output(sentences=SENTENCES, order=(3, 0, 4, 1, 2), final=True, translated=None, **options):
    lines = ["2026-11-21 01:02:03 | INFO | fairseq_cli.generate | loading model(s) from checkpoint_best.pt"]
    for index in order:
        lines += block(index, sentences[index], **options)
    if translated is not None:
        lines.append(
            "2026-11-21 01:02:09 | INFO | fairseq_cli.generate | "
            f"Translated {translated} sentences (99 tokens) in 0.4s (61.55 sentences/s, 1066.94 tokens/s)"
        )
    if final:
        lines.append("Generate test with beam=5: BLEU4 = 26.80, 71.2/54.6/37.2/27.2 (BP=0.602, syslen=39)")
    return "\n".join(lines) + "\n"


@pytest.fixture
def parse(tmp_path):
    """Reads a text as a file test.txt."""

    def parse_text(text, expected_sentences=None):
        path = tmp_path / "test.txt"
        path.write_bytes(text.encode("utf-8"))
        return read_generate_output(path, expected_sentences)

    return parse_text


def test_order_of_the_corpus_is_restored(parse):
    result = parse(output(translated=5), expected_sentences=5)
    assert result.hypotheses == SENTENCES
    assert result.references == [f"reference {index}" for index in range(5)]


def test_the_last_line_of_older_fairseq(parse):
    assert parse(output().replace("Generate test", "| Generate test")).hypotheses == SENTENCES


def test_best_of_an_nbest_list(parse):
    assert parse(output(nbest=3)).hypotheses == SENTENCES


def test_thousands_in_the_count(parse):
    sentences = [f"satz {index}" for index in range(1200)]
    text = output(sentences, order=range(1200), translated="1,200")
    assert parse(text).hypotheses == sentences
    with pytest.raises(UserError, match="holds 1200 sentences, but fairseq translated 2200"):
        parse(text.replace("1,200", "2,200"))


def test_without_references_the_count_is_needed(parse):
    text = output(final=False, reference=False)
    assert parse(text, expected_sentences=5).hypotheses == SENTENCES
    assert parse(text, expected_sentences=5).references is None
    with pytest.raises(UserError, match="does not say whether it is complete"):
        parse(text)
    # The log lines of fairseq-generate and fairseq-interactive say it too.
    assert parse(output(final=False, reference=False, translated=5)).hypotheses == SENTENCES
    end = "INFO:fairseq_cli.interactive:Total time: 0.315 seconds; translation time: 0.273\n"
    assert parse(text.replace("T-", "W-") + end).hypotheses == SENTENCES


def test_every_cut_is_refused(parse):
    """Cut anywhere, an output is never read as if it were whole."""
    whole = output()
    last_record = whole.index("Generate test")
    for end in range(1, last_record + len("Generate test with beam=5: ") - 1):
        with pytest.raises(UserError):
            parse(whole[:end], expected_sentences=5)


def test_every_cut_without_references_is_refused(parse):
    whole = output(final=False, reference=False)
    for end in range(1, len(whole)):
        with pytest.raises(UserError):
            parse(whole[:end], expected_sentences=5)


@pytest.mark.parametrize(
    "text, message",
    [
        (
            output(order=(0, 1, 3, 4)),
            "lacks sentence 2 .it has 4, numbered up to 4.*--required-batch-size-multiple 1",
        ),
        (output(order=(0, 1, 2, 3)), "holds 4 sentences instead of 5.*--required-batch-size-multiple 1"),
        (output(final=False), "was cut off"),
        (output(translated=24), "holds 5 sentences, but fairseq translated 24"),
        (output(order=(0, 1, 2, 3, 4, 0)), "sentence 0 twice"),
        (output() + output(), "sentence 3 twice"),
        (output(order=(0,)) + output(order=(0,)), "sentence 0 twice|two runs"),
        ("Generate test with beam=5: BLEU4 = 0.00\n", "has no hypotheses"),
        (re.sub(r"D-.*\n", "", output()), "has H- lines and no D- lines, as fairseq before 0.10 wrote them"),
        (output().replace("D-2\t-0.5\t", "D-2 -0.5 "), "sentence 2 is incomplete"),
        (output().replace("D-2\t-0.5\t", "D-2\tx\t"), "sentence 2 has a damaged D- line"),
        (output().replace("D-2\t-0.5\t", "D-2\tnan\t"), "sentence 2 has a damaged D- line"),
    ],
)
def test_incomplete_outputs_are_refused(text, message, parse):
    expected = 5 if "instead" in message else None
    with pytest.raises(UserError, match=message) as refusal:
        parse(text, expected)
    assert "\n" not in str(refusal.value) and "test.txt" in str(refusal.value).split(" ")[0]


def test_hypotheses_out_of_order_are_refused_in_any_place(parse):
    def listed(*scores):
        first = "".join(f"D-0\t{score}\ttext\n" for score in scores)
        return first + "".join(f"D-1\t{-number}\ttext\n" for number in range(len(scores)))

    assert parse(listed(-1, -1, -2), 2).hypotheses == ["text", "text"], "equal scores are in order"
    for scores in ((-2, -1), (-2, -1, -3), (-1, -3, -2)):
        with pytest.raises(UserError, match="the hypotheses of sentence 0 in .* do not come best first"):
            parse(listed(*scores), 2)


@pytest.mark.parametrize("kind", ["S", "T"])
def test_a_second_source_or_reference_of_a_sentence_is_refused(parse, kind):
    line = f"{kind}-2\t{'source' if kind == 'S' else 'reference'} 2\n"
    text = output()
    assert line in text
    with pytest.raises(UserError, match="holds sentence 2 twice"):
        parse(text.replace(line, line * 2))
    # Of another run whose lines come after those of this one.
    with pytest.raises(UserError, match="holds sentence 2 twice"):
        parse(text.replace(line, "").replace("P-2\t-0.1000 -0.2000\n", f"P-2\t-0.1000 -0.2000\n{line}"))


def test_numbers_of_any_length_are_no_traceback(parse):
    huge = "9" * 5000
    with pytest.raises(UserError):
        parse(output().replace("D-2\t", f"D-{huge}\t"))
    assert parse(output(translated=huge)).hypotheses == SENTENCES


def test_a_pipe_is_read_once(tmp_path):
    """As the shell makes of --system a=<(...)."""
    reading, writing = os.pipe()
    os.write(writing, output().encode("utf-8"))
    os.close(writing)
    references = {"reference": [f"reference {index}" for index in range(5)]}
    assert read_translations(f"/dev/fd/{reading}", references) == (SENTENCES, [])
    os.close(reading)


def test_outputs_of_two_runs_in_one_file_are_refused(parse):
    """As `sort` makes of the D- lines of two systems: sentence by sentence."""
    d_lines = [f"D-{index}\t-{index}.25\tsatz {index}\n" for index in range(5)]
    assert parse("".join(d_lines), expected_sentences=5).hypotheses[4] == "satz 4"
    mixed = [line for d_line in d_lines for line in (d_line, d_line.replace(".25", ".75"))]
    assert len(parse("".join(mixed), expected_sentences=5).hypotheses) == 5, "an n-best list"
    mixed[4:6] = mixed[5], mixed[4]
    with pytest.raises(
        UserError, match=r"hypotheses of sentence 2 in .*test\.txt do not come best first; lines of several runs"
    ):
        parse("".join(mixed), expected_sentences=5)
    with pytest.raises(UserError, match=r"test\.txt has 1 hypotheses of sentence 1 and 2 of 0; lines of several runs"):
        parse("".join([d_lines[0], *d_lines]), expected_sentences=5)
    doubled = "".join(line + "\n" for line in block(2, SENTENCES[2])[2:])
    with pytest.raises(UserError, match="has 2 hypotheses of sentence 2 and 1 of 3"):
        parse(output().replace(doubled, doubled * 2))


def test_outputs_of_the_processes_of_one_run_may_be_put_together(parse):
    """fairseq-generate --distributed-world-size 2: each translates a share, and numbers by the whole test set."""
    shards = [output(order=(3, 0), translated=2), output(order=(4, 1, 2), translated=3)]
    assert parse("".join(shards), expected_sentences=5).hypotheses == SENTENCES
    with pytest.raises(UserError, match="lacks sentence 1 .*or put the outputs of all its processes together"):
        parse(shards[0])
    with pytest.raises(UserError, match="holds 2 sentences instead of 5; .*put the outputs of all its processes tog"):
        parse(shards[0], expected_sentences=5)
    with pytest.raises(UserError, match="sentence 3 twice"):
        parse("".join([*shards, shards[0]]), expected_sentences=5)
    lost = "".join(line + "\n" for line in block(2, SENTENCES[2]))
    assert lost in shards[1]
    with pytest.raises(UserError, match="holds 4 sentences, but fairseq translated 5"):
        parse("".join(shards).replace(lost, ""), expected_sentences=4)


def test_windows_line_ends(parse):
    assert parse(output().replace("\n", "\r\n")).hypotheses == SENTENCES


def test_recognition():
    assert is_generate_output(output().split("\n"))
    assert is_generate_output(["D-0\t-0.25\tnur D-Zeilen"])
    assert not is_generate_output(["Ein Satz .", "D-Zug nach Ulm", "H-0 ist kein Eintrag", "P-7\tauch nicht"])


def test_files(tmp_path):
    path = tmp_path / "generate-test.txt"
    path.write_text(output(), encoding="utf-8", newline="")
    assert read_generate_output(path).hypotheses == SENTENCES
    path.write_bytes(output().encode("utf-8") + b"\xff\n")
    with pytest.raises(UserError, match=r"generate-test\.txt, line 28: not UTF-8"):
        read_generate_output(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        read_generate_output(path)
    with pytest.raises(UserError, match="no such file"):
        read_generate_output(tmp_path / "absent.txt")
    with pytest.raises(UserError, match="is a folder"):
        read_generate_output(tmp_path)
