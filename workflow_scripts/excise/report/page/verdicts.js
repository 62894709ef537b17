/* Section 1: the claims, their verdicts, and the cases behind each. */

const SHOWN_IN = { comparison_results: "correlated", retain_compare_results: "correlated", quantize_results: "comes-back", relearn_results: "comes-back", distance_results: "trade-off", depth_results: "inside", entanglement_response: "correlated" };
const sectionOf = (table) => SHOWN_IN[table] || (String(table).startsWith("repr_") ? "inside" : "tables");
const SIGNS = { confirmed: "✓", refuted: "✗", undecided: "?" };
const badge = (verdict) => (verdict ? el("span", { class: `badge ${verdict}` }, `${SIGNS[verdict] || ""} ${verdict}`) : el("span", {}, "–"));

const READING = [
  ["smallest that matters", "An effect below this is too small to count. It is part of the claim and does not depend on the data."],
  ["could be seen", "The effect that a study of this precision finds with a chance of 80 %. A smaller one may well stay undecided."],
  ["stands", "Another study, with other seeds of data and finetuning, came to the same verdict."],
];
const VERDICT_RULE = "confirmed: the interval of the effect lies above 0. refuted: it lies below the smallest effect that matters. undecided: neither. A claim about several cases has a verdict if all cases agree.";

function findingsOf(experiment) {
  const rows = experiment.rows("findings");
  return distinct(rows.map((row) => row.finding)).map((name) => {
    const own = rows.filter((row) => row.finding === name);
    return {
      name,
      whole: own.find((row) => row.cases !== null && row.level === null) || own[0],
      levels: own.filter((row) => row.cases !== null && row.level !== null).sort(byLevel),
      cases: own.filter((row) => row.cases === null),
    };
  });
}

const LEVELS = ["light", "medium", "heavy"];
const byLevel = (a, b) => (LEVELS.indexOf(a.level) + 1 || 9) - (LEVELS.indexOf(b.level) + 1 || 9);

/** All cases of a claim in a small picture: the line at 0, and dashed the smallest effect that matters. */
function smallForest({ cases, whole }) {
  const rows = cases.filter((row) => isNumber(row.value)).sort((a, b) => a.value - b.value);
  if (!rows.length) return el("span", {}, "–");
  const border = whole.smallest_effect;
  const ends = rows.flatMap((row) => [row.value, row.ci_low, row.ci_high]).filter(isNumber);
  const low = Math.min(0, ...ends), high = Math.max(border * 1.2, ...ends);
  const width = 190, step = Math.max(2.5, Math.min(9, 60 / rows.length)), height = 10 + step * rows.length;
  const x = (value) => 6 + ((value - low) / (high - low || 1)) * (width - 12);
  const svg = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "forest", role: "img", "aria-label": `${rows.length} cases from ${short(rows[0].value)} to ${short(rows.at(-1).value)}` });
  const line = (x1, y1, x2, y2, name) => picture.append(svg("line", { x1, y1, x2, y2, class: name }));
  line(x(0), 0, x(0), height, "zero");
  line(x(border), 0, x(border), height, "border");
  rows.forEach((row, i) => {
    const y = 5 + step * (i + 0.5);
    if (isNumber(row.ci_low) && isNumber(row.ci_high)) line(x(row.ci_low), y, x(row.ci_high), y, `limits ${row.verdict}`);
    picture.append(svg("circle", { cx: x(row.value), cy: y, r: Math.min(3, step / 2 + 0.6), class: `case ${row.verdict}` }));
  });
  return picture;
}

function effectText({ cases, whole }) {
  const known = cases.filter((row) => isNumber(row.value));
  if (!known.length) return "not measured";
  if (known.length === 1) return `${withInterval(known[0])} ${whole.unit}`;
  const values = known.map((row) => row.value);
  return `${short(Math.min(...values))} to ${short(Math.max(...values))} ${whole.unit} (${known.length} cases)`;
}

function caseLabel(experiment, row) {
  const parts = [row.model ? experiment.label(row.model) : row.method ? words(row.method) : "all trajectories"];
  if (row.precision) parts.push(precisionWords(row.precision));
  if (row.attack) parts.push(attackWords(row.attack));
  if (row.level) parts.push(row.level);
  return parts.join(", ");
}

const standsText = (row) => (row.stands ? "yes, replicated" : row.replicated === null ? "not yet replicated" : row.replicated ? "no, undecided" : "no, a replication disagrees");

