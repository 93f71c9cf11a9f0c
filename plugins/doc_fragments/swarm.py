# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks to a Docker Swarm."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``SWARM_SPEC`` without ``TLS_SPEC``, which is ``http_options``: a module names both."""

    DOCUMENTATION = r"""
requirements:
  - docker >= 7.0.0 (the Docker SDK for Python)
options:
  docker_host:
    description:
      - Addresses of Docker engines that are managers of the swarm, tried in order, such as
        C(unix:///var/run/docker.sock), C(tcp://manager1:2376) or C(ssh://deploy@manager1). The first one that answers
        for the swarm is used; when it goes away, the next one.
      - The environment variable E(DOCKER_HOST) (separated by commas) is used when this is not set.
    type: list
    elements: str
    default: ['unix:///var/run/docker.sock']
  tls:
    description:
      - Whether C(tcp://) addresses are spoken to by TLS. They are, too, where O(ca_path), O(client_cert) or
        O(tls_hostname) is given.
    type: bool
    default: false
  tls_hostname:
    description:
      - The name in the certificate of the engines, where it is not that of their addresses.
    type: str
  use_ssh_client:
    description:
      - Whether C(ssh://) addresses are reached by the command C(ssh), with its configuration, rather than by the Python
        library C(paramiko). The Docker SDK needs that library either way.
    type: bool
    default: false
"""
