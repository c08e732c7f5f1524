"""Tasks of this project: `invoke --list` shows them."""

from invoke import Collection

import goreload_tasks

ns = Collection(
    goreload_tasks.dev,
    goreload_tasks.watch,
    goreload_tasks.build,
    goreload_tasks.run,
    goreload_tasks.clean,
    goreload_tasks.why,
)