function drawVerdicts(experiment, panel) {
  const findings = findingsOf(experiment);
  if (!findings.length) return panel.append(empty("This study has no findings.json, so there are no verdicts."));
  const table = sortableTable({
    id: experiment.id("verdict-table"), caption: "The verdict on each claim. In the pictures, a dot is a case, the line is 0 and the dashed line the smallest effect that matters.", rows: findings, whole: true,
    columns: [
      { label: "claim", value: (one) => one.whole.statement, cell: (one) => el("div", { class: "claim" }, el("strong", {}, one.whole.statement), el("br"), el("small", {}, `Said by: ${one.whole.source}`)) },
      { label: "verdict", meaning: VERDICT_RULE, value: (one) => one.whole.verdict, cell: (one) => badge(one.whole.verdict) },
      { label: "by level", meaning: "The verdict for light, medium and heavy unlearning.", value: (one) => one.levels.map((row) => `${row.level}: ${row.verdict}`).join("; "), cell: (one) => el("span", { class: "levels" }, one.levels.map((row) => el("div", {}, `${row.level}: ${row.verdict}`))) },
      { label: `effect [${100 * experiment.about.confidence} % interval]`, meaning: "With one case: its value and interval. With several: the smallest and the largest value.", value: effectText, cell: (one) => el("span", {}, smallForest(one), el("br"), effectText(one)) },
      { label: "smallest that matters", meaning: shared.columns.smallest_effect, value: (one) => one.whole.smallest_effect },
      { label: "could be seen", meaning: shared.columns.detectable, value: (one) => one.whole.detectable },
      { label: "stands", meaning: "A verdict stands only if a study with other seeds of data and finetuning comes to the same one.", value: (one) => standsText(one.whole) },
      { label: "shown in", value: (one) => sectionOf(one.whole.table), cell: (one) => el("a", { href: `#${sectionOf(one.whole.table)}` }, words(sectionOf(one.whole.table))) },
    ],
  });
  const reading = el("dl", { class: "about note" }, READING.flatMap(([name, meaning]) => [el("dt", {}, name), el("dd", {}, meaning)]));
  panel.append(table.element, reading, copyButtons(() => table), note("A verdict holds for this model, these people and these methods. Intervals are not adjusted for the number of cases."));
  for (const one of findings) panel.append(casesOf(experiment, one));
}

function casesOf(experiment, finding) {
  const { whole, cases, name } = finding;
  const rows = [...cases].sort((a, b) => compare(a.value, b.value));
  const box = el("details", { class: "cases" }, el("summary", {}, `The cases behind: ${whole.statement} (${whole.cases})`));
  if (!rows.length) {
    box.append(empty("No case was measured."));
    return box;
  }
  const build = () => {
    const ink = color("series-0"), labels = rows.map((row) => caseLabel(experiment, row));
    return {
      height: 120 + 20 * rows.length,
      alt: `${whole.test} The effect is in ${whole.unit}; right of 0 the claim holds. The dashed line is the smallest effect that matters (${short(whole.smallest_effect)}).`,
      data: [{
        type: "scatter", mode: "markers", x: rows.map((row) => row.value), y: rows.map((_, i) => i), error_x: errorBars(rows, ink), marker: { color: ink, size: 8 },
        text: rows.map((row, i) => plotText(`${labels[i]}: ${withInterval(row)}, ${row.verdict}`)), hoverinfo: "text", showlegend: false,
      }],
      layout: {
        xaxis: { title: { text: `effect, ${whole.unit}` }, zeroline: true, zerolinewidth: 2 },
        yaxis: { tickvals: rows.map((_, i) => i), ticktext: labels.map(plotText), tickfont: { size: 11 } },
        shapes: [{ type: "line", x0: whole.smallest_effect, x1: whole.smallest_effect, y0: 0, y1: 1, yref: "paper", line: { dash: "dash", color: color("soft"), width: 1 } }],
      },
      rows, columns: [{ key: "case", label: "case", value: (row) => caseLabel(experiment, row) }, ...VALUE_COLUMNS, { key: "verdict", label: "verdict" }],
    };
  };
  box.append(el("p", { class: "note" }, whole.test), figure(experiment.id(`cases-${name}`), build).element);
  return box;
}

/** The verdicts of several experiments in one table. */
function drawVerdictsTogether(experiments, parent) {
  const names = distinct(experiments.flatMap((one) => findingsOf(one).map((finding) => finding.name)));
  if (!names.length) return;
  const found = experiments.map((one) => new Map(findingsOf(one).map((finding) => [finding.name, finding])));
  const rows = names.map((name) => ({ name, claim: found.find((one) => one.has(name)).get(name).whole.statement }));
  const table = sortableTable({
    id: "verdicts-together", caption: "The same claims in each experiment", rows,
    columns: [{ key: "claim", label: "claim" }, ...experiments.flatMap((one, i) => [
      { label: `${one.about.name}: verdict`, value: (row) => found[i].get(row.name)?.whole.verdict, cell: (row) => badge(found[i].get(row.name)?.whole.verdict) },
      { label: `${one.about.name}: effect`, value: (row) => (found[i].has(row.name) ? effectText(found[i].get(row.name)) : "–") },
    ])],
  });
  parent.before(table.element, copyButtons(() => table));
}
