#!/usr/bin/env bash
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# collections.sh PYTHON REQUIREMENTS FOLDER: the collections that the Swarm roles use, in FOLDER/ansible_collections.
# They are taken out of the package that the file names (some 50 MB, once), so that pip's own configuration (index,
# certificates, proxy) is all that is needed.
set -euo pipefail

readonly python="$1" requirements="$2" folder="$3"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$scratch" --requirement "$requirements" </dev/null
"$python" - "$scratch" "$folder" <<'PYTHON'
import shutil
import sys
import zipfile
from pathlib import Path

WANTED = ("community/docker", "community/library_inventory_filtering_v1")

scratch, folder = Path(sys.argv[1]), Path(sys.argv[2])
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel) as package:
    for name in package.namelist():
        if name.startswith(tuple(f"ansible_collections/{wanted}/" for wanted in WANTED)):
            package.extract(name, scratch)
for wanted in WANTED:
    target = folder / "ansible_collections" / wanted
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(scratch / "ansible_collections" / wanted, target)
PYTHON
