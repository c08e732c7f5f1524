"""Three minutes of chaos, one in each mode. CHAOS_SEED and CHAOS_SECONDS have another one, or more of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("mode", "seed"), [("direct", 11), ("proxy", 12), ("socket", 13)])
def test_what_answers_is_what_is_on_disk_whatever_happens(mode: str, seed: int) -> None:
    seconds = float(os.environ.get("CHAOS_SECONDS", "60"))
    words = ["--mode", mode, "--seed", os.environ.get("CHAOS_SEED", str(seed)), "--seconds", str(seconds)]
    argv = [sys.executable, "-m", "tests.chaos", *words, "--world", str(seconds)]
    done = subprocess.run(
        argv, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=seconds + 300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 1 worlds " in done.stdout
    assert "0 findings" in done.stdout
