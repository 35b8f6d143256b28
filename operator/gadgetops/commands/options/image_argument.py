"""What names an image of the store on the command line."""

from gadgetops.oci.content import is_digest
from gadgetops.oci.reference import Reference


def parse_image(text: str) -> Reference | str:
    """Return the reference that *text* is, or *text* itself if it is a bare digest, as `list` shows them."""
    return text if is_digest(text) else Reference.parse(text)
