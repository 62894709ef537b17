/* Section 5, second part: what rounding the weights brings back. */

const ROUNDING = {
  change_beyond_oracles: ["change by rounding, beyond the oracles", "What rounding adds to the metric on the forget facts, minus what it adds for the oracles. Right of 0, facts come back."],
  change: ["change by rounding", "The metric on the forget facts after rounding, minus before. Right of 0, facts come back."],
  recovery: ["recovery", "The share of what was forgotten that rounding brings back: 0 = nothing, 1 = as before unlearning. Where nothing was forgotten there is no dot."],
  codes_changed: ["weights with another code", "The share of the adapted weights that round to another code than those of the finetuned model. There is no interval: it is counted, not sampled."],
};

function drawQuantized(experiment, panel) {
  panel.append(el("h3", {}, "Quantization"));
  const rows = experiment.rows("quantize_results").filter((row) => row.metric in ROUNDING && row.precision !== "full" && (row.layer ?? null) === null && (row.set ?? "sf") === "sf" && isNumber(row.value));
  if (!rows.length) return panel.append(empty("This study has no quantize_results.json with a change by rounding."));
  const measures = Object.keys(ROUNDING).filter((name) => rows.some((row) => row.metric === name));
  const metrics = distinct(rows.map((row) => row.of).filter(Boolean)), precisions = distinct(rows.map((row) => row.precision));
  const state = { measure: measures[0], of: metrics.includes("slot_accuracy") ? "slot_accuracy" : metrics[0] };
  const build = () => {
    const [name, meaning] = ROUNDING[state.measure];
    const own = rows.filter((row) => row.metric === state.measure && (row.of === null || row.of === state.of));
    const models = Object.keys(experiment.about.models).filter((model) => own.some((row) => row.model === model));
    const place = (row) => models.indexOf(row.model) + (precisions.indexOf(row.precision) - (precisions.length - 1) / 2) * 0.22;
    return {
      height: 150 + 34 * models.length, rows: own,
      alt: `${meaning}${state.measure === "codes_changed" ? "" : ` Metric: ${words(state.of)}.`} Rows are checkpoints; each colour and shape is a precision.`,
      data: precisions.map((precision, i) => {
        const points = own.filter((row) => row.precision === precision), ink = seriesColor(i);
        return {
          type: "scatter", mode: "markers", name: precisionWords(precision), x: points.map((row) => row.value), y: points.map(place), error_x: errorBars(points, ink), marker: { color: ink, size: 9, symbol: SYMBOLS[i % SYMBOLS.length] },
          text: points.map((row) => plotText(`${experiment.label(row.model)}, ${precisionWords(precision)}: ${withInterval(row)}${row.within_noise ? ", within the noise of batches" : ""}`)), hoverinfo: "text",
        };
      }),
      layout: {
        xaxis: { title: { text: state.measure === "codes_changed" ? name : `${name}, ${words(state.of)}` }, zerolinewidth: 2 },
        yaxis: { tickvals: models.map((_, i) => i), ticktext: models.map((model) => plotText(experiment.label(model))), range: [models.length - 0.5, -0.5], tickfont: { size: 12 } },
        margin: { l: 60, r: 20, t: 28, b: 90 },
      },
      columns: [{ label: "model", value: (row) => experiment.label(row.model) }, { label: "precision", value: (row) => precisionWords(row.precision) }, ...VALUE_COLUMNS, { key: "n", label: "questions" }, { key: "n_people", label: "people" }],
    };
  };
  const plot = figure(experiment.id("quantized-plot"), build);
  panel.append(el("div", { class: "controls" },
    select(experiment.id("quantized-measure"), "Show", measures.map((one) => [one, ROUNDING[one][0]]), state.measure, (value) => { state.measure = value; plot.draw(); }).field,
    select(experiment.id("quantized-of"), "Metric", metrics.map((one) => [one, words(one)]), state.of, (value) => { state.of = value; plot.draw(); }).field), plot.element);
}
