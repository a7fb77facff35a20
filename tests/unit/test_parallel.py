# SPDX-License-Identifier: Apache-2.0
"""Work over several threads: order, nesting, errors and interrupts, and nothing that stays behind."""

from __future__ import annotations

import contextvars
import os
import threading
import time

import pytest

from bitquant import parallel
from bitquant.parallel import CooperativeLock, in_threads, run_all, thread_count


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request, monkeypatch):
    """How many CPUs the process believes to have."""
    monkeypatch.setattr(parallel, "thread_count", lambda: request.param)
    return request.param


@pytest.fixture(autouse=True)
def nothing_stays():
    """After a test there are the threads of before."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_results_have_the_order_of_the_items(threads):
    """Whichever thread computes them, and however long each takes."""

    def square(i):
        time.sleep(0.002 * (7 - i))
        return i * i

    assert run_all(square, range(8)) == [i * i for i in range(8)]
    assert run_all(square, []) == []
    assert run_all(square, iter([3])) == [9]


def test_all_threads_work_and_no_more(threads):
    """As many items are under way at once as there are CPUs, the caller's thread among them; nesting adds none."""
    lock, running, most, names = threading.Lock(), set(), [0], set()

    def leaf(_):
        with lock:
            running.add(threading.get_ident())
            names.add(threading.current_thread())
            most[0] = max(most[0], len(running))
        time.sleep(0.02)
        with lock:
            running.remove(threading.get_ident())

    run_all(lambda _: run_all(leaf, range(8)), range(4))
    assert most[0] == threads == len(names)
    assert threading.current_thread() in names


@pytest.mark.parametrize("is_callers", [False, True])
def test_nobody_is_idle_at_the_end(is_callers, monkeypatch):
    """Who has nothing left takes leaves of others, be it the caller or a helper that has the long item."""
    monkeypatch.setattr(parallel, "thread_count", lambda: 2)
    used, both = set(), threading.Barrier(2)

    def leaf(_):
        time.sleep(0.02)
        used.add(threading.get_ident())

    def item(_):
        both.wait(30)  # Each thread has one.
        if (threading.current_thread() is threading.main_thread()) is is_callers:
            run_all(leaf, range(10), is_leaf=True)

    run_all(item, range(2))
    assert len(used) == 2


def test_who_waits_for_the_lock_computes_leaves(monkeypatch):
    """One thread at a time has the lock, and the others compute what needs none."""
    monkeypatch.setattr(parallel, "thread_count", lambda: 3)
    lock, holders, most, helped, beside = CooperativeLock(), [], [0], set(), []

    def leaf(_):
        helped.add(threading.get_ident())
        beside.append(bool(holders))
        time.sleep(0.005)

    def item(i):
        with lock:
            holders.append(i)
            most[0] = max(most[0], len(holders))
            time.sleep(0.1)
            holders.remove(i)
        run_all(leaf, range(30), is_leaf=True)

    run_all(item, range(3))
    assert most[0] == 1
    assert len(helped) == 3
    # Leaves of two items of three are computed while another holds the lock; in one thread none would be.
    assert len(beside) == 90
    assert sum(beside) > 20


def test_outside_of_a_batch_it_is_a_plain_lock():
    """Threads that belong to no batch wait for one another."""
    lock, most, now = CooperativeLock(), [0], []

    def hold():
        with lock:
            now.append(1)
            most[0] = max(most[0], len(now))
            time.sleep(0.005)
            now.pop()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    with lock:
        pass


def test_one_thread_alone():
    """Within `in_threads(1)` all is computed by the caller, in order."""
    seen = []
    with in_threads(1):
        run_all(lambda i: run_all(lambda j: seen.append((i, j, threading.get_ident())), range(3)), range(3))
    assert seen == [(i, j, threading.get_ident()) for i in range(3) for j in range(3)]


def test_helpers_see_the_callers_context(threads):
    """A context variable of the caller has its value in every thread."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(5)
    assert run_all(lambda _: (time.sleep(0.002), variable.get())[1], range(8)) == [5] * 8


def test_the_error_of_the_first_item_is_raised(threads):
    """Of several that failed; no item is begun after one has, and those under way are waited for."""
    begun, ended = [], []

    def fail(i):
        begun.append(i)
        time.sleep(0.01)
        ended.append(i)
        raise ValueError(f"item {i}")

    with pytest.raises(ValueError, match="item 0"):
        run_all(fail, range(50))
    assert len(begun) <= threads
    assert sorted(begun) == sorted(ended)


def test_an_error_stops_nested_work(threads):
    """Items of a nested call are begun no more once another one has failed; the error is that one's."""
    begun = []

    def leaf(i):
        begun.append(i)
        time.sleep(0.005)

    def item(i):
        if i == 1:
            time.sleep(0.01)
            raise ValueError("the second fails")
        run_all(leaf, range(1 if threads == 1 else 1000))

    with pytest.raises(ValueError, match="the second fails"):
        run_all(item, range(2))
    assert len(begun) < 1000


def test_an_interrupt_stops_the_work(threads):
    """Ctrl-C reaches the caller; helpers end with the item that they are at."""
    begun, main = [], threading.current_thread()

    def item(i):
        begun.append(i)
        time.sleep(0.005)
        if threading.current_thread() is main:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(item, range(1000))
    assert len(begun) <= 2 * threads


def test_a_program_may_fork_afterwards():
    """A child of a process that has built computes as well: there is no pool whose threads it would lack."""
    run_all(time.sleep, [0.001] * 4)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run_all(abs, [-1, -2, -3]) == [1, 2, 3] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_there_is_a_thread_for_each_cpu_that_may_be_used():
    """A process that was bound to one CPU works alone."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert thread_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert thread_count() == len(allowed)


def test_an_interrupt_reaches_the_batches_around(monkeypatch):
    """What ends the items of an outer batch is called before those of an inner one are waited for."""
    monkeypatch.setattr(parallel, "thread_count", lambda: 2)
    both, freed, was_freed = threading.Barrier(2), threading.Event(), []

    def inner(_):
        both.wait(30)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        was_freed.append(freed.wait(10))

    def outer(item):
        if item == 0:
            run_all(inner, [0, 1])

    with pytest.raises(KeyboardInterrupt):
        run_all(outer, [0, 1], on_interrupt=freed.set)
    assert was_freed == [True]
