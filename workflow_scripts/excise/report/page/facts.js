/* Section 3: one fact, every model, every way of asking. */

const KINDS = {
  t: { sign: "✓", text: "the true value" },
  o: { sign: "≠", text: "another value" },
  r: { sign: "∅", text: "a refusal" },
  g: { sign: "≋", text: "gibberish" },
  x: { sign: "…", text: "other text" },
  n: { sign: "✗", text: "not the true value" },
  u: { sign: "·", text: "not judged: the fact has no value" },
};
const mark = (kind) => el("span", { class: "mark", role: "img", "aria-label": KINDS[kind]?.text || "not asked" }, KINDS[kind]?.sign || "–");
const PLAIN = ["sf", "correlated", "other", "retain", "utility"];
const factWords = (fact) => words(fact.slot ?? fact.key);
const trueText = (fact) => fact.value ?? fact.answer;
const FEW = 120;

/** Facts with their scores: how much was lost (retain) or still known (forget) over all checkpoints. */
function factsOf(experiment) {
  const { subjects, people } = experiment.answers;
  const checkpoints = subjects.map(([model, , attack], i) => (model.startsWith("unlearn/") && !attack ? i : -1)).filter((i) => i >= 0);
  const before = subjectNumber(experiment, "finetuned");
  const isPlain = (i) => subjects[i][1] === "full";
  const versions = new Map(checkpoints.filter(isPlain).map((plain) => [plain, subjects.map((_, i) => i).filter((i) => subjects[i][0] === subjects[plain][0])]));
  return people.flatMap((person) => person.facts.map((fact) => {
    const kinds = fact.asked.flatMap((one) => checkpoints.map((i) => one.kinds[i])).filter((kind) => kind !== "-" && kind !== "u");
    const known = kinds.length ? kinds.filter((kind) => kind === "t").length / kinds.length : null;
    const forget = fact.group === "sf";
    const learned = before < 0 || "tu".includes(plainOf(fact).kinds[before]); // what was never learned cannot be lost
    const score = known === null || !learned ? null : forget ? known : 1 - known;
    return { ...fact, at: `${person.person_id}.${fact.key}${forget ? "" : ".retain"}`, ...(forget && learned && known !== null ? comebacks(subjects, versions, fact) : { missed: 0, back: 0 }), person: person.person_id, name: experiment.person(person.person_id), forget, learned, score };
  }));
}

/** How many checkpoints miss a fact as trained, and how many of these state it in another way that did not show it. */
function comebacks(subjects, versions, fact) {
  const { kinds } = plainOf(fact);
  const missed = [...versions].filter(([plain]) => kinds[plain] !== "t" && kinds[plain] !== "-");
  const states = (i) => fact.asked.some((asked) => asked.kinds[i] === "t" && !asked.shown.includes(subjects[i][2]));
  return { missed: missed.length, back: missed.filter(([, own]) => own.some(states)).length };
}

const plainOf = (fact) => fact.asked.find((one) => PLAIN.includes(one.set)) || fact.asked[0];

function haystack(experiment, fact) {
  if (!fact.search) {
    const texts = experiment.answers.texts;
    const saidTexts = distinct(fact.asked.flatMap((one) => one.said)).filter((i) => i >= 0).map((i) => texts[i]);
    fact.search = [fact.name, fact.person, factWords(fact), fact.value ?? "", fact.answer, ...fact.asked.map((one) => one.question), ...saidTexts].join("\n").toLowerCase();
  }
  return fact.search;
}

const ORDERS = {
  telling: ["most telling first", (a, b) => ((a.group === "utility") - (b.group === "utility")) || compare(b.score ?? -1, a.score ?? -1)],
  resistant: ["most resistant forget facts first", (a, b) => (b.forget - a.forget) || compare(b.score ?? -1, a.score ?? -1)],
  damaged: ["most damaged retain and utility facts first", (a, b) => (a.forget - b.forget) || compare(b.score ?? -1, a.score ?? -1)],
  back: ["came back first", (a, b) => (b.forget - a.forget) || compare(b.back, a.back) || compare(b.score ?? -1, a.score ?? -1)],
  person: ["by person", (a, b) => compare(a.name, b.name) || (b.forget - a.forget) || compare(a.slot, b.slot)],
};

