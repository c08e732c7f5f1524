"""The console script `goreload`: the same tasks for a project that has no tasks.py."""

from __future__ import annotations

import contextlib
import os
from importlib.metadata import version

from invoke.program import Program

from goreload_tasks import ns
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import root_of


class GoreloadProgram(Program):
    """Invoke's program over our collection; it finds the project's invoke.yaml without a tasks.py beside it."""

    def create_config(self) -> None:
        super().create_config()
        with contextlib.suppress(GoreloadError):  # no project here: the task that needs one says so
            self.config.set_project_location(root_of(None, os.getcwd()))
            self.config.load_project()


def main() -> None:
    """Run the program."""
    GoreloadProgram(name="goreload", binary="goreload", namespace=ns, version=version("goreload-tasks")).run()


if __name__ == "__main__":
    main()
