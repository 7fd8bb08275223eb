"""The Triton kernels against the specification in float64: on a CUDA device, or else in Triton's interpreter."""

import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest
import torch

from rdrop_fairseq.losses import rdrop_loss
from rdrop_fairseq.losses.objective import Objective

ON_DEVICE = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
DEVICE = torch.device("cuda" if ON_DEVICE else "cpu")
# The interpreter is chosen when Triton is imported. Commands that other tests start must not inherit the choice.
ENVIRONMENT = {} if ON_DEVICE else {"TRITON_INTERPRET": "1"}
with mock.patch.dict(os.environ, ENVIRONMENT):
    from rdrop_fairseq.losses import triton_kernels

TRITON_INSTALLED = importlib.util.find_spec("triton") is not None
REPOSITORY = Path(__file__).resolve().parents[3]
needs_triton = pytest.mark.skipif(not TRITON_INSTALLED, reason="Triton is not installed")
needs_kernels = pytest.mark.skipif(
    not triton_kernels.triton_available(DEVICE),
    reason="Triton is not installed, or was imported without TRITON_INTERPRET=1 and there is no CUDA device",
)
needs_device = pytest.mark.skipif(not (ON_DEVICE and TRITON_INSTALLED), reason="needs a CUDA device and Triton")
NO_PADDING = -100