function drawFacts(experiment, panel) {
  if (!experiment.answers?.people.length) return panel.append(empty("This study has no records of generated answers, so there is nothing to read here."));
  const facts = factsOf(experiment);
  const state = { text: "", person: "", slot: "", group: "", order: "telling", fact: null, trajectory: [...experiment.trajectories.keys()].at(-1) || null };
  const detail = el("div", { id: experiment.id("fact"), "aria-live": "polite" });
  const list = el("ul", { class: "list", id: experiment.id("fact-list"), "aria-label": "Facts" });
  const count = el("p", { class: "note", id: experiment.id("fact-count"), role: "status" });
  const search = el("input", { type: "search", id: experiment.id("fact-search"), placeholder: "name, value, words …", oninput: () => { state.text = search.value.toLowerCase(); fill(); } });
  const options = (values, all, write = (one) => one) => [["", all], ...values.map((one) => [one, write(one)])];
  const chooser = (key, label, entries) => select(experiment.id(`fact-${key}`), label, entries, state[key], (value) => { state[key] = value; fill(); }).field;
  const controls = el("div", { class: "controls" },
    el("label", {}, "Search", search),
    chooser("order", "Order", Object.entries(ORDERS).map(([key, [text]]) => [key, text])),
    chooser("group", "Facts", options(distinct(facts.map((one) => one.group)), "all facts", setWords)),
    experiment.about.people ? chooser("person", "Person", options(distinct(facts.map((one) => one.person)), "all people", (one) => experiment.person(one))) : null,
    chooser("slot", "Slot", options(distinct(facts.map((one) => one.slot).filter((slot) => slot !== null)), "all slots", words)));

  let shown = FEW;
  function fill(keep = false) {
    if (!keep) shown = FEW;
    const parts = state.text.split(/\s+/).filter(Boolean);
    const found = facts.filter((one) => (!state.group || one.group === state.group) && (!state.person || one.person === state.person) && (!state.slot || one.slot === state.slot)
      && parts.every((part) => haystack(experiment, one).includes(part))).sort(ORDERS[state.order][1]);
    count.textContent = `${found.length} of ${facts.length} facts` + (experiment.about.people_shown.length < experiment.about.shown_of ? ` (of ${experiment.about.people_shown.length} of ${experiment.about.shown_of} ${experiment.about.people ? "people" : "facts"}: the most damaged, the most resistant, and others by chance; all records are in results/eval, results/quantize and results/relearn)` : "");
    replace(list, found.slice(0, shown).map(entry),
      found.length > shown ? el("li", {}, el("button", { type: "button", onclick: () => { shown += 500; fill(true); } }, `${found.length - shown} more …`)) : null);
  }
  const scoreText = (fact) => {
    if (fact.score === null) return fact.learned ? "" : "never learned";
    if (state.order === "back" && fact.missed) return `came back: ${fact.back} of ${fact.missed}`;
    return `${Math.round(100 * fact.score)} % ${fact.forget ? "still known" : "lost"}`;
  };
  const entry = (fact) => el("li", {}, el("button", { type: "button", "aria-current": fact === state.fact ? "true" : "false", onclick: () => choose(fact), "data-fact": fact.at },
    el("span", { class: "who" }, visible(fact.name)), el("span", { class: "how" }, scoreText(fact)),
    el("span", { class: "what" }, `${factWords(fact)}: `, el("bdi", {}, visible(trueText(fact)))), el("span", { class: "what" }, setWords(fact.group))));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...list.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) { event.preventDefault(); next.focus(); }
  });
  function choose(fact) {
    state.fact = fact;
    for (const button of list.querySelectorAll("[data-fact]")) button.setAttribute("aria-current", button.dataset.fact === fact.at ? "true" : "false");
    showFact(experiment, detail, facts, state, choose);
  }
  experiment.showTrajectory = (name) => { state.trajectory = name; choose(state.fact); };
  panel.append(controls, count, el("div", { class: "facts" }, list, detail));
  fill();
  choose([...facts].sort(ORDERS.telling[1]).find((one) => one.forget) || facts[0]);
}

