#!/usr/bin/env bash
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# docs.sh FOLDER: the reference of modules and role as pages in FOLDER/html, from their own documentation.
set -euo pipefail

readonly folder="$1"

rm -rf "$folder"
mkdir -p "$folder/source"
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error \
    --dest-dir "$folder/source" zdd.rollout
cat >"$folder/source/conf.py" <<'CONF'
project = "zdd.rollout"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
highlight_language = "yaml"
nitpicky = False
CONF
python -m sphinx -q -b html "$folder/source" "$folder/html"
echo "$folder/html/index.html"
