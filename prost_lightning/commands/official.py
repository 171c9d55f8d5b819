"""Commands about official data and AppWorld's own tools."""

from __future__ import annotations

from pathlib import Path


def world_download(root: Path | None = None, base_url: str | None = None) -> None:
    """Downloads AppWorld's official data with AppWorld's own downloader, and checks them.

    Args:
        root: Where they go: ROOT/data. By default $APPWORLD_ROOT, else a directory of the cache; `--world official`
            looks there too.
        base_url: A mirror of AppWorld's bundles, with a slash at its end; by default AppWorld's own address.
    """
    from prost_lightning.appworld.official import download_official, official_root

    root = root or official_root()
    download_official(root, base_url=base_url)
    print(f"Official data, whole and of the right version: {root / 'data'}")


def export_appworld(*run: Path, world: Path = Path("worlds/mini"), split: str = "test_normal", name: str) -> None:
    """Copies the episodes of `evaluate` to where AppWorld's own evaluation and leaderboard tools find them.

    Args:
        run: Directory that evaluate wrote.
        world: Root of the world that the episodes ran in, or `official`.
        split: The split that was played, whole.
        name: Name of the experiment; the leaderboard wants lowercase, with the split at its end.
    """
    from prost_lightning.agents.evaluation import ENGINE_DIR
    from prost_lightning.appworld.export import export_experiment
    from prost_lightning.appworld.official import resolve_world
    from prost_lightning.errors import UserError

    if len(run) != 1:
        raise UserError("export-appworld takes one run; export several one by one, under names of their own.")
    root = resolve_world(world)
    outputs = run[0] / ENGINE_DIR / "experiments" / "outputs" / f"evaluate-{split}"
    target, stateless = export_experiment(outputs, root, split, name)
    print(f"Written: {target}" + (f" ({stateless} episodes left no state and count as failed)" if stateless else ""))
    print(f"Now: appworld evaluate {name} {split} --root {root}")
