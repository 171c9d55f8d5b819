"""Work shared out among processes: all of it is done, once, and a process that ends early is noticed."""

from __future__ import annotations

import os

import pytest

from prost_lightning.miniworld.sharing_out import share_out


@pytest.mark.parametrize("jobs", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_is_done_once(jobs: int, workers: int) -> None:
    assert sorted(share_out(lambda job: job**2, range(jobs), workers)) == [job**2 for job in range(jobs)]


def test_neighbours_are_done_by_one_process_except_those_taken_from_the_end() -> None:
    done = sorted(share_out(lambda job: (job, os.getpid()), range(40), 2))
    by_first = [process == done[0][1] for _, process in done]
    assert by_first[:20] == sorted(by_first[:20], reverse=True)
    assert by_first[20:] == sorted(by_first[20:])


def test_a_process_that_ends_early_is_noticed() -> None:
    def work(job: int) -> int:
        if job == 5:
            os._exit(9)
        return job

    with pytest.raises(RuntimeError, match="ended before its work"):
        list(share_out(work, range(8), 2))
