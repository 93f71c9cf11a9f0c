# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions are read from JSON and YAML, and what is none is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.definition_files import read_definition


@pytest.mark.parametrize(
    "text", ['{"id": "/web", "instances": 2}', "id: /web\ninstances: 2\n", "{id: /web, instances: 2}"]
)
def test_json_and_yaml_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "app").write_text(text)

    assert read_definition(tmp_path / "app") == {"id": "/web", "instances": 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[1, 2]", "mapping"), (b"a: [", "neither JSON nor YAML"), (b"\xff\xfe\xfa", "UTF-8"), (b"", "mapping")],
)
def test_what_is_no_definition_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "app").write_bytes(content)

    with pytest.raises(InvalidInput, match=said):
        read_definition(tmp_path / "app")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Option src: \S+/none cannot be read: No such file or directory"):
        read_definition(tmp_path / "none")
