/* Section 4: correlated against other retain facts. */

const GROUPS = [["correlated", "series-1"], ["other", "series-0"]];

function drawCorrelated(experiment, panel) {
  alongTraining(experiment, panel);
  atMatchedForgetting(experiment, panel);
  explained(experiment, panel);
  plantedControl(experiment, panel);
}

function band(xs, rows, rgb, name, axis = "") {
  const limits = rows.filter((row) => isNumber(row.ci_low) && isNumber(row.ci_high));
  const at = new Map(rows.map((row, i) => [row, xs[i]]));
  const axes = { xaxis: `x${axis}`, yaxis: `y${axis}` };
  return [
    { type: "scatter", mode: "lines", x: [...limits.map((row) => at.get(row)), ...limits.map((row) => at.get(row)).reverse()], y: [...limits.map((row) => row.ci_high), ...limits.map((row) => row.ci_low).reverse()], fill: "toself", fillcolor: faded(rgb, 0.16), line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: name, ...axes },
    { type: "scatter", mode: "lines+markers", name: plotText(name), legendgroup: name, x: xs, y: rows.map((row) => row.value), line: { color: rgb }, marker: { color: rgb, size: 7 }, text: rows.map((row) => plotText(`${name}: ${withInterval(row)}`)), hoverinfo: "text", ...axes },
  ];
}

function alongTraining(experiment, panel) {
  const all = experiment.rows("retain_compare_results").filter((row) => (row.slot ?? null) === null);
  panel.append(el("h3", {}, "Along training"));
  if (!all.length) return panel.append(empty("This study has no retain_compare_results.json."));
  const metrics = distinct(all.map((row) => row.metric));
  const names = [...experiment.trajectories.keys()];
  if (!names.length) return panel.append(empty("This study has no trainings to follow. Section 8 shows the gap of every model: retain_compare_results."));
  const state = { metric: metrics.includes("slot_accuracy") ? "slot_accuracy" : metrics[0], trajectory: names[0] };
  const strongest = names.filter((name) => name.startsWith("gd/")).at(-1) || names.at(-1);
  state.trajectory = strongest;
  const label = (name) => { const first = experiment.trajectories.get(name)[0]; return `${first.method_label.split(" (")[0]}, ${first.setting}`; };
  const build = () => {
    const rows = all.filter((row) => row.metric === state.metric);
    const along = (set, name) => {
      const members = experiment.trajectories.get(name) || [];
      const points = [["finetuned", 0], ...members.map((one) => [one.name, one.epoch])]
        .map(([model, epoch]) => ({ epoch, row: rows.find((row) => row.model === model && row.set === set) })).filter((point) => point.row);
      return [points.map((point) => point.epoch), points.map((point) => point.row)];
    };
    const data = [], listed = [];
    for (const [set, tone] of GROUPS) {
      const [xs, own] = along(set, state.trajectory);
      data.push(...band(xs, own, color(tone), set));
      listed.push(...own);
      const oracles = rows.filter((row) => row.set === set && String(row.model).startsWith("oracle/") && isNumber(row.value));
      if (oracles.length) data.push({ type: "scatter", mode: "lines", x: [0, Math.max(...xs, 1)], y: Array(2).fill(oracles.reduce((sum, row) => sum + row.value, 0) / oracles.length), line: { color: color(tone), dash: "dot", width: 1 }, name: `oracles, ${set}`, hoverinfo: "name" });
    }
    for (const name of names) {
      const first = experiment.trajectories.get(name)[0];
      const [xs, own] = along("gap", name);
      const traces = band(xs, own, seriesColor(first.color), label(name), "2");
      data.push(...(name === state.trajectory ? traces : [{ ...traces[1], opacity: 0.55 }]));
      listed.push(...own);
    }
    return {
      height: 460, data, rows: listed,
      alt: `Left: ${words(state.metric)} of correlated and other facts along ${label(state.trajectory)}; epoch 0 is the finetuned model. Right: their gap (other − correlated) for every training, paired within the person; above 0, correlated facts suffer more. Bands are ${100 * experiment.about.confidence} % intervals over people.`,
      layout: {
        grid: { rows: 1, columns: 2, pattern: "independent", xgap: 0.12 },
        xaxis: { title: { text: "epochs of unlearning" } }, yaxis: { title: { text: words(state.metric) } },
        xaxis2: { title: { text: "epochs of unlearning" } }, yaxis2: { title: { text: "gap: other − correlated" }, zerolinewidth: 2 },
      },
      columns: [{ label: "model", value: (row) => experiment.label(row.model) }, { key: "set", label: "set" }, ...VALUE_COLUMNS, { key: "n_people", label: "people" }],
    };
  };
  const plot = figure(experiment.id("correlated-plot"), build);
  panel.append(el("div", { class: "controls" },
    select(experiment.id("correlated-metric"), "Metric", metrics.map((one) => [one, words(one)]), state.metric, (value) => { state.metric = value; plot.draw(); }).field,
    select(experiment.id("correlated-training"), "Training", names.map((one) => [one, label(one)]), state.trajectory, (value) => { state.trajectory = value; plot.draw(); }).field), plot.element);
}

