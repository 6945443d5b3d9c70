"""The queue: batches of different streams, in order; full, late and abandoned requests."""

import asyncio
import threading
import time

import numpy as np
import pytest

from legato._errors import OutputError
from legato._serve import request_queue
from legato._serve.request_queue import (
    DeadlineError,
    OverloadError,
    RequestQueue,
    StoppingError,
    Work,
)
from legato._serve.stream_feeds import Feed, Reply

NOTHING = (np.zeros(1, "float32"),)


class Model:
    """Records the batches that it is fed, each as long as ``hold`` says."""

    def __init__(self):
        self.batches = []
        self.hold = threading.Event()
        self.hold.set()
        self.conflicts = {}

    def feed(self, feeds):
        self.hold.wait(10)
        self.batches.append([each.key for each in feeds])
        for each in feeds:
            if self.conflicts.get(each.key, 0):
                self.conflicts[each.key] -= 1
                each.conflict = True
            else:
                each.reply = Reply(NOTHING[0], len(self.batches), None)


def feed(key):
    return Feed(key, NOTHING, None)


def run(coroutine, **settings):
    """Run a function of a queue and a model; the queue ends with it."""

    async def with_queue():
        queue, model = RequestQueue(lambda: None, **settings), Model()
        try:
            return await coroutine(queue, model)
        finally:
            model.hold.set()
            assert queue.stop(10)

    return asyncio.run(with_queue())


async def begun(queue, model):
    """Hold the thread in a batch of its own."""
    model.hold.clear()
    task = asyncio.ensure_future(queue.do(Work(model, [feed("first")])))
    while len(queue) or not queue.is_busy:
        await asyncio.sleep(0.001)
    return task


def test_what_came_meanwhile_is_one_batch_with_each_stream_once_and_in_order():
    async def trial(queue, model):
        tasks = [await begun(queue, model)]
        for keys in (["a"], ["b"], ["a"], ["c", "a"], ["b"], ["c"]):
            tasks.append(asyncio.ensure_future(queue.do(Work(model, [feed(k) for k in keys]))))
        await asyncio.sleep(0)
        model.hold.set()
        await asyncio.gather(*tasks)
        return model.batches

    assert run(trial) == [["first"], ["a", "b"], ["a", "b"], ["c", "a"], ["c"]]


def test_requests_that_are_read_together_are_one_batch():
    async def trial(queue, model):
        for names in ("abc", "defg", "h"):
            works = [queue.do(Work(model, [feed(name)])) for name in names]
            await asyncio.gather(*works)
        return model.batches

    for _ in range(5):
        assert run(trial) == [[*"abc"], [*"defg"], ["h"]]


def test_an_operation_runs_between_the_feeds_that_came_before_and_after_it():
    async def trial(queue, model):
        tasks = [await begun(queue, model)]
        note = Work(model, operation=lambda: model.batches.append("operation"))
        for work in (Work(model, [feed("a")]), note, Work(model, [feed("b")])):
            tasks.append(asyncio.ensure_future(queue.do(work)))
        await asyncio.sleep(0)
        model.hold.set()
        await asyncio.gather(*tasks)
        return model.batches

    assert run(trial) == [["first"], ["a"], "operation", ["b"]]


def test_a_full_queue_refuses_and_takes_again_when_there_is_room():
    async def trial(queue, model):
        tasks = [await begun(queue, model)]
        tasks += [asyncio.ensure_future(queue.do(Work(model, [feed(f"s{at}")]))) for at in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadError, match="3 feeds wait already, of at most 3"):
            await queue.do(Work(model, [feed("more")]))
        model.hold.set()
        await asyncio.gather(*tasks)
        await queue.do(Work(model, [feed("more")]))
        return len(queue)

    assert run(trial, max_waiting=3) == 0


def test_a_batch_has_at_most_so_many_streams():
    async def trial(queue, model):
        tasks = [await begun(queue, model)]
        tasks += [asyncio.ensure_future(queue.do(Work(model, [feed(f"s{at}")]))) for at in range(7)]
        await asyncio.sleep(0)
        model.hold.set()
        await asyncio.gather(*tasks)
        return [len(each) for each in model.batches]

    assert run(trial, max_batch=3) == [1, 3, 3, 1]


