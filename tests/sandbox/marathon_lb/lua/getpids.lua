-- Copyright (c) 2026, the zdd.rollout contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- The pids of this LB's master and workers, old ones included: what "pidof haproxy" says in a container of its own.
-- It forks inside HAProxy on purpose, as the real one does: with several threads that loses requests now and then.

local off = os.getenv("LB_GETPIDS_OFF")

-- The shell's parent is the worker that runs this, and the worker's parent is the master.
local list = "read -r pid name state master rest < /proc/$PPID/stat; "
  .. "read -r workers < /proc/$master/task/$master/children; echo $master $workers"

core.register_service("getpids", "http", function(applet)
  local status, text = 200, ""
  local hidden = io.open(off, "r")
  if hidden then
    hidden:close()
    status = 503
  else
    local shell = assert(io.popen(list, "r"))
    text = assert(shell:read("*a")):gsub("%s+$", "")
    shell:close()
  end
  applet:set_status(status)
  applet:add_header("content-type", "text/plain")
  applet:add_header("content-length", #text)
  applet:start_response()
  applet:send(text)
end)
