#include "aggregator/web/style.h"

namespace fedgraft {

const absl::string_view kStyle = R"css(
:root{color-scheme:light dark;--page:#f4f6f8;--card:#fff;--text:#18212b;
--muted:#51606f;--line:#d6dde4;--track:#e3e8ed;--fed:#0b5fae;--loc:#8a4b00;
--good:#17713a;--goodbg:#e2f4e8;--warn:#7a4a00;--warnbg:#fdeed3;--bad:#a61b1b;
--badbg:#fde5e3;--calmbg:#e4ecf5;--calm:#274a6e;--h1:#fbe8c8;--h2:#b44f15;
--h3:#7d1512;--h1t:#18212b;--h2t:#fff;--h3t:#fff;--quiet:#8797a6}
@media(prefers-color-scheme:dark){:root{--page:#0e1318;--card:#171e25;
--text:#e7ecf1;--muted:#a4b1be;--line:#2e3944;--track:#2b3640;--fed:#6cb4f5;
--loc:#f0b35e;--good:#6fd293;--goodbg:#163422;--warn:#f3c069;--warnbg:#3b2c10;
--bad:#ff9088;--badbg:#461a19;--calmbg:#1f2f40;--calm:#a9cdf2;--h1:#4a3c22;
--h2:#a24c18;--h3:#e0473b;--h1t:#f4ead6;--h2t:#fff;--h3t:#130505;
--quiet:#6d7d8c}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
a{color:var(--fed)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{
outline:3px solid var(--fed);outline-offset:2px;border-radius:4px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.5rem 1rem;
z-index:1}
header,main,footer{max-width:77rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.5rem}
.over{color:var(--muted);margin:0}
h1{font-size:1.7rem;line-height:1.25;margin:.1rem 0 .4rem;overflow-wrap:anywhere}
h1 .pill{font-size:.95rem;vertical-align:.25em}
h2{font-size:1.2rem;margin:0 0 .3rem}
nav ul{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;padding:0;
margin:.6rem 0 0}
nav a{display:inline-block;padding:.2rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));
gap:.75rem;margin:1rem 0}
.tile,.panel{background:var(--card);border:1px solid var(--line);
border-radius:10px}
.tile{padding:.8rem 1rem}
.tile dt{color:var(--muted);font-size:.9rem}
.tile dd{margin:0;font-size:1.45rem;font-weight:650;line-height:1.3}
.tile small{display:block;font-size:.85rem;font-weight:400;color:var(--muted)}
.tile small svg{margin-top:.45rem}
.panel{padding:1.1rem 1.25rem 1.25rem;margin:0 0 1rem}
.shows{margin:0 0 .6rem;max-width:60rem}
.guide{display:grid;grid-template-columns:1fr 1fr;gap:.5rem 2rem;margin:0 0 1rem;
padding:.6rem 0 .6rem .9rem;border-left:3px solid var(--line);
font-size:.9rem;color:var(--muted);max-width:68rem}
.guide dt{font-weight:650;color:var(--text)}
.guide dd{margin:0}
.attention ul{list-style:none;margin:.4rem 0 0;padding:0}
.attention li{display:flex;gap:.6rem;align-items:baseline;padding:.25rem 0}
.attention li .pill{flex:none;min-width:8.4rem;text-align:center}
.attention p{margin:.4rem 0 0}
.pill{display:inline-block;padding:.05rem .55rem;border-radius:99px;
font-size:.88rem;font-weight:600;line-height:1.5}
.pill.good{background:var(--goodbg);color:var(--good)}
.pill.warn{background:var(--warnbg);color:var(--warn)}
.pill.bad{background:var(--badbg);color:var(--bad)}
.pill.calm{background:var(--calmbg);color:var(--calm)}
.absent{border:1px dashed var(--line);border-radius:8px;padding:.7rem 1rem}
.absent p{margin:.2rem 0}
.notes{font-size:.9rem;color:var(--muted)}
.notes p{margin:.8rem 0 .2rem}
.notes ul{margin:0;padding-left:1.2rem}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem}
caption{text-align:left;color:var(--muted);font-size:.88rem;padding:0 0 .4rem}
th,td{padding:.34rem .7rem .34rem 0;text-align:left;vertical-align:middle;
border-bottom:1px solid var(--line);white-space:nowrap}
thead th{font-size:.85rem;color:var(--muted);font-weight:600;
vertical-align:bottom}
tbody th{font-weight:600}
.num{text-align:right;font-variant-numeric:tabular-nums}
.wrap{white-space:normal;min-width:13rem;overflow-wrap:anywhere}
.num+td:not(.num),.num+th:not(.num){padding-left:.9rem}
.ci{color:var(--muted)}
.total th,.total td{border-top:2px solid var(--line)}
.plot{min-width:14rem;width:38%;padding-left:.7rem}
details>summary{cursor:pointer;padding:.35rem 0;color:var(--fed);
font-weight:600}
svg{display:block}
svg text{font-size:12px;fill:var(--muted)}
svg .grid{stroke:var(--line);stroke-width:1;fill:none}
svg .ref{stroke:var(--muted);stroke-dasharray:3 3}
.row line{stroke-width:2}
.row{overflow:visible}
circle.fed,svg path.fed{fill:var(--fed)}
circle.good{fill:var(--good)}circle.warn{fill:var(--warn)}
circle.bad,svg path.bad{fill:var(--bad)}
circle.ring{fill:none;stroke:var(--loc);stroke-width:2}
line.fed{stroke:var(--fed)}line.loc{stroke:var(--loc)}
line.good{stroke:var(--good)}line.warn{stroke:var(--warn)}
line.bad{stroke:var(--bad)}
.row line.loc{stroke-width:3}
.axis{overflow:visible}
.share{overflow:hidden;border-radius:5px}
.share .track{fill:var(--track)}.share .fed{fill:var(--fed)}
.share .warn{fill:var(--warn)}.share .bad{fill:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));
gap:1rem 1.5rem}
figure{margin:0;max-width:34rem}
figcaption{font-weight:600;font-size:.93rem;margin-bottom:.2rem}
.chart{width:100%;height:auto}
svg path.line{fill:none;stroke-width:2;stroke-linejoin:round}
svg path.line.fed{stroke:var(--fed)}svg path.line.bad{stroke:var(--bad)}
svg path.line.quiet{stroke:var(--quiet);stroke-width:1}
circle.quiet{fill:var(--quiet)}
svg path.band{fill:var(--fed);opacity:.16}
svg path.limit{stroke:var(--text);stroke-width:1.5;stroke-dasharray:5 4}
svg text.limit{fill:var(--text)}
svg text.name{font-weight:600}svg text.name.bad{fill:var(--bad)}
.legend{color:var(--muted);font-size:.88rem;margin:.6rem 0}
.key{display:inline-block;margin:0 .35rem 0 .6rem;vertical-align:middle}
.key:first-child{margin-left:0}
.key.dot{width:9px;height:9px;border-radius:9px;background:var(--fed)}
.key.ring{width:10px;height:10px;border-radius:9px;border:2px solid var(--loc)}
.key.diamond{width:9px;height:9px;background:var(--fed);rotate:45deg}
.key.quiet{width:18px;height:2px;background:var(--quiet)}
.key.bad{width:18px;height:3px;background:var(--bad)}
.heat{min-width:5.4rem;padding-right:.5rem}
th.heat{white-space:normal}
th.heat small,dl.tests small{display:block;font-weight:400;color:var(--muted)}
dl.tests small{display:inline}
.p{display:inline-block;padding:0 .35rem;border-radius:4px;
font-variant-numeric:tabular-nums;font-size:.86rem}
.p.h1{background:var(--h1);color:var(--h1t)}
.p.h2{background:var(--h2);color:var(--h2t)}
.p.h3{background:var(--h3);color:var(--h3t)}
.strip{width:100%;height:9px;margin-top:3px;background:var(--track)}
.strip .h1{fill:var(--h1)}.strip .h2{fill:var(--h2)}.strip .h3{fill:var(--h3)}
dl.tests dt{font-weight:600}dl.tests dd{margin:0 0 .5rem}
footer{color:var(--muted);font-size:.85rem;padding-bottom:2rem}
footer p{margin:.2rem 0;overflow-wrap:anywhere}
@media(max-width:40rem){header,main,footer{padding-left:.8rem;
padding-right:.8rem}.panel{padding:.9rem}.guide{grid-template-columns:1fr}
.tiles{grid-template-columns:1fr 1fr}.tile{padding:.6rem .7rem}
.tile dd{font-size:1.2rem}.plot{min-width:11rem}.wrap{min-width:11rem}
.attention li{flex-direction:column;gap:0}
tbody th{position:sticky;left:0;background:var(--card)}}
@media print{.panel,.tile{break-inside:avoid}.skip,nav{display:none}}
@media(prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
)css";

}  // namespace fedgraft
