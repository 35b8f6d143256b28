"""The bill of materials of an image, as CycloneDX 1.6 has it (ECMA-424)."""

import uuid
from typing import Final

from gadgetops import __version__
from gadgetops.gadget.origin.materials import File, Materials
from gadgetops.oci.content import Json
from gadgetops.oci.image import Image

PREDICATE_TYPE: Final = "https://cyclonedx.org/bom"
_TITLE = "org.opencontainers.image.title"
_LINKS = {
    "org.opencontainers.image.url": "website",
    "org.opencontainers.image.documentation": "documentation",
    "org.opencontainers.image.source": "vcs",
}


def sbom(image: Image, materials: Materials) -> Json:
    """
    Return the bill of materials of *image*: its objects, each file they were made from, and the compiler.

    It is the same for the same image and tools: its serial number is made of the image's digest, its time is
    the image's own.
    """
    files = [_file(each, "source") for each in materials.files]
    objects = [_file(each, "object") for each in materials.objects]
    tools = [_tool(name, version) for name, version in materials.tools.items()]
    made_from = [each["bom-ref"] for each in (*files, *tools)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, image.digest).urn,
        "version": 1,
        "metadata": {
            "timestamp": str(materials.created),
            "tools": {"components": [{"type": "application", "name": "gadgetops", "version": __version__}]},
            "component": _image(image),
        },
        "components": [*objects, *files, *tools],
        "dependencies": [
            {"ref": image.digest, "dependsOn": [each["bom-ref"] for each in objects] or made_from},
            *({"ref": each["bom-ref"], "dependsOn": made_from} for each in objects),
            *({"ref": each} for each in made_from),
        ],
    }


def _image(image: Image) -> Json:
    links = {kind: image.annotations.get(annotation) for annotation, kind in _LINKS.items()}
    return {
        "type": "application",
        "bom-ref": image.digest,
        "name": image.annotations.get(_TITLE) or "gadget",
        "version": image.digest,
        "hashes": _hashes(image.digest.removeprefix("sha256:")),
        "externalReferences": [{"type": kind, "url": url} for kind, url in links.items() if url],
    }


def _file(file: File, kind: str) -> Json:
    return {
        "type": "file",
        "bom-ref": f"{kind}:{file.name}",
        "name": file.name,
        "hashes": _hashes(file.sha256),
    }


def _tool(name: str, version: str) -> Json:
    # Excluded: it made the image and is no part of it.
    return {
        "type": "application",
        "bom-ref": f"tool:{name}",
        "name": name,
        "version": version,
        "scope": "excluded",
    }


def _hashes(sha256: str) -> list[Json]:
    return [{"alg": "SHA-256", "content": sha256}]
