"""The page's own tests, in TypeScript, and its types."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_programs_own_tests_pass() -> None:
    done = subprocess.run(
        [ROOT / "scripts/build_report.sh", "test"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
