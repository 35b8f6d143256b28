"""What the shell is offered for a word that is being typed: recordings, images, processes, containers."""

from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gadgetops.errors import GadgetOpsError

_SUFFIX = ".gadgetrec"


def recordings(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the recordings that begin with *typed*, and folders that may lead to some."""
    folder = Path(typed).parent if not typed.endswith("/") else Path(typed)
    return [*_folders(folder, typed)] if folder.is_dir() else []


def _folders(folder: Path, typed: str) -> Iterator[CompletionItem]:
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if str(path).startswith(typed.removeprefix("./")) and not path.name.startswith("."):
            yield CompletionItem(str(path) if path.suffix == _SUFFIX else f"{path}/")


def images(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the names of the store's images, and of those that come with the package."""
    from gadgetops.gadget.reading.own_images import BUILD_FILES
    from gadgetops.oci.layout.store import open_store

    try:
        stored = [*open_store(context.params.get("store") or "auto", create=False).names()]
    except GadgetOpsError:
        stored = []
    names = dict.fromkeys([*(name.removeprefix(_USUAL) for name in stored), *BUILD_FILES])
    return [CompletionItem(name) for name in names if name.startswith(typed)]


_USUAL = "ghcr.io/inspektor-gadget/gadget/"
"""What `ig` puts in front of names that have no registry."""


def processes(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the processes with memory of their own, each with its name."""
    from gadgetops.trace.processes import all_processes, is_kernel_thread, name_of

    before, _, last = typed.rpartition(",")
    start = f"{before}," if before else ""
    found = (
        pid for pid in sorted(all_processes()) if str(pid).startswith(last) and not is_kernel_thread(pid)
    )
    return [CompletionItem(f"{start}{pid}", help=name_of(pid)) for pid in found]


def containers(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the names of the running containers."""
    from gadgetops.trace.targets.container import running_containers

    try:
        names = running_containers(context.params.get("docker_host"))
    except GadgetOpsError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(typed)]
