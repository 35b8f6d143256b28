"""Provenance: how an image was made, as SLSA v1.0 has it ("Provenance", predicate type v1)."""

from typing import Final

from gadgetops import __version__
from gadgetops.gadget.origin.materials import Materials
from gadgetops.oci.content import Json

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:gadgetops:build:1"
"""The meaning of the parameters: those of build.yaml, and the compiler's options."""

BUILDER: Final = "urn:gadgetops:local"
"""Who built: the person who holds the key, on a machine of their own. That is SLSA's build level 1."""


def provenance(materials: Materials) -> Json:
    """
    Return the predicate that says how *materials* became the image.

    It is the same for the same sources and tools: it names no machine and no moment but the image's own.
    """
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {**_settings(materials), "architectures": list(materials.architectures)},
            "internalParameters": {"created": str(materials.created), "options": materials.options},
            "resolvedDependencies": [*_commit(materials), *_files(materials)],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"gadgetops": __version__, **materials.tools}},
            "byproducts": [
                {"name": each.name, "digest": {"sha256": each.sha256}} for each in materials.objects
            ],
        },
    }


def _settings(materials: Materials) -> Json:
    request = materials.request
    paths = {"ebpfsource": request.source, "metadata": request.metadata, "wasm": request.wasm}
    return {
        **{name: str(path) for name, path in paths.items() if path is not None},
        "cflags": list(request.cflags),
    }


def _commit(materials: Materials) -> list[Json]:
    return [{"name": "sources", "digest": {"gitCommit": materials.commit}}] if materials.commit else []


def _files(materials: Materials) -> list[Json]:
    return [{"name": each.name, "digest": {"sha256": each.sha256}} for each in materials.files]
