/* Section 2: forgetting against damage, a point per checkpoint. */

const plotText = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const FORGOTTEN_SETS = ["sf", "forget_paraphrased"], KEPT_SETS = ["sr", "correlated", "other", "utility"];

/** (metric, set) → model → row, from the table of all checkpoints and that of distances. */
function valuesByModel(experiment) {
  const found = new Map();
  const source = experiment.has("sweep_results") ? "sweep_results" : "eval_results";
  for (const row of [...experiment.rows(source), ...experiment.rows("distance_results")]) {
    if ((row.slot ?? null) !== null || !row.model || !row.set) continue;
    const key = `${row.metric}|${row.set}`;
    if (!found.has(key)) found.set(key, new Map());
    if (!found.get(key).has(row.model)) found.get(key).set(row.model, row);
  }
  return found;
}

function drawTradeOff(experiment, panel) {
  const values = valuesByModel(experiment);
  const choices = (sets) => {
    const of = [...values.keys()].filter((key) => sets.some((set) => key.endsWith(`|${set}`) || (key.split("|")[1].startsWith("forget_") && set === "sf")));
    return of.map((key) => [key, `${words(key.split("|")[0])}, ${setWords(key.split("|")[1])}`]);
  };
  const xs = choices(FORGOTTEN_SETS), ys = choices(KEPT_SETS);
  if (!xs.length || !ys.length) return panel.append(empty("This study has no table of evaluations (sweep_results.json), so there is no trade-off to draw."));
  const first = (options, wanted) => (wanted.find((key) => options.some(([value]) => value === key)) || options[0][0]);
  const state = {
    x: first(xs, ["slot_accuracy|sf", "probability|sf"]), y: first(ys, ["slot_accuracy|sr", "slot_accuracy|correlated", "probability|sr"]),
    setting: "",
  };
  const { trajectories } = experiment;
  const methods = distinct([...trajectories.values()].map((members) => members[0].method));
  const methodLabel = new Map([...trajectories.values()].map((members) => [members[0].method, members[0].method_label]));
  const epochs = distinct([...trajectories.values()].flat().map((one) => one.epoch)).sort((a, b) => a - b);
  const update = () => plot.draw();
  const x = select(experiment.id("trade-off-x"), "Forgetting (across)", xs, state.x, (value) => { state.x = value; update(); });
  const y = select(experiment.id("trade-off-y"), "Damage (up)", ys, state.y, (value) => { state.y = value; update(); });
  const method = checkboxes("Methods", methods.map((one) => [one, methodLabel.get(one)]), update);
  const setting = select(experiment.id("trade-off-setting"), "Setting",
    [["", "all settings"], ...[...trajectories].map(([name, members]) => [name, `${members[0].method_label.split(" (")[0]}, ${members[0].setting}`])], "", (value) => { state.setting = value; update(); });
  const epoch = checkboxes("Epochs", epochs.map((one) => [String(one), String(one)]), update);

  const rowsOf = (names) => names
    .map((name) => ({ model: name, x: values.get(state.x)?.get(name), y: values.get(state.y)?.get(name) }))
    .filter((point) => isNumber(point.x?.value) && isNumber(point.y?.value));
  const kept = () => [...trajectories].filter(([name, members]) => method.chosen().includes(members[0].method) && (!state.setting || state.setting === name));
  const hover = (point) => plotText(experiment.label(point.model)) + `<br>forgetting: ${withInterval(point.x)}<br>damage: ${withInterval(point.y)}<br>${point.x.n} and ${point.y.n} questions`;
  const errorsOf = (points, side, rgb) => errorBars(points.map((point) => point[side]), rgb);
  const trace = (points, name, rgb, marker, more = {}) => ({
    type: "scatter", mode: "markers", name: plotText(name), x: points.map((p) => p.x.value), y: points.map((p) => p.y.value),
    error_x: errorsOf(points, "x", rgb), error_y: errorsOf(points, "y", rgb), marker: { color: rgb, size: 10, ...marker },
    text: points.map(hover), hoverinfo: "text", customdata: points.map((p) => p.model), ...more,
  });
  const build = () => {
    const [xMetric, xSet] = state.x.split("|"), [yMetric, ySet] = state.y.split("|");
    const start = rowsOf(["finetuned"]), oracles = rowsOf(experiment.modelsOf("oracle")), base = rowsOf(["base"]);
    const data = [], all = [...start, ...oracles];
    const seen = new Map();
    for (const [, members] of kept()) {
      const { method: name, method_label: label, setting: how, color: number } = members[0];
      const place = seen.get(name) || 0;
      seen.set(name, place + 1);
      const rgb = seriesColor(number);
      const path = rowsOf(members.map((one) => one.name));
      const points = path.filter((point) => epoch.chosen().includes(String(experiment.model(point.model).epoch)));
      const title = `${label.split(" (")[0]}, ${how}`;
      data.push({ type: "scatter", mode: "lines", x: [...start, ...path].map((p) => p.x.value), y: [...start, ...path].map((p) => p.y.value), line: { color: faded(rgb, 0.7), width: 1.5, dash: DASHES[place % 4] }, hoverinfo: "skip", showlegend: false, legendgroup: title });
      data.push(trace(points, title, rgb, { symbol: SYMBOLS[(number + 3 * place) % SYMBOLS.length] }, { legendgroup: title }));
      all.push(...points);
    }
    const ink = color("text");
    if (base.length) data.push(trace(base, "base (never taught)", color("soft"), { symbol: "circle-open", size: 11 }, { visible: "legendonly" }));
    if (start.length) data.push(trace(start, "finetuned (before)", ink, { symbol: "star", size: 16 }));
    if (oracles.length) data.push(trace(oracles, "oracle (never saw it)", ink, { symbol: "x", size: 11 }));
    const references = rowsOf(experiment.modelsOf("reference"));
    if (references.length) data.push(trace(references, "reference of audited models", ink, { symbol: "cross", size: 11 }));
    for (const [i, name] of experiment.modelsOf("audited").entries()) {
      const points = rowsOf([name]);
      if (points.length) data.push(trace(points, experiment.label(name), seriesColor(3 + (i % 7)), { symbol: `${SYMBOLS[(i + 1) % SYMBOLS.length]}-open`, size: 12 }));
      all.push(...points);
    }
    all.push(...references);
    const shapes = oracles.length ? [cloud(oracles)] : [];
    return {
      height: 560, data, rows: all,
      alt: `${words(xMetric)} on ${setWords(xSet)} questions (across) against ${words(yMetric)} on ${setWords(ySet)} questions (up). ${all.length} models are shown; bars are ${100 * experiment.about.confidence} % intervals over people. The dotted box is the oracles' cloud: their intervals together. Click a point to open its checkpoint.`,
      layout: {
        margin: { l: 60, r: 20, t: 20, b: 50 }, shapes,
        xaxis: { title: { text: `${words(xMetric)}, ${setWords(xSet)}${arrow(xMetric)}` } },
        yaxis: { title: { text: `${words(yMetric)}, ${setWords(ySet)}` } },
      },
      columns: [
        { label: "model", value: (p) => experiment.label(p.model) },
        { label: words(xMetric), value: (p) => p.x.value }, { label: "interval", value: (p) => interval(p.x) },
        { label: words(yMetric), value: (p) => p.y.value }, { label: "interval", value: (p) => interval(p.y) },
      ],
    };
  };
  const cloud = (oracles) => {
    const side = (name, key, best) => best(...oracles.map((p) => (isNumber(p[name][key]) ? p[name][key] : p[name].value)));
    return { type: "rect", layer: "below", x0: side("x", "ci_low", Math.min), x1: side("x", "ci_high", Math.max), y0: side("y", "ci_low", Math.min), y1: side("y", "ci_high", Math.max), line: { dash: "dot", width: 1, color: color("soft") }, fillcolor: faded(color("soft"), 0.1) };
  };
  const arrow = (metric) => ({ remembered: " (less = more forgotten)", forgotten: " (more = more forgotten)" }[shared.metrics[metric]?.higher_means] || "");
  const plot = figure(experiment.id("trade-off-plot"), build, { onclick: (point) => point.customdata && experiment.open(point.customdata) });
  panel.append(el("div", { class: "controls" }, x.field, y.field, setting.field, method.field, epoch.field), plot.element);
  drawCheckpoint(experiment, panel, values);
}

