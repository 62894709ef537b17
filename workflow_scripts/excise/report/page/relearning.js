/* Section 5, third part: what further training on a few facts brings back. */

const ATTACK_WORDS = { forget_part: "forget facts of some people", correlated: "correlated facts", other: "other facts", forget_all: "all forget facts" };
const attackWords = (name) => ATTACK_WORDS[name] || words(name);
/** In the attack matrix, a relearning attack stands where other ways of asking have their set. */
const RELEARNED = "relearned_";

/** Rows about facts that the attacker did not show; of an attack that shows all facts, about these. */
function relearned(experiment) {
  const all = experiment.rows("relearn_results");
  const hidden = new Set(all.filter((row) => row.shown === false).map((row) => row.attack));
  return all.filter((row) => row.shown === !hidden.has(row.attack));
}

/** Cells of the attack matrix: slot accuracy at the last step of each attack. */
function relearnedCells(experiment) {
  const rows = relearned(experiment).filter((row) => isNumber(row.step));
  const last = Math.max(...rows.map((row) => row.step));
  const at = rows.filter((row) => row.step === last);
  return at.filter((row) => row.metric === "slot_accuracy").map((row) => {
    const beyond = at.find((one) => one.metric === "beyond_oracles" && one.of === "slot_accuracy" && one.model === row.model && one.attack === row.attack) || {};
    const known = isNumber(beyond.value) && isNumber(row.value);
    return {
      model: row.model, precision: "full", set: RELEARNED + row.attack, value: row.value, oracle: known ? row.value - beyond.value : null,
      beyond: beyond.value ?? null, beyond_low: beyond.ci_low ?? null, beyond_high: beyond.ci_high ?? null,
      n: row.n, n_people: row.n_people, n_missed: null, returned: null, returned_beyond: null,
    };
  });
}

function drawRelearning(experiment, panel) {
  panel.append(el("h3", {}, "Relearning"));
  const rows = relearned(experiment);
  if (!rows.length) return panel.append(empty("This study has no relearn_results.json (config key relearning.attacks)."));
  const attacks = distinct(rows.map((row) => row.attack));
  const metrics = distinct(rows.filter((row) => isNumber(row.step) && !row.of).map((row) => row.metric));
  const state = { attack: attacks[0], metric: metrics.includes("slot_accuracy") ? "slot_accuracy" : metrics[0], trajectory: "" };
  const names = [...experiment.trajectories.keys()].filter((name) => rows.some((row) => experiment.model(row.model).trajectory === name));
  const label = (name) => { const first = experiment.trajectories.get(name)[0]; return `${first.method_label.split(" (")[0]}, ${first.setting}`; };
  const build = () => {
    const own = rows.filter((row) => row.attack === state.attack && row.metric === state.metric && isNumber(row.step)).sort((a, b) => a.step - b.step);
    const of = (model) => own.filter((row) => row.model === model);
    const data = [], listed = [];
    const oracles = distinct(own.filter((row) => experiment.model(row.model).kind === "oracle").map((row) => row.model));
    for (const [i, model] of oracles.entries()) {
      const points = of(model);
      listed.push(...points);
      data.push({ type: "scatter", mode: "lines", x: points.map((row) => row.step), y: points.map((row) => row.value), line: { color: color("soft"), width: 1.5 }, name: "oracles", legendgroup: "oracles", showlegend: i === 0, text: points.map((row) => plotText(`${experiment.label(model)}: ${withInterval(row)}`)), hoverinfo: "text" });
    }
    const models = distinct(own.map((row) => row.model)).filter((model) => experiment.model(model).kind === "unlearned" && (!state.trajectory || experiment.model(model).trajectory === state.trajectory));
    for (const model of models) {
      const entry = experiment.model(model), points = of(model), rank = experiment.trajectories.get(entry.trajectory).findIndex((one) => one.name === model);
      const [shade, line] = band(points.map((row) => row.step), points, seriesColor(entry.color), entry.label);
      listed.push(...points);
      data.push(...(state.trajectory ? [shade] : []), { ...line, line: { ...line.line, dash: DASHES[rank % DASHES.length] }, marker: { ...line.marker, symbol: SYMBOLS[rank % SYMBOLS.length] } });
    }
    const half = own.find((row) => row.model === "finetuned" && isNumber(row.value));
    const unseen = own.some((row) => row.shown === false);
    return {
      height: 480, data, rows: listed,
      alt: `Forget facts ${unseen ? "that the attacker did not show" : "(the attacker shows them all)"}: ${words(state.metric)} while training goes on with ${attackWords(state.attack)}. Step 0 is the checkpoint itself. Grey: oracles under the same attack. Dotted: half of what the finetuned model knows.${state.trajectory ? ` Bands are ${100 * experiment.about.confidence} % intervals over people.` : " Choose one training to see its intervals."}`,
      layout: {
        xaxis: { title: { text: "optimizer steps of the attack" } }, yaxis: { title: { text: words(state.metric) }, rangemode: "tozero" },
        shapes: half ? [{ type: "line", x0: 0, x1: 1, xref: "paper", y0: half.value / 2, y1: half.value / 2, line: { dash: "dot", width: 1, color: color("text") } }] : [],
      },
      columns: [{ label: "model", value: (row) => experiment.label(row.model) }, { key: "step", label: "step" }, ...VALUE_COLUMNS, { key: "n", label: "questions" }, { key: "n_people", label: "people" }],
    };
  };
  const plot = figure(experiment.id("relearning-plot"), build);
  panel.append(el("div", { class: "controls" },
    select(experiment.id("relearning-attack"), "The attacker shows", attacks.map((one) => [one, attackWords(one)]), state.attack, (value) => { state.attack = value; plot.draw(); }).field,
    select(experiment.id("relearning-metric"), "Metric", metrics.map((one) => [one, words(one)]), state.metric, (value) => { state.metric = value; plot.draw(); }).field,
    select(experiment.id("relearning-training"), "Training", [["", "all"], ...names.map((one) => [one, label(one)])], state.trajectory, (value) => { state.trajectory = value; plot.draw(); }).field), plot.element);
}
