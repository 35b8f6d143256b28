"""The manifest in the documentation, against the schemas of Kubernetes' API."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

MANIFEST = Path(__file__).parents[2] / "docs/kubernetes/record-pod.yaml"
VERSIONS = ("1.31", "1.34")


@pytest.fixture
def manifest() -> Any:
    """The Job."""
    return yaml.safe_load(MANIFEST.read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_what_the_api_takes(version: str, manifest: Any) -> None:
    """Strictly: a member that the API does not know would be passed over there."""
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_a_mistake_in_it_would_be_found(manifest: Any) -> None:
    manifest["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_it_may_do_what_recording_needs(manifest: Any) -> None:
    """The processes of the node, and the right to trace them."""
    pod = manifest["spec"]["template"]["spec"]
    assert (pod["hostPID"], pod["containers"][0]["securityContext"]["privileged"]) == (True, True)