/** All metrics of one checkpoint: what a click on a point opens. */
function drawCheckpoint(experiment, panel, values) {
  const names = Object.keys(experiment.about.models);
  const holder = el("div", { id: experiment.id("checkpoint"), "aria-live": "polite" });
  const show = (name) => {
    const found = [...values].filter(([, models]) => models.has(name)).map(([key, models]) => ({ metric: key.split("|")[0], set: key.split("|")[1], row: models.get(name) }));
    const sets = distinct(found.map((one) => one.set));
    const metrics = distinct(found.map((one) => one.metric));
    const at = (metric, set) => found.find((one) => one.metric === metric && one.set === set)?.row;
    const table = sortableTable({
      caption: `${experiment.label(name)}: every metric with its interval`, rows: metrics.map((metric) => ({ metric })), most: 100,
      columns: [
        { key: "metric", label: "metric", cell: (row) => metricTerm(row.metric) },
        ...sets.map((set) => ({ label: setWords(set), value: (row) => at(row.metric, set)?.value, cell: (row) => { const own = at(row.metric, set); return el("span", {}, own ? withInterval(own) : "–"); } })),
      ],
    });
    replace(holder, table.element, copyButtons(() => table),
      experiment.model(name).kind === "unlearned" ? el("p", {}, el("button", { type: "button", onclick: () => { experiment.showTrajectory?.(experiment.model(name).trajectory); document.getElementById("facts").scrollIntoView(); } }, "Show what it said to each question")) : null);
  };
  const chooser = select(experiment.id("checkpoint-choice"), "Checkpoint", [["", "choose one, or click a point"], ...names.map((name) => [name, experiment.label(name)])], "", (name) => { if (name) show(name); else replace(holder); });
  panel.append(el("h3", {}, "One checkpoint"), el("div", { class: "controls" }, chooser.field), holder);
  experiment.openers.push((name) => { chooser.box.value = name; show(name); holder.scrollIntoView({ block: "nearest" }); });
}
