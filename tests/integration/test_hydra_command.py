"""fairseq-hydra-train with flags that fairseq's own R-Drop criterion lacks."""

import fairseq_tools
import pytest

ALIAS = "rdrop_label_smoothed_cross_entropy"
# The task, the model and the optimizer have no group to choose from: they are added (+), as dictionaries, because Hydra
# 1.0, which fairseq 0.12.2 has, adds no single keys. The default group of the criterion would forbid other keys: it is
# taken out (~) first.
CHOICES = [
    "~criterion",
    f"+criterion={{_name:{ALIAS},label_smoothing:0.1,rdrop_alpha:5,rdrop_passes:3,rdrop_impl:reference}}",
    "+model={_name:transformer_tiny,base_layers:0}", "optimizer=adam", "optimization.lr=[0.001]",
    "optimization.max_update=2",
    "dataset.max_tokens=100", "dataset.num_workers=0", "common.cpu=true", "common.log_format=json",
    "common.log_interval=1",
]  # fmt: skip
CONFIGURATION = f"""# @package _group_
common: {{cpu: true, log_format: json, log_interval: 1}}
task: {{_name: rdrop_translation, data: "???", source_lang: en, target_lang: de}}
criterion: {{_name: {ALIAS}, label_smoothing: 0.1, rdrop_alpha: 5.0, rdrop_passes: 3, rdrop_impl: reference}}
model: {{_name: transformer_tiny}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
optimization: {{lr: [0.001], max_update: 2}}
dataset: {{max_tokens: 100, num_workers: 0}}
"""


@pytest.mark.parametrize("source", ["command line", "file"])
def test_hydra_train(data_bin, tmp_path, source):
    if source == "file":
        (tmp_path / "rdrop.yaml").write_text(CONFIGURATION)
        choices = ["--config-dir", tmp_path, "--config-name", "rdrop", f"task.data={data_bin}"]
    else:
        task = f"+task={{_name:rdrop_translation,data:'{data_bin}',source_lang:en,target_lang:de}}"
        choices = [*CHOICES, task]
    result = fairseq_tools.run(
        "fairseq-hydra-train", *choices, f"common.user_dir={fairseq_tools.PLUGIN}",
        f"checkpoint.save_dir={tmp_path}/checkpoints", f"hydra.run.dir={tmp_path}/hydra", cwd=tmp_path,
    )  # fmt: skip
    updates = fairseq_tools.logged(result.stdout, "train_inner")
    assert len(updates) == 2
    for entry in updates:
        assert float(entry["rdrop_kl_loss"]) > 0
        # Three passes: 3 cross-entropies and alpha * 3/2 times the mean KL of the pairs.
        expected = 3 * float(entry["nll_loss"]) + 7.5 * float(entry["rdrop_kl_loss"])
        assert float(entry["loss"]) == pytest.approx(expected, rel=0.03)
    assert "R-Drop loss from features and the output projection, implementation reference" in result.stdout
    assert len(fairseq_tools.logged(result.stdout, "valid")) == 1
    assert (tmp_path / "checkpoints" / "checkpoint_last.pt").is_file()
