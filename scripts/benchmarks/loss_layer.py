"""The loss layer, from features (2N, D) to all gradients, against fairseq's own criterion and its matrix products.

    python scripts/benchmarks/loss_layer.py --tokens 1024 --vocabulary 32768 --features 512 --output loss_layer.csv

``products`` is the floor: the three matrix products that no implementation can do without.
"""

from types import SimpleNamespace
from typing import Callable, Dict

import torch
import torch.nn.functional as functional
from fairseq import utils
from fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import RdropLabelSmoothedCrossEntropyCriterion
from measuring import benchmark_parser, extra_memory, print_extra_memory, summary, time_in_rounds, write_rows

from rdrop_fairseq.losses import linear_rdrop_loss

PADDING, ALPHA, LABEL_SMOOTHING = 1, 5.0, 0.1


class _Model:
    """What fairseq's criterion asks of a model: probabilities from logits, in float32 as fairseq makes them."""

    @staticmethod
    def get_normalized_probs(net_output, log_probs):
        return (utils.log_softmax if log_probs else utils.softmax)(net_output[0], dim=-1)

    @staticmethod
    def get_targets(sample, net_output):
        return sample["target"]


def make_variants(num_tokens: int, vocabulary_size: int, width: int) -> Dict[str, Callable[[], None]]:
    """The variants by name, on the same random features, projection and targets."""
    torch.manual_seed(0)
    features = torch.randn(2 * num_tokens, width, requires_grad=True)
    weight = (torch.randn(vocabulary_size, width) * width**-0.5).requires_grad_()
    target = torch.randint(4, vocabulary_size, (num_tokens,))
    task = SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: PADDING))
    fairseqs_own = RdropLabelSmoothedCrossEntropyCriterion(task, False, LABEL_SMOOTHING, rdrop_alpha=ALPHA)

    def products() -> None:
        with torch.no_grad():
            logits = torch.mm(features, weight.t())
            torch.mm(logits, weight)
            torch.mm(logits.t(), features)

    def backward(loss: torch.Tensor) -> None:
        torch.autograd.grad(loss, (features, weight))

    def fairseq() -> None:
        logits = functional.linear(features, weight).view(2, num_tokens, -1)
        backward(fairseqs_own.compute_loss(_Model, (logits,), {"target": target.view(1, -1)})[0])

    def rdrop(impl: str) -> Callable[[], None]:
        options = dict(alpha=ALPHA, label_smoothing=LABEL_SMOOTHING, ignore_index=PADDING, impl=impl)
        return lambda: backward(linear_rdrop_loss(features, weight, target, **options).loss)

    return {"products": products, "fairseq": fairseq, "reference": rdrop("reference"), "fused": rdrop("fused")}


def main() -> None:
    """The command line."""
    parser = benchmark_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--tokens", type=int, default=1024, help="target tokens N (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[32768], help="V (default: %(default)s)")
    parser.add_argument("--features", type=int, nargs="+", default=[512], help="D (default: %(default)s)")
    parser.add_argument("--memory-of", help="only print the extra memory of this variant in MiB, for the first V and D")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        variants = make_variants(options.tokens, options.vocabulary[0], options.features[0])
        print_extra_memory(variants[options.memory_of])
        return
    rows = []
    for vocabulary_size in options.vocabulary:
        for width in options.features:
            setting = {"tokens": options.tokens, "vocabulary": vocabulary_size, "features": width}
            seconds = time_in_rounds(make_variants(*setting.values()), options.rounds)
            for row in summary(seconds, "products"):
                arguments = ["--memory-of", row["variant"], "--threads", str(options.threads)]
                arguments += [word for name, value in setting.items() for word in (f"--{name}", str(value))]
                rows.append({**setting, **row, "extra_MiB": extra_memory(__file__, arguments)})
    write_rows(rows, options.output)


if __name__ == "__main__":
    main()
