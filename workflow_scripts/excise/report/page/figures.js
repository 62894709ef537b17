/* Figures: Plotly drawn over the rows, in the colours of the page, each with its numbers as a table. */

const drawn = new Map(); // element → function that draws it again

function color(name) {
  const probe = el("span", { style: `color: var(--${name}); display: none` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
const seriesColor = (number) => color(`series-${((number % 10) + 10) % 10}`);
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down", "hexagon", "pentagon"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const faded = (rgb, share) => rgb.replace(/^rgba?\(([^)]+)\)$/, (_, parts) => `rgba(${parts.split(",").slice(0, 3).join(",")},${share})`);

function layoutOf(own) {
  const axis = { gridcolor: color("line"), zerolinecolor: color("line"), linecolor: color("line"), automargin: true };
  const axes = Object.fromEntries(Object.entries(own).filter(([key]) => /^[xy]axis\d*$/.test(key)).map(([key, value]) => [key, { ...axis, ...value }]));
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("text"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 60, r: 20, t: 28, b: 60 }, hovermode: "closest",
    hoverlabel: { bgcolor: color("card"), bordercolor: color("line"), font: { color: color("text") }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("soft"), activecolor: color("text") },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" }, ...own, ...axes,
  };
}

/**
 * A figure.
 * build() → {data, layout, height, alt, columns, rows}; it is called again when colours change.
 */
function figure(id, build, { onclick } = {}) {
  const plot = el("div", { class: "plot", id, role: "img", style: "min-height: 12rem" });
  const caption = el("figcaption");
  const numbers = el("details", { class: "numbers" }, el("summary", {}, "The numbers of this figure"));
  const holder = el("figure", {}, plot, caption, numbers);
  let last = null;
  numbers.addEventListener("toggle", () => showNumbers());
  function showNumbers() {
    const old = numbers.querySelector(".scroll")?.parentElement;
    if (old) old.remove();
    if (numbers.open && last?.rows) numbers.append(sortableTable({ caption: last.alt, columns: last.columns, rows: last.rows }).element);
  }
  function draw() {
    last = build();
    plot.setAttribute("aria-label", last.alt);
    caption.textContent = last.alt;
    numbers.hidden = !last.rows?.length;
    plot.style.height = `${last.height || 420}px`;
    Plotly.react(plot, last.data, layoutOf(last.layout), { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"], toImageButtonOptions: { format: "svg", filename: id } });
    if (onclick && !plot.dataset.listens) {
      plot.dataset.listens = "yes";
      plot.on("plotly_click", (event) => onclick(event.points[0]));
    }
    showNumbers();
  }
  whenSeen(plot, () => { drawn.set(plot, draw); draw(); });
  return { element: holder, draw: () => { if (drawn.has(plot)) draw(); } };
}

/** Figures are drawn when they come near the window: the page opens at once. */
const waiting = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) start(entry.target);
}, { rootMargin: "600px" });
function whenSeen(element, action) {
  waiting.set(element, action);
  observer.observe(element);
}
function start(element) {
  const action = waiting.get(element);
  waiting.delete(element);
  observer.unobserve(element);
  if (action) action();
}
const startAll = () => [...waiting.keys()].filter((element) => element.isConnected).forEach(start);

function redrawAll() {
  for (const [plot, draw] of drawn) plot.isConnected ? draw() : drawn.delete(plot);
}

/** Distances from the value to the limits, as Plotly wants them. */
function errorBars(rows, rgb) {
  return {
    type: "data", symmetric: false, color: faded(rgb, 0.55), thickness: 1.2, width: 0,
    array: rows.map((row) => (isNumber(row.ci_high) && isNumber(row.value) ? row.ci_high - row.value : 0)),
    arrayminus: rows.map((row) => (isNumber(row.ci_low) && isNumber(row.value) ? row.value - row.ci_low : 0)),
  };
}

const VALUE_COLUMNS = [
  { key: "value", label: "value" },
  { key: "ci_low", label: "lower limit" },
  { key: "ci_high", label: "upper limit" },
];
