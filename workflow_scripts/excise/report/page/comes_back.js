/* Section 5: checkpoints × attacks on the forget facts. Ways of asking and precisions come from the records. */

const MEASURES = {
  beyond: ["known beyond the oracles", "Slot accuracy on the forget facts in this way of asking, minus the mean of the oracles asked the same. 0 = as if it never saw the facts.", "beyond"],
  value: ["known", "Slot accuracy on the forget facts in this way of asking.", null],
  returned_beyond: ["comes back, beyond the oracles", "Of the facts that the checkpoint misses when asked as trained: the share that it states when asked in this way, minus that of the oracles on the same questions.", "returned_beyond"],
  returned: ["comes back", "Of the facts that the checkpoint misses when asked as trained: the share that it states when asked in this way.", null],
};

function drawComesBack(experiment, panel) {
  drawMatrix(experiment, panel);
  drawQuantized(experiment, panel);
  drawRelearning(experiment, panel);
}

function drawMatrix(experiment, panel) {
  const rows = [...experiment.attacks, ...relearnedCells(experiment)];
  if (!rows.length) return panel.append(empty("This study has no records of generated answers to forget questions, so nothing can come back here."));
  const ways = distinct(rows.map((row) => `${row.precision}|${row.set}`)).sort((a, b) => wayOrder(a) - wayOrder(b));
  const state = { measure: rows.some((row) => isNumber(row.beyond)) ? "beyond" : "value", which: "last" };
  const { trajectories } = experiment;
  const rowOf = new Map(rows.map((row) => [`${row.model}|${row.precision}|${row.set}`, row]));
  const checkpoints = () => {
    const quantized = new Set(rows.filter((row) => row.precision !== "full").map((row) => row.model));
    const of = { last: (members) => members.slice(-1), all: (members) => members, quantized: (members) => members.filter((one) => quantized.has(one.name)) }[state.which];
    return ["finetuned", ...[...trajectories.values()].flatMap(of).map((one) => one.name), ...experiment.modelsOf("oracle"), ...experiment.others].filter((model) => rows.some((row) => row.model === model));
  };
  const limits = (row) => { const key = MEASURES[state.measure][2]; return key ? { value: row[state.measure], ci_low: row[`${key}_low`], ci_high: row[`${key}_high`] } : { value: row[state.measure] }; };
  const build = () => {
    const models = checkpoints(), [name, meaning] = MEASURES[state.measure];
    const at = (model, way) => rowOf.get(`${model}|${way}`);
    const cells = models.map((model) => ways.map((way) => { const row = at(model, way); return row ? limits(row) : null; }));
    const judged = cells.filter((_, i) => ["unlearned", "audited"].includes(experiment.model(models[i]).kind)); // finetuned would hide all others
    const most = Math.max(0.1, ...judged.flat().filter(Boolean).map((one) => Math.abs(one.value || 0)));
    const label = (way) => { const [precision, set] = way.split("|"); return wayWords(set, precision); };
    const sign = (one) => (one && isNumber(one.value) ? short(one.value) + (isNumber(one.ci_low) && one.ci_low > 0 ? "*" : "") : "");
    const hover = (model, way, one) => {
      const row = at(model, way);
      if (!row) return `${plotText(experiment.label(model))}<br>not asked in this way`;
      return `${plotText(experiment.label(model))}<br>${plotText(label(way))}<br>${plotText(name)}: ${withInterval(one)}<br>known: ${short(row.value)}, oracles: ${short(row.oracle)}<br>${row.n} questions${isNumber(row.n_missed) ? `, ${row.n_missed} about facts missed as trained` : ""}`;
    };
    return {
      height: 170 + 28 * models.length,
      alt: `${meaning} Rows are checkpoints, columns are ways of asking; a relearning attack is shown at its last step. A star marks an interval above 0. Empty cells were not asked.`,
      data: [{
        type: "heatmap", z: cells.map((line) => line.map((one) => (one && isNumber(one.value) ? one.value : null))), x: ways.map(label).map(plotText), y: models.map((model) => plotText(experiment.label(model))),
        text: cells.map((line) => line.map(sign)), texttemplate: "%{text}", hovertext: cells.map((line, i) => line.map((one, j) => hover(models[i], ways[j], one))), hoverinfo: "text",
        zmin: -most, zmax: most, colorscale: [[0, color("series-0")], [0.5, color("page")], [1, color("series-1")]], xgap: 2, ygap: 2, colorbar: { thickness: 12 },
      }],
      layout: { yaxis: { autorange: "reversed", tickfont: { size: 12 }, showgrid: false }, xaxis: { side: "top", tickangle: -30, showgrid: false }, margin: { l: 60, r: 120, t: 130, b: 20 } },
      rows: models.flatMap((model) => ways.map((way) => at(model, way)).filter(Boolean)),
      columns: [{ label: "model", value: (row) => experiment.label(row.model) }, { label: "way of asking", value: (row) => wayWords(row.set, row.precision) }, { key: "value", label: "known" }, { key: "oracle", label: "oracles" },
        { key: "beyond", label: "beyond the oracles" }, { key: "beyond_low", label: "lower limit" }, { key: "beyond_high", label: "upper limit" },
        { key: "n_missed", label: "missed as trained" }, { key: "returned", label: "comes back" }, { key: "returned_beyond", label: "comes back, beyond" }, { key: "n", label: "questions" }],
    };
  };
  const plot = figure(experiment.id("comes-back-plot"), build);
  panel.append(el("div", { class: "controls" },
    select(experiment.id("comes-back-measure"), "Show", Object.entries(MEASURES).map(([key, [text]]) => [key, text]), state.measure, (value) => { state.measure = value; plot.draw(); }).field,
    select(experiment.id("comes-back-which"), "Checkpoints", [["last", "last of each training"], ["quantized", "those that were quantized"], ["all", "all"]], state.which, (value) => { state.which = value; plot.draw(); }).field),
  plot.element, note(`All intervals are over ${experiment.clusters}. Section 3 lists facts that come back one by one: choose the order \u201ccame back first\u201d.`));
}

const wayOrder = (way) => { const [precision, set] = way.split("|"); return set.startsWith(RELEARNED) ? 1000 : (precision === "full" ? 0 : 100 + precision.charCodeAt(0)) + (set === "sf" ? 0 : 1 + set.length); };