@pytest.fixture(autouse=True)
def _interpreter(monkeypatch):
    """Triton's interpreter reads its variable while it runs, too."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def make_logits(passes, num_tokens, vocabulary_size, dtype=torch.float32, seed=0):
    """Logits (m, n, V) of passes that resemble one another, and targets (n,), the largest logit in half of them."""
    generator = torch.Generator().manual_seed(seed)
    common = 3 * torch.randn(1, num_tokens, vocabulary_size, generator=generator)
    logits = common + 0.5 * torch.randn(passes, num_tokens, vocabulary_size, generator=generator)
    target = torch.randint(vocabulary_size, (num_tokens,), generator=generator)
    target[::2] = common[0, ::2].argmax(1)
    return logits.to(dtype), target


def make_objective(passes=2, alpha=5.0, label_smoothing=0.1, kl="symmetric", ce_passes="all"):
    return Objective(alpha, passes, label_smoothing, NO_PADDING, kl, ce_passes)


def run_reference(logits, target, objective):
    """What the kernels compute, by the specification in the dtype of the logits: results (4, n), gradient (m, n, V)."""
    logits = logits.clone().requires_grad_()
    outputs = [
        rdrop_loss(
            logits[:, token],
            target[token : token + 1],
            alpha=objective.alpha,
            passes=objective.passes,
            label_smoothing=objective.label_smoothing,
            ignore_index=objective.ignore_index,
            impl="reference",
            kl=objective.kl,
            ce_passes=objective.ce_passes,
        )
        for token in range(len(target))
    ]
    (gradient,) = torch.autograd.grad(sum(output.loss for output in outputs), logits)
    return torch.stack([torch.stack(output) for output in outputs], 1).detach(), gradient


def run_kernels(logits, target, objective):
    """Results (4, n) and gradient (m, n, V) of the kernels, the latter in float32 without its scale."""
    results = torch.full((4, len(target)), math.nan, device=DEVICE)
    logits = logits.to(DEVICE, copy=True)
    scale = triton_kernels.triton_loss_of_chunk(logits, target.to(DEVICE), objective, results, True)
    assert (scale is not None) == (logits.dtype == torch.float16 and len(target) > 0)
    return results.cpu(), (logits.float() if scale is None else logits.float() / scale).cpu()


def assert_within_budget(logits, target, objective):
    """Errors against the truth in float64 are at most those of plain torch in the same dtype plus a few units.

    A unit is one in the last place of the largest value. It is one for half precision; eight for float32, where the
    exponential function of a CUDA device alone is two units off and alpha = 5 multiplies the errors.
    """
    truth = run_reference(logits.double(), target, objective)
    plain = run_reference(logits, target, objective)
    actual = run_kernels(logits, target, objective)
    for name, true_rows, plain_rows, actual_rows in zip(
        ("loss", "nll", "kl", "hits", "gradient"), (*truth[0], truth[1]), (*plain[0], plain[1]), (*actual[0], actual[1])
    ):
        assert actual_rows.shape == true_rows.shape
        units = 8 if plain_rows.dtype == torch.float32 else 1
        one_unit = torch.finfo(plain_rows.dtype).eps * true_rows.abs().max().clamp(min=1.0)
        allowed = (plain_rows.double() - true_rows).abs().max() + units * one_unit
        error = (actual_rows.double() - true_rows).abs().max()
        assert error <= allowed, f"{name}: error {error:.3g}, allowed {allowed:.3g}"


@needs_kernels
@pytest.mark.parametrize(
    ("passes", "kl", "ce_passes", "label_smoothing", "alpha"),
    list(itertools.product((1, 2, 3, 4), ("symmetric", "forward"), ("all", "first"), (0.0, 0.1), (0.0, 5.0))),
)
def test_every_variant(passes, kl, ce_passes, label_smoothing, alpha):
    logits, target = make_logits(passes, 2, 41)
    assert_within_budget(logits, target, make_objective(passes, alpha, label_smoothing, kl, ce_passes))


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("passes", "num_tokens", "vocabulary_size"),
    [
        (2, 3, 41),
        (2, 2, 1271),
        (3, 1, 1271),
        (2, 1, 1272),  # rows aligned to 8 elements and to 16
        (4, 1, 1280),
        (8, 1, 1000),
        (2, 2, 5003),
        (2, 1, 16384),  # no tile cut off
        (2, 1, 32769),
        (1, 1, 1),
    ],
)
def test_every_shape(passes, num_tokens, vocabulary_size, dtype):
    logits, target = make_logits(passes, num_tokens, vocabulary_size, dtype)
    smoothing = 0.1 if vocabulary_size > 1 else 0.0
    for kl in ("symmetric", "forward")[: 2 if vocabulary_size < 5000 else 1]:
        assert_within_budget(logits, target, make_objective(passes, label_smoothing=smoothing, kl=kl))


@needs_kernels
def test_small_gradients_survive_float16():
    """Entries below the smallest float16, of label smoothing and of probabilities, keep their digits."""
    logits = torch.linspace(0, -18, 100).repeat(2, 1).view(2, 1, 100).half()
    target, objective = torch.tensor([1]), make_objective(label_smoothing=1e-5)
    assert_within_budget(logits, target, objective)
    exact = run_reference(logits.double(), target, objective)[1]
    small = exact.abs() < torch.finfo(torch.float16).tiny
    assert small.any()
    # One unit of float16, and of its smallest numbers: 2**-24, here divided by the scale of 128.
    actual = run_kernels(logits, target, objective)[1].double()
    torch.testing.assert_close(actual[small], exact[small], rtol=2**-10, atol=2**-24 / 128)


@needs_kernels
@pytest.mark.parametrize("kl", ["symmetric", "forward"])
@pytest.mark.parametrize("passes", [2, 3])
def test_large_gradients_fit_float16(passes, kl):
    """A pass that doubts where others are certain: alpha times thousands of nats, which 128 times would overflow."""
    logits, target = make_logits(passes, 3, 41)
    logits[:, 1] = -20.0
    logits[:, 1, :2] = 0.0
    logits[1:, 1, 1] = -3000.0
    logits = logits.half()
    objective = make_objective(passes, label_smoothing=0.0, kl=kl)
    exact = run_reference(logits.double(), target, objective)[1]
    assert exact.abs().max() * 128 > 2 * torch.finfo(torch.float16).max
    assert_within_budget(logits, target, objective)


@needs_kernels
@pytest.mark.parametrize("kl", ["symmetric", "forward"])
@pytest.mark.parametrize("passes", [2, 3])
def test_extreme_logits(passes, kl):
    """+-1e4 at random; values within 10 of +1e4 and of -1e4; values spread from -1e4 to 1e4."""
    generator = torch.Generator().manual_seed(1)
    signs = (torch.rand(passes, 2, 41, generator=generator) - 0.5).sign() * 1e4
    logits, target = make_logits(passes, 2, 41)
    for extreme in (signs, logits + 1e4, logits - 1e4, logits * 3e3):
        assert_within_budget(extreme, target, make_objective(passes, kl=kl))


@needs_kernels
@pytest.mark.parametrize("kl", ["symmetric", "forward"])
def test_passes_far_from_one_another(kl):
    """A constant between the passes changes nothing but by the rounding of the logits."""
    logits, target = make_logits(3, 2, 1271)
    for constant in (100.0, 1e3, 1e4):
        shifted = logits + torch.tensor([0.0, constant, -constant]).view(3, 1, 1)
        assert_within_budget(shifted, target, make_objective(3, kl=kl))


@needs_kernels
@pytest.mark.parametrize("passes", [2, 3])
def test_small_differences_of_large_logits(passes):
    """A KL of 1e-3 at logits of 1e4 is right to 1e-4 of itself, and that of equal passes is exactly 0."""
    logits, target = make_logits(passes, 3, 300)
    logits = 1e4 + logits[:1] + 0.1 * (logits - logits[:1])
    objective = make_objective(passes)
    truth = run_reference(logits.double(), target, objective)[0][2]
    assert 1e-4 < truth.min() and truth.max() < 1e-2
    torch.testing.assert_close(run_kernels(logits, target, objective)[0][2].double(), truth, rtol=1e-4, atol=0)
    equal = run_kernels(logits[:1].repeat(passes, 1, 1), target, objective)[0][2]
    assert torch.equal(equal, torch.zeros(3))


@needs_kernels
@pytest.mark.parametrize(("passes", "dtype"), [(1, torch.float32), (2, torch.float16), (3, torch.bfloat16)])
def test_banned_columns_take_no_part(passes, dtype):
    """Classes of logit -inf in every pass, whole tiles of them and the first one too, are as if they were not there."""
    logits, target = make_logits(passes, 2, 1271, dtype)
    banned = torch.arange(1271).lt(600) | torch.arange(1271).eq(1000)
    target = target.clamp(min=1001)
    objective = make_objective(passes, label_smoothing=0.0)
    expected_results, expected_gradient = run_reference(
        logits[:, :, ~banned].double(), target - banned.sum(), objective
    )
    results, gradient = run_kernels(logits.masked_fill(banned, -math.inf), target, objective)
    torch.testing.assert_close(results.double(), expected_results, rtol=1e-5, atol=1e-5)
    assert torch.equal(gradient[:, :, banned], torch.zeros_like(gradient[:, :, banned]))
    tolerance = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(gradient[:, :, ~banned].double(), expected_gradient, rtol=tolerance, atol=tolerance)


@needs_kernels
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(("passes", "kl"), [(2, "forward"), (3, "forward"), (2, "symmetric"), (3, "symmetric")])
def test_columns_that_the_first_pass_bans(passes, kl):
    """Whole tiles and a column beside them: finite with the forward KL. The last token has none."""
    logits, target = make_logits(passes, 2, 1271)
    logits[0, 0, 100:700] = logits[0, 0, 1000] = -math.inf
    logits[1:, 0, 100:700] = logits[1:, 0, 1000] = -200.0  # float32 has no such probability
    target[0] = 1001
    results, gradient = run_kernels(logits, target, make_objective(passes, label_smoothing=0.0, kl=kl))
    expected, expected_gradient = run_reference(
        logits.double(), target, make_objective(passes, label_smoothing=0.0, kl=kl)
    )
    assert results[0, 0].isfinite() == (kl == "forward")
    torch.testing.assert_close(results.double(), expected, rtol=1e-5, atol=1e-5)
    for token in (0, 1) if kl == "forward" else (1,):
        torch.testing.assert_close(gradient[:, token].double(), expected_gradient[:, token], rtol=1e-5, atol=1e-5)
    assert gradient[:, 0].isfinite().all() == (kl == "forward")


@needs_kernels
@pytest.mark.filterwarnings("ignore:(invalid value|All-NaN):RuntimeWarning")
def test_a_token_whose_classes_are_all_banned_has_no_loss():
    logits, target = make_logits(2, 2, 41)
    logits[0, 0] = -math.inf
    for label_smoothing in (0.0, 0.1):
        results, gradient = run_kernels(logits, target, make_objective(label_smoothing=label_smoothing))
        assert results[:3, 0].isnan().all() and gradient[0, 0].isnan().all()
        assert results[:, 1].isfinite().all() and gradient[:, 1].isfinite().all()


@needs_kernels
@pytest.mark.filterwarnings("ignore:(invalid value|All-NaN):RuntimeWarning")
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_nan_and_infinite_logits_do_not_go_unnoticed(passes):
    """Training looks for them in the gradient: an overflow must not come out as a number."""
    for value in (math.nan, math.inf):
        logits, target = make_logits(passes, 2, 300)
        logits[-1, 1, 299] = value
        results, gradient = run_kernels(logits, target, make_objective(passes))
        assert results[:3, 0].isfinite().all() and gradient[:, 0].isfinite().all()
        assert results[0, 1].isnan() and gradient[-1, 1].isnan().any()


@needs_kernels
@pytest.mark.parametrize("vocabulary_size", [41, 1271])
def test_hits_with_ties_go_to_the_first_class(vocabulary_size):
    """Of the two passes the first has the maximum twice, at distances within a thread, a tile and beyond."""
    last = vocabulary_size - 1
    pairs = [(0, 1), (3, 4), (5, 38), (0, last), (last - 1, last), (7, 7 + vocabulary_size // 2)]
    logits = torch.zeros(2, 2 * len(pairs), vocabulary_size)
    target = torch.tensor([column for pair in pairs for column in pair])
    logits[1, :, 9] = 1.0
    for number, pair in enumerate(pairs):
        for token in (2 * number, 2 * number + 1):
            logits[0, token, list(pair)] = 2.0
    results, _ = run_kernels(logits, target, make_objective())
    assert torch.equal(results[3], logits.argmax(2).eq(target).sum(0) / 2)
    assert torch.equal(results[3], torch.tensor([0.5, 0.0] * len(pairs)))


@needs_kernels
def test_results_may_be_a_part_of_a_larger_tensor_and_logits_stay_without_gradient():
    logits, target = make_logits(2, 3, 41)
    objective = make_objective()
    expected, _ = run_kernels(logits, target, objective)
    everything = torch.full((4, 8), -1.0, device=DEVICE)
    given = logits.to(DEVICE, copy=True)
    triton_kernels.triton_loss_of_chunk(given, target.to(DEVICE), objective, everything[:, 2:5], False)
    assert torch.equal(everything[:, 2:5].cpu(), expected)
    assert (everything[:, :2] == -1).all() and (everything[:, 5:] == -1).all()
    assert torch.equal(given.cpu(), logits)


@needs_kernels
@pytest.mark.parametrize("vocabulary_size", [1271, 1272])
def test_logits_token_after_token_and_with_gaps(vocabulary_size):
    """Chunks (n, m, V), and rows that are a part of longer ones: the same bits, and nothing beside them is touched."""
    logits, target = make_logits(3, 2, vocabulary_size)
    expected_results, expected_gradient = run_kernels(logits, target, make_objective(3))
    chunk = torch.full((2, 3, vocabulary_size + 8), 0.5, device=DEVICE)
    given = chunk[:, :, :vocabulary_size].transpose(0, 1)
    given.copy_(logits)
    results = torch.zeros(4, 2, device=DEVICE)
    triton_kernels.triton_loss_of_chunk(given, target.to(DEVICE), make_objective(3), results, True)
    assert torch.equal(results.cpu(), expected_results)
    assert torch.equal(given.cpu(), expected_gradient)
    assert (chunk[:, :, vocabulary_size:] == 0.5).all()


@needs_kernels
def test_repeated_call_gives_the_same_bits():
    logits, target = make_logits(2, 3, 1271)
    first, second = (run_kernels(logits, target, make_objective()) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@needs_kernels
def test_no_tokens():
    results, gradient = run_kernels(torch.zeros(2, 0, 41), torch.zeros(0, dtype=torch.long), make_objective())
    assert results.shape == (4, 0) and gradient.shape == (2, 0, 41)


@needs_kernels
def test_unfit_arguments_are_refused():
    objective, target = make_objective(), torch.zeros(3, dtype=torch.long)
    results, function = torch.zeros(4, 3), triton_kernels.triton_loss_of_chunk
    with pytest.raises(ValueError, match="float64"):
        function(torch.zeros(2, 3, 41, dtype=torch.float64), target, objective, results, True)
    with pytest.raises(ValueError, match="9"):
        function(torch.zeros(9, 3, 41), target, make_objective(9), results, True)
    with pytest.raises(ValueError, match="contiguous"):
        function(torch.zeros(2, 41, 3).transpose(1, 2), target, objective, results, True)


@needs_device
def test_waits_for_nothing_and_allocates_almost_nothing():
    logits, target = (tensor.to(DEVICE) for tensor in make_logits(2, 512, 32000, torch.bfloat16))
    results = torch.zeros(4, 512, device=DEVICE)
    triton_kernels.triton_loss_of_chunk(logits, target, make_objective(), results, True)  # compiles
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        triton_kernels.triton_loss_of_chunk(logits, target, make_objective(), results, True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.max_memory_allocated() - before <= 2 * 4 * 3 * 2 * 512


@needs_device
def test_more_than_two_to_the_31_logits():
    """The last token of a chunk whose logits have offsets that 32 bits cannot hold."""
    vocabulary_size, passes = 300_000, 2
    num_tokens = 2**31 // (passes * vocabulary_size) + 100
    if torch.cuda.mem_get_info()[0] < 2 * 2 * passes * num_tokens * vocabulary_size:
        pytest.skip("needs 9 GB of memory on the device")
    logits = torch.zeros(passes, num_tokens, vocabulary_size, dtype=torch.float16, device=DEVICE)
    last, last_target = make_logits(passes, 1, vocabulary_size, torch.float16)
    logits[:, -1:] = last.to(DEVICE)
    target = torch.zeros(num_tokens, dtype=torch.long, device=DEVICE)
    target[-1:] = last_target.to(DEVICE)
    results = torch.zeros(4, num_tokens, device=DEVICE)
    scale = triton_kernels.triton_loss_of_chunk(logits, target, make_objective(), results, True)
    expected_results, expected_gradient = run_kernels(last, last_target, make_objective())
    assert torch.equal(results[:, -1:].cpu(), expected_results)
    torch.testing.assert_close((logits[:, -1:].float() / scale).cpu(), expected_gradient, rtol=1e-3, atol=1e-9)


def run_python(program, *arguments, **environment):
    """What a new interpreter prints. It compiles kernels rather than to interpret them."""
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    inherited["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_triton_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    specification = importlib.util.spec_from_file_location("kernels_without_triton", triton_kernels.__file__)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert not module.triton_available(torch.device("cpu")) and not module.triton_available(torch.device("cuda"))


# As on a machine with a GPU, but for the memory: the rest, up to the search for a C compiler, is Triton's own.
WITHOUT_COMPILER = """
import json, sys, warnings
import torch
zeros = torch.zeros
torch.zeros = lambda *size, device=None, **options: zeros(*size, **options)
torch.cuda.is_available = lambda: True
torch.cuda.get_device_capability = lambda device=None: (9, 0)
from rdrop_fairseq.losses import chosen_implementation
assert "triton" not in sys.modules
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = [chosen_implementation("auto", torch.device("cuda"), torch.float32, passes) for passes in (2, 3)]
print(json.dumps([found, [str(warning.message) for warning in caught]]))
"""


@needs_triton
def test_auto_falls_back_where_triton_cannot_compile(tmp_path):
    """Said once. Before that Triton is not even imported: it takes time."""
    output = run_python(
        WITHOUT_COMPILER, CC="/no/such/compiler", TRITON_CACHE_DIR=str(tmp_path), TRITON_LIBCUDA_PATH=str(tmp_path)
    )
    found, messages = json.loads(output.splitlines()[-1])
    assert found == ["fused", "fused"]
    (message,) = [message for message in messages if "Triton" in message]
    assert "/no/such/compiler" in message and "impl='fused' takes their place" in message and "CC" in message


@needs_kernels
def test_kernels_that_run_are_found_to():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert triton_kernels.kernels_run(DEVICE)


# Calls the launcher on tensors of the host with a driver that names a device which need not be there, and compiles
# every kernel to machine code as the launch on that device would, instead of launching it.
COMPILE = '''
import json, os, subprocess, sys, tempfile
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction
from rdrop_fairseq.losses.objective import Objective
from rdrop_fairseq.losses.triton_kernels import triton_available, triton_loss_of_chunk

class Driver:
    """A device of a given compute capability, which is its number, too: kernels are kept by the device's number."""
    def __init__(self, capability):
        self.capability = capability
    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)
    def get_current_device(self):
        return self.capability
    def get_current_stream(self, device):
        return 0

