"""
Every error that gadgetops raises on purpose.

    GadgetOpsError                 exit 1 unless noted
    ├── UsageError                 the request makes no sense; exit 2
    │   ├── MissingExtra           packages of an extra are not installed: extra
    │   ├── NoSuchProgram          a command that does not exist; exit 127
    │   └── NotExecutable          a command that may not or cannot be executed; exit 126
    ├── InvalidReference           text that names no image; exit 2
    ├── ToolError                  clang, ig or docker failed: argv, status, last lines
    ├── EngineError                no container engine answers, or it refuses: what was asked, reason
    ├── StorageError               a file or folder could not be read or written: path, reason
    ├── ContentError               bytes are not what the descriptor says
    │   ├── NotFound
    │   ├── AlreadyExists
    │   ├── SizeMismatch
    │   ├── DigestMismatch
    │   └── UnsupportedMediaType
    ├── KeyFileError               a signing key cannot be read or opened: file, reason
    ├── VerificationError          a signature does not hold; the only thing verify raises: check, reason
    ├── RegistryError              a registry did not do what was asked: method, URL, status, codes
    │   ├── Unauthorized
    │   └── Denied
    ├── ObjectError                not a BPF ELF we can read: section, offset
    ├── MetadataError              gadget.yaml or build.yaml: path into the document
    ├── MarkdownError              the marks of generated regions make no sense: file, line
    ├── TraceError                 this machine or target cannot be traced: what is missing
    │   ├── NoAllocator            a program has no allocator that can be found
    │   ├── MissingLibrary         a shared library is not installed
    │   ├── MissingRequirement     rights, or something of this machine, are missing: requirement
    │   ├── KernelRefused          the kernel, or libbpf, did not do what was asked: action, reason
    │   ├── TargetGone             what is to be recorded has ended: target
    │   ├── TooExpensive           recording would slow its target too much: price
    │   └── NoPreloadLibrary       there is no library to preload for this machine: machine, known ones
    ├── Interrupted                a signal came before the recording began; exit 130
    ├── RecordingError             a recording cannot be read or written: file
    ├── ExportRefused              an endpoint did not take an export: endpoint, reason
    ├── IgOutputError              what ig printed cannot be read: source, line
    ├── BudgetError                a budget or baseline makes no sense: file, reason; exit 2
    ├── ConfigError                settings cannot be read: file, reason; exit 2
    ├── SparkUnavailable           Spark cannot be started: master, reason
    ├── QueryError                 SQL that asks for more than reading, or that DuckDB refuses; exit 2
    └── DriftError                 generated text differs: file, region, diff; exit 3

Fields first: each class stores what went wrong as attributes and composes its sentence from them, lower
case, without a full stop, the outermost thing first. `hint` is a second line that says what a person can do.
`commands.main` is the only place that prints an error and chooses an exit status.
"""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

SHOWN_OUTPUT_LINES = 20
"""How many of the last lines of a failed tool's output an error shows."""


class GadgetOpsError(Exception):
    """
    Base of all errors of this package.

    Args:
        problem: One sentence; outermost thing first.
        hint: What a person can do about it, if anything.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return self.problem if self.hint is None else f"{self.problem}\n{self.hint}"


class UsageError(GadgetOpsError):
    """The request makes no sense, whatever the state of the world."""

    exit_status = 2


class MissingExtra(UsageError):
    """
    What was asked for needs packages that are not installed with gadgetops itself.

    Args:
        purpose: What needs them, as the subject of a sentence.
        extra: The extra of gadgetops that installs them.
    """

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs packages that are not installed", hint=f"pip install 'gadgetops[{extra}]'"
        )
        self.extra = extra


class NoSuchProgram(UsageError):
    """A command to run is not there, or lacks what it names to run it; the status is a shell's."""

    exit_status = 127

    def __init__(self, program: str, reason: str, *, hint: str | None = "give its path, or see PATH") -> None:
        super().__init__(f"{program}: {reason}", hint=hint)
        self.program = program
        self.reason = reason