def test_a_batch_of_several_requests_has_at_most_so_many_steps():
    async def trial(queue, model):
        tasks = [await begun(queue, model)]
        for at, steps in enumerate([5, 3, 3, None, 1, 2]):
            work = Work(model, [Feed(f"s{at}", NOTHING, steps)])
            tasks.append(asyncio.ensure_future(queue.do(work)))
        await asyncio.sleep(0)
        model.hold.set()
        await asyncio.gather(*tasks)
        return model.batches

    assert run(trial, max_steps=4) == [["first"], ["s0"], ["s1", "s3"], ["s2", "s4"], ["s5"]]


def test_a_batch_waits_for_more():
    async def trial(queue, model):
        first = asyncio.ensure_future(queue.do(Work(model, [feed("a")])))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, queue.do(Work(model, [feed("b")])))
        return model.batches

    assert run(trial, max_wait=10, max_batch=2) == [["a", "b"]]


def test_a_request_that_waited_too_long_is_not_begun():
    async def trial(queue, model):
        task = await begun(queue, model)
        late = asyncio.ensure_future(
            queue.do(Work(model, [feed("late")], deadline=time.monotonic() + 0.01))
        )
        await asyncio.sleep(0.03)
        model.hold.set()
        await task
        with pytest.raises(DeadlineError):
            await late
        return model.batches

    assert run(trial) == [["first"]]


def test_what_a_client_that_has_gone_asked_for_is_not_done():
    async def trial(queue, model):
        task = await begun(queue, model)
        gone = asyncio.ensure_future(queue.do(Work(model, [feed("gone")])))
        stays = asyncio.ensure_future(queue.do(Work(model, [feed("stays")])))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.hold.set()
        await asyncio.gather(task, stays)
        return model.batches

    assert run(trial) == [["first"], ["stays"]]


def test_a_conflict_is_computed_again_and_the_others_are_not():
    async def trial(queue, model):
        model.conflicts = {"b": 2}
        feeds = [feed("a"), feed("b")]
        await queue.do(Work(model, feeds))
        assert all(each.reply for each in feeds)
        model.conflicts = {"c": 1000}
        feeds = [feed("c")]
        await queue.do(Work(model, feeds))
        assert isinstance(feeds[0].error, OverloadError)
        return model.batches

    assert run(trial)[:3] == [["a", "b"], ["b"], ["b"]]


def test_an_error_of_the_store_reaches_all_who_waited_and_the_thread_goes_on():
    async def trial(queue, model):
        def fail(feeds):
            raise OutputError("The disk is full.")

        model.feed, whole = fail, model.feed
        with pytest.raises(OutputError, match="full"):
            await queue.do(Work(model, [feed("a")]))
        model.feed = whole
        await queue.do(Work(model, [feed("a")]))
        return model.batches

    assert run(trial) == [["a"]]


def test_the_thread_goes_on_when_what_is_done_once_a_second_fails(caplog, monkeypatch):
    monkeypatch.setattr(request_queue, "_TEND_SECONDS", 0.0)

    def fail():
        raise ValueError("tending")

    async def with_queue():
        queue, model = RequestQueue(fail), Model()
        for _ in range(3):
            await queue.do(Work(model, [feed("a")]))
        assert queue.is_alive
        assert queue.stop(10)
        assert not queue.is_alive
        return len(model.batches)

    assert asyncio.run(with_queue()) == 3
    assert "tending" in caplog.text


def test_a_queue_that_stops_finishes_what_it_took_and_takes_no_more():
    async def trial(queue, model):
        tasks = [await begun(queue, model)]
        tasks.append(asyncio.ensure_future(queue.do(Work(model, [feed("a")]))))
        await asyncio.sleep(0)
        stopping = asyncio.to_thread(queue.stop, 10)
        stopped = asyncio.ensure_future(stopping)
        await asyncio.sleep(0.02)
        with pytest.raises(StoppingError):
            await queue.do(Work(model, [feed("b")]))
        model.hold.set()
        await asyncio.gather(*tasks)
        assert await stopped
        return model.batches

    assert run(trial) == [["first"], ["a"]]
