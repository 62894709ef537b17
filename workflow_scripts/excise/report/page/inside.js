/* Section 6: layers × checkpoints. */

function layerRows(experiment) {
  const states = experiment.has("repr_layers") ? experiment.rows("repr_layers") : experiment.rows("repr_results");
  const depth = experiment.rows("depth_results");
  return [...states, ...depth].filter((row) => row.model && isNumber(row.layer) && (row.slot ?? null) === null);
}

function drawInside(experiment, panel) {
  const rows = layerRows(experiment);
  const scores = experiment.rows("depth_results").filter((row) => row.layer === null && (row.slot ?? null) === null && isNumber(row.value));
  if (!rows.length && !scores.length) return panel.append(empty("This study measured no hidden states, so nothing is known about the inside."));
  if (rows.length) layerMap(experiment, panel, rows);
  if (scores.length) depthScores(experiment, panel, scores);
  else panel.append(empty("This study did not measure the depth of erasure (representations.depth)."));
}

function layerMap(experiment, panel, rows) {
  const key = (row) => `${row.metric}|${row.set}|${row.position ?? ""}`;
  const measures = distinct(rows.map((row) => row.metric));
  const state = { metric: measures.includes("drift") ? "drift" : measures[0], set: "sr", position: "last_prompt", which: "last" };
  const byKey = Map.groupBy ? Map.groupBy(rows, key) : rows.reduce((map, row) => map.set(key(row), [...(map.get(key(row)) || []), row]), new Map());
  const chosen = () => byKey.get(`${state.metric}|${state.set}|${state.position}`) || [];
  const of = (name) => distinct(rows.filter((row) => row.metric === state.metric).map((row) => row[name] ?? ""));
  const build = () => {
    const own = chosen();
    const at = new Map(own.map((row) => [`${row.model}|${row.layer}`, row]));
    const ends = [...experiment.trajectories.values()].map((members) => members.at(-1).name);
    const models = Object.keys(experiment.about.models).filter((model) => own.some((row) => row.model === model))
      .filter((model) => state.which === "all" || experiment.model(model).kind !== "unlearned" || ends.includes(model));
    const layers = distinct(own.map((row) => row.layer)).sort((a, b) => a - b);
    const cell = (layer, model) => at.get(`${model}|${layer}`);
    const values = own.map((row) => row.value).filter(isNumber);
    const signed = values.some((value) => value < 0);
    const most = Math.max(1e-9, ...values.map(Math.abs));
    const hover = (row, model, layer) => (row ? `${plotText(experiment.label(model))}, layer ${layer}<br>${words(state.metric)}: ${withInterval(row)}${isNumber(row.noise_floor) ? `<br>between oracles: ${short(row.noise_floor)}` : ""}` : "not measured");
    return {
      height: 200 + 30 * layers.length,
      alt: own.length ? `${words(state.metric)} on ${setWords(state.set)} questions${state.position ? `, at position ${words(state.position)}` : ""}: rows are layers (0 = embeddings), columns are models. Values go from ${short(Math.min(...values))} to ${short(Math.max(...values))}.` : "No rows for this choice.",
      data: [{
        type: "heatmap", x: models.map((model) => plotText(experiment.label(model))), y: layers.map((layer) => `layer ${layer}`), z: layers.map((layer) => models.map((model) => cell(layer, model)?.value ?? null)),
        hovertext: layers.map((layer) => models.map((model) => hover(cell(layer, model), model, layer))), hoverinfo: "text", text: layers.map((layer) => models.map((model) => short(cell(layer, model)?.value))), texttemplate: models.length <= 12 ? "%{text}" : "",
        zmin: signed ? -most : 0, zmax: most, colorscale: signed ? [[0, color("series-0")], [0.5, color("page")], [1, color("series-1")]] : [[0, color("page")], [1, color("series-0")]], xgap: 1, ygap: 1, colorbar: { thickness: 12 },
      }],
      layout: { xaxis: { tickangle: -40, tickfont: { size: 11 }, showgrid: false }, yaxis: { showgrid: false } }, rows: own,
      columns: [{ label: "model", value: (row) => experiment.label(row.model) }, { key: "layer", label: "layer" }, ...VALUE_COLUMNS, { key: "noise_floor", label: "between oracles" }],
    };
  };
  const plot = figure(experiment.id("inside-plot"), build);
  const controls = el("div", { class: "controls" });
  const meaning = note("");
  function refresh() {
    for (const name of ["set", "position"]) if (!of(name).includes(state[name])) state[name] = of(name).includes("sf") ? "sf" : of(name)[0];
    if (!chosen().length) { const first = rows.find((row) => row.metric === state.metric && row.set === state.set) || rows.find((row) => row.metric === state.metric); state.set = first.set; state.position = first.position ?? ""; }
    const field = (name, label, write) => select(experiment.id(`inside-${name}`), label, of(name).map((one) => [one, write(one)]), state[name], (value) => { state[name] = value; refresh(); }).field;
    replace(controls,
      select(experiment.id("inside-metric"), "Measure", measures.map((one) => [one, words(one)]), state.metric, (value) => { state.metric = value; refresh(); }).field,
      field("set", "Questions", setWords), of("position").length > 1 ? field("position", "Position", (one) => words(one || "–")) : null,
      select(experiment.id("inside-which"), "Checkpoints", [["last", "last of each training"], ["all", "all"]], state.which, (value) => { state.which = value; refresh(); }).field);
    meaning.textContent = `${words(state.metric)}: ${metricMeaning(state.metric)}`;
    plot.draw();
  }
  panel.append(el("h3", {}, "Layer by layer"), controls, meaning, plot.element);
  refresh();
}

function depthScores(experiment, panel, scores) {
  const metrics = distinct(scores.map((row) => row.metric)), sets = distinct(scores.map((row) => row.set));
  const state = { metric: metrics.includes("uds") ? "uds" : metrics[0], set: sets.includes("sf") ? "sf" : sets[0] };
  const holder = el("div");
  const draw = () => {
    const rows = scores.filter((row) => row.metric === state.metric && row.set === state.set);
    replace(holder, rows.length ? dots(experiment.id("depth-plot"), experiment, {
      rows, label: (row) => experiment.label(row.model), title: words(state.metric),
      alt: `${words(state.metric)} on ${setWords(state.set)} questions. 1 = as deep as in a model that never saw the facts; 0 = the finetuned model still reads all of it. Compare with the oracles.`,
    }) : empty("No rows for this choice."));
  };
  panel.append(el("h3", {}, "How deep the erasure goes"), el("div", { class: "controls" },
    select(experiment.id("depth-metric"), "Score", metrics.map((one) => [one, words(one)]), state.metric, (value) => { state.metric = value; draw(); }).field,
    select(experiment.id("depth-set"), "Questions", sets.map((one) => [one, setWords(one)]), state.set, (value) => { state.set = value; draw(); }).field), holder);
  draw();
}
