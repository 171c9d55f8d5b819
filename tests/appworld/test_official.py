"""Official data: found, checked, downloaded through AppWorld's own code from a local server, and never modified."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from prost_lightning.appworld.data import SPLITS, load_task_ids
from prost_lightning.appworld.official import (
    OFFICIAL_SCENARIOS,
    check_official,
    data_version,
    download_official,
    official_root,
    resolve_world,
)
from prost_lightning.errors import UserError
from prost_lightning.miniworld.fingerprint import data_fingerprint
from prost_lightning.miniworld.recipe import MINI_WORLD_FILE

_PACK = """
import os, sys
from appworld.common.constants import PASSWORD, SALT
from appworld.common.utils import pack_bundle
pack_bundle(sys.argv[1], sys.argv[2], ["data"], PASSWORD, SALT)
os._exit(0)
"""


def write_official(root: Path, scenarios: dict[str, int]) -> Path:
    """Data of the official shape, without content."""
    (root / "data" / "datasets").mkdir(parents=True)
    number = 0
    for split, count in scenarios.items():
        task_ids = [f"{number + scenario:07x}_{task}" for scenario in range(count) for task in (1, 2, 3)]
        number += count
        (root / "data" / "datasets" / f"{split}.txt").write_text("\n".join(task_ids))
        for task_id in task_ids:
            task = root / "data" / "tasks" / task_id
            task.mkdir(parents=True)
            (task / "specs.json").write_text(json.dumps({"db_version": data_version()}))
    return root


def test_official_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPWORLD_ROOT", str(tmp_path))
    message = f"`appworld install` and `appworld download data --root {tmp_path}`"
    with pytest.raises(UserError, match=message):
        resolve_world("official")
    write_official(tmp_path, dict(OFFICIAL_SCENARIOS))
    before = data_fingerprint(tmp_path / "data")
    assert resolve_world("official") == resolve_world(tmp_path) == official_root() == tmp_path
    assert data_fingerprint(tmp_path / "data") == before
    monkeypatch.delenv("APPWORLD_ROOT")
    monkeypatch.setenv("PROST_LIGHTNING_CACHE", str(tmp_path / "cache"))
    assert official_root() == tmp_path / "cache" / "official"


def test_a_generated_world_is_taken_as_it_is(mini_world: Path, tmp_path: Path) -> None:
    assert resolve_world(str(mini_world)) == mini_world
    assert resolve_world(tmp_path / "not-there-yet") == tmp_path / "not-there-yet"


def test_other_sizes_and_versions_are_refused(tmp_path: Path) -> None:
    sizes = dict.fromkeys(SPLITS, 2)
    root = write_official(tmp_path, sizes)
    check_official(root, sizes)
    with pytest.raises(UserError, match=r"train\.txt: 6 tasks in 2 scenarios, but the official split has 90 in 30"):
        resolve_world(root)
    specifications = root / "data" / "tasks" / load_task_ids(root, "dev")[4] / "specs.json"
    specifications.write_text('{"db_version": "0.2.0"}')
    with pytest.raises(UserError, match=f"version 0.2.0, but this appworld package reads {data_version()}"):
        check_official(root, sizes)
    specifications.unlink()
    with pytest.raises(UserError, match="missing or malformed"):
        check_official(root, sizes)


@pytest.fixture(scope="module")
def bundle_server(mini_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serves the generated world as AppWorld's own bundle; its address."""
    served = tmp_path_factory.mktemp("bundle")
    shutil.copytree(mini_world / "data", served / "world" / "data", ignore=shutil.ignore_patterns(MINI_WORLD_FILE))
    bundle = served / "bundles" / "data-0.1.0.bundle"
    subprocess.run([sys.executable, "-c", _PACK, str(bundle), str(served / "world")], check=True)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(bundle.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_appworlds_own_downloader_brings_the_data(mini_world: Path, tmp_path: Path, bundle_server: str) -> None:
    sizes = {split: len(load_task_ids(mini_world, split)) // 3 for split in SPLITS}
    root = tmp_path / "downloaded"
    download_official(root, base_url=bundle_server, scenarios=sizes)
    for path in (mini_world / "data").rglob("*"):
        if path.is_file() and path.name != MINI_WORLD_FILE and path.parent.name != "__pycache__":
            assert (root / "data" / path.relative_to(mini_world / "data")).read_bytes() == path.read_bytes()
    before = data_fingerprint(root / "data")
    download_official(root, base_url="http://127.0.0.1:9/", scenarios=sizes)
    assert data_fingerprint(root / "data") == before


def test_data_that_are_there_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPWORLD_ROOT", str(write_official(tmp_path, dict(OFFICIAL_SCENARIOS))))
    before = data_fingerprint(tmp_path / "data")
    assert resolve_world("official", download=True) == tmp_path
    assert data_fingerprint(tmp_path / "data") == before


@pytest.mark.slow
def test_what_is_not_the_official_data_leaves_nothing(tmp_path: Path, bundle_server: str) -> None:
    with pytest.raises(UserError, match="the official split has 90 in 30"):
        download_official(tmp_path, base_url=bundle_server)
    assert not (tmp_path / "data").exists()
    with pytest.raises(UserError, match="could not be downloaded"):
        download_official(tmp_path / "nowhere", base_url=bundle_server + "missing/")
    assert not (tmp_path / "nowhere" / "data").exists()
