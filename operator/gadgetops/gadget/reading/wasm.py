"""WebAssembly modules: which functions they import. Nothing is run (Core Specification 2.0, section 5.5)."""

from dataclasses import dataclass
from typing import Final

from gadgetops.errors import ContentError

_MAGIC: Final = b"\0asm\x01\0\0\0"
_IMPORTS: Final = 2
_LEB128_LIMIT_BYTES: Final = 10
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)


@dataclass(frozen=True)
class Module:
    """
    A module.

    Attributes:
        imports: Module and name of each imported function, in order.
    """

    imports: tuple[tuple[str, str], ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> "Module":
        """Return the module that *data* holds; `ContentError` if it is none, or damaged."""
        if not data.startswith(_MAGIC):
            raise ContentError("WebAssembly module: no magic number of version 1")
        reader = _Reader(data, len(_MAGIC))
        while not reader.at_end:
            identifier = reader.byte()
            section = _Reader(reader.take(reader.number()), 0)
            if identifier == _IMPORTS:
                return cls(tuple(section.imports()))
        return cls(())

    def imported_from(self, module: str) -> list[str]:
        """Return the names of the functions imported from *module*, in order."""
        return [name for source, name in self.imports if source == module]


class _Reader:
    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._offset = offset

    @property
    def at_end(self) -> bool:
        return self._offset >= len(self._data)

    def take(self, size_bytes: int) -> bytes:
        end = self._offset + size_bytes
        if end > len(self._data):
            raise ContentError(f"WebAssembly module: cut short at offset {self._offset}")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """Read an unsigned LEB128 number of at most 64 bits."""
        value = 0
        for position in range(_LEB128_LIMIT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * position
            if byte < 0x80:
                return value
        raise ContentError(f"WebAssembly module: a number that does not end at offset {self._offset}")

    def name(self) -> str:
        return self.take(self.number()).decode(errors="replace")

    def imports(self) -> list[tuple[str, str]]:
        """Read an import section; return the functions."""
        functions = []
        for _ in range(self.number()):
            entry, kind = (self.name(), self.name()), self.byte()
            if kind == _FUNCTION:
                functions.append(entry)
            self._skip(kind)
        return functions

    def _skip(self, kind: int) -> None:
        """Pass over what describes an import of *kind*."""
        if kind == _FUNCTION:
            self.number()
        elif kind == _TABLE:
            self.byte()
            self._skip_limits()
        elif kind == _MEMORY:
            self._skip_limits()
        elif kind in (_GLOBAL, _TAG):
            self.take(2)
        else:
            raise ContentError(f"WebAssembly module: import of unknown kind {kind}")

    def _skip_limits(self) -> None:
        has_maximum = self.byte() & 1
        self.number()
        if has_maximum:
            self.number()
