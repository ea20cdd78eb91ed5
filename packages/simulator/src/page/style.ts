/** The style of the page that {@link drawRun} makes. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --back: #f6f7f9; --card: #fff; --text: #1c2430; --soft: #667085; --line: #e3e7ee; --grid: #eef1f5;
  --ok: #cfe0f7; --ok-line: #5b8bd0; --bad: #e5484d; --bad-fill: #fbd3d4; --unknown: #f1e3c4; --unknown-line: #b98a2c;
  --fail: #e4e6ea; --fail-line: #98a1af; --fault: #fde2c8; --fault-line: #d9822b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161c; --card: #1a2029; --text: #e6eaf0; --soft: #93a0b4; --line: #2b3442; --grid: #232b37;
    --ok: #223a5a; --ok-line: #6a9be0; --bad: #ff6369; --bad-fill: #5a2226; --unknown: #463a1f; --unknown-line: #d4a94a;
    --fail: #2a313c; --fail-line: #77839a; --fault: #4a2f18; --fault-line: #e8994a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 14px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header, main { max-width: 1500px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 28px; }
h1 { font-size: 22px; margin: 0 0 8px; }
h2 { font-size: 16px; margin: 0; }
.failure { margin: 0 0 16px; padding: 10px 14px; border-left: 4px solid var(--bad); background: var(--bad-fill); border-radius: 4px; overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 0 0 14px; }
dt { color: var(--soft); font-size: 12px; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
.replay { display: flex; gap: 8px; margin: 0 0 18px; }
.replay code { flex: 1; padding: 8px 12px; background: var(--card); border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; white-space: nowrap; }
code, td { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; }
button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 3px 10px; cursor: pointer; }
button:hover { border-color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; margin-bottom: 18px; }
.head { display: flex; justify-content: space-between; align-items: center; gap: 12px; flex-wrap: wrap; }
.zoom { display: flex; gap: 6px; }
.note { color: var(--soft); margin: 4px 0 12px; }
.chart { display: grid; grid-template-columns: max-content 1fr; }
.names { padding-right: 12px; border-right: 1px solid var(--line); }
.names div { height: 26px; line-height: 26px; white-space: nowrap; font-size: 13px; max-width: 180px; overflow: hidden; text-overflow: ellipsis; }
.names .axis { color: var(--soft); }
.scroll { overflow-x: auto; overflow-y: hidden; }
svg { display: block; }
svg text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--text); pointer-events: none; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--grid); }
svg .row { stroke: var(--grid); }
rect.bar { fill: var(--ok); stroke: var(--ok-line); cursor: default; }
rect.bar.unknown { fill: var(--unknown); stroke: var(--unknown-line); }
rect.bar.fail { fill: var(--fail); stroke: var(--fail-line); stroke-dasharray: 3 2; }
rect.bar.fault { fill: var(--fault); stroke: var(--fault-line); }
rect.bar.core { fill: var(--bad-fill); stroke: var(--bad); stroke-width: 2; }
.dimmed rect.bar:not(.core):not(.fault) { opacity: .45; }
.dimmed text.label:not(.core):not(.fault) { opacity: .6; }
rect.bar:hover, rect.bar:focus { outline: none; stroke-width: 2.5; opacity: 1; }
line.open { stroke: var(--unknown-line); stroke-dasharray: 2 4; }
.legend { display: flex; gap: 16px; flex-wrap: wrap; color: var(--soft); font-size: 12px; margin-top: 10px; grid-column: 1 / -1; }
.legend span::before { content: ""; display: inline-block; width: 14px; height: 10px; margin-right: 6px; border-radius: 3px; border: 1px solid var(--edge); background: var(--fill); }
table { border-collapse: collapse; margin-top: 8px; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 12px; }
th, td { padding: 1px 18px 1px 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
summary { cursor: pointer; font-weight: 600; font-size: 16px; }
#tip { position: fixed; z-index: 2; max-width: 460px; padding: 8px 12px; background: var(--text); color: var(--back); border-radius: 6px; font-size: 13px; pointer-events: none; overflow-wrap: anywhere; box-shadow: 0 4px 16px rgb(0 0 0 / .25); }
#tip b { display: block; }
#tip i { font-style: normal; opacity: .7; }
`;
