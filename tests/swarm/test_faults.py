# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input and faults on a swarm: each is refused or survived with a clear message, and what is live serves on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.clients import clients
from tests.sandbox.swarm import launch
from tests.swarm.scene import GROUP, RATE, SHORT_KINDS, Scene, all_of, long_request, meanwhile, met, said, split_files

pytestmark = pytest.mark.serial

HERE = Path("tests/swarm")
TAKEN = 28001  # a port outside of what Docker chooses from
NEVER = "99999"  # seconds
BAKE = 60  # seconds: longer than until the fault
CUT = 0.5  # seconds within which a request may have been on its way already when its node vanished

Json = dict[str, Any]


@pytest.fixture(name="scene", scope="module")
def _scene(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with launch.start() as swarm:
        scene = Scene(swarm, tmp_path_factory.mktemp("faults"))
        scene.set_up()
        yield scene


def idle_colour(scene: Scene) -> str:
    """The colour that the first proxy does not serve."""
    return "blue" if "live/green" in split_files(scene.swarm.proxies[0]) else "green"


# --- refused before anything is changed ---------------------------------------------------------------------------

# What is given, besides the definition or in its place; and the words that the message must have.
NONSENSE: dict[str, tuple[Json, Json, tuple[str, ...]]] = {
    "no image": ({"image": None}, {}, ("has no image",)),
    "mode global": ({"mode": "global"}, {}, ("mode global", "replicated")),
    "ingress": ({"publish": [{"target_port": 8000}]}, {}, ("port 8000", "ingress", "has to be host")),
    "a fixed port": (
        {"publish": [{"target_port": 8000, "published_port": 8000, "mode": "host"}]},
        {},
        ("fixed port 8000", "published_ports"),
    ),
    "a text for a list": ({"publish": "8000"}, {}, ("publish",)),
    "an unknown field": ({"imagee": "service:1"}, {}, ("imagee",)),
    "a name with odd characters": ({}, {"name": "web app/1"}, ("web app/1", "name")),
    "no replicas": ({}, {"replicas": "0"}, ("replicas", "at least 1")),
    "negative replicas": ({}, {"replicas": "-1"}, ("replicas", "at least 1")),
    "replicas in letters": ({}, {"replicas": "abc"}, ("replicas", "abc")),
    "no colour": ({}, {"colour": "red"}, ("colour", "red", "blue, green")),
    "a count to keep in letters": ({}, {"keep_replicas": "some"}, ("keep_replicas", "some")),
    "a batch in letters": ({}, {"batch_size": "some"}, ("batch_size", "some")),
    "failures in letters": ({}, {"max_failures": "some"}, ("max_failures", "some")),
    "one port for both": ({}, {"published_ports": {"blue": 8001, "green": 8001}}, ("published_ports", "its own")),
    "an unknown proxy": ({}, {"proxy": "apache"}, ("swarm_bluegreen_proxy", "apache")),
    "an unknown way to end a drain": ({}, {"on_drain_timeout": "explode"}, ("on_drain_timeout", "explode")),
    "seconds in letters": ({}, {"bake_seconds": "soon"}, ("bluegreen_bake_seconds", "soon")),
}


def test_nonsense_is_refused_before_anything_is_changed(scene: Scene) -> None:
    """One message that names the option and what it has; services and proxies are as they were."""
    definition = scene.variables(scene.fresh())["swarm_bluegreen_service"]
    file = scene.folder / "refusals.json"
    refusals = [
        {"about": about, "given": given, "service": {**definition, **fields}}
        for about, (fields, given, _words) in NONSENSE.items()
    ]
    before = scene.state()
    with all_of(scene):
        run = scene.play(str(HERE / "refusals.yml"), {"refusals": refusals, "refusals_file": str(file)})
    assert run.code == 0, run.output
    messages: Mapping[str, str] = json.loads(file.read_text())
    unclear = {
        about: messages[about]
        for about, (_fields, _given, words) in NONSENSE.items()
        if any(word not in messages[about] for word in words)
    }
    assert not unclear
    assert scene.state() == before


def test_empty_answers_of_a_survey_are_the_defaults(scene: Scene) -> None:
    """In check mode: the plan is made, and nothing is changed."""
    version = scene.fresh()
    options = ("name", "image", "replicas", "colour", "keep_replicas", "batch_size", "monitor_seconds", "max_failures")
    empty = {f"swarm_bluegreen_{option}": "" for option in (*options, "endpoint", "published_ports", "target_port")}
    before = scene.state()
    run = scene.plays.play("swarm_bluegreen", {**scene.variables(version), **empty}, "--check", timeout=400)
    assert run.code == 0, run.output
    assert f"-> {version} (deploy)" in run.output
    assert scene.state() == before


def test_a_service_of_the_same_name_that_someone_else_made_is_left_alone(scene: Scene) -> None:
    """The deployment is refused, and says what to do."""
    name = f"{GROUP}-{idle_colour(scene)}"
    with scene.swarm.docker() as client:
        if name in [service["Spec"]["Name"] for service in client.services()]:
            client.remove_service(name)
        task = {"ContainerSpec": {"Image": scene.swarm.image}}
        client.create_service(task, name=name, mode={"Replicated": {"Replicas": 0}})
        before = scene.state()
        with all_of(scene):
            run = scene.play("swarm_bluegreen", scene.variables(scene.fresh()))
        said(run, name, "made by someone else", "Rename or remove it")
        assert scene.state() == before
        client.remove_service(name)


# --- a version that is bad ----------------------------------------------------------------------------------------


BAD: dict[str, tuple[Json, tuple[str, ...]]] = {
    "an image that is not there": ({"service": {"image": "nowhere:1"}}, ("No such image", "nor can pull it")),
    "tasks that die soon": (
        {"env": {"CRASH_AFTER": "3"}, "swarm_bluegreen_monitor_seconds": 30},
        ("failed", "non-zero exit (1)"),
    ),
    "tasks that are never healthy": (
        {"env": {"HEALTHY_AFTER": NEVER}, "bluegreen_healthy_timeout": 5},
        ("After 5 s", "0 of 2 tasks", "are ready"),
    ),
    "tasks that no node takes": (
        {
            "service": {"placement": {"constraints": ["node.labels.nowhere==yes"]}},
            "swarm_bluegreen_unschedulable_timeout": 2,
        },
        ("For 2 s no node has taken", "Check the constraints"),
    ),
    "a port that is taken": (
        {
            "swarm_bluegreen_published_ports": {"blue": TAKEN, "green": TAKEN + 1},
            "swarm_bluegreen_unschedulable_timeout": 2,
        },
        ("port already in use", "Another task or program has the port"),
    ),
}


@contextmanager
def ports_taken(scene: Scene) -> Iterator[None]:
    """A service of somebody has two ports of each node."""
    ports = [
        {"Protocol": "tcp", "PublishMode": "host", "TargetPort": 8000 + number, "PublishedPort": TAKEN + number}
        for number in range(2)
    ]
    task = {"ContainerSpec": {"Image": scene.swarm.image, "Command": ["/bin/busybox", "sleep", NEVER]}}
    with scene.swarm.docker() as client:
        client.create_service(task, name="neighbour", mode="global", endpoint_spec={"Ports": ports})
        try:
            yield
        finally:
            client.remove_service("neighbour")


@pytest.mark.parametrize("about", BAD)
def test_a_version_that_does_not_come_up_is_taken_back(scene: Scene, about: str) -> None:
    """It says why, no request ever reaches it, and nothing of it goes on to run."""
    live, version = scene.live(), scene.fresh()
    given, words = BAD[about]
    with ExitStack() as fault, all_of(scene) as traffic:
        if "port" in about:
            fault.enter_context(ports_taken(scene))
        run = scene.play("swarm_bluegreen", scene.variables(version, **given))
        said(run, "Rolled back", *words)
        assert version not in traffic.versions()
    assert scene.live() == live
    launch.wait_for(lambda: not scene.leftovers(), f"nothing is left over: {scene.leftovers()}")


def test_a_container_that_dies_while_the_version_bakes_takes_it_back(scene: Scene) -> None:
    """It was healthy and had the traffic; requests that can be repeated are answered by another task."""
    live, version = scene.live(), scene.fresh()
    with all_of(scene, ("get", "sticky")) as traffic:
        with meanwhile(met(traffic, version), lambda: scene.kill_task(version)):
            run = scene.play("swarm_bluegreen", scene.variables(version, bluegreen_bake_seconds=BAKE))
        said(run, "Rolled back", f"1 task of {GROUP}-", "failed", "exit (137)")
    assert scene.live() == live
    launch.wait_for(lambda: not scene.leftovers(), f"nothing is left over: {scene.leftovers()}")


# --- proxies ------------------------------------------------------------------------------------------------------


def test_a_proxy_that_is_down_is_named_before_anything_is_changed(scene: Scene) -> None:
    """The other one serves on."""
    before = scene.state()
    with clients(scene.swarm.live[:1], SHORT_KINDS, RATE) as traffic, scene.swarm.proxy_killed(1):
        run = scene.play("swarm_bluegreen", scene.variables(scene.fresh()))
        said(run, "proxy2", "does not answer")
        assert traffic.failed() == 0, traffic.causes()
    assert scene.state() == before


def test_going_back_works_at_the_proxies_that_are_there(scene: Scene) -> None:
    """The new version falls ill when a proxy is lost: the other one serves the old version; both failures are told."""
    live, version = scene.live(), scene.fresh()
    with ExitStack() as fault, clients(scene.swarm.live[:1], ("get", "sticky"), RATE) as traffic:

        def lose_both() -> None:
            fault.enter_context(scene.swarm.proxy_killed(1))
            scene.kill_task(version)

        with meanwhile(met(traffic, version), lose_both):
            run = scene.play("swarm_bluegreen", scene.variables(version, bluegreen_bake_seconds=BAKE))
        said(run, "failed", "exit (137)", "proxy2")
        assert scene.live()[0] == live[0]
        assert traffic.failed() == 0, traffic.causes()
    again = scene.play("swarm_rollback", {"swarm_bluegreen_name": GROUP})
    assert again.code == 0, again.output
    assert scene.live() == live
    launch.wait_for(lambda: not scene.leftovers(), f"nothing is left over: {scene.leftovers()}")


def test_a_configuration_that_nginx_does_not_take_is_put_back(scene: Scene) -> None:
    """A file of somebody else beside ours is broken: the switch does not happen."""
    live, version, proxy = scene.live(), scene.fresh(), scene.swarm.proxies[1]
    config = Path(proxy["config"])
    before, foreign = config.read_text(), config.with_name("broken.conf")
    foreign.write_text("this is no directive of nginx;\n")
    try:
        with all_of(scene) as traffic:
            run = scene.play("swarm_bluegreen", scene.variables(version))
            said(run, "Rolled back", "unknown directive", str(foreign))
            assert version not in traffic.versions()
        assert config.read_text() == before
    finally:
        foreign.unlink()
    assert scene.live() == live


def test_proxies_that_disagree_are_reported_and_repaired(scene: Scene) -> None:
    """Somebody has turned one by hand: who is live is for a person to say, and then it is so at both."""
    scene.deploy()
    live, other = scene.live()[0], idle_colour(scene)
    colour = "green" if other == "blue" else "blue"
    with all_of(scene):
        switch = Path(scene.swarm.proxies[1]["state_dir"]) / "live" / "green"
        switch.unlink() if colour == "green" else switch.touch()
        before = scene.state()

        refused = scene.play("swarm_bluegreen", scene.variables(scene.fresh()))
        said(refused, "disagree", "proxy1", f"100 % to {colour}", "proxy2", f"100 % to {other}", "swarm_toggle")
        assert scene.state() == before

        status = scene.play("swarm_status", {"swarm_bluegreen_name": GROUP})
        assert status.code == 0 and "disagree" in status.output and "proxy2" in status.output, status.output

        given = {"swarm_bluegreen_name": GROUP, "swarm_bluegreen_colour": colour}
        repaired = scene.play("swarm_toggle", given)
        assert repaired.code == 0, repaired.output
    assert scene.live() == [live] * 2
    assert not scene.leftovers()


# --- requests that do not end -------------------------------------------------------------------------------------


def test_a_stream_that_outlasts_the_drain_holds_the_rollout_until_it_is_told_to_cut(scene: Scene) -> None:
    """Held, nothing is lost, and the new version serves. Run again with cut it says how many it cuts, and finishes."""
    version = scene.fresh()
    variables = scene.variables(version, bluegreen_drain_timeout=2, swarm_bluegreen_keep_replicas=0)
    with all_of(scene), long_request(scene.swarm.live[0], 3000) as cut_off:
        held = scene.play("swarm_bluegreen", variables)
        said(held, "Held", "requests in flight", "run this again")
        assert scene.live() == [version] * 2
        assert not cut_off.is_set()

        cut = scene.play("swarm_bluegreen", {**variables, "bluegreen_on_drain_timeout": "cut"})
        assert cut.code == 0, cut.output
        assert "1 sessions will be cut" in " ".join(cut.output.split())
        launch.wait_for(cut_off.is_set, "the stream is cut")
    assert not scene.leftovers()


def test_a_stream_that_outlasts_the_drain_can_take_the_version_back(scene: Scene) -> None:
    """With fail: the stream goes on where it is."""
    live, version = scene.live(), scene.fresh()
    given = {"bluegreen_drain_timeout": 2, "bluegreen_on_drain_timeout": "fail"}
    with all_of(scene), long_request(scene.swarm.live[0], 3000) as cut_off:
        run = scene.play("swarm_bluegreen", scene.variables(version, **given))
        said(run, "Rolled back", "requests in flight")
        assert not cut_off.is_set()
    assert scene.live() == live


# --- nodes --------------------------------------------------------------------------------------------------------


def test_a_manager_that_dies_in_the_middle_is_done_without(scene: Scene) -> None:
    """The others answer, also those who ask the dead one first; no live task ran there."""
    elsewhere = {"service": {"placement": {"constraints": [f"node.hostname!={scene.swarm.nodes[0]['name']}"]}}}
    first = scene.fresh()
    run = scene.play("swarm_bluegreen", scene.variables(first, **elsewhere))
    assert run.code == 0, run.output
    version = scene.fresh()

    with all_of(scene), ExitStack() as fault:
        with meanwhile(lambda: scene.containers(version), lambda: fault.enter_context(scene.swarm.engine_killed(0))):
            run = scene.play("swarm_bluegreen", scene.variables(version, **elsewhere))
        assert run.code == 0, run.output
        assert scene.live() == [version] * 2
        back = scene.play("swarm_rollback", {"swarm_bluegreen_name": GROUP})
        assert back.code == 0, back.output
        assert scene.live() == [first] * 2


def test_a_node_that_vanishes_takes_only_what_it_had_in_flight(scene: Scene) -> None:
    """While the new version bakes, which is live then: its other tasks serve on."""
    version = scene.fresh()
    cut: list[float] = []
    with ExitStack() as fault, clients(scene.swarm.live, SHORT_KINDS, RATE) as traffic:

        def vanish() -> None:
            fault.enter_context(scene.swarm.cut_off(scene.node_of(version)))
            cut.append(time.time())

        with meanwhile(met(traffic, version), vanish):
            run = scene.play("swarm_bluegreen", scene.variables(version, bluegreen_bake_seconds=30))
        failures = traffic.stop()["failures"]
        assert not [failure for failure in failures if failure["t"] > cut[0] + CUT], failures
        if run.code:
            said(run, "Rolled back", f"{GROUP}-")
        assert len(set(scene.live())) == 1
