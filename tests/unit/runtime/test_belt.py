from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fxsr.runtime.belt import Belt, BeltAbandonedError


def test_things_arrive_in_order_and_no_more_than_there_is_room_for_are_made_ahead() -> None:
    belt: Belt[int] = Belt(3)
    made: list[int] = []

    def things() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with ThreadPoolExecutor(1) as pool:
        pool.submit(belt.fill, things())
        for taken, number in enumerate(belt):
            assert number == taken
            assert len(made) <= taken + 5  # this one, three waiting, one in the maker's hand
    assert made == list(range(100))


def test_what_fails_before_the_belt_is_raised_behind_it() -> None:
    belt: Belt[int] = Belt(3)

    def things() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(belt.fill, things())
        with pytest.raises(KeyError, match="broken"):
            list(belt)


def test_who_fills_it_learns_that_nobody_takes_any_more() -> None:
    belt: Belt[int] = Belt(1)
    closed: list[bool] = []

    def things() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    with ThreadPoolExecutor(1) as pool:
        filling = pool.submit(belt.fill, things())
        assert next(iter(belt)) == 1
        belt.abandon()
        filling.result(timeout=200)
    assert closed == [True]
    with pytest.raises(BeltAbandonedError):
        belt.put(1)


def test_a_request_to_stop_goes_both_ways() -> None:
    belt: Belt[int] = Belt(1)

    def things() -> Iterator[int]:
        raise SystemExit(130)
        yield 1

    with pytest.raises(SystemExit):
        belt.fill(things())
    with pytest.raises(SystemExit):
        list(belt)
