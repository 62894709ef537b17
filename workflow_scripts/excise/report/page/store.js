"use strict";
/* The data of the page: read once from the <script> elements, decoded when first needed. */

const shared = JSON.parse(document.getElementById("shared").textContent);

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  if (!text) return null;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** Rows of a table that Python wrote as columns (coding.py). */
function decodeRows(table) {
  const rows = Array.from({ length: table.n }, () => ({}));
  for (const [name, column] of Object.entries(table.columns)) {
    for (let i = 0; i < table.n; i++) rows[i][name] = column.of ? column.of[column.at[i]] : column.is[i];
  }
  return rows;
}

class Experiment {
  constructor(number, about, tables, answers) {
    Object.assign(this, { number, about, encoded: tables, answers });
    this.decoded = new Map();
    this.attacks = decodeRows(about.attacks);
    this.openers = [];
  }

  static async load(number) {
    const about = JSON.parse(document.getElementById(`about-${number}`).textContent);
    return new Experiment(number, about, await unpack(`tables-${number}`), await unpack(`answers-${number}`));
  }

  /** An id that is unique in the page: the first experiment has the plain one. */
  id(name) {
    return this.number ? `${name}-${this.number}` : name;
  }

  has(stem) {
    return stem in this.encoded;
  }

  /** The rows of a table; none if the study has no such table. */
  rows(stem) {
    if (!this.has(stem)) return [];
    if (!this.decoded.has(stem)) this.decoded.set(stem, decodeRows(this.encoded[stem]));
    return this.decoded.get(stem);
  }

  model(name) {
    return this.about.models[name] || { kind: "unknown", label: String(name), short: String(name) };
  }

  label(name) {
    return this.model(name).label;
  }

  person(id) {
    return this.about.names[id] || (id === "utility" ? setWords(id) : id);
  }

  get trajectories() {
    const found = new Map();
    for (const [name, entry] of Object.entries(this.about.models)) {
      if (entry.kind !== "unlearned") continue;
      if (!found.has(entry.trajectory)) found.set(entry.trajectory, []);
      found.get(entry.trajectory).push({ name, ...entry });
    }
    for (const members of found.values()) members.sort((a, b) => a.epoch - b.epoch);
    return found;
  }

  modelsOf(kind) {
    return Object.keys(this.about.models).filter((name) => this.about.models[name].kind === kind);
  }

  /** Models that others made: references, then audited models. */
  get others() {
    return [...this.modelsOf("reference"), ...this.modelsOf("audited")];
  }

  /** What intervals are over: own files may have no persons. */
  get clusters() {
    return this.about.people ? "people" : "questions";
  }

  /** Who is told when a reader opens a checkpoint. */
  open(model) {
    for (const one of this.openers) one(model);
  }
}

const SET_WORDS = {
  sf: "forget",
  forget_paraphrased: "forget, in other words",
  forget_joint: "forget, in one prompt with a retain fact",
  retain_joint: "retain, in one prompt with a forget fact",
  forget_reversed: "forget, reversed question",
  forget_two_hop: "forget, two hops",
  forget_alias: "forget, other form of the name",
  correlated: "correlated retain",
  other: "other retain",
  retain: "retain",
  sr: "all retain",
  utility: "utility (real world)",
  gap: "gap: other − correlated",
  gap_response: "gap − gap at dose 0",
};
const setWords = (name) => SET_WORDS[name] || words(name);
const METRIC_WORDS = {
  uds: "UDS (patching)", uds_by_layer: "UDS by layer", lens_erasure: "erasure by the logit lens", lens_erasure_by_layer: "erasure by the logit lens, by layer",
  rougeL_recall: "ROUGE-L recall", rougeL_f1: "ROUGE-L F1", rougeL_recall_ascii: "ROUGE-L recall, ASCII", rougeL_f1_ascii: "ROUGE-L F1, ASCII",
  probability: "answer probability", truth_ratio_ks: "KS distance of the truth ratios to the oracles", logprob_drop: "drop of the log-probability", lost: "lost facts", angle_degrees: "angle (degrees)",
};
const words = (name) => METRIC_WORDS[name] || String(name ?? "none").replaceAll("_", " ");
const PRECISION_WORDS = { full: "full precision", int8: "INT8", nf4: "NF4 (4 bits)", fp4: "FP4 (4 bits)" };
const precisionWords = (name) => PRECISION_WORDS[name] || String(name);
const WAY_WORDS = { paraphrased: "in other words", joint: "two facts in one prompt", alias: "other form of the name", reversed: "reversed", two_hop: "two hops", utility: "utility question" };
/** How a set asks: `forget_paraphrased` → in other words. */
const askedAs = (set) => { if (set.startsWith(RELEARNED)) return `relearning: ${attackWords(set.slice(RELEARNED.length))}`; const kind = set.replace(/^(forget|retain)_/, ""); return ["sf", "correlated", "other", "retain"].includes(set) ? "as trained" : WAY_WORDS[kind] || words(kind); };
/** A way of asking: the set of questions and the precision. */
const wayWords = (set, precision) => (precision === "full" ? askedAs(set) : set === "sf" ? precisionWords(precision) : `${precisionWords(precision)}, ${askedAs(set)}`);

const distinct = (values) => [...new Set(values)];
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A number as text with three digits, and a real minus sign. */
function short(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  const text = value === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(1)
    : Number.isInteger(value) ? String(value) : size >= 100 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
  return text.replace("-", "−");
}

const interval = (row) =>
  isNumber(row.ci_low) && isNumber(row.ci_high) ? `[${short(row.ci_low)}, ${short(row.ci_high)}]` : "";
const withInterval = (row) => `${short(row.value)} ${interval(row)}`.trim();
