-- Copyright (c) 2026, the zdd.rollout contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- The configuration as it was when this worker started: proof that it is live.

local path = os.getenv("LB_CONFIG")
local text = ""

core.register_init(function()
  local file = assert(io.open(path, "rb"))
  text = file:read("*a")
  file:close()
end)

core.register_service("getconfig", "http", function(applet)
  applet:set_status(200)
  applet:add_header("content-type", "text/plain")
  applet:add_header("content-length", #text)
  applet:start_response()
  applet:send(text)
end)
