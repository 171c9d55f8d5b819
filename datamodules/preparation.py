"""How missing training data comes about: a generated world, and a teacher that plays on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from lightning.pytorch.utilities import rank_zero_info

from prost_lightning.agents.collect import collect
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.appworld.official import OFFICIAL, is_official
from prost_lightning.errors import UserError
from prost_lightning.miniworld.build import Recipe, WorldSize, build_world
from prost_lightning.trajectory import Agents


@dataclass(frozen=True)
class OracleTrajectories:
    """Collects trajectories of the oracle on a generated world, building the world first if it is missing.

    Attributes:
        root: Root directory of the world (its data lie in ``root/data``).
        seed: Seed of the world and of the oracle's choices.
        train: Tasks in the train split, a multiple of 3.
        dev: The same for dev.
        test_normal: The same for test_normal.
        test_challenge: The same for test_challenge, which has templates of its own.
        templates: Scenario templates of the world, in this order; all by default.
        supervisors: Persons that the world's tasks are about.
        split: The split to collect on.
        n_tasks: How many of its tasks to play, spread over the templates; all by default.
        agents: Play as a ``team`` or as a ``single`` agent.
        mistake_rate: Share of sub-tasks in which the executor first makes a mistake that the critic rejects.
        lookup_rate: Share of sub-tasks that start with a look into the API documentation.
        vary_wording: Word each task's goals and plans anew; false is easier to learn from few trajectories.
    """

    root: str
    seed: int = 7
    train: int = 240
    dev: int = 60
    test_normal: int = 120
    test_challenge: int = 120
    templates: tuple[str, ...] = ()
    supervisors: int = 15
    split: str = "train"
    n_tasks: int | None = None
    agents: Agents = "team"
    mistake_rate: float = 0.15
    lookup_rate: float = 0.2
    vary_wording: bool = True

    def run(self, trajectories: Path) -> None:
        """Builds the world if it is missing and writes the trajectory file.

        Args:
            trajectories: The JSONL file to write; episodes that were played already are not played again.

        Raises:
            UserError: The world or the file was made with other settings, no episode was kept, or the world is the
                official data, which the oracle cannot play.
        """
        if self.root == OFFICIAL or is_official(Path(self.root)):
            raise UserError(
                f"data.prepare.root: {self.root}: the oracle plays generated worlds only; remove `data.prepare` and "
                "set `data.trajectories` to episodes that were collected on the official data."
            )
        trajectories.parent.mkdir(parents=True, exist_ok=True)
        # Runs of a sweep share the file: whoever comes second waits, and then finds the episodes there.
        with FileLock(trajectories.with_suffix(".lock")):
            recipe = Recipe(
                seed=self.seed,
                size=WorldSize(self.train, self.dev, self.test_normal, self.test_challenge),
                templates=tuple(self.templates),
                supervisors=self.supervisors,
            )
            root = build_world(Path(self.root), recipe)
            teacher = OraclePolicy(
                root,
                seed=self.seed,
                mistake_rate=self.mistake_rate,
                lookup_rate=self.lookup_rate,
                vary_wording=self.vary_wording,
            )
            report = collect(
                root,
                self.split,
                trajectories,
                policy=teacher,
                agents=self.agents,
                n_tasks=self.n_tasks,
                seed=self.seed,
            )
        rank_zero_info(str(report))
