"""
The part of libbpf that a recorder needs, through ctypes: open, configure, load, attach, look up.

No binding on the package index can size maps, set variables and attach to a chosen file and process, and a
callback per event through any foreign-function interface would cost more than the event. So: the system's
`libbpf.so.1`, called rarely; the ring buffer is read in `ring`.
"""

import contextlib
import ctypes
import errno
import functools
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_int,
    c_long,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from gadgetops.errors import KernelRefused, TraceError
from gadgetops.system_packages import missing_library
from gadgetops.trace.kernel import features, uprobe_multi
from gadgetops.trace.kernel.process_probes import Probe, ProcessProbes
from gadgetops.trace.processes import is_alive

LIBRARY: Final = "libbpf.so.1"
_LOG_SIZE_BYTES: Final = 1 << 22
_SHOWN_LOG_LINES: Final = 15
_AT_ONCE: Final = 64
_ALL_PROCESSES: Final = -1


class _Uprobe(NamedTuple):
    """A program at instructions of a file, as `LoadedObject.attach_uprobe` has it."""

    program: str
    path: Path
    offsets_bytes: tuple[int, ...]
    at_return: bool
    pid: int | None
    cookies: tuple[int, ...]


class _OpenOptions(Structure):
    """`struct bpf_object_open_opts` of libbpf 1.x."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("removed", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class _UprobeOptions(Structure):
    """`struct bpf_uprobe_opts` of libbpf 1.x."""

    _fields_ = (
        ("sz", c_size_t),
        ("ref_ctr_offset", c_size_t),
        ("bpf_cookie", c_uint64),
        ("retprobe", c_bool),
        ("func_name", c_char_p),
    )


_SIGNATURES: Final[Mapping[str, tuple[Any, list[Any]]]] = {
    "libbpf_set_print": (c_void_p, [c_void_p]),
    "bpf_object__open_mem": (c_void_p, [c_char_p, c_size_t, POINTER(_OpenOptions)]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__find_map_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_object__find_program_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__key_size": (c_uint32, [c_void_p]),
    "bpf_map__value_size": (c_uint32, [c_void_p]),
    "bpf_map__set_max_entries": (c_int, [c_void_p, c_uint32]),
    "bpf_map__reuse_fd": (c_int, [c_void_p, c_int]),
    "bpf_map__initial_value": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "bpf_map_lookup_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_update_elem": (c_int, [c_int, c_void_p, c_void_p, c_uint64]),
    "bpf_object__next_program": (c_void_p, [c_void_p, c_void_p]),
    "bpf_program__section_name": (c_char_p, [c_void_p]),
    "bpf_program__set_expected_attach_type": (c_int, [c_void_p, c_int]),
    "bpf_program__fd": (c_int, [c_void_p]),
    "bpf_program__attach": (c_void_p, [c_void_p]),
    "bpf_program__attach_uprobe_opts": (
        c_void_p,
        [c_void_p, c_int, c_char_p, c_size_t, POINTER(_UprobeOptions)],
    ),
    "bpf_link__destroy": (c_int, [c_void_p]),
}


def library() -> ctypes.CDLL:
    """Return libbpf; `MissingLibrary` if it is not installed."""
    try:
        found = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise missing_library(LIBRARY) from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    found.libbpf_set_print(None)
    return found


class LoadedObject:
    """
    A BPF object in the kernel: maps sized, variables set, programs attached while it is open.

    Use as a context manager: open, `set_bytes` and `resize`, `load`, then attach.

    Args:
        data: The object's bytes.
        name: Shown by the kernel's tools.
        by_link: Attach uprobes by uprobe_multi links and not by perf events; None: where the kernel has them.

    Raises:
        TraceError: libbpf is missing or refuses the object.
    """

    def __init__(self, data: bytes, name: str, *, by_link: bool | None = None) -> None:
        self._lib = library()
        self._log = ctypes.create_string_buffer(_LOG_SIZE_BYTES)
        options = _OpenOptions(
            sz=ctypes.sizeof(_OpenOptions),
            object_name=name.encode(),
            kernel_log_buf=ctypes.addressof(self._log),
            kernel_log_size=_LOG_SIZE_BYTES,
        )
        self._data = data
        self._data_maps: dict[str, mmap.mmap] = {}
        self._links: list[int] = []
        self._uprobe_links: list[int] = []
        self._wanted_uprobes: list[_Uprobe] = []
        """What was attached, to be attached again after a pause."""
        self._files: dict[Path, int] = {}
        self._is_paused = False
        self._of_processes = ProcessProbes(self._attach_event)
        self._link_fds: list[int] = []
        self._wants_links = by_link
        self._object = self._lib.bpf_object__open_mem(data, len(data), byref(options))
        if not self._object:
            raise KernelRefused("libbpf cannot open the object", _last_error())

    @functools.cached_property
    def attach_way(self) -> features.AttachWay:
        """How uprobes are attached."""
        if self._wants_links is None:
            return features.attach_way()
        if self._wants_links:
            return features.multi_way()
        return features.perf_event_way("they do not reach a process whose first thread has ended")

    @property
    def _by_link(self) -> bool:
        return self.attach_way.name == features.MULTI_LINKS

    def __enter__(self) -> "LoadedObject":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()
        self._lib.bpf_object__close(self._object)

    def set_bytes(self, section: str, offset_bytes: int, value: bytes) -> None:
        """Write *value* into data section *section* before the object is loaded."""
        self._initial(section)[offset_bytes : offset_bytes + len(value)] = value

    def get_bytes(self, section: str, offset_bytes: int, size_bytes: int) -> bytes:
        """Return *size_bytes* bytes of data section *section* as they are in the kernel now."""
        return bytes(self.data(section)[offset_bytes : offset_bytes + size_bytes])

    def data(self, section: str) -> memoryview:
        """Return data section *section* as it is in the kernel, writable; it lives as long as the object."""
        if section not in self._data_maps:
            size = -(-len(self._initial(section)) // mmap.PAGESIZE) * mmap.PAGESIZE
            try:
                self._data_maps[section] = mmap.mmap(self.map_fd(section), size)
            except OSError as error:
                raise KernelRefused(f"section {section} cannot be mapped", error.strerror) from error
        return memoryview(self._data_maps[section])

    def resize(self, name: str, max_entries: int) -> None:
        """Give map *name* room for *max_entries* before the object is loaded."""
        if self._lib.bpf_map__set_max_entries(self._map(name), max_entries) != 0:
            raise KernelRefused(f"map {name} cannot have {max_entries} entries", _last_error())

    def reuse(self, name: str, fd: int) -> None:
        """Take the map *fd*, which is like it, for map *name* before the object is loaded."""
        if self._lib.bpf_map__reuse_fd(self._map(name), fd) != 0:
            raise KernelRefused(f"map {name} cannot be one that exists", _last_error())

    def load(self) -> None:
        """
        Load maps and programs into the kernel.

        Raises:
            TraceError: The kernel refuses; the last lines of the verifier's log are in the message.
        """
        for program in self._uprobes() if self._by_link else ():
            self._lib.bpf_program__set_expected_attach_type(program, uprobe_multi.ATTACH_TYPE)
        if self._lib.bpf_object__load(self._object) == 0:
            return
        lines = self._log.value.decode(errors="replace").strip().splitlines()[-_SHOWN_LOG_LINES:]
        raise KernelRefused("the kernel refuses the object", "\n  ".join([_last_error(), *lines]))

    def map_fd(self, name: str) -> int:
        """Return the descriptor of map *name*; it lives as long as the object."""
        fd: int = self._lib.bpf_map__fd(self._map(name))
        return fd

    def max_entries(self, name: str) -> int:
        """Return how many entries map *name* has room for."""
        entries: int = self._lib.bpf_map__max_entries(self._map(name))
        return entries

    def look_up(self, name: str, key: int) -> bytes | None:
        """Return the value of the 4-byte *key* in map *name*, or None."""
        # The kernel writes a whole value, whatever there is room for.
        value = ctypes.create_string_buffer(self._lib.bpf_map__value_size(self._map(name)))
        found = self._lib.bpf_map_lookup_elem(self.map_fd(name), byref(c_uint32(key)), value)
        return value.raw if found == 0 else None

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Set *key* of map *name* to *value*; their sizes are the map's."""
        own = self._map(name)
        expected = self._lib.bpf_map__key_size(own), self._lib.bpf_map__value_size(own)
        if (len(key), len(value)) != expected:
            raise ValueError(f"map {name} has keys and values of {expected} bytes")
        if self._lib.bpf_map_update_elem(self.map_fd(name), key, value, 0) != 0:
            raise KernelRefused(f"map {name} cannot be filled", _last_error())

    def attach(self, program: str) -> None:
        """Attach *program* where its section says."""
        self._links.append(self._checked(self._lib.bpf_program__attach(self._program(program)), program))

    def attach_uprobe(
        self,
        program: str,
        path: Path,
        offsets_bytes: Sequence[int],
        *,
        at_return: bool,
        pid: int | None = None,
        cookies: Sequence[int] = (),
    ) -> None:
        """
        Attach *program* to instructions of a file.

        Args:
            program: Name of the program.
            path: The file; what counts is its inode.
            offsets_bytes: Of the instructions, in the file.
            at_return: To the returns of the functions whose first instructions these are; anywhere before the
                stack pointer (arm64: the link register, too) changes is as good.
            pid: Only in this process; in all that map the file if None.
            cookies: Attach cookie at each of the instructions, if `attach_way` has any; by default 0.

        Raises:
            TraceError: The kernel refuses; what was attached stays so.
        """
        uprobe = _Uprobe(program, path, tuple(offsets_bytes), at_return, pid, tuple(cookies))
        if not self._is_paused:
            self._attach_uprobe(uprobe)
        self._wanted_uprobes.append(uprobe._replace(path=self._way_kept_to(path)))

    def pause(self) -> None:
        """Detach all uprobes until `resume`; what is attached meanwhile is then."""
        self._is_paused = True
        self._detach_uprobes()

    def resume(self) -> None:
        """
        Attach all uprobes again, but those of processes that have ended.

        Raises:
            TraceError: The kernel refuses.
        """
        self._is_paused = False
        known, self._wanted_uprobes = self._wanted_uprobes, []
        for uprobe in known:
            try:
                self._attach_uprobe(uprobe)
            except (KernelRefused, FileNotFoundError, ProcessLookupError):
                if uprobe.pid is None or is_alive(uprobe.pid):
                    raise
            else:
                self._wanted_uprobes.append(uprobe)

    def _attach_uprobe(self, uprobe: "_Uprobe") -> None:
        program, path, offsets, at_return, pid, cookies = uprobe
        what = f"{program} to {path}+{','.join(map(hex, offsets))}"
        if self._by_link:
            numbers = cookies if any(cookies) else ()
            self._create_link(
                program, what, path, offsets, at_return=at_return, pid=pid or 0, cookies=numbers
            )
            return
        for offset, cookie in zip(offsets, cookies or [0] * len(offsets), strict=True):
            probe = Probe(program, path, offset, at_return, cookie)
            if pid is None:
                self._attach_event(probe, _ALL_PROCESSES)
            else:
                self._of_processes.add(pid, probe)

    def _way_kept_to(self, path: Path) -> Path:
        """Return a way to the file at *path* that is good as long as we run: the path may be a process's."""
        if path not in self._files:
            with contextlib.suppress(OSError):
                self._files[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        return Path(f"/proc/self/fd/{self._files[path]}") if path in self._files else path

    def renew(self) -> None:
        """
        Attach anew what belongs to threads that have ended before their process.

        Raises:
            TraceError: The kernel refuses.
        """
        self._of_processes.renew()

    def _attach_event(self, probe: Probe, thread: int) -> None:
        options = _UprobeOptions(
            sz=ctypes.sizeof(_UprobeOptions), bpf_cookie=probe.cookie, retprobe=probe.at_return
        )
        link = self._lib.bpf_program__attach_uprobe_opts(
            self._program(probe.program), thread, os.fsencode(probe.path), probe.offset_bytes, byref(options)
        )
        place = f"{probe.program} to {probe.path}+{probe.offset_bytes:#x}"
        self._uprobe_links.append(self._checked(link, place))

    def _create_link(self, program: str, what: str, *place: Any, **how: Any) -> None:
        fd = self._lib.bpf_program__fd(self._program(program))
        try:
            self._link_fds.append(uprobe_multi.create_link(fd, *place, **how))
        except OSError as error:
            raise KernelRefused(f"cannot attach {what}", error.strerror, hint=_attach_hint()) from error

    def detach(self) -> None:
        """Detach all programs, for good."""
        self._detach_uprobes(self._links)
        self._links.clear()
        self._wanted_uprobes.clear()
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _detach_uprobes(self, others: Sequence[int] = ()) -> None:
        # Imported here: it is needed at the end alone, and brings much along.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        # The kernel waits for each until no processor runs it any more: together, links wait once.
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(self._lib.bpf_link__destroy, [*self._uprobe_links, *others]))
            list(pool.map(os.close, self._link_fds))
        self._uprobe_links.clear()
        self._link_fds.clear()
        self._of_processes.close()

    def _uprobes(self) -> Iterator[int]:
        """Yield the programs for instructions of files and for returns to them."""
        program = self._lib.bpf_object__next_program(self._object, None)
        while program:
            if self._lib.bpf_program__section_name(program).startswith((b"uprobe/", b"uretprobe/")):
                yield program
            program = self._lib.bpf_object__next_program(self._object, program)

    def _checked(self, link: int | None, what: str) -> int:
        if not link:
            raise KernelRefused(f"cannot attach {what}", _last_error(), hint=_attach_hint())
        return link

    def _initial(self, section: str) -> memoryview:
        """Return what *section* begins with; libbpf copies it to the kernel when the object is loaded."""
        size = c_size_t()
        address = self._lib.bpf_map__initial_value(self._map(section), byref(size))
        if not address:
            raise TraceError(f"the object has no section {section}")
        return memoryview((ctypes.c_char * size.value).from_address(address)).cast("B")

    def _map(self, name: str) -> c_long:
        found = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise TraceError(f"the object has no map {name}")
        return found  # type: ignore[no-any-return]

    def _program(self, name: str) -> c_long:
        found = self._lib.bpf_object__find_program_by_name(self._object, name.encode())
        if not found:
            raise TraceError(f"the object has no program {name}")
        return found  # type: ignore[no-any-return]


def _last_error() -> str:
    number = ctypes.get_errno()
    return os.strerror(number) if number else "unknown error"


def _attach_hint() -> str | None:
    if ctypes.get_errno() in (errno.EACCES, errno.EPERM):
        return "run as root, and check that the kernel is not locked down"
    return None
