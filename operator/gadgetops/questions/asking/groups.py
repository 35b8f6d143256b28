"""
The groups of an answer: by stack, function, module, thread, process or container.

Function and module are those of the place: the innermost frame that is no wrapper of an allocator.

Every allocation is in exactly one group, so that the groups of an answer add up to the whole.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gadgetops.duckdb_sql import create_table
from gadgetops.questions.asking.filters import Filters, GroupBy
from gadgetops.questions.asking.stacks_of import Stack, Stacks
from gadgetops.questions.asking.wrappers import wrappers
from gadgetops.questions.texts import rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NO_CONTAINER: Final = "<no container>"
UNKNOWN: Final = "<unknown>"
"""Name of a group of which nothing is known."""


@dataclass(frozen=True)
class Group:
    """
    What some allocations have in common.

    Args:
        name: One line: a stack root first with `;` between, a function, a path, `PID/TID COMM`, `PID COMM`, a
            container. What is unknown is in `<>`.
        stack: The stack, if groups are stacks.
        pid: The process, if groups are processes or threads.
        tid: The thread, if groups are threads.
    """

    name: str
    stack: Stack | None = None
    pid: int | None = None
    tid: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the group as the documented JSON."""
        stack = self.stack
        return {
            "name": self.name,
            "fingerprint": None if stack is None else stack.fingerprint,
            "stack": None if stack is None else [frame.to_json() for frame in stack.frames],
            "no_stack": None if stack is None else stack.no_stack,
            "pid": self.pid,
            "tid": self.tid,
        }


EVERYTHING: Final = Group("all")
"""The only group of an answer that is not grouped."""


@dataclass(frozen=True)
class Groups:
    """
    The groups of one question, numbered.

    Args:
        of_stack: Group and whether it is chosen, of each stack id.
        of_thread: The same of each (pid, tid). One of both gives the group, the other's is 0; both must
            choose.
        groups: The groups by their numbers.
    """

    of_stack: Mapping[int, tuple[int, bool]]
    of_thread: Mapping[tuple[int, int], tuple[int, bool]]
    groups: Mapping[int, Group]

    def create_tables(self, connection: "DuckDBPyConnection") -> None:
        """Create `stack_groups` and `thread_groups`, which the questions' SQL joins."""
        stacks = [(stack_id, *group) for stack_id, group in self.of_stack.items()]
        threads = [(pid, tid, *group) for (pid, tid), group in self.of_thread.items()]
        _create(connection, "stack_groups", {"stack_id": "bigint"}, stacks)
        _create(connection, "thread_groups", {"pid": "bigint", "tid": "bigint"}, threads)


def group(
    connection: "DuckDBPyConnection",
    stacks: Callable[[], Stacks],
    filters: Filters,
    group_by: GroupBy | None,
) -> Groups:
    """
    Return the groups of the calls in the view `calls` of *connection*.

    Args:
        connection: Has the recording's views and `calls`, with `pid`, `tid` and `stack_id` of each.
        stacks: Gives the recording's stacks; called only if they matter.
        filters: Which stacks and threads are chosen.
        group_by: None for a single group, `EVERYTHING`.
    """
    stack_ids = sorted(int(row[0]) for row in rows(connection, "stack_ids"))
    threads = sorted((int(pid), int(tid)) for pid, tid in rows(connection, "thread_ids"))
    tests = filters.frame_tests()
    known = stacks() if tests or group_by in ("stack", "function", "module") else Stacks({}, {})
    of_stack, stack_groups = _stack_groups(known, stack_ids, group_by)
    of_thread, thread_groups = _thread_groups(connection, threads, group_by)
    chosen = _chosen_stacks(known, stack_ids, filters)
    return Groups(
        {stack_id: (of_stack.get(stack_id, 0), stack_id in chosen) for stack_id in stack_ids},
        {thread: (of_thread.get(thread, 0), filters.has_thread(*thread)) for thread in threads},
        stack_groups or thread_groups or {0: EVERYTHING},
    )


def _chosen_stacks(stacks: Stacks, stack_ids: Sequence[int], filters: Filters) -> set[int]:
    chosen = {*stack_ids}
    for test in filters.frame_tests():
        passed = {frame_id for frame_id, frames in stacks.frames.items() if any(map(test, frames))}
        chosen = {stack_id for stack_id in chosen if not passed.isdisjoint(stacks.frame_ids(stack_id))}
    return chosen


def _stack_groups(
    stacks: Stacks, stack_ids: Sequence[int], group_by: GroupBy | None
) -> tuple[dict[int, int], dict[int, Group]]:
    if group_by == "stack":
        merged = stacks.merged(stack_ids)
        return merged, {number: _stack_group(stacks[number]) for number in {*merged.values()}}
    if group_by in ("function", "module"):
        name = _function if group_by == "function" else _module
        return _named({stack_id: Group(name(stacks[stack_id])) for stack_id in stack_ids})
    return {}, {}


def _thread_groups(
    connection: "DuckDBPyConnection", threads: Sequence[tuple[int, int]], group_by: GroupBy | None
) -> tuple[dict[tuple[int, int], int], dict[int, Group]]:
    if group_by not in ("thread", "process", "container"):
        return {}, {}
    known = {int(pid): (comm, container) for pid, comm, container in rows(connection, "process_names")}
    groups = {}
    for pid, tid in threads:
        comm, container = known.get(pid, (None, None))
        if group_by == "container":
            groups[pid, tid] = Group(container or NO_CONTAINER)
        elif group_by == "process":
            groups[pid, tid] = Group(" ".join(filter(None, (str(pid), comm))), pid=pid)
        else:
            groups[pid, tid] = Group(" ".join(filter(None, (f"{pid}/{tid}", comm))), pid=pid, tid=tid)
    return _named(groups)


def _named(groups: Mapping[Any, Group]) -> tuple[dict[Any, int], dict[int, Group]]:
    """Return a number for each key, the same for equal groups, and the groups by their numbers."""
    numbers = {found: number for number, found in enumerate(dict.fromkeys(groups.values()))}
    return (
        {key: numbers[found] for key, found in groups.items()},
        {number: found for found, number in numbers.items()},
    )


def _stack_group(stack: Stack) -> Group:
    return Group(stack.name, stack)


def _function(stack: Stack) -> str:
    place = wrappers().place(stack.frames)
    return place.name if place else f"<{stack.no_stack}>"


def _module(stack: Stack) -> str:
    place = wrappers().place(stack.frames)
    return (place.module or UNKNOWN) if place else f"<{stack.no_stack}>"


def _create(
    connection: "DuckDBPyConnection", table: str, keys: Mapping[str, str], found: Iterable[tuple[Any, ...]]
) -> None:
    columns = {**keys, "group_id": "bigint", "is_chosen": "boolean"}
    create_table(connection, table, columns, found)
