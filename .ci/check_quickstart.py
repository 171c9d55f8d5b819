"""Fails unless the quickstart's summary.json says that it did its job: all keys, a growing pool, tasks learned."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FIGURES = ("tgc", "sgc", "llm_calls", "prompt_tokens", "completion_tokens", "flops", "seconds")


def main(path: str) -> None:
    """Checks one summary file."""
    summary = json.loads(Path(path).read_text())
    for key in ("world", "split", "tasks", "before", "after", "stages", "trained_tokens", "wall_seconds"):
        assert key in summary, f"{path}: no key {key}"
    for label in ("before", "after"):
        missing = [name for name in FIGURES if name not in summary[label]]
        assert not missing, f"{path}: {label} lacks {missing}"
    pools = [stage["pool_items"] for stage in summary["stages"]]
    assert pools == sorted(pools), f"{path}: the pool shrank: {pools}"
    assert pools[-1] > pools[0], f"{path}: the pool did not grow: {pools}"
    before, after = summary["before"]["tgc"], summary["after"]["tgc"]
    assert after > before, f"{path}: TGC {before} before, {after} after: nothing was learned"
    print(f"quickstart: TGC {before:.0f} -> {after:.0f}, pool {pools}, {summary['wall_seconds']:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1])
