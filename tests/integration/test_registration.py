"""When the plugin registers with fairseq, and what it replaces there for whom: each in a process of its own."""

import json
import os
import sys
from pathlib import Path

import fairseq_tools
import forked_commands
import pytest
from training_runs import PLAIN, RDROP, train_arguments

ENVIRONMENT = {"PYTHONPATH": f"{fairseq_tools.PLUGIN.parent}:{fairseq_tools.PLUGIN.parent / 'tests'}"}
SAY_WHOSE = f"""
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks import TASK_REGISTRY
import sys
assert not any(type(finder).__module__ == "rdrop_fairseq" for finder in sys.meta_path)
print(CRITERION_REGISTRY["{RDROP}"].__module__.split(".")[0], "rdrop_translation" in TASK_REGISTRY)
"""
# A process in which fairseq is not installed.
WITHOUT_FAIRSEQ = """
import sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "fairseq":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInstalled())
"""


def python(code: str, *arguments, **environment) -> list:
    """The lines that a program prints."""
    return fairseq_tools.run(
        sys.executable, "-c", code, *arguments, env={**ENVIRONMENT, **environment}
    ).stdout.splitlines()


def python_with_fairseq(code: str, *arguments, **environment) -> list:
    """:func:`python`, where it is all the same whether the interpreter has imported torch and fairseq before."""
    environment = {**os.environ, **ENVIRONMENT, **environment}
    words = [sys.executable, "-c", code, *arguments]
    result = forked_commands.run(words, environment, Path.cwd(), timeout=100)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_the_losses_import_no_fairseq_and_change_no_torch():
    python(
        """
import sys, torch
from torch.serialization import get_safe_globals
def state():
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "torch"]
    return {(module.__name__, name): id(value) for module in modules for name, value in vars(module).items()}
before, allowed = state(), get_safe_globals()
import rdrop_fairseq.losses
after = state()
assert {key: after.get(key) for key in before} == before
assert get_safe_globals() == allowed
assert not [name for name in sys.modules if name.split(".")[0] in ("fairseq", "fairseq_cli")]
"""
    )


@pytest.mark.parametrize(
    "imports",
    [
        "import fairseq, rdrop_fairseq",
        "import rdrop_fairseq, fairseq",
        "import rdrop_fairseq.losses\nfrom fairseq_cli import train",
        "import rdrop_fairseq, importlib.util\nassert importlib.util.find_spec('fairseq')\nimport fairseq",
        "import rdrop_fairseq, sys\ndel sys.modules['rdrop_fairseq']\nimport rdrop_fairseq, fairseq",
    ],
    ids=["fairseq first", "plugin first", "losses first", "looked up first", "imported twice"],
)
def test_the_plugin_registers_in_any_order(imports):
    assert python(imports + SAY_WHOSE)[-1] == "rdrop_fairseq True"


