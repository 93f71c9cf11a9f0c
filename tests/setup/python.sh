#!/usr/bin/env bash
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints the path of the Python to work with: PYTHON where it is set, otherwise the first one that is new enough.
set -euo pipefail

readonly oldest="3.11"
readonly check="import sys; sys.exit(sys.version_info < (${oldest/./, }))"

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    if command -v "$candidate" >/dev/null && "$candidate" -c "$check" 2>/dev/null; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit
    fi
done

echo "Python $oldest or newer is needed and ${PYTHON:-python3 to python3.14} is not that." \
    "Install it (Debian 12 or Ubuntu 24.04 have it: apt-get install python3 python3-venv)," \
    "or name one: make PYTHON=/path/to/python3.12 …" >&2
exit 1
