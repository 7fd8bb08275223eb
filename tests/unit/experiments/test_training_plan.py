"""What scripts/train.sh decides and refuses before it changes anything: in this process, without a GPU."""

import shlex
import shutil

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments import placement, training
from rdrop_fairseq.experiments.__main__ import train_command
from rdrop_fairseq.experiments.configuration import REPOSITORY


@pytest.fixture
def command(data_bin, tmp_path, monkeypatch, capsys):
    """A dry run on a machine with so many GPUs; it returns the words of the training that would start."""

    def command(*words, gpus: int = 0) -> list:
        monkeypatch.setattr(placement, "visible_gpus", lambda: gpus)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        options = ["--data", data_bin, "--run-dir", tmp_path / "run", "--dry-run"]
        assert train_command([str(word) for word in (*words, *options)]) == 0
        assert not (tmp_path / "run").exists()
        return shlex.split(capsys.readouterr().out)

    return command


def value(words, flag) -> str:
    """The value of a flag that is there once."""
    assert words.count(flag) == 1
    return words[words.index(flag) + 1]


@pytest.mark.parametrize(
    "options, gpus, processes, update_freq",
    [
        ((), 1, 1, 128),
        ((), 8, 8, 16),
        (("--gpus", 4), 8, 4, 32),
        (("--max-tokens", 2048), 8, 8, 32),
        (("--tokens-per-update", 65536), 8, 8, 2),
        (("--nnodes", 4, "--node-rank", 3, "--master-addr", "first", "--master-port", 29400), 8, 32, 4),
        (("--cpu", "--processes", 2), 8, 2, 64),
    ],
)
def test_the_global_batch_stays(command, options, gpus, processes, update_freq):
    words = command("wmt14_en_de", *options, gpus=gpus)
    assert int(value(words, "--distributed-world-size")) == processes
    assert int(value(words, "--update-freq")) == update_freq
    tokens = 65536 if "--tokens-per-update" in options else 524288
    assert int(value(words, "--max-tokens")) * processes * update_freq == tokens


def test_one_gpu(command):
    words = command("wmt14_en_de", gpus=1)
    assert "--fp16" in words and "--cpu" not in words and "torchrun" not in words
    assert (
        value(words, "--criterion") == "label_smoothed_cross_entropy_with_rdrop"
        and value(words, "--rdrop-alpha") == "5"
    )


def test_gpus_of_a_node_and_of_several(command):
    words = command("wmt14_en_de", "--baseline", "--bf16", gpus=8)
    assert "--bf16" in words and "--fp16" not in words and "--rdrop-alpha" not in words
    assert "torchrun" in words and "--nproc_per_node=8" in words and "--standalone" in words
    nodes = ("--nnodes=2", "--node-rank=1", "--master-addr=first", "--master-port=29400")
    words = command("wmt14_en_de", *nodes, gpus=8)
    torchrun = words[words.index("torchrun") : words.index("-m", words.index("torchrun"))]
    assert torchrun[1:] == [
        "--nproc_per_node=8", "--nnodes=2", "--node_rank=1", "--master_addr=first", "--master_port=29400"
    ]  # fmt: skip


def test_the_cpu(command):
    words = command("wmt14_en_de")
    assert "CUDA_VISIBLE_DEVICES=" in words and "--cpu" in words and "--fp16" not in words
    words = command("wmt14_en_de", "--cpu", "--processes", "2", gpus=8)
    assert value(words, "--distributed-backend") == "gloo" and "--nproc_per_node=2" in words
    assert any(word.startswith("OMP_NUM_THREADS=") for word in words)


def test_options_of_fairseq_win(command):
    words = command("wmt14_en_de", "--max-update", "7", "--lr=0.5", "--rdrop-alpha", "1.5", "--dropout", "0.2")
    assert (value(words, "--max-update"), value(words, "--lr"), value(words, "--dropout")) == ("7", "0.5", "0.2")
    assert value(words, "--rdrop-alpha") == "1.5"
    # Another architecture comes without the dimensions of the configuration's.
    words = command("multi30k_en_de", "--arch", "transformer_iwslt_de_en")
    assert value(words, "--arch") == "transformer_iwslt_de_en" and "--encoder-embed-dim" not in words


