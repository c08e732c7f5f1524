"""Layers in, one frozen tree out, or one line that names the mistake."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Layer, Service, merge
from goreload_tasks.settings.layers import gather, variables
from goreload_tasks.settings.schema import DEFAULTS, Duration, Reload, duration


def merged(*values: Mapping[str, object]) -> Service:
    layers = [Layer(f"file {number}", one) for number, one in enumerate(values, 1)]
    return merge([Layer("default", DEFAULTS), *layers])[0]


def test_sections_merge_deeply_and_single_values_are_replaced() -> None:
    service = merged(
        {"serve": {"port": 80}, "env": {"A": 1, "B": "x"}, "build": {"tags": ["a"]}},
        {"serve": {"open": True}, "env": {"B": True}, "build": {"tags": ["b"]}},
    )
    assert (service.settings.serve.port, service.settings.serve.open) == (80, True)
    assert service.settings.env == {"A": "1", "B": "true"}
    assert service.settings.build.tags == ("b",)


def test_each_value_knows_where_it_came_from() -> None:
    sources = merged({"serve": {"port": 80}}, {"serve": {"open": True}}).sources
    assert sources["serve.port"] == "file 1"
    assert sources["serve.open"] == "file 2"
    assert sources["environments.dev.tags"] == "default"


def test_empty_sections_say_nothing_and_null_takes_a_value_back() -> None:
    assert merged({"serve": None, "build": {"tags": None}}).settings.build.tags == ()
    assert merged({"serve": {"port": 80}}, {"serve": {"port": None}}).settings.serve.port is None
    assert merged({"env": {"A": "1", "B": "2"}}, {"env": {"A": None, "C": None}}).settings.env == {"B": "2"}
    assert merged({"environments": {"qa": None}}).settings.environments["qa"].tags == ()


def test_service_inherits_what_stands_beside_it_and_the_command_line_wins_over_both() -> None:
    layers = [
        Layer("default", DEFAULTS),
        Layer(
            "invoke.yaml",
            {"reload": {"debounce": "1s"}, "services": {"a": {"main": "./a"}, "b": {"reload": {"debounce": "2s"}}}},
        ),
        Layer("collection()", {"reload": {"cooldown": "3s"}}),
        Layer("--env", {"environment": "prod"}, final=True),
    ]
    a, b = merge(layers)
    assert (a.name, a.settings.main, a.settings.reload) == ("a", "./a", Reload(Duration(1), Duration(3)))
    assert (b.name, b.settings.main, b.settings.reload) == ("b", None, Reload(Duration(2), Duration(3)))
    assert b.settings.environment == "prod"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"buld": {}}, "unknown setting buld (file 1): did you mean build?"),
        ({"build": {"tag": []}}, "unknown setting build.tag (file 1): did you mean build.tags?"),
        (
            {"services": {"x": {"sreve": {}}}},
            "unknown setting services.x.sreve (file 1): did you mean services.x.serve?",
        ),
        (
            {"environments": {"qa": {"tagz": 1}}},
            "unknown setting environments.qa.tagz (file 1): did you mean environments.qa.tags?",
        ),
        (
            {"stop": {"signal": "KILL"}},
            'stop.signal = "KILL" (file 1): expected one of TERM, INT, HUP, QUIT, USR1, USR2',
        ),
        ({"stop": {"grace": "5"}}, 'stop.grace = "5" (file 1): expected a duration such as 150ms, 2s or 1m30s'),
        ({"crash": {"limit": -1}}, "crash.limit = -1 (file 1): expected a whole number, 0 or more"),
        ({"serve": {"port": True}}, "serve.port = True (file 1): expected a port from 1 to 65535"),
        ({"args": "a 'b"}, 'args = "a \'b" (file 1): expected words as in a shell (no closing quotation)'),
        ({"env": ["A"]}, "env = ['A'] (file 1): expected a section with names and values"),
        ({1: 2}, "goreload: the name 1 (file 1) is not a text; put it in quotes"),
        ({"services": ["a"]}, "services = ['a'] (file 1): expected a section with names and values"),
    ],
)
def test_mistake_names_the_setting_the_place_the_value_and_the_mend(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(GoreloadError) as caught:
        merged(values)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("text", "seconds"), [("150ms", 0.15), ("2s", 2), ("1m30s", 90), ("1h", 3600), ("1.5s", 1.5), ("0", 0), ("0s", 0)]
)
def test_durations_are_numbers_with_units(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1s30m", "1 s", "1ss"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration(text)


def test_yaml_reads_on_and_off_as_booleans_and_we_do_not_mind() -> None:
    assert merged({"build": {"fast": False}}).settings.build.fast == "off"
    assert merged({"build": {"fast": True}}).settings.build.fast == "on"


def test_variables_reach_into_sections_and_names() -> None:
    layer = variables(
        {
            "GORELOAD_BUILD_TAGS": "a,b",
            "GORELOAD_ENVIRONMENTS_PROD_TAGS": "p",
            "GORELOAD_SERVICES_API_SERVE_PORT": "9",
            "GORELOAD_ENV_FILES": "x.env",
            "GORELOAD_ENV_HOME_PAGE": "h",
            "PATH": "/bin",
        }
    )
    assert layer.values == {
        "build": {"tags": "a,b"},
        "environments": {"prod": {"tags": "p"}},
        "services": {"api": {"serve": {"port": "9"}}},
        "env_files": "x.env",
        "env": {"HOME_PAGE": "h"},
    }


class Levels:
    """Invoke's configuration, level by level."""

    def __init__(self, **levels: object) -> None:
        self.__dict__.update({f"_{name}": {"goreload": value} for name, value in levels.items()})


def test_layers_rise_in_the_order_of_the_design() -> None:
    config = Levels(project={"main": "yaml", "environment": "y"}, collection={"main": "configure"})
    layers = gather(config, {"main": "own"}, {}, {"GORELOAD_MAIN": "variable"})
    assert [layer.values.get("main") for layer in layers] == [None, "yaml", "configure", "own", "variable", None]


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
NAMES = st.sampled_from(["serve", "build", "tags", "port", "services", "env", "x", "environments", "args"])
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@given(ANYTHING)
@example({"env": {"serve": None}})
@settings(max_examples=400)
def test_whatever_stands_in_a_file_is_settings_or_one_line(values: object) -> None:
    lines = []
    try:
        merge([Layer("default", DEFAULTS), Layer("file", values)])  # type: ignore[arg-type]
    except GoreloadError as error:
        lines = str(error).split("\n")
    assert len(lines) <= 1
