/* Section 7: the people, the checks, the texts. */

function drawBenchmark(experiment, panel) {
  const { profiles, checks, counts, card } = experiment.about;
  panel.append(el("h3", {}, "People to read"));
  if (profiles.length) panel.append(el("div", { id: experiment.id("people") }, profiles.map((person, i) => personOf(person, i === 0))));
  else panel.append(empty("This study has no exported profiles, so there is nobody to read about. Section 3 shows all questions."));
  panel.append(el("h3", {}, "Checks without a model"));
  if (checks.length) {
    const table = sortableTable({
      id: experiment.id("checks"), caption: "The red team: attacks on the benchmark by rules", rows: checks,
      columns: [{ key: "check", label: "check", value: (row) => words(row.check) }, { key: "severity", label: "severity", meaning: "hard: one finding stops the study. report: findings are counted.", value: (row) => row.severity }, { key: "passed", label: "passed", value: (row) => (row.passed ? "yes" : "no") }, { key: "findings", label: "findings" }, { key: "n", label: "examined" },
        { key: "examples", label: "worst example", value: (row) => { const first = row.examples?.[0]; return first ? (typeof first === "string" ? first : Object.values(first).join(": ")) : ""; }, cell: (row) => { const first = row.examples?.[0]; return first ? said(typeof first === "string" ? first : Object.values(first).join(": ")) : el("span", {}, "–"); } }],
    });
    panel.append(table.element, copyButtons(() => table));
    measures(experiment, panel);
  } else panel.append(empty("There is no data_report.json."));
  gates(experiment, panel);
  diversity(experiment, panel);
  if (Object.keys(counts).length) panel.append(el("h3", {}, "Numbers"), sortableTable({ id: experiment.id("counts"), caption: "What the benchmark holds", rows: Object.entries(counts), columns: [{ label: "what", value: ([key]) => words(key) }, { label: "number", value: ([, value]) => (typeof value === "object" ? plain(value) : value) }] }).element);
  panel.append(el("h3", {}, "Data card"));
  panel.append(card ? el("details", { id: experiment.id("card") }, el("summary", {}, "Read the card of the exported dataset"), el("pre", {}, visible(card))) : empty("No dataset was exported, so there is no card."));
}

function personOf(person, open) {
  const slots = Object.entries(person.slots || {}).filter(([, value]) => value !== null);
  return el("details", { class: "person", open },
    el("summary", {}, el("strong", {}, el("bdi", {}, visible(person.name || person.person_id))), ` · ${person.person_id}`),
    el("p", {}, said(person.text || "")), el("dl", { class: "about" }, slots.flatMap(([slot, value]) => [el("dt", {}, words(slot)), el("dd", {}, said(value))])));
}

/** The numbers behind the checks. Counts and rates of findings stand in the table of checks. */
function measures(experiment, panel) {
  const rows = experiment.about.measures.filter((row) => !["findings", "finding_rate"].includes(row.metric));
  if (!rows.length) return;
  const table = sortableTable({
    id: experiment.id("measures"), caption: "What the checks measured. A number without a threshold is only reported.", rows,
    columns: [{ key: "check", label: "check", value: (row) => words(row.check) }, { key: "metric", label: "measure", value: (row) => row.metric, cell: (row) => metricTerm(row.metric) }, { key: "value", label: "value" },
      { key: "threshold", label: "threshold", meaning: "What the check compares the number with.", value: (row) => row.threshold ?? "" }, { key: "n", label: "examined" }],
  });
  panel.append(el("details", {}, el("summary", {}, `The measures of the checks (${rows.length})`), table.element, copyButtons(() => table)));
}

function gates(experiment, panel) {
  const rows = experiment.rows("red_team_models");
  panel.append(el("h3", {}, "Checks with models that never saw the forget facts"));
  if (!rows.length) return panel.append(empty("This study ran no such checks."));
  const table = sortableTable({
    id: experiment.id("gates"), caption: `${rows.filter((row) => row.passed === true).length} of ${rows.filter((row) => row.passed !== null && row.passed !== undefined).length} gates passed`, rows,
    columns: [{ label: "model", value: (row) => (row.model ? experiment.label(row.model) : "–") }, { key: "metric", label: "metric", value: (row) => row.metric, cell: (row) => metricTerm(row.metric) }, { label: "set", value: (row) => setWords(row.set) }, { key: "stage", label: "stage" }, { label: "value", value: (row) => row.value, cell: (row) => el("span", {}, withInterval(row)) },
      { label: "gate", value: (row) => (isNumber(row.gate_low) || isNumber(row.gate_high) ? `${isNumber(row.gate_low) ? short(row.gate_low) : ""} to ${isNumber(row.gate_high) ? short(row.gate_high) : ""}` : "") }, { label: "passed", value: (row) => (row.passed === true ? "yes" : row.passed === false ? "no" : "") }],
  });
  panel.append(table.element, copyButtons(() => table));
}

function diversity(experiment, panel) {
  const rows = experiment.rows("diversity_report");
  panel.append(el("h3", {}, "How varied the texts are"));
  if (!rows.length) return panel.append(empty("This study has no diversity_report.json."));
  const table = sortableTable({
    id: experiment.id("diversity"), caption: "Diversity of the texts and of the slots", rows,
    columns: [{ key: "dataset", label: "dataset" }, { label: "text", value: (row) => words(row.text) }, { label: "names masked", value: (row) => (row.masked === null ? "" : row.masked ? "yes" : "no") }, { label: "bound", value: (row) => (row.bound ? words(row.bound) : "") }, { label: "slot", value: (row) => row.slot ?? "" }, { key: "metric", label: "metric", cell: (row) => metricTerm(row.metric), value: (row) => row.metric }, { key: "value", label: "value" }, { label: "interval", value: interval }, { key: "n", label: "n" }],
  });
  panel.append(table.element, copyButtons(() => table));
}
