"""From a gadget's folder to its image: read, compile, check, pack. What is written is for the caller."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gadgetops.bpf.contract import Contract
from gadgetops.bpf.object import Object
from gadgetops.errors import MetadataError, ObjectError, UsageError
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.cache import ObjectCache
from gadgetops.gadget.building.compile import Compiled, Compiler, LocalTools, Tools
from gadgetops.gadget.building.created import Created, created
from gadgetops.gadget.building.pack import Packed, pack
from gadgetops.gadget.building.wasm_source import SUFFIXES, sources_beside
from gadgetops.gadget.documents.check import check_metadata, check_object
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.problems import Problem, raise_if_any
from gadgetops.gadget.documents.update import updated

UPDATE_HINT: Final = "pass --update-metadata to have it written, then fill it in"


@dataclass(frozen=True)
class Built:
    """
    A gadget, built.

    Attributes:
        image: Ready to be stored.
        objects: By file name, as ig calls them: `amd64.bpf.o`; none for a gadget without programs.
        created: What the image says of when it was made.
        warnings: What ig passes over in the documents, and what gadget.yaml does not name, a sentence each.
        metadata: gadget.yaml by path, if something was added to it that is to be written.
        inputs: Every file that the image is made from, relative to the gadget's folder; build.yaml is none.
    """

    image: Packed
    objects: Mapping[str, bytes]
    created: Created
    warnings: tuple[str, ...]
    metadata: Mapping[Path, bytes]
    inputs: tuple[Path, ...]


def build(
    request: BuildFile,
    architectures: Sequence[str],
    *,
    strict: bool = False,
    update_metadata: bool = False,
    on_compiled: Callable[[Compiled], None] = lambda _: None,
    find_tools: Callable[[BuildFile], Tools] = LocalTools.find,
) -> Built:
    """
    Build the gadget of *request*; nothing is written but the cache of objects.

    Args:
        request: What to build from.
        architectures: In Go's words.
        strict: Whether what ig passes over, and what is not documented, is an error.
        update_metadata: Whether to add to gadget.yaml what it does not say.
        on_compiled: Called with each object as soon as it is there.
        find_tools: Returns what compiles a gadget; called only if there is something to compile.

    Raises:
        MetadataError: gadget.yaml is wrong, by itself or for the object.
        ObjectError: The object is nothing that ig can run.
        ToolError: It does not compile, or there is no compiler.
        EngineError: The compiler is in a container, and no engine runs it.
        StorageError: A file cannot be read.
        UsageError: SOURCE_DATE_EPOCH is no number, or there is no gadget.yaml to update.
    """
    found = _read_metadata(request, update_metadata, strict)
    objects = [
        _Object.of(compiled)
        for compiled in compile_source(request, architectures, on_compiled, find_tools=find_tools)
    ]
    metadata = _updated(found, objects) if update_metadata else found
    warnings = _checked(request, objects, metadata, strict, has_placeholders=update_metadata)
    contents = {each.compiled.architecture: each.compiled.content for each in objects}
    inputs = _inputs(request, objects)
    when = created(request.folder, inputs)
    return Built(
        image=pack(
            {architecture: contents.get(architecture) for architecture in architectures},
            metadata=metadata,
            wasm=request.read_wasm(),
            created=when,
        ),
        objects={file_name(architecture): content for architecture, content in contents.items()},
        created=when,
        warnings=tuple(warnings),
        metadata=_changed(request, found, metadata),
        inputs=tuple(path for path in inputs if (request.folder / path).exists()),
    )


def file_name(architecture: str) -> str:
    """Return the name of the object's file, as ig has it."""
    return f"{architecture}.bpf.o"


@dataclass(frozen=True)
class _Object:
    """An object, read."""

    compiled: Compiled
    facts: Object
    contract: Contract

    @classmethod
    def of(cls, compiled: Compiled) -> "_Object":
        try:
            facts = Object.from_bytes(compiled.content)
            return cls(compiled, facts, Contract.from_object(facts))
        except ObjectError as error:
            raise error.named(file_name(compiled.architecture)) from error


