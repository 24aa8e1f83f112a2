"""The thread of callbacks: in order, whatever they raise, also where no thread can be had."""

from __future__ import annotations

import threading

import pytest

from rayhpc.runtime.process.callbacks import CallbackThread


def test_callbacks_run_in_order_in_a_thread_of_their_own() -> None:
    thread, seen = CallbackThread(), list[tuple[int, str]]()
    for i in range(100):
        thread.submit(lambda i=i: seen.append((i, threading.current_thread().name)))
    thread.close()
    assert seen == [(i, "rayhpc-callbacks") for i in range(100)]


def test_an_error_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    thread, seen = CallbackThread(), list[int]()
    with caplog.at_level("ERROR", logger="rayhpc"):
        thread.submit(int, "no number")
        thread.submit(seen.append, 1)
        thread.close()
    assert seen == [1]


def test_where_the_interpreter_starts_no_threads_they_run_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread, seen = CallbackThread(), list[int]()
    thread.start()
    thread.submit(seen.append, 1)
    assert seen == [1]
    thread.close()


def test_a_callback_may_end_its_own_thread() -> None:
    thread, ended = CallbackThread(), threading.Event()

    def end() -> None:
        thread.close()
        ended.set()

    thread.submit(end)
    assert ended.wait(60)
