# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for get-pip.py, which ansible-test downloads: takes the pip that Python itself brings along.

ansible-test starts it as ``get-pip.py --disable-pip-version-check --no-setuptools --no-wheel pip==VERSION`` in an empty
virtual environment; pip then gets that version from the index of the user's pip configuration.
"""

from __future__ import annotations

import ensurepip
import runpy
import sys
from pathlib import Path

FOLDERS = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))

# The one that belongs to this very Python comes first: an older pip may not run in it.
wheels = [wheel for folder in FOLDERS for wheel in sorted(folder.glob("pip-*.whl"), reverse=True)]
if not wheels:
    sys.exit(f"No pip wheel in {' or '.join(map(str, FOLDERS))}: install python3-venv.")

sys.path.insert(0, str(wheels[0]))
wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.argv = ["pip", "install", "--upgrade", "--force-reinstall", *wanted]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
