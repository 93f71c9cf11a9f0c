# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make ``ansible_collections.zdd.rollout`` importable from a working copy, wherever it lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINKED = ROOT / "build" / "collections"


def ensure() -> Path:
    """Link the working copy as a collection, put it on ``sys.path``, and return the collections folder."""
    link = LINKED / "ansible_collections" / "zdd" / "rollout"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        staged = link.with_name(f".{link.name}.{os.getpid()}")
        staged.symlink_to(ROOT, target_is_directory=True)
        staged.replace(link)
    if str(LINKED) not in sys.path:
        sys.path.insert(0, str(LINKED))
    return LINKED
