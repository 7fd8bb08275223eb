"""Training updates through fairseq's trainer, ready to be called: models of several sizes, criterions, batches."""

import argparse
import copy
import logging
import random
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import peers
import torch

from rdrop_fairseq.common.errors import UserError

PLUGIN = Path(__file__).resolve().parents[2] / "rdrop_fairseq"
SHORTEST, LONGEST = 8, 32  # random sentences, in sub-words with the end-of-sentence symbol


def _dimensions(layers: int, width: int, inner: int, heads: int) -> List[str]:
    sides = ("encoder", "decoder")
    values = {"layers": layers, "embed-dim": width, "ffn-embed-dim": inner, "attention-heads": heads}
    return [word for side in sides for name, value in values.items() for word in (f"--{side}-{name}", str(value))]


# Model flags, vocabulary size, and --max-tokens.
PRESETS = {
    "tiny": (["--arch", "transformer", *_dimensions(1, 16, 32, 2)], 100, 100),
    "d128": (["--arch", "transformer", *_dimensions(3, 128, 512, 4)], 6000, 2048),
    "d256": (["--arch", "transformer", *_dimensions(3, 256, 1024, 4)], 6000, 2048),
    "iwslt": (["--arch", "transformer_iwslt_de_en"], 10000, 4096),
    "transformer": (["--arch", "transformer"], 32000, 4096),
    "transformer_big": (["--arch", "transformer_vaswani_wmt_en_de_big"], 32000, 4096),
}
_PLAIN = ["--task", "translation", "--criterion", "label_smoothed_cross_entropy"]
VARIANTS = {
    "plain": _PLAIN,
    # The classes of these three are put in place below.
    "plain_chunked": _PLAIN,
    "fairseq": _PLAIN,
    "products": _PLAIN,
    "rdrop": [
        *("--task", "rdrop_translation", "--criterion", "label_smoothed_cross_entropy_with_rdrop"),
        *("--rdrop-alpha", str(peers.ALPHA)),
    ],
}
"""``plain`` is fairseq's label_smoothed_cross_entropy, ``plain_chunked`` the same by torch's chunked cross-entropy,
``fairseq`` its own R-Drop criterion, ``rdrop`` the task and criterion of this package, and ``products`` two passes with
the matrix products of the loss layer alone: the floor of any R-Drop update."""

BATCHES = 3  # from short sentences to long ones

_DTYPE_FLAGS = {"float32": [], "float16": ["--fp16"], "bfloat16": ["--bf16"]}


def variant(text: str) -> str:
    """A variant for argparse: one that there is, or ``NAME=FLAGS``, R-Drop with further flags of its criterion."""
    if text not in available_variants() and not text.partition("=")[2]:
        raise argparse.ArgumentTypeError(f"{text}: give {', '.join(available_variants())}, or NAME=FLAGS")
    return text


def flags_of(variant: str) -> List[str]:
    """The flags of task and criterion of a :func:`variant`."""
    name, _, flags = variant.partition("=")
    return [*VARIANTS["rdrop"], *shlex.split(flags)] if flags else VARIANTS[name]


def available_variants() -> List[str]:
    """The variants that this torch has."""
    return [name for name in VARIANTS if name != "plain_chunked" or peers.HAS_CHUNKED_CROSS_ENTROPY]


