"""What `record --label` gives is kept with the recording."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gadgetops = Callable[..., Any]


@pytest.mark.kernel
def test_labels_are_kept_with_the_recording(
    gadget_object: Path, tmp_path: Path, gadgetops: Gadgetops
) -> None:
    """And answers are grouped by them; a value may have an equals sign."""
    path = tmp_path / "r.gadgetrec"
    labels = ["--label", "version=1.2", "--label", "flags=a=b"]
    result = gadgetops("record", "-o", path, "--image", gadget_object, *labels, "--", "/bin/echo")
    assert result.status == 0, result.err
    assert json.loads((path / "recording.json").read_text())["labels"] == {"version": "1.2", "flags": "a=b"}
    answer = json.loads(gadgetops("top", path, "--group-by", "label:flags", "--format", "json").out)
    assert [each["group"]["name"] for each in answer["groups"]] == ["a=b"]


@pytest.mark.parametrize("label", ["version", "=1"])
def test_a_label_has_a_key_and_a_value(label: str, tmp_path: Path, gadgetops: Gadgetops) -> None:
    result = gadgetops("record", "-o", tmp_path / "r", "--label", label, "--", "/bin/true")
    assert (result.status, f"--label {label}: expected KEY=VALUE" in result.err) == (2, True)