def test_another_best_metric_is_minimised(command):
    """The switch to maximise belongs to the configuration's metric, and fairseq has no flag to take it back."""
    switch = "--maximize-best-checkpoint-metric"
    words = command("multi30k_en_de", "--best-checkpoint-metric", "nll_loss")
    assert value(words, "--best-checkpoint-metric") == "nll_loss" and switch not in words
    assert switch in command("multi30k_en_de", switch, "--best-checkpoint-metric", "accuracy")
    assert switch in command("multi30k_en_de", "--best-checkpoint-metric=bleu")
    assert switch in command("multi30k_en_de")


def test_tensorboard(command, tmp_path):
    words = command("wmt14_en_de", "--tensorboard")
    assert value(words, "--tensorboard-logdir") == str(tmp_path / "run" / "tensorboard")


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "the following arguments are required: CONFIG; see scripts/train.sh --help"),
        (("wmt14_en_d",), "no configuration wmt14_en_d; did you mean wmt14_en_de?"),
        (("./absent.yaml",), "cannot read configuration absent.yaml: No such file"),
        (("wmt14_en_de", "--save-dir", "x"), "--save-dir is set by the script; --run-dir chooses the folder"),
        (("wmt14_en_de", "--no-last-checkpoints"), "--no-last-checkpoints is set by the script; a run resumes from"),
        (("wmt14_en_de", "--update-freq=2"), "--update-freq is set by the script; it follows from --tokens-per"),
        (("wmt14_en_de", "--distributed-port", "1"), "--distributed-port is set by the script; give --gpus"),
        (("wmt14_en_de", "--criterion", "x"), "--criterion is set by the script; the configuration"),
        (("wmt14_en_de", "--max-tokens", "1e3"), "argument --max-tokens: '1e3' is not a whole number above 0"),
        (("wmt14_en_de", "--max-tokens"), "argument --max-tokens: expected one argument"),
        (("wmt14_en_de", "more"), "unrecognized arguments: more; see scripts/train.sh --help"),
        (("wmt14_en_de", "--lr", "1", "more"), "more belongs to no option"),
        (("wmt14_en_de", "--", "5"), "-- is no option; write --option VALUE"),
        (("wmt14_en_de", "--lr="), "command line: --lr needs a value"),
        (("wmt14_en_de", "--max-update", "-5"), "--max-update is -5; give a number above 0, or 0 for no limit"),
        (("wmt14_en_de", "--gpus", "2"), "--gpus 2, but torch sees 0 on this machine; ask for fewer, or give --cpu"),
        (("wmt14_en_de", "--gpus", "2", "--cpu"), "--cpu and --gpus exclude each other"),
        (("wmt14_en_de", "--processes", "2"), "--processes is for --cpu"),
        (("wmt14_en_de", "--fp16"), "--fp16 is for GPUs, and on a CPU this trains in float32; leave it out"),
        (("wmt14_en_de", "--fp16", "--bf16"), "--fp16 and --bf16 exclude each other"),
        (("wmt14_en_de", "--nnodes", "2"), "--nnodes 2 needs --node-rank"),
        (("wmt14_en_de", "--node-rank", "0"), "--node-rank is for several nodes"),
        (
            ("wmt14_en_de", *"--nnodes 2 --node-rank 2 --master-addr a --master-port 1".split()),
            "--node-rank is 2; give 0 to 1 with --nnodes 2",
        ),
        (
            ("wmt14_en_de", "--cpu", "--processes", "3"),
            "524288 tokens per update are no multiple of 4096 tokens on each",
        ),
        (
            ("wmt14_en_de", "--max-updates", "3"),
            "command line: --max-updates is no flag of fairseq-train; did you mean",
        ),
        (("wmt14_en_de", "--max-update", "x"), "command line: --max-update x: invalid int value: 'x'"),
        (("wmt14_en_de", "--baseline", "--rdrop-alpha", "1"), "--rdrop-alpha is an option of R-Drop"),
        (
            ("wmt14_en_fr",),
            "no {data}/dict.fr.txt for en-fr: it holds en-de; prepare it with scripts/prepare_wmt14_en_fr",
        ),
        (("wmt14_en_de", "--data", "/absent"), "no folder /absent; prepare it with scripts/prepare_wmt14_en_de.sh, or"),
    ],
)
def test_mistakes(data_bin, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(placement, "visible_gpus", lambda: 0)
    monkeypatch.chdir(tmp_path)
    where = [] if "--data" in words else ["--data", str(data_bin)]
    with pytest.raises(UserError) as error:
        train_command([*words, *(["--run-dir", "run", *where] if words else [])])
    assert str(error.value).startswith(message.format(data=data_bin)) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_incomplete_data(data_bin, tmp_path):
    folder = shutil.copytree(data_bin, tmp_path / "bin")
    arguments = ["wmt14_en_de", "--cpu", "--data", str(folder), "--run-dir", str(tmp_path / "run")]
    for path in folder.glob("valid.*"):
        path.unlink()
    with pytest.raises(UserError, match=f"no valid data for en-de in {folder}: there is no valid split; prepare it"):
        train_command(arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="dict.en.txt for en-de: it is no folder of fairseq-preprocess; prepare it"):
        train_command([*arguments, "--data", str(tmp_path / "empty")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words, folder, prepare",
    [
        (["wmt14_en_de"], "wmt14_en_de", "prepare_wmt14_en_de.sh, or"),
        (["multi30k_en_de"], "multi30k_en_de", "prepare_multi30k.sh --target-lang de, or"),
        (["multi30k_en_de", "--target-lang", "fr"], "multi30k_en_fr", "prepare_multi30k.sh --target-lang fr, or"),
    ],
)
def test_default_data(tmp_path, monkeypatch, words, folder, prepare):
    """Where the prepare script puts them."""
    monkeypatch.setattr(training, "REPOSITORY", tmp_path)
    for name in ("configs", "scripts"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    with pytest.raises(UserError) as error:
        train_command([*words, "--cpu"])
    path = tmp_path / "data" / folder / "bin"
    assert str(error.value).startswith(f"no folder {path}; prepare it with scripts/{prepare}")


def test_data_of_the_other_direction(data_bin, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "REPOSITORY", tmp_path)
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    (tmp_path / "data" / "multi30k_en_de").mkdir(parents=True)
    (tmp_path / "data" / "multi30k_en_de" / "bin").symlink_to(data_bin)
    languages = ["--source-lang", "de", "--target-lang", "en"]
    assert train_command(["multi30k_en_de", "--cpu", "--dry-run", *languages]) == 0
    assert f"fairseq-train {data_bin} " in capsys.readouterr().out


def test_a_dry_run_needs_no_data(tmp_path, capsys):
    arguments = ["wmt14_en_de", "--cpu", "--data", str(tmp_path / "later"), "--run-dir", str(tmp_path / "run")]
    assert train_command([*arguments, "--dry-run"]) == 0
    assert f"fairseq-train {tmp_path}/later " in capsys.readouterr().out
    with pytest.raises(UserError, match="no folder"):
        train_command(arguments)


def test_a_path_that_fairseq_would_split(data_bin, tmp_path):
    folder = shutil.copytree(data_bin, tmp_path / "a:b")
    with pytest.raises(UserError, match=f"fairseq takes {folder} for several paths, because of its :; rename"):
        train_command(["wmt14_en_de", "--cpu", "--data", str(folder), "--run-dir", str(tmp_path / "run")])
    with pytest.raises(UserError, match="fairseq takes .*/run:2 for several paths"):
        train_command(["wmt14_en_de", "--cpu", "--data", str(data_bin), "--run-dir", str(tmp_path / "run:2")])


def test_a_configuration_must_not_set_what_the_script_sets(command, tmp_path):
    published = (REPOSITORY / "configs" / "wmt14_en_de.yaml").read_text()
    own = tmp_path / "own.yaml"
    for flag, remedy in (("update-freq", "it follows from"), ("max-tokens", "put it into the section batch")):
        own.write_text(published.replace("training:\n", f"training:\n  {flag}: 2\n"))
        line = own.read_text().splitlines().index(f"  {flag}: 2") + 1
        with pytest.raises(UserError, match=f"own.yaml:{line}: --{flag} is set by the script; {remedy}"):
            command(own)
