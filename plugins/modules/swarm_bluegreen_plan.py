#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_bluegreen_plan
short_description: Plan a blue-green rollout on Docker Swarm from what is observed
version_added: "0.1.0"
description:
  - Looks at the two services of a group in a swarm and at what every proxy in front of them shows, and returns the
    steps from there to the goal. Nothing is changed.
  - Which colour is live is what the proxies say. A version is deployed to the other colour only.
options:
  goal:
    description:
      - V(deploy) goes to the given definition, from wherever the group is.
      - V(promote) finishes a rollout in favour of the version that was deployed later.
      - V(rollback) goes back to the one that was deployed earlier, and scales the later one down to 0.
      - V(toggle) makes the idle colour live, or O(colour). Both stay as they are. It also brings proxies together that
        disagree.
      - V(renew) replaces the tasks of the live version by new ones of the same definition, by way of the idle colour,
        also with fewer replicas.
      - V(scale) gives the live colour, or O(colour), O(replicas) tasks. The live colour gets fewer by a V(renew), since
        nobody can tell Swarm which tasks are to go.
      - V(withdraw) removes the only service of the group; a first deployment that failed.
    type: str
    choices: [deploy, promote, rollback, withdraw, toggle, renew, scale]
    default: deploy
  service:
    description:
      - The definition, as M(community.docker.docker_swarm_service) takes it. Its C(name) is that of the group; the
        services are called after it and their colour, such as C(web-blue).
    type: dict
  src:
    description: A file with the definition, JSON or YAML, on the host that runs the task.
    type: path
  name:
    description: The name of the group, in place of the one in the definition, and for goals that need no definition.
    type: str
  image:
    description: The image, in place of the one in the definition. Without a tag it gets O(version) as its tag.
    type: str
  version:
    description: What people call the version. Default is the image's tag.
    type: str
  replicas:
    description:
      - How many replicas the version is to have, in place of the number in the definition. Default is as many as the
        live version has. Fewer of the same version are reached by a V(renew).
    type: int
  colour:
    description:
      - The colour to deploy to, which must not have traffic; the colour to make live with O(goal=toggle); the one to
        scale with O(goal=scale); the one to remove with O(goal=withdraw).
    type: str
    choices: [blue, green]
  back_to:
    description:
      - For taking a plan back, the C(colour) of RV(plan.back), whatever O(colour) says. With O(goal=rollback) and
        O(goal=toggle) it has the traffic in the end, and a version that was deployed earlier is left as it is; with
        O(goal=withdraw) it is removed.
    type: str
    choices: [blue, green]
  keep_replicas:
    description:
      - How many replicas stay of a version that was replaced, for a rollback that needs no new container. A count, or
        V(all).
    type: str
    default: all
  published_ports:
    description:
      - A fixed port on the nodes for each colour, for the port behind the proxies, such as C(blue) 8001 and C(green)
        8002. Without it Docker chooses one for each task.
    type: dict
    default: {}
  resolve_image:
    description:
      - Whether the image is pinned by the digest that its registry has for it, so that all tasks run the same, and the
        same digest is no new version. C(resolve_image) of the definition goes before it.
    type: bool
    default: true
  proxies:
    description:
      - What every nginx in front of the group shows, as RV(zdd.rollout.nginx_info#module:proxy).
    type: list
    elements: dict
    default: []
  haproxy_lbs:
    description:
      - What every HAProxy in front of the group shows, as RV(zdd.rollout.haproxy_backend#module:lbs). The weights of
        the servers decide on the traffic.
    type: list
    elements: dict
    default: []
  target_port:
    description:
      - The port of the container that the proxies send requests to.
      - Needed when O(endpoint=overlay). Otherwise the only TCP port that the service publishes is the default.
    type: int
  endpoint:
    description:
      - Where a proxy reaches a task. With V(host) that is the node's address and the port that is published there, with
        V(overlay) the task's own address in O(network).
    type: str
    choices: [host, overlay]
    default: host
  network:
    description: The overlay network of the tasks and the proxies when O(endpoint=overlay).
    type: str
  canary_steps:
    description:
      - By which stages the new version is let in. Each is a dictionary with C(instances) (a count, or a share like
        V(10%)), C(weight) (percent of the requests), C(bake) (seconds for which it is watched so) and C(pause) (V(true)
        ends the plan there, until a person promotes or rolls back).
      - A last stage with everything is added where it is not among them. Without any stage the new version takes all
        traffic at once.
    type: list
    elements: raw
    default: []
  canary_analysis:
    description:
      - What the new version is judged by at each stage of a canary, options of M(zdd.rollout.canary_analysis).
    type: dict
    default: {}
  bake_seconds:
    description: For how many seconds the new version is watched with all the traffic while the old one is still warm.
    type: float
    default: 0
  keep_old:
    description: Keep all of the old version warm; V(promote) scales it down to O(keep_replicas).
    type: bool
    default: false
  checks:
    description: Whether there are checks to run against the new version.
    type: bool
    default: false
  pending_operations:
    description:
      - Where the tasks tell their pending operations, the options of M(zdd.rollout.pending_operations_wait).
    type: dict
    default: {}
  limits:
    description:
      - Times in seconds by the name of the variable that has them, to be checked before anything is changed.
    type: dict
    default: {}
  hooks:
    description: Lists of task files by the name of the step that they stand before.
    type: dict
    default: {}
  check_files:
    description: Task files with checks of the user's own; the plan has their whole paths.
    type: list
    elements: str
    default: []
  search:
    description: Folders in which the files of O(hooks) and O(check_files) are looked for, after the working directory.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: See how an nginx splits the traffic
  zdd.rollout.nginx_info:
    name: web
    config: /etc/nginx/conf.d/zdd-web.conf
    state_dir: /var/lib/zdd-rollout/web
    status: 127.0.0.1:8099
  delegate_to: proxy1
  register: shown

- name: See what a rollout would do
  zdd.rollout.swarm_bluegreen_plan:
    docker_host: [tcp://manager1:2375]
    service:
      name: web
      image: registry.example.com/web:2
      replicas: 4
      publish: [{target_port: 8000, mode: host}]
    proxies: ["{{ shown.proxy }}"]
  register: planned

- name: Show it
  ansible.builtin.debug:
    var: planned.plan.lines
"""

RETURN = r"""
docker_host:
  description: The manager that has answered.
  returned: success
  type: str
plan:
  description: The steps, and what they lead to.
  returned: success
  type: dict
  contains:
    goal: {description: The goal., type: str}
    group: {description: The name of the group., type: str}
    live: {description: The colour that has all traffic now., type: str}
    idle: {description: The other one., type: str}
    from: {description: The version that is live., type: str}
    to: {description: The version that will be., type: str}
    result: {description: What the group will be in., type: str, sample: promoted}
    old: {description: The service that is replaced., type: dict}
    new_id: {description: The service that takes its place., type: str}
    new_colour: {description: Its colour., type: str}
    service:
      description:
        - What M(community.docker.docker_swarm_service) is to make of the colour when the steps have a C(create) that is
          not a copy, the image pinned and the labels of the group among its labels.
      type: dict
    back:
      description:
        - The C(goal), and the C(colour) for O(back_to), by which this plan is taken back when a step fails.
      type: dict
    steps:
      description:
        - The steps in order. Each has a C(name), a C(title), and what it is about. C(app_id) is the service, C(colour)
          its colour, C(other_colour) the other one. C(replicas) is how many the service has when the step is done, with
          C(create), C(healthy), C(scale) and C(retire). C(copy_of) is the service that a C(create) copies.
      type: list
      elements: dict
    check_files: {description: The files of O(check_files) by their whole paths., type: list, elements: str}
    notes: {description: What people should know., type: list, elements: str}
    lines: {description: The plan for people., type: list, elements: str}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_bluegreen_plan


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_bluegreen_plan)


if __name__ == "__main__":
    main()
