"""How the processes of `torch.distributed` find each other, beside their collectives.

All goes through the store that the process group was made with. No collective is run, so that none
can come out of order, and whoever waits here waits for a limited time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

POLL = 0.005, 0.1
"""Seconds between two looks at the store: at first, and at most."""
PATIENCE = 10.0
"""So many seconds a rank waits for the others before it does what needs all of them."""
_calls: Counter[Any] = Counter()


@dataclass(frozen=True)
class Group:
    """All processes that train together.

    Attributes
    ----------
    rank, count : int
    store : torch.distributed.Store
    """

    rank: int
    count: int
    store: Any

    def collect(
        self, what: str, said: Any, step: int | None, timeout: float
    ) -> list[dict[str, Any]] | None:
        """Say something to rank 0; there, what all ranks said that came in time, else None."""
        name = what, step
        key = f"gradviz/{what}/{'' if step is None else f'step {step}/'}{_calls[name]}"
        _calls[name] += 1
        if self.rank:
            try:
                self.store.set(f"{key}/{self.rank}", json.dumps(said))
            except Exception as error:
                warnings.warn(f"rank 0 does not hear rank {self.rank}: {error}", stacklevel=4)
            return None
        found = {0: said}
        others = [(rank, f"{key}/{rank}") for rank in range(1, self.count)]
        with contextlib.suppress(Exception):  # the store is gone: who is missing is told
            for _ in _looks(timeout):
                for rank, theirs in others:
                    if rank not in found and self.store.check([theirs]):
                        found[rank] = json.loads(self.store.get(theirs))
                        self.store.delete_key(theirs)
                if len(found) == self.count:
                    break
        return list(found.values())

    def claim(self, path: str | os.PathLike[str]) -> None:
        """Take a file for this rank; two must not write the same one.

        Raises
        ------
        ValueError
            Another rank of this host has it.
        """
        key = f"gradviz/file/{socket.gethostname()}/{os.path.realpath(path)}"
        owner = int(self.store.compare_set(key, "", str(self.rank)))
        if owner != self.rank:
            raise ValueError(
                f"rank {owner} writes {os.fspath(path)}: give each rank a file of its own, "
                'such as f"run-{rank}.gvtrain"'
            )

    def meet(self, what: str, timeout: float) -> list[int]:
        """Wait until all ranks are here; returns those that did not come in time.

        All ranks that come get the same answer: whoever is the first to know it writes it down.
        """
        key = f"gradviz/meet/{what}"
        self.store.set(f"{key}/{self.rank}", "here")
        decision = f"{key}/decision"
        if self.store.add(f"{key}/count", 1) == self.count:
            self.store.compare_set(decision, "", "go")
        for _ in _looks(timeout):
            if self.store.check([decision]):
                break
        if self.store.compare_set(decision, "", "no") == b"go":
            return []
        came = (rank for rank in range(self.count) if self.store.check([f"{key}/{rank}"]))
        return sorted({*range(self.count)} - {*came}) or [self.rank]

    def meet_next(self, what: str, timeout: float) -> list[int]:
        """The same at the first such meeting of which nothing is decided so far."""
        n = _calls[what]
        while self.store.check([f"gradviz/meet/{what}/{n}/decision"]):
            n += 1
        _calls[what] = n + 1
        return self.meet(f"{what}/{n}", timeout)


def _looks(timeout: float) -> Any:
    """When to look: often at first; the last time when time is over."""
    end, pause = time.monotonic() + timeout, POLL[0]
    while (left := end - time.monotonic()) > 0:
        yield left
        time.sleep(min(pause, max(left, 0)))
        pause = min(2 * pause, POLL[1])
    yield 0.0


def group() -> Group | None:
    """The processes that this one trains with; None where it is alone."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    count = distributed.get_world_size()
    if count < 2:
        return None
    store = distributed.distributed_c10d._get_default_store()
    return Group(distributed.get_rank(), count, store)


def meet(what: str) -> list[int]:
    """Wait until all ranks do the same; returns those that do not."""
    found = group()
    return [] if found is None else found.meet(what, PATIENCE)
