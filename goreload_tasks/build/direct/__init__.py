"""Building without the go command, provably equal."""

from goreload_tasks.build.direct.direct import Direct, Verified
from goreload_tasks.build.direct.job import Built, DirectJob

__all__ = ["Built", "Direct", "DirectJob", "Verified"]
