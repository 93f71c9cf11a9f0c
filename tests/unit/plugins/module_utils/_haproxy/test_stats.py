# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics are read by column name, whatever the version of HAProxy has put between."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import Unreachable
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import stats

# The form of HAProxy 2.6: a column named "-", quoted check messages, a comma at the end of each line.
TEXT = """\
# pxname,svname,qcur,qmax,scur,smax,status,weight,check_status,stot,type,last_chk,req_tot,-,h1_open_streams,
web,FRONTEND,,,3,9,OPEN,,,12,0,,14,-,1,
web,10_0_0_1_31001,0,1,2,4,UP,100,L7OK,12,2,"status check, ""fine"" it is",11,-,0,
web,10_0_0_1_31002,1,1,0,4,MAINT,100,,0,2,,,-,,
web,10_0_0_1_31003,0,0,0,0,no check,1,,5,2,,,-,,
web,BACKEND,1,0,2,9,UP,200,,12,1,,14,-,0,

"""


def servers(text: str) -> dict[tuple[str, str], stats.ServerRow]:
    return stats.server_rows(stats.parse(text, "lb", "show stat"), "lb", "show stat")


def test_servers_are_found_by_name_and_frontends_and_backends_are_none() -> None:
    assert [name for _backend, name in servers(TEXT)] == ["10_0_0_1_31001", "10_0_0_1_31002", "10_0_0_1_31003"]


def test_a_row_has_its_values_whatever_stands_between_the_columns() -> None:
    row = servers(TEXT)["web", "10_0_0_1_31001"]
    assert (row.status, row.scur, row.qcur, row.weight, row.check_status, row.req_tot) == ("UP", 2, 0, 100, "L7OK", 11)
    assert row.check_text == 'status check, "fine" it is'
    assert row.is_up and not row.is_idle


def test_an_empty_count_is_zero_and_a_queue_is_not_idle() -> None:
    row = servers(TEXT)["web", "10_0_0_1_31002"]
    assert row.in_maintenance and not row.is_up
    assert (row.scur, row.qcur) == (0, 1)
    assert not row.is_idle


def test_a_server_without_checks_counts_the_requests_by_its_sessions() -> None:
    row = servers(TEXT)["web", "10_0_0_1_31003"]
    assert row.is_unchecked and not row.is_up and not row.in_maintenance
    assert row.req_tot == 5


@pytest.mark.parametrize(
    ("status", "up", "maintenance"),
    [
        ("UP", True, False),
        ("UP 1/3", True, False),
        ("DOWN", False, False),
        ("DOWN 1/2", False, False),
        ("MAINT", False, True),
        ("MAINT (via web/a)", False, True),
        ("DRAIN", False, False),
        ("NOLB", False, False),
    ],
)
def test_only_up_takes_traffic_and_only_maint_takes_none(status: str, up: bool, maintenance: bool) -> None:
    row = servers(f"# pxname,svname,scur,status,\nweb,a,0,{status},\n")["web", "a"]
    assert (row.is_up, row.in_maintenance) == (up, maintenance)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><h1>503 Service Unavailable</h1></html>",
        "Permission denied",
        "# pxname,svname,\nweb,a,\n",
        "# pxname,svname,scur,status,\nweb,a,0,UP,\nweb,b,0",
        '# pxname,svname,scur,status,\nweb,a,0,"UP,\n',
        "# pxname,svname,scur,status,\nweb,a,many,UP,\n",
    ],
    ids=["empty", "html", "error", "columns", "cut", "quote", "number"],
)
def test_a_text_that_is_no_statistics_is_no_answer(text: str) -> None:
    with pytest.raises(Unreachable) as failure:
        servers(text)
    assert failure.value.code == "unreadable_answer"
    assert "lb" in failure.value.message


def test_a_listening_socket_is_no_server() -> None:
    assert servers("# pxname,svname,scur,status,type,\nweb,sock-1,0,OPEN,3,\nweb,a,0,UP,2,\n").keys() == {("web", "a")}


NAMES = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="_.-"), min_size=1, max_size=12)
COUNTS = st.integers(0, 9999)
ROWS = st.dictionaries(
    st.tuples(NAMES, NAMES.filter(lambda name: name not in ("FRONTEND", "BACKEND"))),
    st.tuples(COUNTS, COUNTS, st.text(max_size=20).map(lambda text: " ".join(text.split()))),
    max_size=8,
)


@given(
    ROWS,
    st.permutations(["pxname", "svname", "scur", "qcur", "status", "last_chk", "-", "new_column"]).filter(
        lambda columns: columns[0] == "pxname"
    ),
)
def test_any_order_of_columns_and_any_check_message_reads_the_same(
    rows: dict[tuple[str, str], tuple[int, int, str]], columns: list[str]
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*columns, ""])  # HAProxy ends each line with a comma
    for (backend, server), (scur, qcur, message) in rows.items():
        values = {"pxname": backend, "svname": server, "scur": scur, "qcur": qcur, "status": "UP", "last_chk": message}
        writer.writerow([*(values.get(column, "-") for column in columns), ""])
    found = servers("# " + out.getvalue())
    assert {key: (row.scur, row.qcur, row.check_text) for key, row in found.items()} == rows
