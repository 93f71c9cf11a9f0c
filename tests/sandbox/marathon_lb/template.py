# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the HAProxy configuration, made from what the decision says. Pure: no files, no processes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import (
    APP_ID_FRONTEND,
    Service,
    check_placeholders,
    filled_in,
    server_lines,
)

LUA = Path(__file__).parent / "lua"

# The default options of marathon-lb, and the one that the recommended template adds: without it a reload closes idle
# keep-alive connections in the moment in which their clients may send the next request.
STOCK_OPTIONS = ("dontlognull", "http-server-close", "redispatch")
RECOMMENDED_OPTION = "idle-close-on-response"

FRONTEND_HEAD = "\nfrontend {backend}\n  bind {bindAddr}:{servicePort}{sslCert}{bindOptions}\n  mode {mode}\n"
FRONTEND_BACKEND_GLUE = "  use_backend {backend}\n"
APP_ID_ACL = (
    "  acl app_{cleanedUpAppId} hdr(x-marathon-app-id) -i {appId}\n  use_backend {backend} if app_{cleanedUpAppId}\n"
)
BACKEND_HEAD = "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n"
BACKEND_HTTP_OPTIONS = (
    "  option forwardfor\n"
    "  http-request set-header X-Forwarded-Port %[dst_port]\n"
    "  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n"
)
BACKEND_STICKY_OPTIONS = "  cookie mesosphere_server_id insert indirect nocache\n"
BACKEND_HTTP_CHECK = "  option  httpchk GET {healthCheckPath}\n  timeout check {healthCheckTimeoutSeconds}s\n"


@dataclass(frozen=True)
class Files:
    """Where one HAProxy keeps its files."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "haproxy.cfg"

    @property
    def socket(self) -> Path:
        """The UNIX runtime socket, which also hands the listeners to the next worker."""
        return self.folder / "socket"

    @property
    def state(self) -> Path:
        """The state of all servers, written before a reload."""
        return self.folder / "global"


@dataclass(frozen=True, kw_only=True)
class Place(Files):
    """Where one LB's HAProxy listens and keeps its files. ``host`` is the address for its service ports."""

    host: str
    stats_port: int
    app_id_port: int
    runtime_port: int

    @property
    def signals(self) -> Path:
        """The FIFO through which ``/_mlb_signal`` reaches the stand-in."""
        return self.folder / "signals"

    @property
    def getpids_off(self) -> Path:
        """While this file exists, ``/_haproxy_getpids`` answers 503."""
        return self.folder / "getpids-off"


def configuration(services: Sequence[Service], place: Place, *, stock_template: bool, nbthread: int) -> str:
    """Return the whole configuration. Raises ``Undecidable`` for templates that cannot be filled in."""
    return "".join(
        [
            head(place, stock_template=stock_template, nbthread=nbthread),
            app_id_frontend(services, place),
            *(frontend(service, place) for service in services),
            *(backend(service) for service in services),
        ]
    )