def _read_metadata(request: BuildFile, update_metadata: bool, strict: bool) -> Metadata | None:
    if update_metadata and request.metadata is None:
        raise UsageError(f"{request.path}: names no metadata that could be updated")
    content = request.read_metadata()
    if content is None and not update_metadata:
        return None
    name = str(request.metadata)
    return Metadata.from_bytes(content or b"", name, may_be_empty=update_metadata, is_strict=strict)


def compile_source(
    request: BuildFile,
    architectures: Sequence[str],
    on_compiled: Callable[[Compiled], None] = lambda _: None,
    *,
    find_tools: Callable[[BuildFile], Tools] = LocalTools.find,
) -> Iterator[Compiled]:
    """
    Yield the object of *request* for each of *architectures*, unchecked; none if it has no programs.

    Raises:
        ToolError: It does not compile, or there is no compiler.
        EngineError: The compiler is in a container, and no engine runs it.
        StorageError: A file cannot be read.
    """
    if request.source is None:
        return
    compiler = Compiler(
        folder=request.folder,
        source=request.source,
        cflags=request.cflags,
        tools=find_tools(request),
        cache=ObjectCache.of_user(),
    )
    for architecture in architectures:
        compiled = compiler.compile(architecture)
        on_compiled(compiled)
        yield compiled


def _updated(metadata: Metadata | None, objects: Sequence[_Object]) -> Metadata | None:
    if metadata is None:
        return None
    return updated(metadata, objects[0].contract if objects else None)


def _changed(request: BuildFile, before: Metadata | None, after: Metadata | None) -> dict[Path, bytes]:
    if request.metadata is None or before is None or after is None or before.content == after.content:
        return {}
    return {(request.folder / request.metadata).resolve(): after.content}


def _checked(
    request: BuildFile,
    objects: Sequence[_Object],
    metadata: Metadata | None,
    strict: bool,
    *,
    has_placeholders: bool = False,
) -> list[str]:
    """Return what is worth a warning; with *strict* that is an error as well."""
    told = [*request.warnings]
    for each in objects:
        name = file_name(each.compiled.architecture)
        told += check_object(each.facts, each.contract, metadata, name, is_strict=strict)
    if metadata is None:
        return [*told, *(_without_metadata(request, strict) if objects else ())]
    wrong: list[Problem] = []
    tolerated = dict.fromkeys(metadata.ignored)
    for each in objects:
        checked = check_metadata(metadata, each.facts, each.contract, has_wasm=request.wasm is not None)
        wrong += checked.wrong
        tolerated |= dict.fromkeys((*checked.stale, *checked.undocumented))
        # Those that were just written as asked for are no news.
        tolerated |= {} if has_placeholders else dict.fromkeys(checked.placeholders)
    raise_if_any(metadata.document, [*wrong, *(tolerated if strict else ())])
    return [*told, *(problem.sentence(metadata.document) for problem in tolerated)]


def check_built(request: BuildFile, objects: Mapping[str, bytes], *, strict: bool) -> list[str]:
    """
    Check *objects*, compiled from *request* by another tool, as `build` does; return what is worth a warning.

    Args:
        request: What they were made from.
        objects: ELF by architecture.
        strict: Whether what is not documented is an error.

    Raises:
        MetadataError: gadget.yaml is wrong, by itself or for the objects.
        ObjectError: One is nothing that ig can run.
    """
    found = _read_metadata(request, False, strict)
    read = [_Object.of(Compiled(each, content, (), True, "")) for each, content in objects.items()]
    return _checked(request, read, found, strict)


def _without_metadata(request: BuildFile, strict: bool) -> list[str]:
    name = str(request.metadata or "gadget.yaml")
    if strict:
        raise MetadataError(name, "", "missing", hint=UPDATE_HINT)
    return [f"{name}: missing: the image says nothing of itself"]


def _inputs(request: BuildFile, objects: Iterable[_Object]) -> list[Path]:
    """Return the files that the image is made from, relative to the gadget's folder; some may not exist."""
    own = [path for path in (request.metadata,) if path is not None]
    if request.wasm is not None:
        is_source = request.wasm.suffix in SUFFIXES
        own += sources_beside(request.folder, request.wasm) if is_source else [request.wasm]
    sources = [path for each in objects for path in each.compiled.inputs]
    return list(dict.fromkeys([*own, *sources]))
