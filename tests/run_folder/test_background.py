"""Files that are written while training goes on."""

import threading

import pytest

from acer_robot.run_folder.background import BackgroundWriter


def test_jobs_are_done_one_by_one_beside_the_caller():
    writer, may_end, done = BackgroundWriter(), threading.Event(), []
    writer.start(lambda: (may_end.wait(10.0), done.append(1)))
    writer.check()
    assert not done, "the caller went on"
    may_end.set()
    writer.start(lambda: done.append(2))
    writer.wait()
    assert done == [1, 2]
    writer.close()


def test_error_is_raised_once_by_the_next_call():
    def fail():
        raise OSError(28, "No space left on device", "latest.pt")

    for call in ("wait", "start", "check"):
        writer = BackgroundWriter()
        writer.start(fail)
        writer._job.exception()  # it has ended
        with pytest.raises(OSError, match=r"latest\.pt"):
            getattr(writer, call)(*[print] * (call == "start"))
        writer.check()
        writer.close()