def loop_of(ptx):
    """The instructions between a label and the branch back to it."""
    labels, lines = {}, ptx.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("$"):
            labels[line.split(":")[0]] = number
        elif "bra" in line.split() or "bra.uni" in line.split():
            label = line.split()[-1].rstrip(";")
            if label in labels:
                return "\\n".join(lines[labels[label]:number])
    return ""

compiled, run = [], JITFunction.run

def only_compile(self, *arguments, grid, warmup, **options):
    compiled.append(run(self, *arguments, grid=grid, warmup=True, **options))

JITFunction.run = only_compile
assert not triton_available(torch.device("cpu"))
figures = []
for capability, dtype, passes, vocabulary_size, kl, ce_passes, label_smoothing, alpha in json.loads(sys.argv[1]):
    triton.runtime.driver.set_active(Driver(capability))
    compiled.clear()
    logits = torch.zeros(passes, 2, vocabulary_size, dtype=getattr(torch, dtype))
    objective = Objective(alpha, passes, label_smoothing, -100, kl, ce_passes)
    triton_loss_of_chunk(logits, torch.zeros(2, dtype=torch.long), objective, torch.zeros(4, 2), True)
    for kernel in compiled:
        assert kernel.asm["cubin"]
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(kernel.asm["cubin"])
            file.flush()
            tool = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin", "cuobjdump")
            usage = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True).stdout
        loop = loop_of(kernel.asm["ptx"])
        figures.append({
            "name": kernel.metadata.name, "case": [capability, dtype, passes, vocabulary_size, kl],
            "registers": int(usage.partition("REG:")[2].split()[0]),
            "spilled": int(usage.partition("STACK:")[2].split()[0]) + int(usage.partition("LOCAL:")[2].split()[0]),
            "wide_loads": kernel.asm["ptx"].count(".v4.b32"),
            "loop_instructions": loop.count(";"),
            "loop_exchanges": sum(loop.count(word) for word in ("shfl", "bar.", "shared")),
        })
