"""The look of report.html."""

STYLE = """
:root { --ink: #1d252d; --soft: #5b6670; --line: #dfe4e9; --accent: #1f5fa8;
        --paper: #ffffff; --ground: #f4f6f8; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 24px 16px 64px; }
header h1 { margin: 8px 0 0; font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
header p { margin: 4px 0 20px; color: var(--soft); overflow-wrap: anywhere; }
section, .tiles > div { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 16px 20px 20px; margin-top: 20px; }
h2 { margin: 0 0 12px; font-size: 1.15rem; }
h3 { margin: 18px 0 6px; font-size: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; }
.tiles > div { padding: 12px 16px; }
.tiles strong { display: block; font-size: 1.5rem; color: var(--accent); font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: .9rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 20px; }
.side { display: flex; flex-wrap: wrap; gap: 0 64px; }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: 4px; }
video { display: block; width: min(480px, 100%); border-radius: 8px; background: #000; }
.scroll { overflow: auto; max-height: 420px; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 18px 5px 0; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { position: sticky; top: 0; background: var(--paper); color: var(--soft); font-weight: 600; }
pre { overflow: auto; background: var(--ground); padding: 12px; border-radius: 8px; font-size: .85rem; }
summary { cursor: pointer; font-weight: 600; padding: 4px 0; }
.missing { color: var(--soft); font-style: italic; margin: 0; overflow-wrap: anywhere; }
@media print { body { background: none; } section { break-inside: avoid; } .scroll { max-height: none; } }
"""