def make_updates(
    variant: str,
    preset: str,
    data: Path,
    device: str,
    dtype: str,
    max_tokens: Optional[int] = None,
    batches: int = BATCHES,
) -> Callable[[], None]:
    """A function that makes one update on each of a few batches, the same ones for every variant.

    ``data`` holds what fairseq-preprocess makes, or dictionaries alone (:func:`write_dictionaries`): then the
    sentences are random. ``max_tokens`` counts padding, as in fairseq; the default is the preset's.
    """
    # fairseq, hydra and torch have much to say about each other's age.
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    model_flags, _, preset_tokens = PRESETS[preset]
    max_tokens = max_tokens or preset_tokens
    words = [
        str(data), "--user-dir", str(PLUGIN), "--source-lang", "en", "--target-lang", "de", "--seed", "1",
        "--share-all-embeddings", "--dropout", "0.3", "--optimizer", "adam", "--lr", "0.0005", "--clip-norm", "1",
        "--label-smoothing", str(peers.LABEL_SMOOTHING), "--max-tokens", str(max_tokens), "--num-workers", "0",
        "--required-batch-size-multiple", "1", *model_flags, *flags_of(variant), *_DTYPE_FLAGS[dtype],
        *(["--cpu"] if device == "cpu" else []),
    ]  # fmt: skip
    sys.argv = ["fairseq-train", *words]  # where fairseq looks for --user-dir
    arguments = options.parse_args_and_arch(options.get_training_parser(), input_args=words)
    config = convert_namespace_to_omegaconf(arguments)
    task = tasks.setup_task(config.task)
    torch.manual_seed(1)
    model = task.build_model(config.model)
    criterion = task.build_criterion(config.criterion)
    if variant == "fairseq":
        criterion = peers.fairseqs_own_criterion(task)
    elif variant in ("plain_chunked", "products"):
        criterion_class = {
            "plain_chunked": peers.ChunkedCrossEntropyCriterion,
            "products": peers.ProductsOnlyCriterion,
        }[variant]
        criterion = criterion_class(task, False, peers.LABEL_SMOOTHING)
    trainer = Trainer(config, task, model, criterion)
    if any(data.glob("train.*.idx")):
        task.load_dataset("train")
    else:
        task.datasets["train"] = random_sentences(task, 4 * max_tokens)
    samples = make_batches(task, max_tokens, batches)

    def updates() -> None:
        for batch in samples:
            # fairseq's own criterion changes the batch that it is given.
            trainer.train_step([copy.deepcopy(batch)])

    return updates


def make_batches(task: Any, max_tokens: int, count: int) -> List[Dict[str, Any]]:
    """``count`` batches of fairseq's making, of sentences of similar length each: from the short to the long."""
    dataset = task.dataset("train")
    iterator = task.get_batch_iterator(dataset, max_tokens=max_tokens, max_positions=task.max_positions(), seed=1)
    samples = list(iterator.frozen_batches)
    # Full ones, spread evenly over the lengths.
    samples.sort(key=lambda batch: max(dataset.size(index)[1] for index in batch))
    chosen = [samples[(2 * number + 1) * len(samples) // (2 * count)] for number in range(count)]
    return [dataset.collater([dataset[index] for index in batch]) for batch in chosen]


def random_sentences(task: Any, num_tokens: int) -> Any:
    """Pairs of random sentences, about so many target tokens."""
    from fairseq.data import LanguagePairDataset, ListDataset

    generator = random.Random(1)
    dictionary = task.target_dictionary
    lengths = []
    while sum(lengths) < num_tokens:
        lengths.append(generator.randint(SHORTEST, LONGEST))
    sides = []
    for _ in range(2):
        rows = [[generator.randrange(4, len(dictionary)) for _ in range(size - 1)] for size in lengths]
        sides.append(ListDataset([torch.tensor([*row, dictionary.eos()]) for row in rows], lengths))
    return LanguagePairDataset(sides[0], lengths, task.source_dictionary, sides[1], lengths, dictionary, shuffle=True)


def check_data(data: Optional[Path]) -> None:
    """Raises a UserError unless ``data`` is None or has dictionaries and text for training."""
    if data and not (any(data.glob("train.*.idx")) and all((data / f"dict.{it}.txt").is_file() for it in ("en", "de"))):
        raise UserError(f"no train data and dictionaries of en and de in {data}; give a folder of fairseq-preprocess")


def write_dictionaries(folder: Path, vocabulary_size: int) -> None:
    """A joined dictionary of so many types, fairseq's four special symbols among them."""
    text = "".join(f"word{number} 1\n" for number in range(vocabulary_size - 4))
    for language in ("en", "de"):
        (folder / f"dict.{language}.txt").write_text(text, encoding="utf-8")
