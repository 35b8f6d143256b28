"""Our source compiles with ig's own headers: both build files, both architectures, by whichever clang."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = os.environ.get("GADGETOPS_TEST_IG_SOURCES", "")
"""ig's source folders, of any releases from 0.48 on, joined by colons."""


@pytest.mark.clang
@pytest.mark.ig_sources
@pytest.mark.parametrize("build_file", ["build.yaml", "build-ustack.yaml"])
@pytest.mark.parametrize("headers", FOLDERS.split(":"))
def test_it_compiles_with_headers_of_ig(headers: str, build_file: str, tmp_path: Path, gadgetops) -> None:
    """Without those beside it, as in ig's builder container."""
    shutil.copytree(ROOT / "gadget", tmp_path / "gadget", ignore=shutil.ignore_patterns("include"))
    shutil.copy(ROOT / build_file, tmp_path / "build.yaml")
    result = gadgetops("build", tmp_path, "--headers", headers)
    assert result.status == 0, result.err
