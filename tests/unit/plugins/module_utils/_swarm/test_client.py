# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which manager is asked, what is asked again, and what an answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._errors import (
    InvalidInput,
    NotFound,
    OperationError,
    Rejected,
    Unreachable,
)
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._swarm import client
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.client import SWARM_SPEC, Swarm
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Clock, Reply, Request, serving

NO_MANAGER = 503, {"message": 'This node is not a swarm manager. Use "docker swarm init" and try again.'}
NO_LEADER = 500, {"message": "rpc error: code = Unknown desc = The swarm does not have a leader."}
SERVICE = {"ID": "s1", "Version": {"Index": 7}, "Spec": {"Name": "web-blue", "Labels": {}, "Mode": {}}}


def manager(answers: Mapping[str, Any] | None = None) -> Callable[[Request], Reply]:
    """An engine that answers a path (without its version) with what is given, or with an empty list.

    A function is called with the request.
    """
    given = dict(answers or {})

    def answer(request: Request) -> Reply:
        if request.path == "/version":
            return 200, {"ApiVersion": "1.47"}
        version, _slash, path = request.path.removeprefix("/").partition("/")
        assert version == "v1.47"
        found = given.get(path, (200, {"ID": "swarm"} if path == "swarm" else []))
        return found(request) if callable(found) else found

    return answer


def swarm(*urls: str, context: Context | None = None, **options: Any) -> Swarm:
    given = {"docker_host": [url.replace("http://", "tcp://") for url in urls], **options}
    validation = ArgumentSpecValidator(SWARM_SPEC).validate(given)
    return Swarm.from_params(validation.validated_parameters, context or Clock().context())


def test_the_first_engine_that_speaks_for_the_swarm_is_asked() -> None:
    """One that is away, a worker, and a manager without the others are passed over; then only the good one is asked."""
    with (
        serving(manager({"swarm": NO_MANAGER})) as worker,
        serving(manager({"swarm": NO_LEADER})) as alone,
        serving(manager()) as good,
        swarm("tcp://127.0.0.1:9", worker.url, alone.url, good.url) as asked,
    ):
        assert asked.services() == []
        before = len(worker.got) + len(alone.got)
        assert asked.nodes() == {}

        assert asked.url == good.url.replace("http://", "tcp://")
        assert len(worker.got) + len(alone.got) == before


def test_when_no_engine_is_a_manager_it_is_said_at_once() -> None:
    """To wait would not make one of them a manager."""
    clock = Clock()
    with (
        serving(manager({"swarm": NO_MANAGER})) as one,
        serving(manager({"swarm": NO_MANAGER})) as other,
        swarm(one.url, other.url, context=clock.context()) as asked,
        pytest.raises(Rejected) as failure,
    ):
        asked.services()

    assert failure.value.code == "no_manager" and clock.slept == []
    for url in (one.url, other.url):
        assert url.removeprefix("http://") in failure.value.message


def test_when_nobody_answers_all_are_named_after_the_time_for_it() -> None:
    clock = Clock()
    with (
        serving(manager({"swarm": NO_LEADER})) as alone,
        swarm("tcp://127.0.0.1:9", alone.url, context=clock.context(), retry_timeout=5) as asked,
        pytest.raises(Unreachable) as failure,
    ):
        asked.services()

    assert sum(clock.slept) == pytest.approx(5)
    for text in ("127.0.0.1:9: Connection refused", "does not have a leader", "GET /services"):
        assert text in failure.value.message
    assert clock.lines


def test_a_manager_that_goes_away_is_replaced_by_the_next_one() -> None:
    gone = False

    def fading(request: Request) -> Reply:
        return None if gone else manager()(request)

    with serving(fading) as first, serving(manager()) as second, swarm(first.url, second.url) as asked:
        asked.services()
        gone = True
        asked.services()

        assert asked.url == second.url.replace("http://", "tcp://")


