#!/usr/bin/env bash
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# environment.sh FOLDER REQUIREMENTS [PIP ARGUMENT…]: a virtual environment in FOLDER with what the file names.
# pip's own configuration (index, certificates, proxy) holds.
set -euo pipefail

readonly folder="$1" requirements="$2"
shift 2
here="$(cd "$(dirname "$0")" && pwd)"
python="$("$here/python.sh")"
"$here/packages.sh" "$python"

# An environment of another Python, or one whose Python has gone, is of no use.
wanted="$("$python" -c 'import sys; print(sys.version)')"
if [ "$("$folder/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null)" != "$wanted" ]; then
    "$python" -m venv --clear "$folder"
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" "$@" </dev/null
