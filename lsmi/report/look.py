"""The style sheet of the pages: a light page that fits a phone, a screen and paper."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.25rem 4rem; background: #fff;
  color: #1d1d1f; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans",
  sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1rem 0 .25rem; }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 2px solid #d5d8dc; }
h3 { font-size: 1.12rem; margin: 2rem 0 .5rem; }
p, ul, dl { max-width: 46rem; }
a { color: #00558c; }
nav { background: #f5f6f8; border-radius: 6px; padding: .75rem 1.25rem; margin: 1.25rem 0; }
nav ul { columns: 18rem; margin: .25rem 0; padding-left: 1.1rem; max-width: none; }
nav li { break-inside: avoid; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums;
  margin: .5rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e3e5e8; text-align: right;
  vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid #9aa0a6; vertical-align: bottom; }
tbody th, .word { text-align: left; }
tbody th { font-weight: 600; }
.summary th, .summary td { padding: .3rem .45rem; }
.summary .small { font-size: .74rem; }
.small { color: #5a5f66; font-size: .8rem; display: block; }
.unclear { background: #fff3d6; }
.flag { color: #9c3a00; font-weight: 600; }
.samples th, .samples td { font-size: .82rem; }
.samples tbody th { font-weight: 400; overflow-wrap: anywhere; white-space: normal;
  min-width: 8rem; max-width: 11rem; }
.samples td.word { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
.wrap td { white-space: normal; text-align: left; overflow-wrap: anywhere; }
.chip { display: inline-block; width: .75em; height: .75em; border-radius: 2px;
  margin-right: .35em; }
figure { margin: 1rem 0 1.5rem; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption, .note { color: #4a4f55; font-size: .88rem; max-width: 52rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; padding: .25rem 0; }
@media (max-width: 40rem) {
  body { padding: .5rem .8rem 3rem; font-size: 15px; }
  h1 { font-size: 1.5rem; }
  figure img { max-width: none; width: 40rem; }
  th, td { padding: .25rem .4rem; }
  .samples td.word { min-width: 12rem; }
}
@media print {
  @page { margin: 14mm; }
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  h2 { margin-top: 1.5rem; }
  section.pair { break-before: page; }
  h2, h3, summary { break-after: avoid; }
  figure, tr, caption { break-inside: avoid; }
  figure img { max-height: 11cm; }
  nav ul { columns: 2; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td, .samples th, .samples td { padding: 2pt 3pt; font-size: 7.5pt; }
  .summary .small { font-size: 6.5pt; }
  .samples tbody th { min-width: 0; max-width: 6rem; }
  .samples td.word { min-width: 0; width: 45%; }
}
"""