/** Dots with intervals, one line each. */
function dots(id, experiment, { rows, label, alt, title, mark: border = null }) {
  const build = () => {
    const ink = color("series-0");
    return {
      height: 130 + 24 * rows.length, alt, rows,
      data: [{ type: "scatter", mode: "markers", x: rows.map((row) => row.value), y: rows.map((_, i) => i), error_x: errorBars(rows, ink), marker: { color: ink, size: 9 }, text: rows.map((row) => plotText(`${label(row)}: ${withInterval(row)}`)), hoverinfo: "text", showlegend: false }],
      layout: {
        xaxis: { title: { text: title }, zerolinewidth: 2 }, yaxis: { tickvals: rows.map((_, i) => i), ticktext: rows.map((row) => plotText(label(row))), autorange: "reversed" },
        shapes: border === null ? [] : [{ type: "line", x0: border, x1: border, y0: 0, y1: 1, yref: "paper", line: { dash: "dash", width: 1, color: color("soft") } }],
      },
      columns: [{ label: "row", value: label }, ...VALUE_COLUMNS],
    };
  };
  return figure(id, build).element;
}

const trajectoryLabel = (experiment, row) => {
  const name = row.model ? String(row.model).replace(/^unlearn\//, "") : null;
  const members = name ? experiment.trajectories.get(name) : null;
  return members ? `${members[0].method_label.split(" (")[0]}, ${members[0].setting}` : row.model ? experiment.label(row.model) : row.method ? words(row.method).toUpperCase() : "all trainings, mean";
};

function atMatchedForgetting(experiment, panel) {
  const rows = experiment.rows("comparison_results").filter((row) => row.comparison === "matched_forgetting" && row.set === "gap" && isNumber(row.value));
  panel.append(el("h3", {}, "At the same degree of forgetting"));
  if (!rows.length) return panel.append(empty("This study has no gap at matched forgetting: no training reached a common degree, or there is no comparison_results.json."));
  const metrics = distinct(rows.map((row) => row.metric)), places = distinct(rows.map((row) => row.matched_at));
  const state = { metric: metrics.includes("slot_accuracy") ? "slot_accuracy" : metrics[0], at: places.includes("0.5") ? "0.5" : places[0] };
  const holder = el("div");
  const draw = () => {
    const own = rows.filter((row) => row.metric === state.metric && row.matched_at === state.at);
    replace(holder, own.length ? dots(experiment.id("matched-plot"), experiment, {
      rows: own, label: (row) => trajectoryLabel(experiment, row), title: `gap of ${words(state.metric)}: other − correlated`,
      alt: `The gap where slot accuracy on the forget facts is first ${state.at === "oracle" ? "that of the oracles" : state.at}. Right of 0, correlated facts suffer more.`,
    }) : empty("No training reached this degree of forgetting."));
  };
  panel.append(el("div", { class: "controls" },
    select(experiment.id("matched-metric"), "Metric", metrics.map((one) => [one, words(one)]), state.metric, (value) => { state.metric = value; draw(); }).field,
    select(experiment.id("matched-at"), "Forget accuracy", places.map((one) => [one, one]), state.at, (value) => { state.at = value; draw(); }).field), holder);
  draw();
}

function explained(experiment, panel) {
  const rows = experiment.rows("comparison_results").filter((row) => row.comparison === "regression" && row.term && isNumber(row.value));
  if (!rows.length) return;
  const last = [...experiment.trajectories.values()].map((members) => members.at(-1).name);
  const kept = rows.filter((row) => last.includes(row.model));
  const metrics = distinct(kept.map((row) => row.metric));
  if (!metrics.length) return;
  panel.append(el("h3", {}, "What explains the damage"));
  const state = { metric: metrics[0] };
  const holder = el("div");
  const draw = () => replace(holder, dots(experiment.id("explained-plot"), experiment, {
    rows: kept.filter((row) => row.metric === state.metric).sort((a, b) => compare(a.term, b.term)), label: (row) => `${words(row.term)}: ${experiment.label(row.model)}`,
    title: `coefficient, ${words(state.metric)}`, alt: "What a shared property with the forget facts adds to the damage of a retain fact, at the last checkpoint of each training (regression over retain facts). Right of 0: more damage.",
  }));
  panel.append(el("div", { class: "controls" }, select(experiment.id("explained-metric"), "Damage measured by", metrics.map((one) => [one, words(one)]), state.metric, (value) => { state.metric = value; draw(); }).field), holder);
  draw();
}

function plantedControl(experiment, panel) {
  panel.append(el("h3", {}, "Positive control: planted entanglement"));
  const rows = experiment.rows("entanglement_response").filter((row) => row.set === "gap_response" && isNumber(row.value));
  if (!rows.length) return panel.append(empty("This study names no positive control (config key findings.control), so it is not shown here."));
  const own = rows.filter((row) => row.metric === "log_probability_change");
  panel.append(dots(experiment.id("control-plot"), experiment, {
    rows: own.length ? own : rows, title: "gap minus the gap of the same pairs at dose 0, nats per token",
    label: (row) => `dose ${row.dose}, ${row.pairs} pairs, ${row.method ? row.method.toUpperCase() : ""} epoch ${row.epoch ?? "–"}`,
    alt: "How the gap grows with the planted dose. For bound pairs an instrument that sees entanglement lies right of 0; for unbound pairs it lies at 0.",
  }));
}
