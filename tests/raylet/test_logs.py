"""Workers' output: lines, partial lines, progress bars, names, what was printed last."""

from __future__ import annotations

import os
from pathlib import Path

from rayhpc.raylet.logs import LINE_MAX, NAME_MARK, QUIET_S, Lines, LogFile, Logs


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_lines_are_put_together_from_pieces() -> None:
    lines = Lines(Clock())
    assert lines.feed(b"one\ntw") == ["one"]
    assert lines.feed(b"o\r\nthree") == ["two"]
    assert lines.end() == ["three"]
    assert lines.end() == []


def test_a_progress_bar_becomes_a_line_a_second_and_its_last_state() -> None:
    clock = Clock()
    lines = Lines(clock)
    shown = []
    for percent in range(100):
        clock.time = percent * 0.05
        shown += lines.feed(f"\r{percent}%".encode())
    shown += lines.feed(b"\r100%\n")
    assert shown[-1] == "100%"
    assert 4 <= len(shown) <= 8
    assert lines.end() == []


def test_a_line_that_does_not_go_on_is_passed_on_after_a_moment_of_quiet() -> None:
    clock = Clock()
    seen: list[list[str]] = []
    logs = Logs(lambda number, name, error, lines: seen.append(lines), clock)
    out, error = os.pipe(), os.pipe()
    logs.add(3, out[0], error[0])
    assert logs.deadline() is None
    for dots in range(3):
        os.write(out[1], b".")
        assert logs.read(out[0])
        clock.time += QUIET_S / 2
        logs.on_time()
        assert seen == [], dots
    assert logs.deadline() == clock.time + QUIET_S / 2
    clock.time += QUIET_S / 2
    logs.on_time()
    assert seen == [["..."]]
    assert logs.deadline() is None
    os.write(out[1], b"\nnext\n")  # what ended it, late
    assert logs.read(out[0])
    assert seen[1:] == [["next"]]
    os.close(out[1])
    os.close(error[1])
    logs.close()


def test_bytes_that_are_no_text_and_endless_lines_are_survived() -> None:
    lines = Lines(Clock())
    assert lines.feed(b"\xff\n") == ["\ufffd"]
    found = lines.feed(b"x" * (LINE_MAX + 1))
    assert [len(x) for x in found] == [LINE_MAX + 1]


def test_what_is_printed_by_now_can_be_had_at_once() -> None:
    seen: list[tuple[int, str, bool, list[str]]] = []
    logs = Logs(lambda *x: seen.append(x), Clock())
    pipes = [os.pipe() for _ in range(3)]
    logs.add(3, pipes[0][0], pipes[1][0])
    logs.add(4, pipes[2][0], os.dup(pipes[2][0]))
    os.write(pipes[0][1], b"one\ntwo\nthr")
    os.write(pipes[2][1], b"another worker's\n")
    logs.read_waiting(3)
    assert seen == [(3, "", False, ["one", "two"]), (3, "", False, ["thr"])]
    os.write(pipes[0][1], b"ee\n")
    assert logs.read(pipes[0][0])
    assert seen[2:] == [(3, "", False, ["ee"])]
    os.close(pipes[1][1])
    # An end that is found this way is still there for who polls the pipe.
    logs.read_waiting(3)
    assert not logs.read(pipes[1][0])
    logs.close()
    for descriptor in (pipes[0][1], pipes[2][1]):
        os.close(descriptor)


def test_what_is_printed_before_the_end_is_delivered_although_a_child_holds_the_pipe() -> None:
    seen: list[tuple[int, str, bool, list[str]]] = []
    logs = Logs(lambda *x: seen.append(x), Clock())
    out, error = os.pipe(), os.pipe()
    logs.add(3, out[0], error[0])
    os.write(out[1], b"partial")
    os.write(error[1], b"Traceback\n" * 3)
    logs.drain(3)
    assert (3, "", False, ["partial"]) in seen
    assert (3, "", True, ["Traceback"] * 3) in seen
    assert logs.streams == {}
    os.close(out[1])
    os.close(error[1])


def test_a_worker_names_what_it_runs() -> None:
    seen: list[tuple[str, list[str]]] = []
    logs = Logs(lambda number, name, error, lines: seen.append((name, lines)), Clock())
    out, error = os.pipe(), os.pipe()
    logs.add(3, out[0], error[0])
    os.write(out[1], f"a\n{NAME_MARK}f\nb\nc\n".encode())
    assert logs.read(out[0])
    os.close(out[1])
    assert not logs.read(out[0])
    assert seen == [("", ["a"]), ("f", ["b", "c"])]
    os.close(error[1])
    logs.close()


def test_the_log_file_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    log = LogFile(str(path), limit=200)
    for number in range(20):
        log.write("(f pid=1)", [f"line {number}"])
    log.close()
    assert "line 19" in path.read_text() + Path(f"{path}.1").read_text()
    assert path.stat().st_size <= 200
    assert sorted(x.name for x in tmp_path.iterdir()) == ["node.log", "node.log.1"]
