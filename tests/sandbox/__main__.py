# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.sandbox``: the sandbox's commands. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import ipaddress
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import Undecidable, decide
from tests.sandbox import guard
from tests.sandbox.options import Options

ABOUT = "A cluster on one machine: stand-ins for Marathon and marathon-lb, with real tasks and a real HAProxy."
SERVE = """\
Starts the sandbox, prints one line of JSON when it is ready, and runs until it gets SIGTERM or SIGINT. Everything it
has started ends with it, however it ends. Several sandboxes can run at once. Every address is in 127.0.0.0/8.
"""
LINE = """\
The line of JSON:
  marathon   URLs of the members of the cluster, the leader first
  lbs        one object per load balancer: url (statistics and the other endpoints of marathon-lb's port 9090),
             host (service ports are bound on this address only), socket and tcp_socket (HAProxy's runtime API),
             config (path of HAProxy's configuration)
  plain_lbs  one object per ordinary HAProxy (--plain-lbs): host, url (of its frontend), backend (its name), socket and
             tcp_socket (runtime API), master_socket, config
  control    URL of the control API (below)
  agents     id, host, cpus and mem of each agent
  service    the test service's command; as $SANDBOX_SERVICE in the environment of each task,
             so that an app's cmd is: exec $SANDBOX_SERVICE
  workdir    the folder with logs and the tasks' sandboxes, removed at the end unless it was given

The control API speaks JSON:
  GET /requests      {"by_agent": {"<User-Agent>": count}, "log": [{"t", "method", "path", "agent", "status"}]}:
                     what Marathon was asked; DELETE /requests forgets it
  GET /lbs           [{"changes", "reloads", "up", "pids"}]: configurations written, reloads of HAProxy
  GET /plain_lbs     [{"reloads", "up", "pids"}]
  POST /faults       {"kind": ..., ...} starts a fault; DELETE /faults ends all
  kinds of faults    marathon_status {status, count|seconds, path}, marathon_drop {count|seconds, after, path},
                     marathon_slow {delay, seconds}, events_drop {}, events_off {seconds}, leader_change {seconds},
                     no_offers {seconds}, task_kill {task|app}, task_unhealthy {app, after}, auth_expire {},
                     lb_down {lb, seconds}, lb_reload {lb}, lb_slow {lb, delay}, getpids_off {lb},
                     plain_lb_reload {lb, keep_state} (dynamic servers are lost; the state of the others too, unless it
                     is written to the state file before), plain_lb_down {lb, seconds}

Example:
  python -m tests.sandbox serve --marathon 127.0.0.1:8080 --lb 127.0.0.1:9090
"""
DECIDE = """\
Prints what marathon-lb would do with a list of apps, as in GET /v2/apps?embed=apps.tasks, from FILE or (with -) from
standard input: {"servers": [...], "frontends": [...]}, where "disabled" means drained, or {"error": ...} where it
breaks off and writes no configuration for any app.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description=ABOUT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_decide(commands)
    commands.add_parser("clients", help="put client kinds on the load balancers and count failures", add_help=False)
    if given[:1] == ["clients"]:
        from tests.sandbox import clients

        return clients.main(given[1:])
    chosen = parser.parse_args(given)
    return _decide(chosen.file) if chosen.command == "decide" else _serve(parser, chosen)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="start a sandbox",
        description=SERVE,
        epilog=LINE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = serve.add_argument
    add(
        "--marathon",
        metavar="HOST:PORT",
        action="append",
        type=_address,
        default=[],
        help="address of a member of the Marathon cluster; repeat it for more members, the first one leads "
        "(default: one member, in the network)",
    )
    add(
        "--lb",
        metavar="HOST:PORT",
        action="append",
        type=_address,
        default=[],
        help="address of a load balancer's statistics (marathon-lb's port 9090); repeat it for more; service ports are "
        "bound on HOST, and on the same HOST they are shared: each connection gets to one of them (default: each has "
        "a host of its own in the network)",
    )
    add(
        "--lbs",
        metavar="N",
        type=_count_or_none,
        default=1,
        help="number of load balancers without --lb (default: 1; 0 is possible with --plain-lbs)",
    )
    add(
        "--plain-lbs",
        metavar="N",
        type=_few,
        default=0,
        help="number of ordinary HAProxy, each with a host of its own, one frontend, one empty backend, a runtime and "
        "a master socket (default: none)",
    )
    add(
        "--plain-slots",
        metavar="N",
        type=_count,
        default=0,
        help="slots (server-template, with a cookie) in the backend of each ordinary HAProxy (default: none)",
    )
    add("--agents", metavar="N", type=_count, default=4, help="number of agents that run tasks (default: 4)")
    add("--agent-cpus", metavar="CPUS", type=float, default=16.0, help="cores of each agent (default: 16)")
    add("--agent-mem", metavar="MIB", type=float, default=16384.0, help="memory of each agent (default: 16384)")
    add("--control", metavar="HOST:PORT", type=_address, help="address of the control API (default: in the network)")
    add(
        "--network",
        metavar="127.A.B",
        type=_network,
        help="the loopback /24 of agents and of all addresses that are not given (default: a free one)",
    )
    add(
        "--stock-template",
        action="store_true",
        help="marathon-lb's own template, without 'option idle-close-on-response': reloads can then lose requests on "
        "idle keep-alive connections",
    )
    add("--nbthread", metavar="N", type=_count, default=1, help="threads of each HAProxy (default: 1)")
    add(
        "--http-credentials",
        metavar="USER:PASSWORD",
        help="Marathon asks for HTTP basic authentication; with --dcos-auth it is the one user that may log in",
    )
    add(
        "--dcos-auth",
        action="store_true",
        help="Marathon asks for a token of DC/OS's login, /acs/api/v1/auth/login on its own address",
    )
    add("--workdir", metavar="DIR", type=Path, help="folder for logs and tasks, kept at the end (default: temporary)")
    add(
        "--until-stdin-closes",
        action="store_true",
        help="also end when standard input closes, as it does when the process that holds it dies",
    )


def _add_decide(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "decide", help="print what marathon-lb would do with a list of apps", description=DECIDE
    )
    parser.add_argument("file", metavar="FILE", help='JSON, {"apps": [...]} or the bare list; - for standard input')


def _serve(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> int:
    lbs = tuple(chosen.lb)
    if len(set(lbs)) != len(lbs):
        parser.error("argument --lb: the addresses have to differ")
    if not chosen.lbs and not chosen.plain_lbs:
        parser.error("argument --lbs: expected a number from 1 to 64, got '0'")
    if chosen.http_credentials and ":" not in chosen.http_credentials:
        parser.error("argument --http-credentials: expected USER:PASSWORD")
    options = Options(
        marathon=tuple(chosen.marathon),
        lbs=lbs,
        lb_count=len(lbs) or chosen.lbs,
        agent_count=chosen.agents,
        agent_cpus=chosen.agent_cpus,
        agent_mem=chosen.agent_mem,
        control=chosen.control,
        network=chosen.network,
        stock_template=chosen.stock_template,
        nbthread=chosen.nbthread,
        http_credentials=chosen.http_credentials,
        dcos_auth=chosen.dcos_auth,
        plain_lb_count=chosen.plain_lbs,
        plain_slots=chosen.plain_slots,
        workdir=chosen.workdir or Path(tempfile.mkdtemp(prefix="zdd-sandbox-")),
    )

    def work() -> int:
        from tests.sandbox import serve

        return serve.main(options)

    def clean_up() -> None:
        if chosen.workdir is None:
            shutil.rmtree(options.workdir, ignore_errors=True)

    return guard.run(work, clean_up, until_stdin_closes=chosen.until_stdin_closes)


def _decide(name: str) -> int:
    try:
        given = json.loads(sys.stdin.read() if name == "-" else Path(name).read_text())
    except (OSError, ValueError) as error:
        print(f"decide: cannot read {name}: {error}", file=sys.stderr)
        return 2
    apps = given.get("apps") if isinstance(given, dict) else given
    if not isinstance(apps, list) or not all(isinstance(app, dict) and "id" in app for app in apps):
        print(f'decide: {name} is neither {{"apps": [...]}} nor a list of apps', file=sys.stderr)
        return 2
    try:
        result = decide(apps)
    except Undecidable as error:
        result = {"error": error.error}
    print(json.dumps(result, indent=2))
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _separator, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


def _network(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(f"{text}.0")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected 127.A.B, got {text!r}") from error
    if not address.is_loopback:
        raise argparse.ArgumentTypeError(f"expected a network in 127.0.0.0/8, got {text!r}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 64, got {text!r}")
    return int(text)


def _count_or_none(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _few(text: str) -> int:
    if not text.isdecimal() or int(text) > 20:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 20, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
