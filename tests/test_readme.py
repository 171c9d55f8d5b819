"""What the README shows is what works. (Its two commands are run, word for word, by .ci/run.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset

from prost_lightning.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_callback_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lengths: list[int] = []

    def make_loader(only_parts_up_to: int) -> torch.utils.data.DataLoader[torch.Tensor]:
        lengths.append(4 * only_parts_up_to)
        return torch.utils.data.DataLoader(RandomDataset(32, lengths[-1]))

    exec(block("python"), {"make_loader": make_loader, "MyModule": BoringModel})
    assert lengths == [4, 8, 12]


def test_the_example_configuration_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(block("yaml"))
    configs = ["configs/quickstart.yaml", "configs/wandb_online.yaml", str(path)]
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        main(["fit", *(f"--config={config}" for config in configs), "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["data"]["prepare"] is None
    assert config["model"]["base_model"].startswith("Qwen/")
    assert config["trainer"]["default_root_dir"] == "runs/mine"


def test_the_example_evaluation_plays_under_the_limits_of_the_quickstart() -> None:
    found = re.search(r"--limits '(\{.*?\})'", README)
    assert found is not None
    quickstart = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    (evaluation,) = (c for c in quickstart["trainer"]["callbacks"] if c["class_path"].endswith("AppWorldEval"))
    assert yaml.safe_load(found[1]) == evaluation["init_args"]["limits"]


def test_the_two_commands_are_where_ci_looks_for_them() -> None:
    for name in ("quickstart", "test"):
        assert re.search(rf"<!-- command: {name} -->\n```bash\npython3 -m venv", README)