print(json.dumps(figures))
'''


def compile_kernels(cases, cache):
    output = run_python(COMPILE, json.dumps(cases), TRITON_CACHE_DIR=str(cache), TRITON_DEFAULT_FP_FUSION="1")
    figures = json.loads(output.splitlines()[-1])
    assert [figure["name"] for figure in figures] == ["_statistics_kernel", "_gradient_kernel"] * len(cases)
    for figure in figures:
        assert figure["spilled"] == 0, figure
        # The threads keep statistics of their own: they exchange nothing before the end of the row.
        assert figure["loop_exchanges"] == 0, figure
        assert (figure["loop_instructions"] > 0) == (figure["name"] == "_statistics_kernel"), figure
    return figures


@needs_triton
def test_kernels_compile_for_a_device_that_is_not_there(tmp_path):
    """Two passes, a vocabulary padded to a multiple of 8 as fairseq's dictionaries are: accesses of 16 bytes."""
    cases = [[90, dtype, 2, 32008, "symmetric", "all", 0.1, 5.0] for dtype in ("float32", "float16")]
    for figure in compile_kernels(cases, tmp_path):
        assert figure["wide_loads"] >= 2, figure
        assert figure["registers"] <= 64, figure


@needs_triton
@pytest.mark.slow
def test_every_variant_compiles(tmp_path):
    """Every number of passes with both divergences, and with each of the rest in turn; each generation of devices."""
    rest = itertools.cycle([("bfloat16", 32768, 0.1, 5.0), ("float32", 300_001, 0.0, 5.0), ("float16", 41, 0.1, 0.0)])
    cases = [
        [90, dtype, passes, vocabulary_size, kl, "first" if kl == "forward" else "all", label_smoothing, alpha]
        for (passes, kl), (dtype, vocabulary_size, label_smoothing, alpha) in zip(
            itertools.product((8, 4, 3, 2, 1), ("symmetric", "forward")), rest
        )
        if (passes, kl) != (1, "forward")  # one pass has no KL
    ]
    cases += [[capability, "bfloat16", 2, 32000, "symmetric", "all", 0.1, 5.0] for capability in (80, 100, 120)]
    compile_kernels(cases, tmp_path)
