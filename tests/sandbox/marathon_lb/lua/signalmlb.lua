-- Copyright (c) 2026, the zdd.rollout contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Signals to the stand-in, through a FIFO, since several of them share one process. Forks like the real one.

local fifo = os.getenv("LB_SIGNALS")

for name, signal in pairs({ signalmlbhup = "HUP", signalmlbusr1 = "USR1" }) do
  core.register_service(name, "http", function(applet)
    local shell = io.popen("echo " .. signal .. " > '" .. fifo .. "'")
    local sent = shell:close()
    local status, text = 200, "Sent SIG" .. signal .. " signal to marathon-lb"
    if not sent then
      status, text = 500, "Failed to send SIG" .. signal .. " signal to marathon-lb"
    end
    applet:set_status(status)
    applet:add_header("content-type", "text/plain")
    applet:add_header("content-length", #text)
    applet:start_response()
    applet:send(text)
  end)
end
