# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the page of a report looks: by day and by night, on a wide screen and on a telephone, and printed."""

from __future__ import annotations

# It stands in a <style> element, in which nothing is escaped: it must not have a "<".
STYLE = """
:root{--ink:#1c2530;--soft:#5b6776;--rule:#d9dfe6;--card:#fff;--ground:#f3f5f8;--even:#eef1f5;--blue:#2f6fde;
--green:#1f9d61;--t0:#8250df;--t1:#c4691b;--t2:#0f8b8d;--t3:#b8336a;--t4:#6b7a1e;--t5:#4a5a8a;--done:#1f8a52;
--warned:#a86400;--failed:#c62f3b;--wash:#fdecec}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--rule:#333d49;--card:#1a2028;--ground:#11151b;
--even:#222a34;--blue:#6aa0ff;--green:#4cc38a;--t0:#b392f0;--t1:#f0a35e;--t2:#56c4c5;--t3:#ef7fae;--t4:#b9c95a;
--t5:#94a6dd;--done:#4cc38a;--warned:#e3a84a;--failed:#ff7b80;--wash:#3a1e22}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif;overflow-wrap:break-word}
main{max-width:64rem;margin:0 auto;padding:1rem}
header,figure,section,details{background:var(--card);border:1px solid var(--rule);border-radius:10px;
margin:0 0 1rem;padding:1rem 1.25rem}
details.cluster{background:none}
h1,h2,h3{display:inline-block;margin:0 .75rem 0 0;line-height:1.25}
h1{font-size:1.6rem}h2{font-size:1.3rem}h3{font-size:1.05rem;margin-bottom:.5rem}
.badge{display:inline-block;border:1.5px solid currentColor;border-radius:1rem;padding:0 .7rem;font-weight:600;
vertical-align:.2em;white-space:nowrap}
.done{color:var(--done)}.warned{color:var(--warned)}.failed{color:var(--failed)}
.failure{background:var(--wash);border-left:4px solid var(--failed);margin:.75rem 0 0;padding:.5rem .75rem}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.4rem 1.5rem;margin:.9rem 0 0}
dt{color:var(--soft);font-size:.8rem}dd{margin:0}
figcaption{font-weight:600}small{color:var(--soft);font-weight:400}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1.25rem;list-style:none;margin:.2rem 0 .2rem;padding:0;font-size:.88rem}
.key{display:inline-block;width:.85rem;height:.85rem;border-radius:3px;margin-right:.4rem;vertical-align:-.1em;
background:currentColor}
.blue{color:var(--blue)}.green{color:var(--green)}.t0{color:var(--t0)}.t1{color:var(--t1)}.t2{color:var(--t2)}
.t3{color:var(--t3)}.t4{color:var(--t4)}.t5{color:var(--t5)}
.plot{position:relative;height:9.5rem;margin:1.5rem .75rem 1.6rem 2.9rem}
.plot svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.plot span{position:absolute;font-size:.75rem;color:var(--soft);white-space:nowrap;line-height:1}
.plot .y{right:100%;margin-right:.45rem;transform:translateY(-50%)}
.plot .x{top:100%;margin-top:.45rem;transform:translateX(-50%)}
.plot .n{bottom:100%;margin-bottom:.3rem;transform:translateX(-50%)}
.band{stroke:none}.band.even{fill:var(--even)}.band.odd{fill:none}.band.failed{fill:var(--wash)}
.grid{stroke:var(--rule);stroke-width:1;vector-effect:non-scaling-stroke}
.fill{fill:currentColor;opacity:.13;stroke:none}
.area{fill:currentColor;opacity:.62;stroke:none}
.stroke{fill:none;stroke:currentColor;stroke-width:2.25;vector-effect:non-scaling-stroke}
.dashed{stroke-dasharray:6 4}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th{text-align:left;color:var(--soft);font-size:.8rem;font-weight:400}
th,td{padding:.4rem .75rem .4rem 0;vertical-align:top;border-bottom:1px solid var(--rule)}
tr:last-child td{border-bottom:none}
.steps td:nth-child(2){width:30%}.steps td:nth-child(3){width:20%}
td ul{margin:0;padding-left:1.1rem}
td:first-child{white-space:nowrap}
svg.line{display:block;width:100%;min-width:6rem;height:.6rem;margin-top:.3rem;background:var(--even);border-radius:2px}
.bar{fill:currentColor}
summary{cursor:pointer}
details[open].cluster>summary{margin-bottom:.75rem}
.clusters td:nth-child(4){white-space:nowrap}.clusters td:nth-child(5){width:35%}
dd,td{overflow-wrap:anywhere}.clusters td{overflow-wrap:normal}
pre{overflow-x:auto;font-size:.8rem;white-space:pre-wrap}
a{color:inherit}
@media (max-width:40rem){main{padding:.5rem}header,figure,section,details{padding:.75rem .8rem}
details.cluster{padding:.5rem}h1{font-size:1.3rem}.plot{height:8rem;margin-left:2.6rem}
section table,section tbody,section tr,section td{display:block}section thead{display:none}
section td,.steps td:nth-child(n),.clusters td:nth-child(n){width:auto}section td{border:none;padding:.1rem 0}
section tr{border-bottom:1px solid var(--rule);padding:.5rem 0}section td:empty{display:none}}
@media print{body{background:none}.raw{display:none}header,figure,section{break-inside:avoid}}
"""
