"""The loss layer, from features (2N, D) to all gradients, against fairseq's own criterion and its matrix products.

    python scripts/benchmarks/loss_layer.py --tokens 1024 --vocabulary 32768 --features 512 --output loss_layer.csv

``products`` is the floor: the three matrix products that no implementation can do without. ``fairseq`` is fairseq's
own criterion after a linear layer; ``reference``, ``fused`` and (on CUDA) ``triton`` are those of this package.
Several values of an option make a grid.
"""

import argparse
import itertools
from typing import Callable, Dict, List

import torch
import torch.nn.functional as functional
from measuring import (
    DTYPES,
    benchmark_parser,
    check_device,
    print_extra_memory,
    run_apart,
    summary,
    time_in_rounds,
    write_rows,
)
from peers import ALPHA, LABEL_SMOOTHING, fairseqs_own_loss, three_products

from rdrop_fairseq.common.command_line import positive_number
from rdrop_fairseq.losses import linear_rdrop_loss

PADDING = 1
VARIANTS = ("products", "fairseq", "reference", "fused", "triton")


def available_variants(device: str) -> List[str]:
    """The variants that run on ``device``."""
    return [name for name in VARIANTS if name != "triton" or device == "cuda"]


def make_variant(
    name: str, num_tokens: int, vocabulary_size: int, width: int, device: str, dtype: torch.dtype
) -> Callable[[], None]:
    """A call of the variant, on random features, projection and targets that are the same for every variant."""
    torch.manual_seed(0)
    features = torch.randn(2 * num_tokens, width).to(device, dtype).requires_grad_()
    weight = (torch.randn(vocabulary_size, width) * width**-0.5).to(device, dtype).requires_grad_()
    target = torch.randint(4, vocabulary_size, (num_tokens,)).to(device)

    def products() -> None:
        with torch.no_grad():
            three_products(features, weight)

    def fairseq() -> None:
        loss = fairseqs_own_loss(functional.linear(features, weight), target, PADDING)
        torch.autograd.grad(loss, (features, weight))

    def rdrop() -> None:
        options = dict(alpha=ALPHA, label_smoothing=LABEL_SMOOTHING, ignore_index=PADDING, num_tokens=num_tokens)
        loss = linear_rdrop_loss(features, weight, target, impl=name, **options).loss
        torch.autograd.grad(loss, (features, weight))

    return {"products": products, "fairseq": fairseq}.get(name, rdrop)


def measure(options: argparse.Namespace, setting: Dict[str, int]) -> List[Dict[str, object]]:
    """The rows of one point of the grid."""
    names = available_variants(options.device)
    setup = (*setting.values(), options.device, DTYPES[options.dtype])
    seconds = time_in_rounds({name: make_variant(name, *setup) for name in names}, options.rounds, options.device)
    rows = []
    for row in summary(seconds, "products"):
        flags = {**setting, "memory-of": row["variant"], "threads": options.threads}
        flags.update(device=options.device, dtype=options.dtype)
        arguments = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        place = {"device": options.device, "dtype": options.dtype}
        rows.append({**setting, **place, **row, "extra_MiB": run_apart(__file__, arguments)})
    return rows


def main() -> None:
    """The command line."""
    parser = benchmark_parser(__doc__.splitlines()[0], rounds=5)
    sizes = {"tokens": (1024, "target tokens N"), "vocabulary": (32768, "V"), "features": (512, "D")}
    for name, (default, meaning) in sizes.items():
        text = f"{meaning} (default: {default})"
        parser.add_argument(f"--{name}", type=positive_number, nargs="+", default=[default], help=text)
    parser.add_argument("--memory-of", choices=VARIANTS, help="only print the extra MiB of this one, first setting")
    options = parser.parse_args()
    check_device(options)
    grid = itertools.product(options.tokens, options.vocabulary, options.features)
    settings = [dict(zip(sizes, point)) for point in grid]
    if options.memory_of:
        place = (options.device, DTYPES[options.dtype])
        miniature = make_variant(options.memory_of, 2, 16, 8, *place)
        print_extra_memory(make_variant(options.memory_of, *settings[0].values(), *place), options.device, miniature)
        return
    write_rows([row for setting in settings for row in measure(options, setting)], options.output)


if __name__ == "__main__":
    main()
