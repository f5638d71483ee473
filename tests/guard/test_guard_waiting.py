"""Answers come to event loops together, each to the task that awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from leasehold.errors import UnavailableError
from leasehold.guard.waiting import LoopAnswers


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts how often other threads woke it."""

    woken = 0

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        self.woken += 1
        return super().call_soon_threadsafe(*args, **kwargs)


def run(main: Callable[[CountingLoop], Coroutine[Any, Any, None]]) -> None:
    loop = CountingLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


def test_a_batch_of_answers_wakes_the_loop_once() -> None:
    async def main(loop: CountingLoop) -> None:
        answers = LoopAnswers()
        futures: list[Future[int]] = [Future() for _ in range(64)]
        waiting = [answers.awaited(future) for future in futures]
        before = loop.woken
        for number, future in enumerate(futures):
            future.set_result(number)
        assert await asyncio.gather(*waiting) == list(range(64))
        assert loop.woken == before + 1
        late: Future[str] = Future()
        late.set_result("there already")
        assert await answers.awaited(late) == "there already"

    run(main)


def test_a_failure_reaches_its_own_task_alone() -> None:
    async def main(_: CountingLoop) -> None:
        answers = LoopAnswers()
        good: Future[int] = Future()
        bad: Future[int] = Future()
        waiting = [answers.awaited(good), answers.awaited(bad)]
        bad.set_exception(UnavailableError("gone"))
        good.set_result(1)
        assert await waiting[0] == 1
        with pytest.raises(UnavailableError, match="gone"):
            await waiting[1]

    run(main)


def test_a_task_that_gave_up_leaves_the_question_and_its_neighbours_alone() -> None:
    async def main(_: CountingLoop) -> None:
        answers = LoopAnswers()
        futures: list[Future[int]] = [Future() for _ in range(2)]
        given_up, waiting = (answers.awaited(future) for future in futures)
        given_up.cancel()
        assert not futures[0].cancelled()
        for future in futures:
            future.set_result(7)
        assert await waiting == 7

    run(main)


def test_an_answer_for_a_loop_that_is_closed_is_for_nobody() -> None:
    answers = LoopAnswers()
    left: list[Future[int]] = []

    async def main(_: CountingLoop) -> None:
        future: Future[int] = Future()
        left.append(future)
        answers.awaited(future)

    run(main)
    run(main)
    for future in left:
        future.set_result(1)
        assert future.result() == 1
