# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from harness import Stage  # noqa: E402
from net import Net  # noqa: E402


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory):
    """For tests that change nothing: one stage for all of a file."""
    stage = Stage(tmp_path_factory.mktemp("shared"))
    yield stage
    stage.close()


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def net():
    """Made before the stage and ended after it: ask for it first."""
    made = Net()
    yield made
    made.close()


def pytest_configure(config):
    config.addinivalue_line("markers", "undisturbed: measures, or takes a core: tests/run.sh runs those one after the other, with nothing beside")
