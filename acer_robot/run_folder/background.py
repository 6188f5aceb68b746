"""One thread that writes files while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Does one job at a time, in the order in which they were given; an error is raised by the next call."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._job: Future[None] | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Wait for the job before, then start this one.

        Raises:
            Exception: what the job before raised.
        """
        self.wait()
        self._job = self._pool.submit(job)

    def check(self) -> None:
        """Raise what a job raised that has ended; never wait.

        Raises:
            Exception: what the job raised.
        """
        if self._job is not None and self._job.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is left to write.

        Raises:
            Exception: what the job raised.
        """
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def close(self) -> None:
        """Wait until nothing is left to write, and end the thread; an error that nobody asked for is dropped."""
        self._pool.shutdown(wait=True)
