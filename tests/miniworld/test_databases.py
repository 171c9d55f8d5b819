"""The databases are what the apps' own models would have written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import prost_lightning

# AppWorld freezes the clock of its process, hence a process of its own. Sampled, since the models are slow.
CHECK = """
import os, sys
from appworld.collections.models import ModelCollection
apps = ["amazon", "file_system", "gmail", "phone", "simple_note", "splitwise", "spotify", "todoist", "venmo"]
models = ModelCollection.load(from_db_home_path="data/base_dbs", to_db_home_path=":memory:check", load_apps=apps)
faults, checked = [], 0
for app in apps:
    for name, table in models[app].SQLModel.name_to_model().items():
        if name == "SQLModel":
            continue
        records = table.all()
        for record in records[:: max(1, len(records) // 12)]:
            checked += 1
            where = f"{app}.{name} {record.id}"
            before = record.record_hash
            record.set_record_hash()
            if record.record_hash != before:
                faults.append(where + ": hash")
            record.self_validate("create")
            if table.searchable():
                text = " ".join(record.computed_search_text.lower().split())
                if text != record.saved_search_text:
                    faults.append(where + ": search text")
            fields = record.dict()
            record._pre_change("create", None)
            changed = [field for field, value in record.dict().items() if value != fields[field]]
            if changed:
                faults.append(f"{where}: derived {changed}")
print(checked, faults[:10], flush=True)
os._exit(bool(faults) or checked < 300)
"""


@pytest.mark.slow
def test_rows_are_valid_hashed_indexed_and_derived_as_the_apps_do_it(mini_world: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "APPWORLD_ROOT": str(mini_world),
        "PYTHONPATH": str(Path(prost_lightning.__file__).parent.parent),
    }
    checked = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, cwd=mini_world, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr[-2000:]
