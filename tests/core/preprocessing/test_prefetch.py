"""Reading ahead keeps the order and never holds more than it may."""

import threading
import time

import pytest

from ltxv_train_core.preprocessing.prefetch import read_ahead


def test_order_and_failures():
    def read(number):
        time.sleep(0.01 * (number % 3))
        if number == 4:
            raise ValueError("four")
        return number * number

    results = []
    for item, future in read_ahead(read, range(9), 3):
        results.append((item, "failed" if future.exception() else future.result()))
    assert results == [(n, "failed" if n == 4 else n * n) for n in range(9)]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_never_more_than_its_threads_beyond_the_consumer(threads):
    held, most = 0, 0
    lock = threading.Lock()

    def read(number):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return number

    for _ in read_ahead(read, range(50), threads):
        time.sleep(0.002)
        with lock:
            held -= 1
    assert most <= threads + 1


def test_leaving_early_reads_no_further():
    read = []
    reader = read_ahead(lambda number: read.append(number), range(1000), 2)
    next(reader)
    reader.close()
    assert len(read) <= 4
