"""Real AppWorld episodes while training: how many tasks does the model solve by now, and at what cost?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import msgspec
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from typing_extensions import override

from prost_lightning.agents.arena import Arena
from prost_lightning.agents.evaluation import ENGINE_DIR, EPISODES_FILE
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.policy import Policy
from prost_lightning.agents.prompts import PROMPT_VERSION
from prost_lightning.agents.records import EpisodeFile, matches
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.engine import EngineLimits
from prost_lightning.appworld.official import resolve_world
from prost_lightning.appworld.protections import Sandbox
from prost_lightning.errors import UserError
from prost_lightning.files import set_aside
from prost_lightning.provenance import weights_digest
from prost_lightning.report import Summary, metrics, summarise
from prost_lightning.trajectory import Agents, Trajectory

BEFORE = "before"
AFTER = "after"


class AppWorldEval(Callback):
    """Plays episodes on the AppWorld engine before, during and after training and logs what they come to.

    The engine runs in processes of its own. Evaluating leaves training as it is: random number generators are restored
    afterwards. Every logger of the trainer gets the ``eval/...`` figures of :func:`prost_lightning.report.metrics`, a
    ``WandbLogger`` a table of episodes too; a ``ModelCheckpoint`` can monitor ``eval/tgc`` and the others at the epochs
    at which they are measured. Each episode is appended to ``<output_dir>/episodes.jsonl`` as it ends; a file of an
    earlier run is set aside, unless this run resumes it.

    If the trainer's DataModule tells which sub-tasks are open so far (``active_sub_tasks``, as
    :class:`~prost_lightning.datamodules.subtask_datamodule.SubtaskDataModule` does), the share of those that fail is
    ``eval/active_sub_task_error_rate``, by which :class:`~prost_lightning.curriculum.Mastery` can open the next level;
    ``SubtaskCurriculum`` has to come after this callback then.

    Args:
        root: World root, or ``official``.
        split: AppWorld split.
        n_tasks: How many of its tasks, always the same ones; whole scenarios if it is a multiple of 3. None takes all.
        every_n_epochs: Evaluate after each so many epochs; 0 for never.
        at_start: Evaluate before training.
        at_end: Evaluate after training.
        agents: Who plays: a ``team`` or a ``single`` agent.
        critic: Whether a team has a critic.
        limits: What an episode may use up.
        engine_limits: What an engine worker may use up.
        sandbox: What to do where the system cannot protect itself from code that a model writes: ``auto`` plays and
            says what is missing, ``strict`` refuses, ``off`` does without all of it.
        concurrency: Most episodes at once: the batch that the policy sees.
        policy: Who answers for the roles; by default what the module's ``policy()`` returns at that moment.
        output_dir: Where episodes are saved; by default the trainer's ``default_root_dir``.
        seed: Seed of the policy's choices, for the record.
        progress: Whether to show a progress bar.

    Attributes:
        results: One summary an evaluation, oldest first: the keys of :func:`prost_lightning.report.summarise`, and
            ``label`` (``before``, ``epoch-<n>``, ``after``), ``epoch`` (epochs trained by then), ``global_step``.

    Raises:
        UserError: A number is out of range.

    Example:
        >>> trainer = Trainer(callbacks=[AppWorldEval("worlds/mini", policy=my_policy)])  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "dev",
        n_tasks: int | None = 6,
        every_n_epochs: int = 0,
        at_start: bool = True,
        at_end: bool = True,
        agents: Agents = "team",
        critic: bool = True,
        limits: EpisodeLimits | None = None,
        engine_limits: EngineLimits | None = None,
        sandbox: Sandbox = "auto",
        concurrency: int = 8,
        policy: Policy | None = None,
        output_dir: str | Path | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        if every_n_epochs < 0:
            raise UserError(f"AppWorldEval: every_n_epochs is {every_n_epochs}; set it to 0 (never) or more.")
        if concurrency < 1:
            raise UserError(f"AppWorldEval: concurrency is {concurrency}; set it to 1 or more.")
        if n_tasks is not None and n_tasks < 1:
            raise UserError(f"AppWorldEval: n_tasks is {n_tasks}; set it to 1 or more, or to null for the whole split.")
        self.root = resolve_world(root)
        self.split = split
        self.n_tasks = n_tasks
        self.every_n_epochs = every_n_epochs
        self.at_start = at_start
        self.at_end = at_end
        self.agents: Agents = agents
        self.critic = critic
        self.limits = limits or EpisodeLimits()
        self.engine_limits = engine_limits or EngineLimits()
        self.sandbox: Sandbox = sandbox
        self.concurrency = concurrency
        self.policy = policy
        self.output_dir = Path(output_dir) if output_dir is not None else None
        self.seed = seed
        self.progress = progress
        self.results: list[Summary] = []
        self._resumed = False
        self._arena: Arena | None = None

    def as_summary(self) -> Summary:
        """What was measured, as it belongs into a run's ``summary.json``.

        Returns:
            ``world``, ``split``, ``tasks``, who played under which ``limits``, the latest summaries ``before`` and
            ``after`` training if there are any, and all of them in order under ``evaluations``.
        """
        if not self.results:
            return {}
        last = self.results[-1]
        summary: Summary = {name: last[name] for name in ("world", "split", "tasks", "agents", "policy")}
        summary |= {"critic": self.critic and self.agents == "team", "limits": asdict(self.limits)}
        summary |= {result["label"]: result for result in self.results if result["label"] in (BEFORE, AFTER)}
        summary["evaluations"] = self.results
        return summary

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Better now than after an hour of training.
        choose_tasks(self.root, self.split, self.n_tasks)
        if self.policy is None:
            _policy_of(pl_module)
        if trainer.is_global_zero:
            path = self._directory(trainer) / EPISODES_FILE
            if trainer.ckpt_path is None:
                set_aside(path)
            else:
                EpisodeFile(path).resume()  # an unreadable file is better said now than after an hour

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.at_start and not any(result["label"] == BEFORE for result in self.results):
            self._evaluate(trainer, pl_module, BEFORE, epoch=0)
        epoch = trainer.current_epoch
        label = f"epoch-{epoch}"
        if self._resumed and self._is_due(epoch) and not any(result["label"] == label for result in self.results):
            # Resumed from a checkpoint of an epoch's last batch, the epoch's end was never seen.
            self._evaluate_and_offer(trainer, pl_module, label, epoch)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if self._is_due(epoch):
            label = f"epoch-{epoch}"
        elif self.at_end and epoch == trainer.max_epochs:
            # Already here, since after it a checkpoint is saved from which nothing is left to train or to evaluate.
            label = AFTER
        else:
            return
        self._evaluate_and_offer(trainer, pl_module, label, epoch)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.at_end or self._is_done(AFTER, trainer):
            return
        epoch = trainer.current_epoch
        if self._is_done(f"epoch-{epoch}", trainer):
            # The last epoch's evaluation was of these very weights.
            self.results.append(self.results[-1] | {"label": AFTER})
            return
        self._evaluate(trainer, pl_module, AFTER, epoch)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._close()

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"results": self.results}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.results = state_dict["results"]
        self._resumed = True

    def _directory(self, trainer: Trainer) -> Path:
        return self.output_dir or Path(trainer.default_root_dir)

    def _is_due(self, epoch: int) -> bool:
        return bool(self.every_n_epochs and epoch and epoch % self.every_n_epochs == 0)

    def _is_done(self, label: str, trainer: Trainer) -> bool:
        last = self.results[-1] if self.results else {}
        return last.get("label") == label and last["global_step"] == trainer.global_step

    def _evaluate_and_offer(self, trainer: Trainer, pl_module: LightningModule, label: str, epoch: int) -> None:
        """Evaluates at an epoch's end, also for other callbacks to go by."""
        self._evaluate(trainer, pl_module, label, epoch)
        if trainer.is_global_zero:
            pl_module.log_dict(metrics(self.results[-1]), logger=False, on_epoch=True, rank_zero_only=True)

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule, label: str, epoch: int) -> None:
        """Plays the episodes on rank zero, while the other ranks wait, and logs the outcome."""
        if trainer.is_global_zero:
            directory = self._directory(trainer)
            with isolate_rng():
                policy: Policy = self.policy if self.policy is not None else _policy_of(pl_module)()
                marks = {"label": label, "epoch": epoch, "global_step": trainer.global_step}
                episodes, seconds = self._play(policy, directory, marks | {"weights": weights_digest(pl_module)})
            tell_active = getattr(getattr(trainer, "datamodule", None), "active_sub_tasks", None)
            active = None if tell_active is None else tell_active(episodes)
            summary = summarise(episodes, seconds, active) | marks
            self.results.append(summary)
            rank_zero_info(
                f"AppWorld {label}: {summary['tgc']:.1f}% of {summary['tasks']} {self.split} tasks solved "
                f"in world {summary['world']} ({seconds:.0f} s)"
            )
            for logger in trainer.loggers:
                _log(logger, summary, episodes)
        trainer.strategy.barrier("AppWorldEval")

    def _play(self, policy: Policy, directory: Path, marks: dict[str, Any]) -> tuple[list[Trajectory], float]:
        """Plays what a killed attempt at the same evaluation left to play; seconds are those of all attempts."""
        started = time.perf_counter()
        file = EpisodeFile(directory / EPISODES_FILE)
        tasks = choose_tasks(self.root, self.split, self.n_tasks)
        same = marks | {
            "world": world_name(self.root),
            "split": self.split,
            "agents": self.agents,
            "policy": policy.name,
            "critic": self.critic and self.agents == "team",
            "limits": asdict(self.limits),
            "prompt_version": PROMPT_VERSION,
        }
        by_task = {episode.task_id: episode for episode in file.resume() if matches(episode, **same)}
        earlier = max((episode.metadata["evaluation_seconds"] for episode in by_task.values()), default=0.0)

        def seconds() -> float:
            return earlier + time.perf_counter() - started

        def save(episode: Trajectory) -> None:
            episode.metadata |= marks | {"evaluation_seconds": seconds()}
            file.append(episode)

        missing = [task for task in tasks if task not in by_task]
        if missing:
            if self._arena is None:
                self._arena = Arena(
                    self.root, directory / ENGINE_DIR, self.engine_limits, self.concurrency, self.sandbox
                )
            played = self._arena.play(
                missing,
                split=self.split,
                policy=policy,
                experiment=marks["label"],
                agents=self.agents,
                critic=self.critic,
                limits=self.limits,
                seed=self.seed,
                concurrency=self.concurrency,
                on_end=save,
                progress=self.progress,
            )
            by_task |= {episode.task_id: episode for episode in played}
        return [by_task[task] for task in tasks], seconds()

    def _close(self) -> None:
        if self._arena is not None:
            self._arena.close()
            self._arena = None


