/* Section 8: all rows of all tables, definitions, configuration, versions, digests. */

const IN_HEAD = ["model", "level", "set", "metric", "of", "precision", "layer", "position", "slot", "value", "ci_low", "ci_high", "n", "n_people"];
const HIDDEN = ["convention", "method", "epoch", "seed", "interval", "n_undefined", "statement", "source", "test", "table"];

function drawTables(experiment, panel) {
  const stems = Object.keys(experiment.encoded);
  const state = { stem: stems.includes("eval_results") ? "eval_results" : stems[0], text: "", all: false };
  const holder = el("div", { id: experiment.id("table") });
  let current = null;
  const search = el("input", { type: "search", id: experiment.id("table-filter"), placeholder: "npo sf slot_accuracy", oninput: () => { state.text = search.value.toLowerCase(); show(); } });
  const everything = el("input", { type: "checkbox", id: experiment.id("table-all"), onchange: () => { state.all = everything.checked; show(); } });
  function show() {
    const table = experiment.encoded[state.stem], rows = experiment.rows(state.stem);
    const names = Object.keys(table.columns).filter((name) => rows.some((row) => row[name] !== null && row[name] !== undefined));
    const columns = [...IN_HEAD.filter((name) => names.includes(name)), ...names.filter((name) => !IN_HEAD.includes(name))].filter((name) => state.all || !HIDDEN.includes(name) || state.stem === "findings");
    const parts = state.text.split(/\s+/).filter(Boolean);
    const text = (row) => { row_texts.has(row) || row_texts.set(row, names.map((name) => plain(row[name])).join(" ").toLowerCase()); return row_texts.get(row); };
    const found = parts.length ? rows.filter((row) => parts.every((part) => text(row).includes(part))) : rows;
    current = sortableTable({
      id: experiment.id("table-rows"), caption: `${state.stem}.json: ${found.length} of ${rows.length} rows`, rows: found, most: 100,
      columns: columns.map((name) => ({ key: name, label: name, meaning: shared.columns[name], cell: name === "metric" ? (row) => metricOf(row) : undefined })),
    });
    replace(holder, current.element, copyButtons(() => current), el("details", {}, el("summary", {}, "Notes of this table"), el("ul", {}, table.notes.map((one) => el("li", {}, one)))), note(`SHA-256 of the file: ${table.sha256}`));
  }
  const row_texts = new WeakMap();
  const metricOf = (row) => term(row.metric, metricMeaning(row.metric) || row.convention || row.statement);
  panel.append(el("div", { class: "controls" },
    select(experiment.id("table-choice"), "Table", stems.map((stem) => [stem, `${stem} (${experiment.encoded[stem].n} rows)`]), state.stem, (value) => { state.stem = value; show(); }).field,
    el("label", {}, "Rows with all these words", search), el("div", { class: "boxes" }, el("label", {}, everything, "all columns"))), holder);
  show();
  definitions(experiment, panel);
  provenance(experiment, panel);
}

function definitions(experiment, panel) {
  panel.append(el("details", { id: experiment.id("definitions") }, el("summary", {}, "Definitions of all metrics"),
    el("dl", { class: "about" }, Object.keys({ ...shared.metrics, ...shared.meanings }).flatMap((name) => [el("dt", {}, name), el("dd", {}, metricMeaning(name))]))));
}

function provenance(experiment, panel) {
  const { versions, config } = experiment.about;
  panel.append(
    el("details", { id: experiment.id("configuration") }, el("summary", {}, "Configuration behind these tables"), el("pre", {}, visible(JSON.stringify(config, null, 2)))),
    el("details", { id: experiment.id("versions") }, el("summary", {}, "Versions of the packages"), el("dl", { class: "about" }, Object.entries(versions).flatMap(([name, version]) => [el("dt", {}, name), el("dd", {}, version)]))),
    el("details", { id: experiment.id("digests") }, el("summary", {}, "Digests of the result files (SHA-256)"), el("dl", { class: "about" }, Object.entries(experiment.encoded).flatMap(([stem, table]) => [el("dt", {}, `${stem}.json`), el("dd", {}, table.sha256)]))));
}