def test_without_fairseq_the_losses_work():
    lines = python(
        WITHOUT_FAIRSEQ + "import torch\n"
        "from rdrop_fairseq.losses import rdrop_loss\n"
        "print(float(rdrop_loss(torch.zeros(2, 4), torch.tensor([3]), label_smoothing=0.0).nll_loss))\n"
        "try:\n    import fairseq\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    assert float(lines[0]) == pytest.approx(1.386294)
    assert lines[1] == "fairseq"


def test_a_program_that_imports_the_plugin_before_fairseq_trains_with_it(data_bin, tmp_path):
    """Its package imports the plugin; the module that it runs imports fairseq. No --user-dir is given."""
    package = tmp_path / "myplug"
    package.mkdir()
    (package / "__init__.py").write_text("import rdrop_fairseq\n")
    (package / "train.py").write_text("from fairseq_cli.train import cli_main\n\ncli_main()\n")
    arguments = train_arguments(
        data_bin, tmp_path / "checkpoints", RDROP, "--rdrop-alpha", "5", "--rdrop-passes", "3", plugin=False
    )
    output = fairseq_tools.run(
        sys.executable, "-m", "myplug.train", *arguments, cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{fairseq_tools.PLUGIN.parent}"},
    ).stdout  # fmt: skip
    assert "rdrop_fairseq's criterion takes the place of fairseq's own" in output
    updates = fairseq_tools.logged(output, "train_inner")
    assert len(updates) == 2 and all(float(entry["rdrop_kl_loss"]) > 0 for entry in updates)


# Where the plugin puts functions of its own, and whether only trainings with R-Drop have them.
PLACES = {
    "fairseq.checkpoint_utils load_checkpoint_to_cpu": False,
    "fairseq.checkpoint_utils verify_checkpoint_directory": False,
    "fairseq.modules.transformer_layer TransformerEncoderLayerBase.__init__": False,
    "fairseq.options parse_args_and_arch": False,
    "fairseq.distributed.utils distributed_main": False,
    "fairseq.checkpoint_utils torch_persistent_save": True,
    "fairseq.file_io PathManager.copy": True,
    "fairseq.trainer Trainer.state_dict": True,
    "fairseq.trainer Trainer.train_step": True,
    "fairseq.trainer Trainer.get_train_iterator": True,
    "fairseq.trainer Trainer.save_checkpoint": True,
    "fairseq.trainer Trainer.load_checkpoint": True,
    "fairseq.tasks.translation TranslationTask.begin_epoch": True,
    "fairseq.tasks.translation TranslationTask._inference_with_bleu": True,
    "fairseq.tasks.translation TranslationTask.reduce_metrics": True,
    "fairseq.tasks.translation load_langpair_dataset": True,
    "torch.nn.utils.rnn pack_padded_sequence": True,
    "fairseq.modules AdaptiveSoftmax.get_log_prob": True,
    "fairseq.distributed.utils _broadcast_object_slow": True,
    "fairseq.data.data_utils batch_by_size": True,
    "fairseq.nan_detector NanDetector.add_hooks": True,
}
LOOK = """
import functools, importlib, json, sys
from operator import attrgetter
def owner_and_name(place):
    module, path = place.split()
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    return attrgetter(owners[0])(owner) if owners else owner, name
def functions():
    return [getattr(*place) for place in places]
def look():
    print(json.dumps([hasattr(function, "_rdrop_fairseq_replacement") for function in functions()]))
places = [owner_and_name(place) for place in json.loads(sys.argv[1])]
"""
ALL, EARLY = [True] * len(PLACES), [not later for later in PLACES.values()]


def test_another_plugins_wrappers_keep_nothing_from_being_replaced_once():
    lines = python_with_fairseq(
        LOOK + "def foreign(function):\n"
        "    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))\n"
        "for (owner, name), function in zip(places, functions()):\n"
        "    setattr(owner, name, foreign(function))\n"
        "look()\n"
        "from rdrop_fairseq import compat\n"
        "look()\n"
        "compat.mend_training()\n"
        "look()\n"
        "before = functions()\n"
        "compat.prepare_fairseq()\n"
        "compat.mend_training()\n"
        "print(functions() == before)",
        json.dumps(list(PLACES)),
    )
    assert [json.loads(line) for line in lines[:3]] == [[False] * len(PLACES), EARLY, ALL] and lines[3] == "True"


@pytest.mark.parametrize(
    "task, criterion, expected",
    [("translation", PLAIN, EARLY), ("translation", RDROP, ALL), ("rdrop_translation", PLAIN, ALL)],
)
def test_a_training_without_rdrop_is_as_fairseq_has_it(data_bin, task, criterion, expected):
    code = (
        LOOK + "import fairseq_tools\n"
        "fairseq_tools.build(fairseq_tools.training_config(*json.loads(sys.argv[2])))\n"
        "look()"
    )
    arguments = [str(data_bin), "--task", task, "--criterion", criterion, *fairseq_tools.TINY_TRANSFORMER]
    assert json.loads(python_with_fairseq(code, json.dumps(list(PLACES)), json.dumps(arguments))[-1]) == expected


def test_a_training_without_rdrop_is_mended_on_request():
    code = LOOK + "import rdrop_fairseq\nlook()"
    lines = python_with_fairseq(code, json.dumps(list(PLACES)), RDROP_FAIRSEQ_MEND_TRAINING="1")
    assert json.loads(lines[-1]) == ALL
