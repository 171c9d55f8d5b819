"""A JSONL file of episodes that grows while episodes are played, and survives a kill at any moment."""

from __future__ import annotations

from pathlib import Path

from prost_lightning.errors import UserError
from prost_lightning.trajectory import Trajectory, append_trajectory, read_trajectories


class EpisodeFile:
    """Episodes of one kind of run, appended as they end, read back when the run is resumed.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def append(self, trajectory: Trajectory) -> None:
        """Adds an episode at the end."""
        append_trajectory(self.path, trajectory)

    def resume(self, **expected: object) -> list[Trajectory]:
        """Reads what an earlier run left, dropping a last line that a kill cut short.

        Args:
            expected: Fields that all episodes of the file must have, by name of the trajectory's field or metadata key.

        Returns:
            The episodes, in file order; none if there is no file.

        Raises:
            UserError: The file holds an episode of another run, or a malformed line.
        """
        if not self.path.is_file():
            return []
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)
        episodes = read_trajectories(self.path)
        for number, episode in enumerate(episodes, start=1):
            for key, value in expected.items():
                found = getattr(episode, key) if hasattr(episode, key) else episode.metadata.get(key)
                if found != value:
                    raise UserError(
                        f"{self.path}:{number}: this file belongs to another run ({key} is {found!r}, now {value!r}); "
                        "write to another place or delete it."
                    )
        return episodes
