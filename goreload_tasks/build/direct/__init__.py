"""Building without the go command, provably equal."""

from goreload_tasks.build.direct.direct import Built, Direct, DirectJob, Verified

__all__ = ["Built", "Direct", "DirectJob", "Verified"]