def head(place: Place, *, stock_template: bool, nbthread: int) -> str:
    """Return the sections ``global`` and ``defaults`` and the port for statistics (9090 in the real one).

    Times and options are those of marathon-lb's own template. Its logging and TLS settings are left out, and runtime
    sockets are of level admin.
    """
    options = [*STOCK_OPTIONS, *([] if stock_template else [RECOMMENDED_OPTION])]
    return f"""\
global
  nbthread {nbthread}
  no strict-limits
  spread-checks 5
  max-spread-checks 15000
  maxconn 8000
  stats socket "{place.socket}" expose-fd listeners level admin
  stats socket ipv4@{place.host}:{place.runtime_port} level admin
  server-state-file {place.state.name}
  server-state-base "{place.state.parent}/"
  setenv LB_CONFIG "{place.config}"
  setenv LB_SIGNALS "{place.signals}"
  setenv LB_GETPIDS_OFF "{place.getpids_off}"
  lua-load "{LUA / "getpids.lua"}"
  lua-load "{LUA / "getconfig.lua"}"
  lua-load "{LUA / "getmaps.lua"}"
  lua-load "{LUA / "signalmlb.lua"}"
defaults
  load-server-state-from-file global
  log               global
  retries                   3
  backlog               10000
  maxconn               10000
  timeout connect          3s
  timeout client          30s
  timeout server          30s
  timeout tunnel        3600s
  timeout http-keep-alive  1s
  timeout http-request    15s
  timeout queue           30s
  timeout tarpit          60s
{"".join(f"  option {option}{chr(10)}" for option in sorted(options))}\
listen stats
  bind {place.host}:{place.stats_port}
  balance
  mode http
  stats enable
  monitor-uri /_haproxy_health_check
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request use-service lua.getpids if {{ path /_haproxy_getpids }}
  http-request use-service lua.getvhostmap if {{ path /_haproxy_getvhostmap }}
  http-request use-service lua.getappmap if {{ path /_haproxy_getappmap }}
  http-request use-service lua.getconfig if {{ path /_haproxy_getconfig }}
  http-request use-service lua.signalmlbhup if {{ path /_mlb_signal/hup }}
  http-request use-service lua.signalmlbusr1 if {{ path /_mlb_signal/usr1 }}
"""


def app_id_frontend(services: Sequence[Service], place: Place) -> str:
    """Return the frontend that selects an app by header; of several HTTP ports of an app the first one counts."""
    text = f"\nfrontend {APP_ID_FRONTEND}\n  bind {place.host}:{place.app_id_port}\n  mode http\n"
    first: dict[str, Service] = {}
    for service in services:
        if service.mode == "http":
            first.setdefault(service.app_id, service)
    for app_id, service in first.items():
        text += filled_in(
            service,
            "HTTP_FRONTEND_APPID_ACL",
            APP_ID_ACL,
            cleanedUpAppId=re.sub(r"[^a-zA-Z0-9\-]", "_", app_id),
            hostname=service.vhost,
            appId=app_id,
            backend=service.backend,
        )
    return text


def frontend(service: Service, place: Place) -> str:
    """Return a service's frontend. It is bound on the LB's own address where marathon-lb binds all addresses."""
    address = place.host if service.bind_address in ("*", "0.0.0.0") else service.bind_address
    certificate = service.templates.get("SSL_CERT")
    return filled_in(
        service,
        "FRONTEND_HEAD",
        FRONTEND_HEAD,
        bindAddr=address,
        backend=service.backend,
        servicePort=service.port,
        mode=service.mode,
        sslCert=f" ssl crt {certificate}" if certificate else "",
        bindOptions=f" {service.bind_options}" if service.bind_options else "",
    ) + filled_in(service, "FRONTEND_BACKEND_GLUE", FRONTEND_BACKEND_GLUE, backend=service.backend)


def backend(service: Service) -> str:
    """Return a service's backend with its servers."""
    names = {"backend": service.backend, "balance": service.balance, "mode": service.mode}
    parts = [filled_in(service, "BACKEND_HEAD", BACKEND_HEAD, **names)]
    if service.mode == "http":
        parts.append(service.templates.get("BACKEND_HTTP_OPTIONS", BACKEND_HTTP_OPTIONS))
    if service.sticky:
        parts.append(service.templates.get("BACKEND_STICKY_OPTIONS", BACKEND_STICKY_OPTIONS))
    return "".join([*parts, _checks(service), *server_lines(service)])


def _checks(service: Service) -> str:
    """Return the backend's own lines about health checks, which name the port of its first server."""
    indexed = "BACKEND_HEALTHCHECK_PORT_INDEX" in service.templates
    port = service.check_ports[0] if indexed else service.servers[0].port
    if service.checks_by_tcp:
        return filled_in(service, "BACKEND_TCP_HEALTHCHECK_OPTIONS", "", **check_placeholders(service, port))
    if service.checks_by_http:
        return filled_in(
            service, "BACKEND_HTTP_HEALTHCHECK_OPTIONS", BACKEND_HTTP_CHECK, **check_placeholders(service, port)
        )
    return ""