class NotExecutable(UsageError):
    """A command to run is there, and the kernel does not execute it; the status is a shell's."""

    exit_status = 126

    def __init__(
        self, program: str, reason: str, *, hint: str | None = "`ls -l` and `file` show what it is"
    ) -> None:
        super().__init__(f"{program}: cannot be executed: {reason}", hint=hint)
        self.program = program
        self.reason = reason


class InvalidReference(GadgetOpsError):
    """A text that was meant as an image reference and is none."""

    exit_status = 2

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"invalid reference {text!r}: {reason}")
        self.text = text
        self.reason = reason


class ToolError(GadgetOpsError):
    """An external program could not be run, or failed; the last lines of its output are kept."""

    def __init__(
        self, argv: Sequence[str], *, status: int | None, output: str = "", hint: str | None = None
    ) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.output = output
        super().__init__(self._compose(), hint=hint)

    def _compose(self) -> str:
        tool = self.argv[0]
        if self.status is None:
            return f"{tool}: not found on PATH"
        what = f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"
        lines = self.output.strip().splitlines()
        left_out = len(lines) - SHOWN_OUTPUT_LINES
        if left_out > 0:
            lines = [f"… {left_out} lines left out …", *lines[-SHOWN_OUTPUT_LINES:]]
        return "\n".join([f"{tool}: {what}", *(f"  {line[:400]}" for line in lines)])


class EngineError(GadgetOpsError):
    """
    A container engine does not answer, or does not do what was asked.

    Args:
        what: What was asked of it, or an image.
        reason: What it said, or what went wrong.
    """

    def __init__(self, what: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"container engine: {what}: {reason}", hint=hint)
        self.what = what
        self.reason = reason


