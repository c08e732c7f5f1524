"""PURE. Which files the settings select, and for what: `rules`, `watch.include`, `env_files`."""

from __future__ import annotations

from dataclasses import replace

from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs.ignore import Patterns
from goreload_tasks.settings import Settings
from goreload_tasks.settings.schema import Rule

ENV = Rule("env_files", then="restart")


def selections(settings: Settings, alone: bool) -> list[tuple[Rule, Patterns]]:
    """The rules of the settings, then one for `watch.include`.

    Args:
        alone: there is no Go program: what is included, and all of it unless said, calls for a new run.
    """
    found = []
    for index, rule in enumerate(settings.rules):
        name = rule.name or f"rules[{index}]"
        if rule.task and rule.run:
            raise GoreloadError(f"rules[{index}]: `task` and `run`: choose one of them")
        if not rule.files:
            raise GoreloadError(f"rules[{index}]: `files` says for which files it is; give it patterns")
        found.append((replace(rule, name=f"rule {name}"), Patterns(rule.files, f"rules[{index}].files", strict=True)))
    include = settings.watch.include or (("*",) if alone else ())
    if include:
        included = Rule("watch.include", then="rebuild" if alone else "restart")
        found.append((included, Patterns(include, "watch.include", strict=True)))
    return found


def counts(rule: Rule, built: bool) -> Rule | None:
    """What a rule means for a file that it selects: where the build reads the file too, that follows its command."""
    if not built:
        return rule
    return replace(rule, then="rebuild") if rule.command else None


def same(rule: Rule) -> Rule:
    """One key for all that the command of a rule goes before, whatever follows it."""
    return replace(rule, then="rebuild")
