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

    def create(self) -> None:
        """Makes the file if it is missing; where that cannot be done is better found before episodes than after.

        Raises:
            OSError: It cannot be written to.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.open("ab").close()

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
                found = _found(episode, key)
                if found != value:
                    raise UserError(
                        f"{self.path}:{number}: this file belongs to another run ({_difference(key, found, value)}); "
                        "write to another place or delete it."
                    )
        return episodes

    def resume_by_task(self, **expected: object) -> dict[tuple[int, str], Trajectory]:
        """Reads what an earlier run that plays each task once a seed left; see :meth:`resume`.

        Args:
            expected: Fields that all episodes of the file must have.

        Returns:
            The episodes by seed and task, in file order.

        Raises:
            UserError: As for :meth:`resume`, or a task occurs twice for a seed, as in the episodes of ``fit``.
        """
        episodes: dict[tuple[int, str], Trajectory] = {}
        for number, episode in enumerate(self.resume(**expected), start=1):
            key = episode.seed, episode.task_id
            if key in episodes:
                raise UserError(
                    f"{self.path}:{number}: task {episode.task_id} occurs twice for seed {episode.seed}, so this file "
                    "belongs to another kind of run; write to another place."
                )
            episodes[key] = episode
        return episodes


def matches(episode: Trajectory, **expected: object) -> bool:
    """Whether an episode has these values, by name of the trajectory's field or metadata key."""
    return all(_found(episode, key) == value for key, value in expected.items())


def _found(episode: Trajectory, key: str) -> object:
    return getattr(episode, key) if hasattr(episode, key) else episode.metadata.get(key)


def _difference(key: str, found: object, value: object) -> str:
    """Says what two settings differ in; of nested ones, the first that differs."""
    if isinstance(found, dict) and isinstance(value, dict):
        name = next(name for name in {**found, **value} if found.get(name) != value.get(name))
        return _difference(f"{key}.{name}", found.get(name), value.get(name))
    return f"{key} is {found!r}, now {value!r}"
