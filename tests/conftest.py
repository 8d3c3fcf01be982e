"""The servers that tests share: one sandbox and one gateway a run, real processes both."""

from gevent import monkey

monkey.patch_all()  # as in a worker: sessions that tests run in this process take turns like there

import os  # noqa: E402
import signal  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402

from tests.support.container import Build, Image, remove  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.sandbox import Sandbox  # noqa: E402

# A shell's proxy settings would send loopback calls elsewhere.
for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]


# A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start, and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look last at what has gone on beside the other tests."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """The run's sandbox, empty and without faults."""
    shared_sandbox.clear()
    return shared_sandbox


@pytest.fixture(scope="session")
def shared_gateway(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def gateway(sandbox: Sandbox, shared_gateway: Gateway) -> Gateway:
    """The run's gateway, in front of an empty sandbox."""
    return shared_gateway


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The Dockerfile's image, built once a run: half a minute, most of it pip's."""
    folder = tmp_path_factory.mktemp("image")
    yield Build(folder).last_stage()
    remove(folder)
