"""
Runtimes that manage memory themselves: what of it cannot be seen, and what to type instead.

Calls of the malloc family and of mmap() are recorded, not what an interpreter or a garbage collector gives
its program out of larger pieces. An answer is as sure as ever about those calls, and says little of the
program: that is said beside each.
"""

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gadgetops.recording.reader import Recording


class Runtime(NamedTuple):
    """
    A runtime, and what to know about it.

    Args:
        modules: A regular expression for the path of an executable or library that only it has.
        note: What cannot be seen, and what to type instead.
        seen_with: Variables of the environment, NAME=VALUE, with any of which all is seen.
    """

    modules: str
    note: str
    seen_with: tuple[str, ...] = ()


RUNTIMES: Final = (
    Runtime(
        r".*/(lib)?python3?(\.\d+)*[a-z]*(\.so(\.\d+)*)?",
        "Python gives its objects of up to 512 bytes out of arenas that are not seen here; record with "
        "`env PYTHONMALLOC=malloc gadgetops record …` to see each of them",
        ("PYTHONMALLOC=malloc", "PYTHONMALLOC=malloc_debug"),
    ),
    Runtime(
        r".*/libjvm\.so",
        "the Java heap is not seen here, only what the JVM and native code allocate; for objects use "
        "`jcmd PID GC.class_histogram`, for the JVM's own memory -XX:NativeMemoryTracking=summary",
    ),
    Runtime(
        r".*/(node|nodejs|libnode\.so(\.\d+)*|chrome|chromium|electron|deno|libv8\.so.*)",
        "JavaScript objects are not seen here, only what V8 and native code allocate; for objects use "
        "`node --heapsnapshot-signal=SIGUSR2` or --heap-prof",
    ),
    Runtime(
        r".*/(libruby(-\d[\d.]*)?\.so.*|ruby(\d[\d.]*)?)",
        "Ruby gives its objects slots of pages that are not seen here, only what is larger; for objects use "
        "`ObjectSpace.trace_object_allocations`",
    ),
    Runtime(
        r".*/(php\d?[\d.]*|php-fpm[\d.]*|php-cgi[\d.]*|libphp\d*\.so)",
        "PHP gives its values out of chunks that are not seen here; record with `env USE_ZEND_ALLOC=0 "
        "gadgetops record …` to see each of them",
        ("USE_ZEND_ALLOC=0",),
    ),
    Runtime(
        r".*/(libcoreclr\.so|libclrgc\.so|libmonosgen.*\.so.*)",
        "the .NET heap is not seen here, only what the runtime and native code allocate; for objects use "
        "`dotnet-gcdump collect -p PID`",
    ),
)
"""The table; every row that holds is said."""

GO: Final = (
    "the Go heap is not seen here, only what C code in the program allocates; for Go's objects use "
    "net/http/pprof and `go tool pprof`"
)
_GO_FRAMES: Final = """
    select 1 from symbols where function in ('runtime.cgocall', 'runtime.asmcgocall') limit 1
"""
ENVIRONMENT: Final = ("PYTHONMALLOC", "USE_ZEND_ALLOC")
"""Variables that the recorder puts down, in the recording's `environment`."""


def notes_of(recording: "Recording", connection: "DuckDBPyConnection") -> tuple[str, ...]:
    """Return what of the program's memory *recording*, whose views *connection* has, cannot show."""
    paths = [path for (path,) in connection.execute("select distinct path from modules").fetchall() if path]
    found = [runtime.note for runtime in RUNTIMES if _is_there(runtime, paths, _environment(recording))]
    if connection.execute(_GO_FRAMES).fetchall():
        found.append(GO)
    return tuple(found)


def _environment(recording: "Recording") -> frozenset[str]:
    environment = recording.header.get("environment")
    known = environment if isinstance(environment, dict) else {}
    return frozenset(f"{name}={value}" for name, value in known.items())


def _is_there(runtime: Runtime, paths: list[str], environment: frozenset[str]) -> bool:
    is_seen = not environment.isdisjoint(runtime.seen_with)
    return not is_seen and any(re.fullmatch(runtime.modules, path) for path in paths)