function showFact(experiment, detail, facts, state, choose) {
  const { fact } = state;
  const again = () => showFact(experiment, detail, facts, state, choose);
  const question = plainOf(fact);
  replace(detail,
    el("h3", {}, visible(fact.name), ` · ${factWords(fact)}`, fact.group === fact.person ? "" : ` · ${setWords(fact.group)}`),
    el("p", { class: "fact-head" }, el("strong", {}, "Question: "), said(question.question)),
    el("p", { class: "fact-head" }, el("strong", {}, fact.value === null ? "True answer: " : "True value: "), said(trueText(fact))),
    el("div", { class: "legend" }, "Colours: ", Object.entries(KINDS).map(([kind, { text }]) => el("span", { class: `k k-${kind}` }, mark(kind), text))),
    overview(experiment, question, state, again),
    el("h3", {}, "Every way of asking"), waysTable(experiment, fact, state),
    el("h3", {}, fact.group === "utility" ? "Other utility questions" : `Other facts of ${visible(fact.name)}`), relatives(experiment, facts, state, choose));
}

const subjectNumber = (experiment, model, precision = "full", attack = null) => experiment.answers.subjects.findIndex(([one, at, after]) => one === model && at === precision && after === attack);

/** One line per training, one cell per checkpoint. */
function overview(experiment, question, state, again) {
  const epochs = distinct([...experiment.trajectories.values()].flat().map((one) => one.epoch)).sort((a, b) => a - b);
  const cell = (model) => answerCell(experiment, question, model ? subjectNumber(experiment, model) : -1, true);
  const beside = [...experiment.modelsOf("oracle"), ...experiment.others];
  const line = ([name, members]) => el("tr", {},
    el("th", { scope: "row" }, el("button", { type: "button", "aria-pressed": name === state.trajectory ? "true" : "false", onclick: () => { state.trajectory = name; again(); } }, `${members[0].method_label.split(" (")[0]}, ${members[0].setting}`)),
    cell("finetuned"), epochs.map((epoch) => cell(members.find((one) => one.epoch === epoch)?.name)), beside.map(cell));
  return el("div", { class: "scroll short" }, el("table", { class: "strip", id: experiment.id("fact-overview") },
    el("caption", {}, `Asked ${question.set === "utility" ? "once" : "as trained"}, after so many epochs of unlearning. Choose a training to read its answers below.`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "training"), el("th", { scope: "col" }, "before"), epochs.map((epoch) => el("th", { scope: "col" }, String(epoch))), beside.map((one) => el("th", { scope: "col" }, experiment.label(one))))),
    el("tbody", {}, [...experiment.trajectories].map(line))));
}

function answerCell(experiment, asked, number, brief = false) {
  const kind = number < 0 ? "-" : asked.kinds[number];
  if (kind === "-") return el("td", { class: "none" }, "–");
  const text = experiment.answers.texts[asked.said[number]];
  const shownText = visible(text);
  if (brief) return el("td", { class: `k k-${kind}`, "data-tip": shownText.slice(0, 300) || "(empty)", tabindex: "0" }, mark(kind), el("bdi", { class: "hidden-text", dir: "auto" }, shownText.slice(0, 300) || "(empty)"));
  return el("td", { class: `k k-${kind}`, "data-kind": kind }, mark(kind), text === "" ? el("em", {}, "(empty)") : said(text));
}

