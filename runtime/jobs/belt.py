"""Between two threads: a bounded queue that ends, and that passes failures on in both directions."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class BeltAbandonedError(Exception):
    """Nobody takes from the belt any more."""


class Belt(Generic[T]):
    """What one thread puts on, another takes off in order. Each waits for the other, `room` items apart at most."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._abandoned = False
        self._change = Condition()

    def put(self, item: T) -> None:
        """Put an item on; waits while the belt is full.

        Raises:
            AbandonedError: nobody takes any more.
        """
        with self._change:
            self._change.wait_for(lambda: self._abandoned or len(self._items) < self._room)
            if self._abandoned:
                raise BeltAbandonedError
            self._items.append(item)
            self._change.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come; with an error, whoever takes gets it at once."""
        with self._change:
            self._ended, self._error = True, error
            self._change.notify_all()

    def abandon(self) -> None:
        """Nothing more will be taken."""
        with self._change:
            self._abandoned = True
            self._items.clear()
            self._change.notify_all()

    def fill(self, items: Iterable[T]) -> None:
        """Put all items on, and the error that getting them raises, if any; to stop is raised here too."""
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
