/* The start: read the data, fill the sections, follow the colour scheme. */

const SECTIONS = [
  ["verdicts", drawVerdicts], ["trade-off", drawTradeOff], ["facts", drawFacts], ["correlated", drawCorrelated],
  ["comes-back", drawComesBack], ["inside", drawInside], ["benchmark", drawBenchmark], ["tables", drawTables],
];

function drawAbout(experiment, panel) {
  const { about } = experiment;
  const { config } = about;
  const model = config.model || {};
  const generation = config.generation || {};
  const kinds = (kind) => experiment.modelsOf(kind).length;
  const lines = [
    ["base model", model.path || model.hub?.repo || model.gguf?.file || "–"],
    ["people", `${about.people || about.counts.people || "–"}${about.counts.sf ? `: ${about.counts.sf} forget facts, ${about.counts.sr} retain facts` : ""}`],
    ["written by", generation.llm?.model || generation.backend || "–"],
    ["seeds", `data ${generation.seed ?? "–"}; oracles ${(config.oracle?.seeds || []).join(", ") || "–"}`],
    ["models", `${kinds("unlearned")} checkpoints of ${experiment.trajectories.size} trainings, ${kinds("oracle")} oracles${experiment.others.length ? `, ${kinds("audited")} audited, ${kinds("reference")} references` : ""}`],
    ...about.cost,
    ["intervals", `${100 * about.confidence} %, over ${experiment.clusters}`],
  ];
  if (about.toy) panel.append(el("p", { class: "warning", role: "note" }, el("strong", {}, "A toy model. "), "The base model is the small one that comes with Excise. It shows that every step works. It cannot decide what larger models do."));
  panel.append(el("dl", { class: "about" }, lines.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, visible(value))])));
}

function drawSection(id, draw, experiments) {
  const panels = document.querySelector(`#${id} > .panels`) || document.getElementById(id);
  for (const experiment of experiments) {
    const panel = el("div", { class: "panel", "data-experiment": experiment.about.name });
    if (experiments.length > 1) panel.append(el("h3", { class: "experiment" }, experiment.about.name));
    panels.append(panel);
    draw(experiment, panel);
  }
}

function startScheme() {
  const chooser = document.getElementById("scheme");
  chooser.addEventListener("change", () => {
    if (chooser.value) document.documentElement.dataset.scheme = chooser.value;
    else delete document.documentElement.dataset.scheme;
    redrawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
}

function startPrinting() {
  let before;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.scheme;
    document.documentElement.dataset.scheme = "light";
    startAll();
    redrawAll();
  });
  addEventListener("afterprint", () => {
    if (before) document.documentElement.dataset.scheme = before;
    else delete document.documentElement.dataset.scheme;
    redrawAll();
  });
}

/** Figures above a section grow when they are drawn. So a linked section is held in view for a moment, or until the reader acts. */
function startLinks() {
  let target = null, timer;
  const hold = () => target?.scrollIntoView();
  const follow = () => {
    target = document.getElementById(location.hash.slice(1));
    clearTimeout(timer);
    timer = setTimeout(() => { target = null; }, 4000);
    hold();
  };
  new ResizeObserver(hold).observe(document.querySelector("main"));
  for (const act of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(act, () => { target = null; }, { passive: true });
  addEventListener("hashchange", follow);
  if (location.hash) follow();
}

async function startPage() {
  const loading = document.getElementById("loading");
  try {
    const count = document.querySelectorAll("script.about").length;
    const experiments = await Promise.all(Array.from({ length: count }, (_, number) => Experiment.load(number)));
    document.documentElement.style.setProperty("--panels", count);
    document.querySelector("main").classList.toggle("several", count > 1);
    startScheme();
    startPrinting();
    startTips();
    drawSection("about", drawAbout, experiments);
    for (const [id, draw] of SECTIONS) drawSection(id, draw, experiments);
    if (count > 1) drawVerdictsTogether(experiments, document.querySelector("#verdicts > .panels"));
    loading.hidden = true;
    document.body.dataset.ready = "true";
    startLinks();
  } catch (error) {
    loading.className = "warning";
    loading.textContent = `This page cannot show its data: ${error.message}. A browser of 2023 or later is needed (DecompressionStream).`;
    throw error;
  }
}

startPage();
