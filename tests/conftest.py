# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: where the collection is, and in which order and company the tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import collection_path

collection_path.ensure()

FOLDER = Path(__file__).parent
# The long ones first, so that two workers end together; what needs the machine for itself last.
ORDER = ("static", "conformance", "sandbox_tests", "unit", "integration_py", "end_to_end")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run ``serial`` tests after all others, in one worker (``--dist loadgroup``): load disturbs load."""
    for item in items:
        if _part(item) == "end_to_end" or item.get_closest_marker("serial"):
            item.add_marker(pytest.mark.serial)
            item.add_marker(pytest.mark.xdist_group("serial"))
    items.sort(key=lambda item: (item.get_closest_marker("serial") is not None, _rank(_part(item))))


def _part(item: pytest.Item) -> str:
    return item.path.relative_to(FOLDER).parts[0]


def _rank(part: str) -> int:
    return ORDER.index(part) if part in ORDER else len(ORDER)