function waysTable(experiment, fact, state) {
  const { subjects } = experiment.answers;
  const members = experiment.trajectories.get(state.trajectory) || [];
  const models = [...experiment.modelsOf("finetuned"), ...members.map((one) => one.name), ...experiment.modelsOf("oracle"), ...experiment.modelsOf("base"), ...experiment.others].filter((model) => subjects.some(([one]) => one === model));
  const versions = [...new Map(subjects.map(([, ...version]) => [String(version), version])).values()]; // [precision, attack]
  const columns = [];
  for (const asked of fact.asked) for (const [precision, attack] of versions) {
    if ((precision !== "full" || attack) && !PLAIN.includes(asked.set)) continue;
    if (models.some((model) => { const i = subjectNumber(experiment, model, precision, attack); return i >= 0 && asked.kinds[i] !== "-"; })) columns.push({ asked, precision, attack });
  }
  columns.sort((a, b) => PLAIN.includes(b.asked.set) - PLAIN.includes(a.asked.set) || compare(a.asked.set, b.asked.set));
  const number = ({ asked }) => { const alike = fact.asked.filter((one) => one.set === asked.set); return alike.length > 1 ? ` ${alike.indexOf(asked) + 1}` : ""; };
  const way = (column) => (column.attack ? askedAs(RELEARNED + column.attack) : column.precision === "full" ? askedAs(column.asked.set) + number(column) : precisionWords(column.precision));
  const head = (column) => el("th", { scope: "col" }, term(way(column), visible(column.asked.question)),
    column.attack ? el("small", { class: "shown" }, column.asked.shown.includes(column.attack) ? "the attacker showed this fact" : "this fact was not shown") : null);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers" }, el("table", { class: "ways", id: experiment.id("fact-ways") },
    el("caption", {}, members.length ? `${members[0].method_label}, ${members[0].setting}, beside the finetuned model${experiment.others.length ? ", the oracles and models of others" : " and the oracles"}. A column is a way of asking; its head shows the question.${columns.some((one) => one.attack) ? " After relearning: the last step of the attack." : ""}` : "What each model said."),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "model"), columns.map(head))),
    el("tbody", {}, models.map((model) => el("tr", {}, el("th", { scope: "row" }, experiment.model(model).kind === "unlearned" ? `epoch ${experiment.model(model).epoch}` : experiment.label(model)),
      columns.map(({ asked, precision, attack }) => answerCell(experiment, asked, subjectNumber(experiment, model, precision, attack))))))));
}

/** The same person's other facts along the chosen training. */
function relatives(experiment, facts, state, choose) {
  const members = experiment.trajectories.get(state.trajectory) || [];
  const own = facts.filter((one) => one.person === state.fact.person && one !== state.fact);
  const order = ["correlated", "other", "retain", "utility", "sf"];
  own.sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
  const models = ["finetuned", ...members.map((one) => one.name), ...experiment.modelsOf("oracle").slice(0, 1)];
  const heads = ["before", ...members.map((one) => `epoch ${one.epoch}`), ...experiment.modelsOf("oracle").slice(0, 1).map((one) => experiment.label(one))];
  const last = members.at(-1)?.name;
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Other facts" }, el("table", { id: experiment.id("fact-relatives") },
    el("thead", {}, el("tr", {}, ["fact", "set", "true value", ...heads, "what the last checkpoint said"].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, own.map((one) => {
      const asked = plainOf(one), number = last ? subjectNumber(experiment, last) : -1;
      return el("tr", {}, el("th", { scope: "row" }, el("button", { type: "button", onclick: () => { choose(one); document.getElementById(experiment.id("fact")).scrollIntoView({ block: "nearest" }); } }, factWords(one))),
        el("td", {}, setWords(one.group)), el("td", {}, said(trueText(one))), models.map((model) => answerCell(experiment, asked, subjectNumber(experiment, model), true)),
        answerCell(experiment, asked, number));
    }))));
}
