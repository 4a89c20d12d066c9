"""A bounded queue between two threads, which can be ended from one side and abandoned from the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class BeltAbandonedError(Exception):
    """The consumer takes no more items."""


class Belt(Generic[T]):
    """Passes items from a producer thread to a consumer thread in order; at most `room` items wait on it."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._abandoned = False
        self._change = Condition()

    def put(self, item: T) -> None:
        """Put an item on the belt; waits while the belt is full.

        Raises:
            BeltAbandonedError: the consumer takes no more items.
        """
        with self._change:
            self._change.wait_for(lambda: self._abandoned or len(self._items) < self._room)
            if self._abandoned:
                raise BeltAbandonedError
            self._items.append(item)
            self._change.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more items will come. An error is raised in the consumer at once."""
        with self._change:
            self._ended, self._error = True, error
            self._change.notify_all()

    def abandon(self) -> None:
        """Say that no more items will be taken."""
        with self._change:
            self._abandoned = True
            self._items.clear()
            self._change.notify_all()

    def fill(self, items: Iterable[T]) -> None:
        """Put all items on the belt and end it. An error that `items` raises is passed to the consumer; one that is
        not an `Exception`, such as SystemExit, is raised here as well."""
        try:
            for item in items:
                self.put(item)
        except BeltAbandonedError:
            pass
        except BaseException as error:
            self.end(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.end()
        finally:
            if isinstance(items, Generator):
                items.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._items or self._ended)
                if self._error:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._change.notify_all()
            yield item
