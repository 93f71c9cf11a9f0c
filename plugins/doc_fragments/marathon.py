# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks to Marathon."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``MARATHON_SPEC`` without ``TLS_SPEC``, which is ``http_options``: a module names both."""

    DOCUMENTATION = r"""
options:
  marathon_url:
    description:
      - Addresses of the members of a Marathon cluster, tried in order, such as C(http://marathon.mesos:8080), or with
        the path of a service of DC/OS, C(https://dcos.example.com/service/marathon).
      - It is needed here or in the environment variable E(MARATHON_URL) (separated by commas), which is used when this
        is not set.
    type: list
    elements: str
    required: true
  url_username:
    description:
      - User for HTTP basic authentication.
      - The environment variable E(MARATHON_USERNAME) is used when this is not set.
    type: str
  url_password:
    description:
      - Password of O(url_username).
      - The environment variable E(MARATHON_PASSWORD) is used when this is not set.
    type: str
  auth_token:
    description:
      - A token of DC/OS, sent in the header C(Authorization).
      - The environment variable E(MARATHON_TOKEN) is used when this is not set.
    type: str
  dcos_url:
    description:
      - Address of DC/OS, for the login with O(dcos_username), or with a O(dcos_service_account) that has no address.
      - The environment variable E(DCOS_URL) is used when this is not set.
    type: str
  dcos_username:
    description:
      - User to log in to DC/OS with.
      - The environment variable E(DCOS_USERNAME) is used when this is not set.
    type: str
  dcos_password:
    description:
      - Password of O(dcos_username).
      - The environment variable E(DCOS_PASSWORD) is used when this is not set.
    type: str
  dcos_service_account:
    description:
      - Service account of DC/OS to log in with, a mapping (or its JSON) of C(uid), C(private_key) (RSA, in PEM form)
        and C(login_endpoint) (the whole address of the login; O(dcos_url) is used when it is left out).
      - Needs the Python library C(cryptography).
      - The environment variable E(DCOS_SERVICE_ACCOUNT_CREDENTIAL) is used when this is not set.
    type: dict
notes:
  - Give one kind of login at most. A user and a password inside of O(marathon_url) are taken for O(url_username) and
    O(url_password).
  - An inventory host that stands for a cluster cannot be logged in to. Set C(ansible_connection=local) for it in the
    inventory, or C(connection) to V(local) for the play. The role C(bluegreen) does so itself.
"""
