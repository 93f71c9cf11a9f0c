# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks HTTP."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``TLS_SPEC``."""

    DOCUMENTATION = r"""
requirements:
  - requests
options:
  validate_certs:
    description:
      - Whether the certificates of servers are checked.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of authorities to trust, or a folder of such files.
      - The ones that come with the Python library C(requests) by default.
    type: path
  client_cert:
    description:
      - File with the certificate to show to servers, in PEM form; it may contain the key too.
    type: path
  client_key:
    description:
      - File with the key of O(client_cert).
    type: path
  timeout:
    description:
      - How long one request may take to connect, and how long it may get no answer, in seconds.
    type: float
    default: 10
  retry_timeout:
    description:
      - How long a request is repeated while nobody answers or a server is unavailable (500, 502, 503, 504), in seconds.
      - Only requests that are safe to repeat are.
    type: float
    default: 30
"""
