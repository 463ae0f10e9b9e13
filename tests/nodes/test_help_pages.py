"""The option tables of the help pages say what the configuration says."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "write_help_tables.py"


def test_option_tables_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run python {TOOL.name}: {done.stdout}{done.stderr}"
