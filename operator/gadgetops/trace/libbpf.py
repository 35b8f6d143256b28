"""
The part of libbpf that a recorder needs, through ctypes: open, configure, load, attach, look up.

No binding on the package index can size maps, set variables and attach to a chosen file and process, and a
callback per event through any foreign-function interface would cost more than the event. So: the system's
`libbpf.so.1`, called rarely; the ring buffer is read in `ring`.
"""

import ctypes
import errno
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_int, c_long, c_size_t, c_uint32, c_void_p
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from gadgetops.errors import TraceError

_LOG_SIZE_BYTES: Final = 1 << 22
_SHOWN_LOG_LINES: Final = 15


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


_SIGNATURES: Final[Mapping[str, tuple[Any, list[Any]]]] = {
    "libbpf_set_print": (c_void_p, [c_void_p]),
    "bpf_object__open_mem": (c_void_p, [c_char_p, c_size_t, POINTER(_OpenOptions)]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__find_map_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_object__find_program_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__set_max_entries": (c_int, [c_void_p, c_uint32]),
    "bpf_map__initial_value": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "bpf_map_lookup_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_program__attach": (c_void_p, [c_void_p]),
    "bpf_program__attach_uprobe": (c_void_p, [c_void_p, c_bool, c_int, c_char_p, c_size_t]),
    "bpf_link__destroy": (c_int, [c_void_p]),
}


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise TraceError("libbpf.so.1 is not installed", hint="apt-get install libbpf1") from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.libbpf_set_print(None)
    return library


class LoadedObject:
    """
    A BPF object in the kernel: maps sized, variables set, programs attached while it is open.

    Use as a context manager: open, `set_variable` and `resize`, `load`, then attach.

    Args:
        data: The object's bytes.
        name: Shown by the kernel's tools.

    Raises:
        TraceError: libbpf is missing or refuses the object.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._lib = _library()
        self._log = ctypes.create_string_buffer(_LOG_SIZE_BYTES)
        options = _OpenOptions(
            sz=ctypes.sizeof(_OpenOptions),
            object_name=name.encode(),
            kernel_log_buf=ctypes.addressof(self._log),
            kernel_log_size=_LOG_SIZE_BYTES,
        )
        self._data = data
        self._links: list[int] = []
        self._object = self._lib.bpf_object__open_mem(data, len(data), byref(options))
        if not self._object:
            raise TraceError(f"libbpf cannot open the object: {_last_error()}")

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
        contents = self.look_up(section, 0, len(self._initial(section)))
        if contents is None:
            raise TraceError(f"section {section} cannot be read: {_last_error()}")
        return contents[offset_bytes : offset_bytes + size_bytes]

    def resize(self, name: str, max_entries: int) -> None:
        """Give map *name* room for *max_entries* before the object is loaded."""
        if self._lib.bpf_map__set_max_entries(self._map(name), max_entries) != 0:
            raise TraceError(f"map {name} cannot have {max_entries} entries: {_last_error()}")

    def load(self) -> None:
        """
        Load maps and programs into the kernel.

        Raises:
            TraceError: The kernel refuses; the last lines of the verifier's log are in the message.
        """
        if self._lib.bpf_object__load(self._object) == 0:
            return
        problem = f"the kernel refuses the object: {_last_error()}"
        lines = self._log.value.decode(errors="replace").strip().splitlines()[-_SHOWN_LOG_LINES:]
        raise TraceError("\n  ".join([problem, *lines]))

    def map_fd(self, name: str) -> int:
        """Return the descriptor of map *name*; it lives as long as the object."""
        fd: int = self._lib.bpf_map__fd(self._map(name))
        return fd

    def max_entries(self, name: str) -> int:
        """Return how many entries map *name* has room for."""
        entries: int = self._lib.bpf_map__max_entries(self._map(name))
        return entries

    def look_up(self, name: str, key: int, size_bytes: int) -> bytes | None:
        """Return the value of the 4-byte *key* in map *name*, or None."""
        value = ctypes.create_string_buffer(size_bytes)
        found = self._lib.bpf_map_lookup_elem(self.map_fd(name), byref(c_uint32(key)), value)
        return value.raw if found == 0 else None

    def attach(self, program: str) -> None:
        """Attach *program* where its section says."""
        self._keep(self._lib.bpf_program__attach(self._program(program)), program)

    def attach_uprobe(
        self, program: str, path: Path, offset_bytes: int, *, at_return: bool, pid: int | None = None
    ) -> None:
        """
        Attach *program* to an instruction of a file.

        Args:
            program: Name of the program.
            path: The file; what counts is its inode.
            offset_bytes: Of the instruction, in the file.
            at_return: To the return of the function that begins there.
            pid: Only in this process; in all that map the file if None.
        """
        link = self._lib.bpf_program__attach_uprobe(
            self._program(program), at_return, -1 if pid is None else pid, os.fsencode(path), offset_bytes
        )
        self._keep(link, f"{program} to {path}+{offset_bytes:#x}")

    def detach(self) -> None:
        """Detach all programs."""
        if not self._links:
            return
        # The kernel waits a quarter of a second for each: together, that is one wait.
        with ThreadPoolExecutor(len(self._links)) as pool:
            list(pool.map(self._lib.bpf_link__destroy, self._links))
        self._links.clear()

    def _keep(self, link: int | None, what: str) -> None:
        if not link:
            raise TraceError(f"cannot attach {what}: {_last_error()}", hint=_attach_hint())
        self._links.append(link)

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
