"""Live reload for Go as Invoke tasks.

>>> from invoke import Collection
>>> import goreload_tasks
>>> ns = Collection(goreload_tasks.dev, goreload_tasks.build)
>>> sorted(ns.task_names)
['build', 'dev']
"""

from goreload_tasks import traps
from goreload_tasks.tasks import build, clean, collection, dev, doctor, history, run, tags, watch, why

ns = collection()

traps.arm()

__all__ = ["build", "clean", "collection", "dev", "doctor", "history", "ns", "run", "tags", "watch", "why"]
