"""Plays episodes side by side: all turns that are due are answered in one batch, all code that is due runs at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from tqdm import tqdm

from prost_lightning.agents import prompts
from prost_lightning.agents.episode import Episode, ExecuteRequest, Reply, Request
from prost_lightning.agents.limits import EpisodeEnd, EpisodeLimits
from prost_lightning.agents.policy import Policy, PolicyRequest
from prost_lightning.agents.single import single_episode
from prost_lightning.agents.team import team_episode
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.pool import AppWorldPool, EngineError, EngineLimits, EngineSession, TaskInfo
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Agents, Outcome, Trajectory


def run_episodes(
    task_ids: Sequence[str],
    *,
    split: str,
    world: str,
    agents: Agents,
    policy: Policy,
    pool: AppWorldPool,
    evaluator: Evaluator,
    limits: EpisodeLimits,
    experiment: str,
    seed: int,
    engine_limits: EngineLimits | None = None,
    concurrency: int = 8,
    critic: bool = True,
    templates: Mapping[str, str] | None = None,
    on_end: Callable[[Trajectory], None] | None = None,
    progress: bool = True,
) -> list[Trajectory]:
    """Plays one episode a task and has each judged by the trusted evaluator.

    A worker that dies, a limit that is reached and replies that make no sense cost their own episode only; the reason
    is recorded. An error of the policy itself (the model cannot be run) is not an episode's affair and is raised.

    Args:
        task_ids: Distinct AppWorld tasks.
        split: Their split, for the record.
        world: Name of the world, for the record.
        agents: Who plays: a ``team`` or a ``single`` agent.
        policy: Answers for all roles.
        pool: Engine workers.
        evaluator: Judges the databases that the episodes leave behind.
        limits: What each episode may use up.
        experiment: AppWorld experiment name. It must be new for these tasks: AppWorld wipes an earlier run's outputs.
        seed: Seed of the policy's choices, for the record.
        engine_limits: What the engine lets each episode use up; by default what the pool does.
        concurrency: Most episodes at once, which is the batch size that the policy sees.
        critic: Whether a team has a critic.
        templates: Scenario template by task id, for the record.
        on_end: Called with each episode as it ends, in the calling thread.
        progress: Whether to show a progress bar.

    Returns:
        The episodes, in the order of ``task_ids``.

    Raises:
        UserError: A task is listed twice, or ``concurrency`` is below 1.
    """
    if len(set(task_ids)) != len(task_ids):
        raise UserError("A task is listed twice in one run; use `repeats` to play tasks several times.")
    if concurrency < 1:
        raise UserError(f"concurrency is {concurrency}; set it to 1 or more.")

    def start(index: int, task_id: str) -> _Running:
        refusal = None
        session = None
        try:
            session = pool.open(task_id, experiment, engine_limits)
        except EngineError as error:
            refusal = EpisodeEnd(error.end_reason, str(error))
        episode = Episode(session.task if session else _unknown_task(task_id), limits)
        turns = team_episode(episode, critic=critic) if agents == "team" else single_episode(episode)
        running = _Running(index, session, episode, turns)
        running.send(None)
        if refusal is not None:
            running.end(refusal)
        return running

    def finish(running: _Running) -> Trajectory:
        outcome, difficulty = running.close(evaluator, experiment)
        episode = running.episode
        return Trajectory(
            task_id=episode.task.task_id,
            world=world,
            split=split,
            agents=agents,
            policy=policy.name,
            seed=seed,
            instruction=episode.task.instruction,
            template=(templates or {}).get(episode.task.task_id, ""),
            difficulty=difficulty,
            sub_tasks=episode.sub_tasks,
            conversations=episode.conversations,
            steps=episode.steps,
            outcome=outcome,
            usage=episode.usage,
            seconds=time.monotonic() - running.started,
            metadata={
                "experiment": experiment,
                "prompt_version": prompts.PROMPT_VERSION,
                "critic": critic and agents == "team",
                "limits": asdict(limits),
            },
        )

    waiting = deque(enumerate(task_ids))
    playing: list[_Running] = []
    finished: dict[int, Trajectory] = {}
    with (
        ThreadPoolExecutor(concurrency, thread_name_prefix="episode") as threads,
        tqdm(total=len(task_ids), desc=f"episodes {experiment}", unit="episode", disable=not progress) as bar,
    ):
        try:
            while waiting or playing:
                fresh = [waiting.popleft() for _ in range(min(concurrency - len(playing), len(waiting)))]
                playing += threads.map(lambda item: start(*item), fresh)
                while due := [running for running in playing if isinstance(running.request, ExecuteRequest)]:
                    list(threads.map(_Running.execute, due))
                ended = [running for running in playing if running.request is None or running.overdue()]
                for running, trajectory in zip(ended, threads.map(finish, ended), strict=True):
                    playing.remove(running)
                    finished[running.index] = trajectory
                    if on_end is not None:
                        on_end(trajectory)
                    bar.update()
                    bar.set_postfix(solved=sum(item.outcome.success for item in finished.values()))
                requests = [running.request for running in playing if isinstance(running.request, PolicyRequest)]
                if requests:
                    for running, completion in zip(playing, policy.generate(requests), strict=True):
                        running.send(completion)
        finally:
            for running in playing:
                if running.session is not None:
                    running.session.close()
    return [finished[index] for index in range(len(task_ids))]


@dataclass(eq=False)
class _Running:
    """One episode that is being played. ``request`` is what it waits for; None once it has ended."""

    index: int
    session: EngineSession | None
    episode: Episode
    turns: Generator[Request, Reply, None]
    request: Request | None = None
    started: float = field(default_factory=time.monotonic)

    def send(self, reply: Reply | None) -> None:
        """Advances the episode to its next request, or to its end. None starts it."""
        try:
            self.request = next(self.turns) if reply is None else self.turns.send(reply)
        except StopIteration:
            self.request = None

    def end(self, end: EpisodeEnd) -> None:
        """Ends the episode from outside."""
        try:
            self.turns.throw(end)
        except StopIteration:
            self.request = None

    def execute(self) -> None:
        """Runs the code that is due."""
        assert self.session is not None
        assert isinstance(self.request, ExecuteRequest)
        try:
            observation = self.session.execute(self.request.code)
        except EngineError as error:
            self.end(EpisodeEnd(error.end_reason, str(error)))
        else:
            self.send(observation)

    def overdue(self) -> bool:
        """Ends the episode if its time is over, and says so."""
        limit = self.episode.limits.seconds
        if time.monotonic() - self.started <= limit:
            return False
        self.end(EpisodeEnd("limit:seconds", f"not done within {limit:g} s"))
        return True

    def close(self, evaluator: Evaluator, experiment: str) -> tuple[Outcome, int]:
        """Closes the engine session, which saves the databases, and has them judged.

        Returns:
            The outcome, and the task's difficulty (0 where it could not be judged).
        """
        reason, detail = self.episode.end_reason, self.episode.detail
        if self.session is None:
            return Outcome(False, reason, detail), 0
        self.session.close()
        result = evaluator.evaluate(experiment, self.episode.task.task_id)
        outcome = Outcome(result.success, reason, detail, result.passes, list(result.failures), list(result.sub_tasks))
        return outcome, result.difficulty


def _unknown_task(task_id: str) -> TaskInfo:
    """Stands for a task that could not be opened."""
    return TaskInfo(
        task_id=task_id,
        instruction="",
        first_name="",
        last_name="",
        email="",
        phone_number="",
        datetime="",
        app_descriptions={},
    )