def _policy_of(pl_module: LightningModule) -> Callable[[], Policy]:
    make: Any = getattr(pl_module, "policy", None)
    if not callable(make):
        raise UserError(
            f"AppWorldEval: {type(pl_module).__name__} has no policy() method; pass a `policy` to the callback."
        )
    return cast(Callable[[], Policy], make)


def _log(logger: Logger, summary: Summary, episodes: list[Trajectory]) -> None:
    """Sends an evaluation to a logger. A W&B that cannot take it costs the figures there, not the run."""
    step = summary["global_step"]
    if not isinstance(logger, WandbLogger):
        logger.log_metrics(metrics(summary), step=step)
        return
    import wandb

    try:
        logger.log_metrics(metrics(summary), step=step)
        columns = ["task_id", "template", "success", "end_reason", "sub_tasks", "seconds", "tokens", "messages"]
        rows = [
            [
                episode.task_id,
                episode.template,
                episode.outcome.success,
                episode.outcome.end_reason,
                len(episode.sub_tasks),
                episode.seconds,
                sum(usage.prompt_tokens + usage.completion_tokens for usage in episode.usage.values()),
                msgspec.json.encode(episode.conversations).decode(),
            ]
            for episode in episodes
        ]
        logger.log_table(f"eval/episodes/{summary['label']}", columns=columns, data=rows)
    except (wandb.Error, OSError) as error:
        rank_zero_warn(f"W&B did not take the evaluation {summary['label']!r}: {error}")
