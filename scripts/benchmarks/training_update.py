"""A whole training update through fairseq's trainer, plain and with R-Drop, on the same model and batches.

    python scripts/benchmarks/training_update.py --preset d128 --output training_update.csv

Batches are random sentences of realistic lengths. ``plain`` is fairseq's label_smoothed_cross_entropy, ``fairseq``
its own R-Drop criterion, ``rdrop`` the task and criterion of this package.
"""

import copy
import random
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

import torch
from measuring import benchmark_parser, extra_memory, print_extra_memory, summary, time_in_rounds, write_rows

PLUGIN = Path(__file__).resolve().parents[2] / "rdrop_fairseq"


def _dimensions(layers: int, width: int, inner: int, heads: int) -> List[str]:
    sides = ("encoder", "decoder")
    values = {"layers": layers, "embed-dim": width, "ffn-embed-dim": inner, "attention-heads": heads}
    return [word for side in sides for name, value in values.items() for word in (f"--{side}-{name}", str(value))]


# Model flags, vocabulary size and target tokens of a batch.
PRESETS = {
    "tiny": (["--arch", "transformer", *_dimensions(1, 16, 32, 2)], 100, 100),
    "d128": (["--arch", "transformer", *_dimensions(3, 128, 512, 4)], 6000, 2048),
    "d256": (["--arch", "transformer", *_dimensions(3, 256, 1024, 4)], 6000, 2048),
    "iwslt": (["--arch", "transformer_iwslt_de_en"], 10000, 4096),
    "transformer": (["--arch", "transformer"], 32000, 4096),
}
VARIANTS = {
    "plain": ["--task", "translation", "--criterion", "label_smoothed_cross_entropy"],
    "rdrop": [
        *("--task", "rdrop_translation", "--criterion", "label_smoothed_cross_entropy_with_rdrop"),
        *("--rdrop-alpha", "5"),
    ],
    # The class is put in place below: its name is taken by this package's criterion.
    "fairseq": ["--task", "translation", "--criterion", "label_smoothed_cross_entropy"],
}


def make_update(variant: str, preset: str, data: Path) -> Callable[[], None]:
    """A function that makes one update, on the next of a few batches that are the same for every variant."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    model_flags, _, num_tokens = PRESETS[preset]
    words = [
        str(data), "--user-dir", str(PLUGIN), "--source-lang", "en", "--target-lang", "de", "--cpu", "--seed", "1",
        "--share-all-embeddings", "--dropout", "0.3", "--optimizer", "adam", "--lr", "0.0005", "--clip-norm", "1",
        "--label-smoothing", "0.1", "--max-tokens", str(num_tokens), *model_flags, *VARIANTS[variant],
    ]  # fmt: skip
    sys.argv = ["fairseq-train", *words]  # where fairseq looks for --user-dir
    arguments = options.parse_args_and_arch(options.get_training_parser(), input_args=words)
    config = convert_namespace_to_omegaconf(arguments)
    task = tasks.setup_task(config.task)
    torch.manual_seed(1)
    model = task.build_model(config.model)
    criterion = task.build_criterion(config.criterion)
    if variant == "fairseq":
        from fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import RdropLabelSmoothedCrossEntropyCriterion

        criterion = RdropLabelSmoothedCrossEntropyCriterion(task, False, 0.1, rdrop_alpha=5.0)
    trainer = Trainer(config, task, model, criterion)
    batches = make_batches(task, num_tokens)

    def update() -> None:
        batch = batches[0]
        batches.append(batches.pop(0))
        # fairseq's own criterion changes the batch that it is given.
        trainer.train_step([copy.deepcopy(batch)])

    return update


def make_batches(task, num_tokens: int, count: int = 3) -> List[dict]:
    """Batches of random sentences of 8 to 32 sub-words, ``num_tokens`` target tokens each."""
    from fairseq.data import LanguagePairDataset, ListDataset

    generator = random.Random(1)
    batches = []
    for _ in range(count):
        lengths = []
        while sum(lengths) < num_tokens:
            lengths.append(min(generator.randint(8, 32), num_tokens - sum(lengths)))
        sides = []
        for _ in range(2):
            rows = [[generator.randrange(4, len(task.target_dictionary)) for _ in range(size - 1)] for size in lengths]
            sides.append([torch.tensor([*row, task.target_dictionary.eos()]) for row in rows])
        source, target = (ListDataset(side, lengths) for side in sides)
        dataset = LanguagePairDataset(
            source, lengths, task.source_dictionary, target, lengths, task.target_dictionary, shuffle=False
        )
        batches.append(dataset.collater([dataset[index] for index in range(len(dataset))]))
    return batches


def write_dictionaries(folder: Path, vocabulary_size: int) -> None:
    """A joined dictionary of so many types, fairseq's four special symbols among them."""
    text = "".join(f"word{number} 1\n" for number in range(vocabulary_size - 4))
    for language in ("en", "de"):
        (folder / f"dict.{language}.txt").write_text(text, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = benchmark_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--preset", choices=PRESETS, nargs="+", default=["d128"])
    parser.add_argument("--memory-of", help="only print the extra memory of this variant in MiB, for the first preset")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: List[Dict[str, object]] = []
    for preset in options.preset:
        with tempfile.TemporaryDirectory() as folder:
            write_dictionaries(Path(folder), PRESETS[preset][1])
            if options.memory_of:
                print_extra_memory(make_update(options.memory_of, preset, Path(folder)))
                return
            updates = {variant: make_update(variant, preset, Path(folder)) for variant in VARIANTS}
            seconds = time_in_rounds(updates, options.rounds)
            del updates
        for row in summary(seconds, "plain"):
            arguments = ["--memory-of", row["variant"], "--preset", preset, "--threads", str(options.threads)]
            rows.append({"preset": preset, **row, "extra_MiB": extra_memory(__file__, arguments)})
    write_rows(rows, options.output)


if __name__ == "__main__":
    main()
