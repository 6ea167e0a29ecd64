# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fleet as fleets  # noqa: E402


def pytest_generate_tests(metafunc):
    """Each fault in its short form, which tests/run.sh runs always, and in the full one (tests/run.sh chaos)."""
    if "size" in metafunc.fixturenames:
        runs = int(os.environ.get("USHER_CHAOS_RUNS", "1"))
        sizes = [pytest.param(fleets.SHORT, id="short")] + [pytest.param(fleets.FULL, id=f"full{i or ''}") for i in range(runs)]
        metafunc.parametrize("size", sizes)


def pytest_configure(config):
    config.addinivalue_line("markers", "full_only: has no short form, so that all short ones together take under five minutes")


def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if item.get_closest_marker("full_only") and "[short" in item.name]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def helper(tmp_path_factory):
    return fleets.build_helper(tmp_path_factory.mktemp("chaos-helper"), "load")


@pytest.fixture
def make_fleet(stage, size, helper):
    """fleet = make_fleet(**how): started, placeable, empty."""
    def make(size=size, **how):
        return fleets.Fleet(stage, size, helper, **how)
    return make


@pytest.fixture
def say(request, capsys):
    """say(figure=value, …): the one line of a fault's figures, and the same kept for docs/ where USHER_CHAOS_FIGURES names a file."""
    def line(**figures):
        text = request.node.name + ": " + ", ".join(
            f"{k.replace('_', ' ')} {v:.3f}" if isinstance(v, float) else f"{k.replace('_', ' ')} {v}" for k, v in figures.items())
        with capsys.disabled():
            print(f"\n  {text}")
        if path := os.environ.get("USHER_CHAOS_FIGURES"):
            with open(path, "a") as out:
                out.write(text + "\n")
    return line
