"""How much work a program does, counted: a time would depend on the machine."""

from __future__ import annotations

import sys


def called_functions(work):
    """How many functions, C's among them, are called while it works."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def executed_lines(work):
    """How many lines of Python are executed while it works; what C does in one is not seen."""
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def growth(prepare, work, small, large):
    """How many times as many lines `work` executes for `large` as for `small`."""
    few, many = (prepare(size) for size in (small, large))
    return executed_lines(lambda: work(many)) / executed_lines(lambda: work(few))
