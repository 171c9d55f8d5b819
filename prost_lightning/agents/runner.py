"""Plays episodes side by side: all turns that are due are answered in one batch, all code that is due runs at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from tqdm import tqdm

from prost_lightning.agents import prompts
from prost_lightning.agents.episode import Episode, ExecuteRequest, Reply, Request
from prost_lightning.agents.limits import EpisodeEnd, EpisodeLimits
from prost_lightning.agents.policy import Completion, Policy, PolicyRequest
from prost_lightning.agents.single import single_episode
from prost_lightning.agents.team import team_episode
from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.engine import EngineError, EngineLimits, TaskInfo
from prost_lightning.appworld.evaluate import Evaluator, TaskResult
from prost_lightning.appworld.restarting import RestartingSession
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Agents, Outcome, Trajectory


def run_episodes(
    task_ids: Sequence[str],
    *,
    split: str,
    world: str,
    agents: Agents,
    policy: Policy,
    pool: BlockingPool[Any],
    evaluator: Evaluator,
    limits: EpisodeLimits,
    experiment: str,
    seed: int,
    engine_limits: EngineLimits | None = None,
    concurrency: int = 8,
    engine_restarts: int = 3,
    critic: bool = True,
    templates: Mapping[str, str] | None = None,
    on_end: Callable[[Trajectory], None] | None = None,
    progress: bool = True,
) -> list[Trajectory]:
    """Plays one episode a task and has each judged by the trusted evaluator.

    A limit that is reached and replies that make no sense cost their own episode only; the reason is recorded. So does
    an engine that dies more than ``engine_restarts`` times; before, the episode goes on in a new one as if nothing had
    been. An error of the policy itself (the model cannot be run) is not an episode's affair and is raised.

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
        concurrency: Most episodes at once, which is the batch size that the policy sees; the pool may allow fewer.
        engine_restarts: How many engines an episode may lose; how many it did is in its ``metadata``.
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

    def record(running: _Running) -> Trajectory:
        episode, verdict = running.episode, running.verdict
        assert verdict is not None
        return Trajectory(
            task_id=running.task_id,
            world=world,
            split=split,
            agents=agents,
            policy=policy.name,
            seed=seed,
            instruction=episode.task.instruction,
            template=(templates or {}).get(running.task_id, ""),
            difficulty=verdict.difficulty,
            sub_tasks=episode.sub_tasks,
            conversations=episode.conversations,
            steps=episode.steps,
            outcome=Outcome(
                verdict.success,
                episode.end_reason,
                episode.detail,
                verdict.passes,
                list(verdict.failures),
                list(verdict.sub_tasks),
            ),
            usage=episode.usage,
            seconds=time.monotonic() - running.started,
            metadata={
                "experiment": experiment,
                "prompt_version": prompts.PROMPT_VERSION,
                "critic": critic and agents == "team",
                "limits": asdict(limits),
                "output_chars": (engine_limits or EngineLimits()).output_chars,
                "engine_restarts": running.engine.restarts,
            },
        )

    async def advance(running: _Running, reply: Completion | None) -> None:
        await running.advance(reply)
        if running.request is None:
            await running.judge(evaluator, experiment)

    waiting = deque(enumerate(task_ids))
    playing: list[_Running] = []
    finished: dict[int, Trajectory] = {}
    with tqdm(total=len(task_ids), desc=f"episodes {experiment}", unit="episode", disable=not progress) as bar:
        try:
            replies: list[Completion] = []
            while waiting or playing:
                free = min(concurrency, pool.pool.episodes) - len(playing)
                fresh = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                for index, task_id in fresh:
                    engine = RestartingSession(pool.pool, task_id, experiment, engine_limits, engine_restarts)
                    playing.append(_Running(index, task_id, engine, limits, agents, critic))
                pool.call(_together, [advance(*due) for due in zip_longest(playing, replies)])
                for running in [running for running in playing if running.request is None]:
                    playing.remove(running)
                    finished[running.index] = record(running)
                    if on_end is not None:
                        on_end(finished[running.index])
                    bar.update()
                    bar.set_postfix(solved=sum(item.outcome.success for item in finished.values()))
                requests = [running.request for running in playing if isinstance(running.request, PolicyRequest)]
                replies = policy.generate(requests) if requests else []
        finally:
            pool.call(_together, [running.engine.close() for running in playing])
    return [finished[index] for index in range(len(task_ids))]


class _Running:
    """One episode that is being played.

    Attributes:
        index: Its place in the run.
        task_id: Its task.
        engine: Where its code runs.
        request: The turn that it waits for; None once it has ended.
        verdict: How it was judged; None before.
        started: When, on the monotonic clock.
    """

    def __init__(
        self, index: int, task_id: str, engine: RestartingSession, limits: EpisodeLimits, agents: Agents, critic: bool
    ) -> None:
        self.index = index
        self.task_id = task_id
        self.engine = engine
        self.request: Request | None = None
        self.verdict: TaskResult | None = None
        self.started = time.monotonic()
        self.episode = Episode(_unknown_task(task_id), limits)
        self._turns: Generator[Request, Reply, None] = (
            team_episode(self.episode, critic=critic) if agents == "team" else single_episode(self.episode)
        )

    async def advance(self, reply: Completion | None) -> None:
        """Goes on to the next turn that is due, or to the end.

        Args:
            reply: The turn that it has waited for; None starts it.
        """
        if reply is None:
            await self._start()
        else:
            self._send(reply)
        while isinstance(self.request, ExecuteRequest):
            try:
                observation = await self.engine.execute(self.request.code)
            except EngineError as error:
                self._end(error.end_reason, str(error))
            else:
                self._send(observation)
        limit = self.episode.limits.seconds
        if self.request is not None and time.monotonic() - self.started > limit:
            self._end("limit:seconds", f"not done within {limit:g} s")

    async def judge(self, evaluator: Evaluator, experiment: str) -> None:
        """Closes the engine session, which saves the databases, and has them judged."""
        if await self.engine.close():
            self.verdict = await asyncio.to_thread(evaluator.evaluate, experiment, self.task_id)
        else:
            self.verdict = evaluator.never_opened(self.task_id)

    async def _start(self) -> None:
        refusal = None
        try:
            self.episode.task = await self.engine.open()
        except EngineError as error:
            refusal = error
        self._send(None)
        if refusal is not None:
            self._end(refusal.end_reason, str(refusal))

    def _send(self, reply: Reply | None) -> None:
        """Hands the episode what it has asked for; None starts it."""
        try:
            self.request = next(self._turns) if reply is None else self._turns.send(reply)
        except StopIteration:
            self.request = None

    def _end(self, reason: str, detail: str) -> None:
        """Ends the episode from outside."""
        try:
            self._turns.throw(EpisodeEnd(reason, detail))
        except StopIteration:
            self.request = None


async def _together(tasks: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Runs coroutines side by side; if one fails, the others are cancelled before its error is raised."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


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