class StorageError(GadgetOpsError):
    """A file or folder could not be read or written."""

    def __init__(self, path: Path, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason

    @classmethod
    def from_os_error(cls, error: OSError, path: Path, *, hint: str | None = None) -> "StorageError":
        """Return the error for *error*, which happened while working on *path*."""
        return cls(Path(error.filename or path), error.strerror or str(error), hint=hint)


class ContentError(GadgetOpsError):
    """Bytes are not what the descriptor that names them says."""


class NotFound(ContentError):
    """Nothing is stored under that reference or digest."""

    def __init__(self, what: str, *, where: str, hint: str | None = None) -> None:
        super().__init__(f"{what}: not found in {where}", hint=hint)
        self.what = what
        self.where = where


class AlreadyExists(ContentError):
    """Something else is there already and is not overwritten."""

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(f"{what}: already exists", hint=hint)
        self.what = what


class SizeMismatch(ContentError):
    """More or fewer bytes than the descriptor says."""

    def __init__(self, what: str, *, expected_bytes: int, actual_bytes: int) -> None:
        super().__init__(f"{what}: size: expected {expected_bytes} bytes, got {actual_bytes}")
        self.what = what
        self.expected_bytes = expected_bytes
        self.actual_bytes = actual_bytes


class DigestMismatch(ContentError):
    """The right number of bytes, but not these."""

    def __init__(self, what: str, *, expected: str, actual: str, hint: str | None = None) -> None:
        super().__init__(f"{what}: digest: expected {expected}, got {actual}", hint=hint)
        self.what = what
        self.expected = expected
        self.actual = actual


class UnsupportedMediaType(ContentError):
    """Content of a kind that this place cannot use."""

    def __init__(self, what: str, *, expected: str, actual: str) -> None:
        super().__init__(f"{what}: media type: expected {expected}, got {actual!r}")
        self.what = what
        self.expected = expected
        self.actual = actual


class RegistryError(GadgetOpsError):
    """
    A registry, or a service it sent us to, could not be reached or did not do what was asked.

    Args:
        method: HTTP method.
        url: What was asked for, without query and user, which may hold secrets.
        reason: What it said or what went wrong, bounded.
        status: HTTP status; None if no answer came.
        codes: Error codes of the answer's body, in order (distribution-spec v1.1.1, "Error Codes").
    """

    def __init__(
        self,
        method: str,
        url: str,
        reason: str,
        *,
        status: int | None = None,
        codes: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        parts = [f"{method} {url}", "" if status is None else f"status {status}", *codes, reason]
        super().__init__(": ".join(filter(None, parts)), hint=hint)
        self.method = method
        self.url = url
        self.reason = reason
        self.status = status
        self.codes = tuple(codes)


class Unauthorized(RegistryError):
    """The registry wants to know who asks, or does not believe it."""


class Denied(RegistryError):
    """The registry knows who asks and says no."""


class KeyFileError(GadgetOpsError):
    """
    A key to sign or verify with cannot be read; says the file, never what is in it.

    Args:
        what: The file.
        reason: Why it is no key, or cannot be opened.
    """

    def __init__(self, what: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{what}: {reason}", hint=hint)
        self.what = what
        self.reason = reason


class VerificationError(GadgetOpsError):
    """
    An image is not proven to be what somebody signed.

    Args:
        what: The image.
        check: Which check failed: `"image"` (it cannot be found), `"presence"` (nothing is signed),
            `"document"` (what is attached cannot be read), `"signature"` (none is by a given key),
            `"claim"` (what is signed says nothing known here), `"digest"` (it is about other content) or
            `"content"` (a part of the image is missing, or altered).
        reason: What was seen.
    """

    def __init__(self, what: str, check: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{what}: not verified: {check}: {reason}", hint=hint)
        self.what = what
        self.check = check
        self.reason = reason


class ObjectError(GadgetOpsError):
    """
    Bytes that are not a BPF ELF we can read.

    Args:
        problem: What is wrong there.
        section: Name of the ELF section, if known.
        offset_bytes: Offset into that section, or into the file where there is no section.
        name: The file, once a caller that knows it adds it.
    """

    def __init__(
        self,
        problem: str,
        *,
        section: str | None = None,
        offset_bytes: int | None = None,
        name: str | None = None,
    ) -> None:
        self.reason = problem
        self.section = section
        self.offset_bytes = offset_bytes
        self.name = name
        places = [
            name,
            None if section is None else f"section {section}",
            None if offset_bytes is None else f"offset {offset_bytes}",
        ]
        super().__init__(": ".join([*(place for place in places if place), problem]))

    def named(self, name: str) -> "ObjectError":
        """Return the same error with the file's *name* in front."""
        return ObjectError(self.reason, section=self.section, offset_bytes=self.offset_bytes, name=name)


class MetadataError(GadgetOpsError):
    """
    gadget.yaml or build.yaml says something that cannot be.

    Args:
        document: Name of the file.
        path: Dotted path into the document, empty for the whole.
        problem: What is wrong there.
    """

    def __init__(self, document: str, path: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(": ".join(part for part in (document, path, problem) if part), hint=hint)
        self.document = document
        self.path = path
        self.reason = problem


class MarkdownError(GadgetOpsError):
    """
    A document's generated regions cannot be told from its prose.

    Args:
        path: The document.
        line: Where, counted from 1.
        problem: What is wrong there.
    """

    def __init__(self, path: Path, line: int, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: line {line}: {problem}", hint=hint)
        self.path = path
        self.line = line
        self.reason = problem


class TraceError(GadgetOpsError):
    """This machine, or this target, cannot be traced as asked; the hint says what to do."""


class NoAllocator(TraceError):
    """No allocator was found in a program or process, so nothing of what it allocates can be seen."""

    def __init__(self, whose: str, reason: str, *, hint: str | None = None) -> None:
        otherwise = "give the file that has it with --library; a stripped static program shows no functions"
        super().__init__(f"{whose}: {reason}", hint=hint or otherwise)
        self.whose = whose
        self.reason = reason


class MissingRequirement(TraceError):
    """
    Something that tracing needs is not there: rights, a feature of the kernel, a file system.

    Args:
        requirement: What is missing, as a noun.
        problem: The sentence.
        hint: How to get it.
    """

    def __init__(self, requirement: str, problem: str, *, hint: str | None = None) -> None:
        self.requirement = requirement
        super().__init__(problem, hint=hint)


class KernelRefused(TraceError):
    """
    The kernel, or libbpf for it, did not do what was asked.

    Args:
        action: What was asked, as a sentence that says it failed.
        reason: The system's words.
        hint: What to do.
    """

    def __init__(self, action: str, reason: str | None, *, hint: str | None = None) -> None:
        self.action = action
        self.reason = reason or "unknown"
        super().__init__(f"{action}: {self.reason}", hint=hint)


class TooExpensive(TraceError):
    """
    Recording would slow its target too much, and nobody agreed to that.

    Args:
        price: What it costs, as a sentence.
        hint: How to record all the same.
    """

    def __init__(self, price: str, *, hint: str | None = None) -> None:
        self.price = price
        super().__init__(f"nothing is recorded: {price}", hint=hint)


class TargetGone(TraceError):
    """
    What is to be recorded has ended.

    Args:
        target: A process or a container, by name.
        hint: What is known besides.
    """

    def __init__(self, target: str, *, hint: str | None = None) -> None:
        self.target = target
        super().__init__(f"{target} has ended", hint=hint)


class MissingLibrary(TraceError):
    """A shared library is not installed; the hint says how to install it."""

    def __init__(self, library: str, *, hint: str) -> None:
        super().__init__(f"{library} is not installed", hint=hint)
        self.library = library


class NoPreloadLibrary(TraceError):
    """This package has no library to preload for this machine."""

    def __init__(self, machine: str, *, known: Sequence[str]) -> None:
        super().__init__(
            f"no library to preload for {machine}",
            hint=f"it is there for {', '.join(known) or 'no machine'}; --engine libbpf needs none",
        )
        self.machine = machine
        self.known = known


class Interrupted(GadgetOpsError):
    """A signal that ends a recording came before it began."""

    exit_status = 130

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"{name} came before the recording began: nothing was started or recorded")
        self.number = number


class RecordingError(GadgetOpsError):
    """A recording cannot be read or written."""

    def __init__(self, path: Path, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {problem}", hint=hint)
        self.path = path
        self.reason = problem


class ExportRefused(GadgetOpsError):
    """
    An endpoint did not take an export.

    Args:
        endpoint: Where it was sent.
        reason: What the endpoint said, or why nobody answered.
    """

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"{endpoint}: {reason}", hint="check the address, and that it takes OTLP profiles")
        self.endpoint = endpoint
        self.reason = reason


class BudgetError(GadgetOpsError):
    """
    A file that was meant as a budget or baseline and is none.

    Args:
        path: The file.
        reason: What is wrong there.
    """

    exit_status = 2

    def __init__(self, path: Path, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason


class ConfigError(GadgetOpsError):
    """
    A file with settings cannot be read, or sets what is none.

    Args:
        path: The file.
        reason: What is wrong there.
    """

    exit_status = 2

    def __init__(self, path: Path, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason


class SparkUnavailable(GadgetOpsError):
    """Spark could not be started, or its master did not answer."""

    def __init__(self, master: str, reason: str) -> None:
        super().__init__(
            f"Spark ({master}): {reason}",
            hint="Spark needs Java 17, and a master that answers; -v shows what Spark writes",
        )
        self.master = master
        self.reason = reason


class QueryError(GadgetOpsError):
    """A query is no single statement that reads, or DuckDB refuses it."""

    exit_status = 2


class IgOutputError(GadgetOpsError):
    """
    What `ig` printed cannot be read as events.

    Args:
        source: File, or `standard input`.
        line: Where, counted from 1; None for the whole.
        problem: What is wrong there.
    """

    def __init__(self, source: str, line: int | None, problem: str, *, hint: str | None = None) -> None:
        place = source if line is None else f"{source}: line {line}"
        super().__init__(f"{place}: {problem}", hint=hint)
        self.source = source
        self.line = line
        self.reason = problem


class DriftError(GadgetOpsError):
    """
    A generated document, or region of one, differs from what would be written now.

    Args:
        path: The document.
        regions: Names of the regions, or keys, that differ, in document order.
        diff: Unified diff, from what stands there to what should.
        changes: What changed, a sentence each; may be empty.
    """

    exit_status = 3

    def __init__(
        self,
        path: Path,
        regions: Sequence[str],
        *,
        diff: str,
        changes: Sequence[str],
        hint: str = "run `gadgetops docs` to rewrite it",
    ) -> None:
        super().__init__(f"{path}: out of date: {', '.join(regions)}", hint=hint)
        self.path = path
        self.regions = tuple(regions)
        self.diff = diff
        self.changes = tuple(changes)
