"""`gadgetops verify`: is an image what the owner of a key signed?"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json, print_table
from gadgetops.commands.options.image_argument import parse_image
from gadgetops.commands.options.key_file_options import public_keys_option
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import NotFound, VerificationError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference

if TYPE_CHECKING:
    from gadgetops.oci.signing.verify import Verified


@verb(
    "verify",
    example="""\
gadgetops verify trace_malloc:v1 --key release.pub
gadgetops verify trace_malloc:v1 --key old.pub --key new.pub
gadgetops verify trace_malloc:v1 --key release.pub --attestations --format json
""",
)
@click.argument("image", metavar="REF")
@public_keys_option(
    "-k", "--key", metavar="FILE", required=True, help="Public key in PEM; of several, any will do."
)
@click.option("--attestations", is_flag=True, help="Also demand, and show, what was attested of the image.")
@table_or_json_option("Form of the result; JSON has the attestations whole.")
@store_option
def command(
    image: str, key_files: tuple[Path, ...], attestations: bool, output_format: str, store: str
) -> None:
    """Check that the image REF of the store was signed with a key, and that all of it is unaltered.

    Fails unless a signature by one of the keys is about just this image, and every part of the image is there
    and has its digest. ig checks the signature, but not the parts it has in its store.
    """
    from gadgetops.commands.options.key_option import read_public_key
    from gadgetops.oci.signing.verify import verify, verify_attestations

    reference = parse_image(image)
    keys = {path: read_public_key(path) for path in key_files}
    layout = open_store(store, create=False)
    descriptor = _resolve(layout, reference)
    signatures = verify(layout, descriptor, [*keys.values()], what=str(reference))
    attested: tuple[Verified, ...] = ()
    if attestations:
        attested = verify_attestations(layout, descriptor, [*keys.values()], what=str(reference))
    names = {key.fingerprint: str(path) for path, key in keys.items()}
    if output_format == "json":
        print_json(_as_json(str(reference), descriptor, signatures, attested, names))
        return
    click.echo(f"verified {reference} ({descriptor.digest})")
    print_table([_row(each, names) for each in (*signatures, *attested)], ["what", "form", "in", "key"])


def _resolve(layout: Layout, reference: Reference | str) -> Descriptor:
    try:
        return layout.resolve(reference)
    except NotFound as error:
        raise VerificationError(str(reference), "image", f"not in {layout}", hint=error.hint) from error


def _row(verified: "Verified", names: Mapping[str, str]) -> list[str]:
    return [
        verified.kind,
        str(verified.form),
        verified.manifest.digest[:19],
        names[verified.key.fingerprint],
    ]


def _as_json(
    reference: str,
    image: Descriptor,
    signatures: Iterable["Verified"],
    attested: Iterable["Verified"],
    names: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "reference": reference,
        "digest": image.digest,
        "signatures": [_common(each, names) for each in signatures],
        "attestations": [
            {
                **_common(each, names),
                "predicate_type": each.claim.predicate_type,
                "predicate": each.claim.predicate,
            }
            for each in attested
        ],
    }


def _common(verified: "Verified", names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "form": str(verified.form),
        "manifest": verified.manifest.digest,
        "key": names[verified.key.fingerprint],
    }
