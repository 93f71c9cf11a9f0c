-- Copyright (c) 2026, the zdd.rollout contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- The map files, which are empty: the stand-in runs without --haproxy-map.

for _, name in ipairs({ "getvhostmap", "getappmap" }) do
  core.register_service(name, "http", function(applet)
    applet:set_status(200)
    applet:add_header("content-type", "text/plain")
    applet:add_header("content-length", 0)
    applet:start_response()
  end)
end
