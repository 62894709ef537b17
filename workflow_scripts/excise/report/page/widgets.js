/* Parts of the page. Every text goes in as text: nothing that a model wrote is ever read as HTML. */

/** An element: properties, `data-`, `aria-` and `on…` listeners, then children (text or elements). */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const replace = (parent, ...children) => parent.replaceChildren(...children.flat().filter(Boolean));
const note = (text) => el("p", { class: "note" }, text);
const empty = (text) => el("p", { class: "empty" }, text);

/** Control characters become visible signs, so that they cannot change how the rest is shown. */
function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (one) => {
    const code = one.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}

/** Something that a model or the benchmark said: isolated, so that right-to-left text stays inside. */
const said = (text) => el("bdi", { class: "said", dir: "auto" }, visible(text));

function select(id, label, options, chosen, change) {
  const box = el("select", { id, onchange: () => change(box.value) },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
  return { box, field: el("label", {}, label, box) };
}

function checkboxes(label, options, change) {
  const boxes = options.map(([value, text]) => el("input", { type: "checkbox", value, checked: true, onchange: change, "aria-label": text }));
  const field = el("div", { class: "group", role: "group", "aria-label": label }, label,
    el("div", { class: "boxes" }, options.map(([, text], i) => el("label", {}, boxes[i], text))));
  return { field, chosen: () => boxes.filter((box) => box.checked).map((box) => box.value) };
}

/** A word with its meaning: shown on hover and on keyboard focus. */
function term(text, meaning) {
  if (!meaning) return el("span", {}, text);
  return el("span", { class: "term", tabindex: "0", "data-tip": meaning, "aria-describedby": "tip" }, text);
}

function metricMeaning(name) {
  const known = shared.metrics[name];
  if (!known) {
    const meaning = shared.meanings[name] || shared.columns[name] || "";
    return shared.conventions[name] ? `${meaning} Convention: ${shared.conventions[name]}.` : meaning;
  }
  const direction = known.higher_means === "neither" ? "" : ` Higher = more ${known.higher_means}.`;
  return `${known.definition} Convention: ${known.convention || "–"}.${direction}`;
}
const metricTerm = (name) => term(words(name), metricMeaning(name));

function startTips() {
  const tip = document.getElementById("tip");
  const show = (event) => {
    const owner = event.target.closest?.("[data-tip]");
    if (!owner) return;
    tip.textContent = owner.dataset.tip;
    tip.hidden = false;
    const place = owner.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(place.left, innerWidth - tip.offsetWidth - 8))}px`;
    const below = place.bottom + 6;
    tip.style.top = `${below + tip.offsetHeight > innerHeight ? Math.max(4, place.top - tip.offsetHeight - 6) : below}px`;
  };
  const hide = () => { tip.hidden = true; };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("mouseout", hide);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", hide, true);
}

/* --- tables --- */

const plain = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

function compare(a, b) {
  const one = a === null || a === undefined || a === "", two = b === null || b === undefined || b === "";
  if (one || two) return one - two; // what is missing comes last
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/**
 * A table that its heads sort.
 * columns: [{key, label, meaning, cell(row) → text or element, value(row) for sorting and copying}]
 */
function sortableTable({ id, caption, columns, rows, most = 200, whole = false }) {
  let shown = most, order = null, direction = 1;
  const body = el("tbody");
  const more = el("button", { type: "button", onclick: () => { shown += 1000; fill(); } });
  const value = (column, row) => (column.value ? column.value(row) : row[column.key]);
  const heads = columns.map((column) => {
    const head = el("th", { scope: "col", "aria-sort": "none" });
    head.append(el("button", {
      type: "button", "data-tip": column.meaning || null, "aria-describedby": column.meaning ? "tip" : null,
      onclick: () => {
        direction = order === column ? -direction : 1;
        order = column;
        heads.forEach((one) => one.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        fill();
      },
    }, column.label));
    return head;
  });
  const sorted = () => (order ? [...rows].sort((a, b) => {
    const [x, y] = [value(order, a), value(order, b)];
    const missing = (one) => one === null || one === undefined || one === "";
    return missing(x) || missing(y) ? compare(x, y) : direction * compare(x, y);
  }) : rows);
  const cell = (column, row) => {
    const content = column.cell ? column.cell(row) : value(column, row);
    const number = typeof content === "number";
    return el("td", { class: number || column.numeric ? "number" : null },
      content instanceof Node ? content : visible(number ? short(content) : plain(content)));
  };
  function fill() {
    replace(body, sorted().slice(0, shown).map((row) =>
      el("tr", {}, columns.map((column) => cell(column, row)))));
    more.textContent = `Show more (${Math.max(0, rows.length - shown)} rows left)`;
    more.hidden = rows.length <= shown;
  }
  const table = el("table", { id }, caption ? el("caption", {}, caption) : null, el("thead", {}, el("tr", {}, heads)), body);
  fill();
  return {
    element: el("div", {}, el("div", { class: whole ? "scroll whole" : "scroll", tabindex: "0", role: "region", "aria-label": caption || "table" }, table), more),
    copy: (form) => copyTable(form, columns.map((column) => column.label),
      sorted().map((row) => columns.map((column) => plain(value(column, row))))),
  };
}

const LATEX = { "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
const FORMS = {
  CSV: (heads, rows) => [heads, ...rows].map((row) => row.map((one) => (/[",\r\n]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one)).join(",")).join("\r\n") + "\r\n",
  Markdown: (heads, rows) => {
    const line = (row) => `| ${row.map((one) => one.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replace(/\s*[\r\n]+\s*/g, " ")).join(" | ")} |`;
    return [line(heads), `|${heads.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n") + "\n";
  },
  LaTeX: (heads, rows) => {
    const safe = (one) => one.replace(/[\\{}&%$#_~^]/g, (sign) => LATEX[sign]).replace(/\s*[\r\n]+\s*/g, " ");
    const line = (row) => `${row.map(safe).join(" & ")} \\\\`;
    return [`\\begin{tabular}{${"l".repeat(heads.length)}}`, "\\hline", line(heads), "\\hline", ...rows.map(line), "\\hline", "\\end{tabular}"].join("\n") + "\n";
  },
};

async function copyTable(form, heads, rows) {
  const text = FORMS[form](heads, rows);
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = false; // some browsers allow no clipboard to files
  }
  document.getElementById("copied-note").textContent = done
    ? `${rows.length} rows are on the clipboard as ${form}.`
    : `Press Ctrl+C to copy these ${rows.length} rows as ${form}.`;
  const area = document.getElementById("copied-text");
  area.value = text;
  document.getElementById("copied").showModal();
  area.select();
  return text;
}

const copyButtons = (table) =>
  el("div", { class: "controls copy" }, Object.keys(FORMS).map((form) =>
    el("button", { type: "button", "data-copy": form, onclick: () => table().copy(form) }, `Copy as ${form}`)));
