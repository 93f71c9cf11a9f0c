#!/usr/bin/env bash
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# packages.sh PYTHON [swarm]: sees to it that HAProxy and PYTHON's venv and pip are there, from the distribution's
# packages; with "swarm" nginx, too, and where a Docker engine can run, what the sandbox of Docker Swarm needs.
# Where it may not install anything it says what to install, and fails.
set -euo pipefail

readonly python="$1" part="${2:-}"
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"

missing=()
services=()
# need COMMAND PACKAGE [SERVICE…]: the package is missing when the command is; it would start the services.
need() {
    if command -v "$1" >/dev/null; then return; fi
    missing+=("$2")
    services+=("${@:3}")
}

need haproxy haproxy haproxy
if [ "$part" = swarm ]; then
    need nginx nginx-light nginx
    # Engines need root and namespaces. Elsewhere they would be of no use, and the tests say why they skip.
    if [ "$(id -u)" -eq 0 ] && unshare --net --mount --uts true 2>/dev/null; then
        need containerd containerd containerd
        need dockerd docker.io docker.socket docker
        need iptables iptables
        need busybox busybox-static
        need ip iproute2
    fi
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
fi
[ "${#missing[@]}" -eq 0 ] && exit

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "Missing: ${missing[*]}. Install with:  sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing: ${missing[*]}. Install them with this system's package manager (HAProxy 2.4 or newer)." >&2
    exit 1
fi

echo "Installing ${missing[*]} from the distribution"
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends
    "${missing[@]}")
# The package lists of a fresh machine are often empty or old; asking for them first would cost time where they are not.
if ! "${install[@]}" </dev/null; then
    "${as_root[@]}" apt-get update --quiet </dev/null
    "${install[@]}" </dev/null
fi

# A sandbox starts its own. What has just been installed is not to listen on this machine, now or after its next start.
for service in "${services[@]}"; do
    if [ -d /run/systemd/system ]; then
        "${as_root[@]}" systemctl disable --now --quiet "$service"
    elif [ -x "/etc/init.d/$service" ] && service "$service" status >/dev/null 2>&1; then
        "${as_root[@]}" service "$service" stop
    fi
done
