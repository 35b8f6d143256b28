"""`--attest`, which `sign` and `push` have: attach how an image was made, and from what."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gadgetops.commands.common import messages
from gadgetops.oci.content import Json
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

if TYPE_CHECKING:
    from gadgetops.oci.signing.keys import PrivateKey

attest_option = click.option(
    "--attest",
    "attested_folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Also attach, signed, how the image is made from the gadget in DIR (SLSA) and of what (CycloneDX).",
)
"""`--attest DIR`, as the argument `attested_folder`."""


Claims = Mapping[str, Json]
"""Predicates by their types."""


def claims_of(layout: Layout, reference: Reference | str, folder: Path) -> Claims:
    """
    Return what can be attested of the image *reference* of *layout*: provenance and bill of materials.

    The image is built again from *folder* first.

    Raises:
        DigestMismatch: Another image comes out.
        GadgetOpsError: There is no such image, or it cannot be built.
    """
    from gadgetops.gadget.building.buildfile import BuildFile
    from gadgetops.gadget.origin import provenance, sbom
    from gadgetops.gadget.origin.materials import Materials
    from gadgetops.oci.image import Image

    image = Image.load(layout, reference)
    materials = Materials.of(image, BuildFile.read(folder))
    return {
        provenance.PREDICATE_TYPE: provenance.provenance(materials),
        sbom.PREDICATE_TYPE: sbom.sbom(image, materials),
    }


def attach(layout: Layout, reference: Reference | str, claims: Claims, key: "PrivateKey") -> None:
    """Attach *claims* to the image *reference* of *layout*, signed with *key*."""
    from gadgetops.oci.signing.find import resolve_tag, tag_of
    from gadgetops.oci.signing.sign import attest

    image = layout.resolve(reference)
    name = reference.name if isinstance(reference, Reference) else image.digest
    for predicate_type, predicate in claims.items():
        made = attest(layout, image, key, predicate_type=predicate_type, predicate=predicate, name=name)
        messages.say(f"{'attested' if made.is_new else 'attested before'}: {predicate_type}")
    if resolve_tag(layout, tag_of(image.digest, ".sig")) is None:
        messages.warn(
            f"{reference}: attested, but without a signature of the legacy form: ig will not verify it; "
            "`gadgetops sign` makes one"
        )
