"""Which program of a gadget is attached to which instruction, each pair once."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gadgetops.trace.kernel.libbpf import LoadedObject
from gadgetops.trace.kernel.loader import AT_SYMBOL
from gadgetops.trace.probes.allocator import Allocator
from gadgetops.trace.probes.executable import Function
from gadgetops.trace.probes.hints import Hints
from gadgetops.trace.probes.own_calls import makes_own_calls, page_hashes, release_calls
from gadgetops.trace.probes.prologue import Place, places_in
from gadgetops.trace.probes.returns import return_addresses, why_no_return_probe


@dataclass
class Attached:
    """
    What was attached.

    Attributes:
        programs: By program `path`, `function`, `offset` (bytes from the function's first instruction),
            `instruction` and `reason`; `also` has the same of further places, if there are any.
        missing: Programs whose function was found nowhere.
        left_out: Functions that the program may call and that have no probe, for want of attach cookies, by
            the path of their file.
    """

    programs: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def add(self, program: str, entry: Mapping[str, Any]) -> None:
        """Add a place of *program*."""
        if program in self.missing:
            self.missing.remove(program)
        if program not in self.programs:
            self.programs[program] = dict(entry)
        elif entry not in (self.programs[program], *self.programs[program].get("also", ())):
            self.programs[program].setdefault("also", []).append(dict(entry))

    def add_elsewhere(self, program: str, section: str) -> None:
        """Note that *program* was attached to what its section names, which is no function."""
        kind, _, name = section.partition("/")
        self.programs[program] = {
            "path": None,
            "function": name,
            "offset": 0,
            "instruction": "",
            "reason": kind,
        }

    def add_missing(self, program: str) -> None:
        """Note that there was no place for *program*, unless there is one elsewhere."""
        if program not in self.programs and program not in self.missing:
            self.missing.append(program)

    def add_left_out(self, path: str, function: str) -> None:
        """Note that *function* of the file *path* can have no probe here."""
        names = self.left_out.setdefault(path, [])
        if function not in names:
            names.append(function)


class Probes:
    """
    Attaches programs to functions.

    Args:
        bpf: The loaded object.
        attached: Learns what was attached.
        probe_at: One of `loader.PROBE_AT`.
        takes_cookies: Whether the gadget's programs find arguments by an attach cookie; then they are
            attached to functions that have them elsewhere, too, if the kernel has such cookies.

    Attributes:
        hints: Tells the loaded gadget about the code it is attached to; None: it is told nothing.
    """

    def __init__(
        self, bpf: LoadedObject, attached: Attached, probe_at: str, *, takes_cookies: bool = False
    ) -> None:
        self._bpf = bpf
        self._takes_cookies = takes_cookies
        self._attached = attached
        self._at_symbol = probe_at == AT_SYMBOL
        self._known: set[tuple[object, ...]] = set()
        self._names: dict[tuple[object, ...], str] = {}
        """By kind and place of a probe, under which name it stands there."""
        self._probed: dict[Path, set[int]] = defaultdict(set)
        self.hints: Hints | None = None

    @functools.cached_property
    def _finds_arguments(self) -> bool:
        return self._takes_cookies and self._bpf.attach_way.has_cookies

    @property
    def n_attached(self) -> int:
        """How many places have a program."""
        return len(self._known)

    def find_places(self, allocator: Allocator) -> None:
        """Find out where in *allocator*'s functions probes go; `attach` then knows."""
        self._places(allocator)

    def attach(self, program: str, function: str, allocator: Allocator, *, at_return: bool) -> None:
        """
        Attach *program* wherever *allocator* has *function*, as far as that is not done already.

        Where two functions are one (memalign and aligned_alloc of glibc before 2.38), what is attached first
        stands for both: of two programs the kernel would choose by the order in which it runs them.

        Raises:
            TraceError: The kernel refuses.
            FileNotFoundError: The file is gone.
        """
        places = [
            (each, place)
            for each, place in self._new_places(program, function, allocator)
            if not self._is_taken(program, function, allocator, each, at_return=at_return)
        ]
        at_instructions = [
            (each, place) for each, place in places if at_return and _why_no_return_probe(allocator, each)
        ]
        probed = [each for each in places if each not in at_instructions]
        offsets = [where.offset_bytes + place.offset_bytes for where, place in probed]
        cookies = [0 if at_return else where.cookie for where, _ in probed]
        self._attach(program, allocator, offsets, at_return=at_return, cookies=cookies)
        if at_return:
            self._hint(probed, by_instruction=False)
            self._hint(at_instructions, by_instruction=True)
        for where, place in probed:
            self._attached.add(program, _entry(allocator, where, place))
        self._attach_at_returns(program, allocator, [each for each, _ in at_instructions])
        if function == "free":
            self._silence_own_releases(program, allocator, [where for where, _ in places], offsets)
        if function not in allocator.functions:
            self._attached.add_missing(program)

    def _is_taken(
        self, program: str, function: str, allocator: Allocator, where: Function, *, at_return: bool
    ) -> bool:
        """Return whether the probe at *where* is there under another name than *function*; note it."""
        name = self._names.setdefault((at_return, *_key(allocator, where)), function)
        if name == function:
            return False
        self._attached.add(program, _entry_of_other(allocator, where, name))
        return True

    def _attach_at_returns(self, program: str, allocator: Allocator, functions: Sequence[Function]) -> None:
        """Attach *program* to the instructions at which *functions* return, one that several share once."""
        addresses = {
            function: return_addresses(allocator.executable, function) or () for function in functions
        }
        distinct = {address for each in addresses.values() for address in each}
        offsets = [allocator.executable.offset_bytes(address) for address in sorted(distinct)]
        self._attach(program, allocator, offsets, at_return=False)
        for function, found in addresses.items():
            self._attached.add(program, _entry_at_returns(allocator, function, found))

    def _hint(self, places: Iterable[tuple[Function, Place]], *, by_instruction: bool) -> None:
        """Tell the gadget how calls return that enter at *places*."""
        if self.hints is None:
            return
        for where, place in places:
            self.hints.add_entry(where.offset_bytes + place.offset_bytes, by_instruction=by_instruction)

    def hint_at_own_code(self, allocator: Allocator) -> None:
        """Tell the gadget which code makes calls for itself, once *allocator*'s probes are attached."""
        executable = allocator.executable
        if self.hints is not None and makes_own_calls(executable):
            self.hints.add_own_pages(
                page_hashes(executable, allocator.probed, self._probed[allocator.probed])
            )

    def _silence_own_releases(
        self, program: str, allocator: Allocator, functions: Sequence[Function], offsets: Sequence[int]
    ) -> None:
        """Have the program for free() see the calls of it that are no events, just before they are made."""
        if self.hints is None or not self.hints.takes_release_calls:
            return
        for offset in offsets:
            self.hints.add_release(offset)
        for function in functions:
            calls = release_calls(allocator.executable, function)
            for call in calls:
                self.hints.add_release_call(call)
                self._attached.add(program, _entry_of_call(allocator, function, call))
            self._attach(program, allocator, calls, at_return=False)

    def _attach(
        self,
        program: str,
        allocator: Allocator,
        offsets: Sequence[int],
        *,
        at_return: bool,
        cookies: Sequence[int] = (),
    ) -> None:
        if offsets:
            place = (program, allocator.probed, offsets)
            self._bpf.attach_uprobe(*place, at_return=at_return, pid=allocator.pid, cookies=cookies)
            self._probed[allocator.probed].update(offsets)

    def _new_places(
        self, program: str, function: str, allocator: Allocator
    ) -> Sequence[tuple[Function, Place]]:
        functions = self._seen_here(allocator, allocator.functions.get(function, ()))
        if not functions:
            return []
        keys = {each: (program, *_key(allocator, each)) for each in functions}
        new = [each for each, key in keys.items() if key not in self._known]
        self._known.update(keys.values())
        places = self._places(allocator)
        return [(each, places[each]) for each in new]

    def _seen_here(self, allocator: Allocator, functions: Sequence[Function]) -> Sequence[Function]:
        """Return those of *functions* whose arguments can be found here; note the others."""
        if self._finds_arguments:
            return functions
        for function in functions:
            if function.name in allocator.imported:
                self._attached.add_left_out(str(allocator.path), function.name)
        return [function for function in functions if not function.cookie]

    def _places(self, allocator: Allocator) -> Mapping[Function, Place]:
        # What has its arguments elsewhere has them all, as far as is known.
        wanted = (
            (each, each.name if each.cookie else name)
            for name, functions in allocator.functions.items()
            for each in functions
        )
        return places_in(allocator.executable, (*wanted,), at_symbol=self._at_symbol)


def _key(allocator: Allocator, function: Function) -> tuple[object, ...]:
    file = allocator.probed.stat()
    return function.address, allocator.pid, file.st_dev, file.st_ino


def _why_no_return_probe(allocator: Allocator, function: Function) -> str | None:
    return why_no_return_probe(allocator.executable, function, allocator.witnesses)


def _entry_at_returns(allocator: Allocator, function: Function, addresses: Sequence[int]) -> dict[str, Any]:
    offsets = [address - function.address for address in addresses]
    return {
        "path": str(allocator.path),
        "function": function.name,
        "offset": offsets[0],
        "instruction": "ret",
        "reason": f"where it returns, and no return probe: {_why_no_return_probe(allocator, function)}",
        "returns": offsets,
    }


def _entry_of_other(allocator: Allocator, function: Function, name: str) -> dict[str, Any]:
    return {
        "path": str(allocator.path),
        "function": function.name,
        "offset": 0,
        "instruction": "",
        "reason": f"the same function as {name}, which is reported",
    }


def _entry_of_call(allocator: Allocator, function: Function, offset_bytes: int) -> dict[str, Any]:
    return {
        "path": str(allocator.path),
        "function": function.name,
        "offset": offset_bytes - function.offset_bytes,
        "instruction": f"call {function.name}",
        "reason": "the C library's own release of what was released before: no event",
    }


def _entry(allocator: Allocator, function: Function, place: Place) -> dict[str, Any]:
    return {
        "path": str(allocator.path),
        "function": function.name,
        "offset": place.offset_bytes,
        "instruction": place.instruction,
        "reason": place.reason,
    }