def test_a_creation_whose_answer_was_lost_is_ours_when_the_labels_are() -> None:
    """It is sent again, and the name is taken: by the first attempt."""
    made: list[Any] = []

    def create(request: Request) -> Reply:
        if made:
            return 409, {"message": "rpc error: code = AlreadyExists desc = config lock already exists"}
        made.append({"ID": "c1", "Version": {"Index": 1}, "Spec": request.body})
        return None

    with serving(manager({"configs/create": create, "configs": lambda _request: (200, made)})) as server:
        with swarm(server.url) as asked:
            assert asked.create_config("lock", {"owner": "me"}, b"x") == "c1"
        with swarm(server.url) as asked, pytest.raises(Rejected) as failure:
            asked.create_config("lock", {"owner": "you"}, b"x")

    assert failure.value.code == "already_exists"


def test_a_change_that_comes_too_late_is_worked_out_anew() -> None:
    """With the service as it is then, and with the version that it has then."""
    services = [SERVICE, {**SERVICE, "Version": {"Index": 8}}]

    def update(request: Request) -> Reply:
        if request.query["version"] == ["7"]:
            return 500, {"message": "rpc error: code = Unknown desc = update out of sequence"}
        return 200, {}

    def listed(_request: Request) -> Reply:
        return 200, [services.pop(0) if len(services) > 1 else services[0]]

    seen = []

    def change(service: dict[str, Any]) -> dict[str, Any]:
        seen.append(service["Version"]["Index"])
        return {**service["Spec"], "Labels": {"a": "b"}}

    context = Clock().context()
    with serving(manager({"services": listed, "services/s1/update": update})) as server:
        with swarm(server.url, context=context) as asked:
            assert asked.change_service("web-blue", change)
        (sent,) = [request.body for request in server.got if request.query.get("version") == ["8"]]

    assert seen == [7, 8] and sent["Labels"] == {"a": "b"}
    assert context.changes == ["POST /services/s1/update"]


def test_a_refusal_has_the_engines_words_without_their_frame() -> None:
    refusal = 400, {"message": "rpc error: code = InvalidArgument desc = name must be valid"}
    with (
        serving(manager({"services/create": refusal})) as server,
        swarm(server.url) as asked,
        pytest.raises(Rejected) as failure,
    ):
        asked.create_service({"Name": "?"})

    assert failure.value.code == "rejected" and failure.value.status == 400
    assert "answered POST /services/create with 400: name must be valid" in failure.value.message


def test_a_service_is_found_by_its_whole_name_only() -> None:
    """Docker finds by the beginning of a name, and of an id, too."""
    other = {**SERVICE, "Spec": {"Name": "web-blue-2"}}
    with serving(manager({"services": (200, [other])})) as server, swarm(server.url) as asked:
        with pytest.raises(NotFound, match="no service web-blue in"):
            asked.service("web-blue")
        assert not asked.remove_service("web-blue")


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("web:1", "distribution/web:1/json"),
        ("localhost:5000/team/web:1", "distribution/localhost:5000/team/web:1/json"),
    ],
)
def test_the_digest_of_an_image_is_the_registrys(image: str, path: str) -> None:
    digest = "sha256:" + "a" * 64
    with serving(manager({path: (200, {"Descriptor": {"digest": digest}})})) as server, swarm(server.url) as asked:
        assert asked.image_digest(image) == digest


def test_a_registry_that_does_not_tell_is_no_failure() -> None:
    silent = {"distribution/web:1/json": (500, {"message": "dial tcp: context deadline exceeded"})}
    with serving(manager(silent)) as server, swarm(server.url) as asked:
        assert asked.image_digest("web:1") is None
    with swarm("tcp://127.0.0.1:9") as asked:
        assert asked.image_digest("web:1") is None


@pytest.mark.parametrize("given", [[], [" "], ["127.0.0.1:2375"], ["npipe:////./pipe/docker_engine"]])
def test_addresses_that_are_none_are_refused(given: list[str]) -> None:
    with pytest.raises(InvalidInput, match="docker_host"):
        swarm(*given)


def test_without_its_library_the_task_says_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "HAS_DOCKER", False)
    with pytest.raises(OperationError, match="Docker SDK for Python") as failure:
        swarm("tcp://127.0.0.1:9")

    assert failure.value.code == "missing_library"
