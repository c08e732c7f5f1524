"""Settings: one frozen tree, merged from layers, with where each value came from."""

from goreload_tasks.settings.layers import gather, root_of
from goreload_tasks.settings.merge import Layer, Service, merge, unknown
from goreload_tasks.settings.schema import Environment, Settings

__all__ = ["Environment", "Layer", "Service", "Settings", "gather", "merge", "root_of", "unknown"]
