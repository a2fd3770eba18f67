"use strict";
// The sample browser: filters, a list that draws only the rows in sight, and the chosen sample. The address keeps the state.
AKI.onManifest((manifest) => {
  const ROW = 52;
  const AHEAD = 8;
  const by = (id) => document.getElementById(id);
  const { make, short } = AKI.detail;
  const fields = { task: by("task"), group: by("group"), a: by("run-a"), b: by("run-b"), protocol: by("protocol"), result: by("result"), target: by("target"), read: by("read"), q: by("search") };
  const list = by("list"), spacer = by("spacer"), detail = by("detail"), count = by("count");
  const tasks = new Map(manifest.tasks.map((task) => [task.name, task]));
  const state = { index: null, shown: [], chosen: -1, ticket: 0 };

  // -- the address ---------------------------------------------------------------------------------------------------
  const address = () => new URLSearchParams(location.hash.slice(1));
  const remember = (id) => {
    const words = new URLSearchParams();
    for (const [name, field] of Object.entries(fields)) if (field.value !== "" && (field.value !== field.dataset.standard || name === "task")) words.set(name, field.value);
    if (id !== undefined) words.set("id", id);
    history.replaceState(null, "", `#${words}`);
  };

  // -- fields --------------------------------------------------------------------------------------------------------
  const fill = (field, options, wanted) => {
    field.replaceChildren(...options.map(([value, label]) => { const option = make("option", null, label); option.value = value; return option; }));
    field.dataset.standard = options.length ? options[0][0] : "";
    const known = options.some(([value]) => String(value) === String(wanted));
    field.value = known ? wanted : field.dataset.standard;
  };
  // Runs go by name: a link made for one report opens the same runs in another, or says that they are not there.
  const NONE = "-", ALL = "*";
  const runs = manifest.runs.map((label) => [label, label]);
  const placeOf = (label) => manifest.runs.indexOf(label);
  const places = () => {
    const first = placeOf(fields.a.value);
    if (fields.b.value === ALL) return [first, ...manifest.runs.keys()].filter((place, at, all) => all.indexOf(place) === at);
    return fields.b.value === NONE ? [first] : [first, placeOf(fields.b.value)];
  };
  // What gained and lost mean is said with the runs' names.
  const moved = (value) => {
    if (places().length !== 2 || !["gained", "lost"].includes(value)) return null;
    const [a, b] = places().map((place) => short(manifest.runs[place], 24));
    const graded = state.index.worth[fields.protocol.value].some((own) => own.some((worth) => worth > 0 && worth < 1));
    if (graded) return `${value}: ${b} ${value === "gained" ? "better" : "worse"} than ${a}`;
    return value === "gained" ? `gained: ${a} wrong, ${b} right` : `lost: ${a} right, ${b} wrong`;
  };
  const fillResults = (wanted) =>
    fill(fields.result, Object.entries(AKI.filter.results(places().length)).map(([value, [label]]) => [value, moved(value) ?? label]), wanted);
  const complain = (text, action, label) => {
    const note = make("p", "notice", text);
    note.setAttribute("role", "alert");
    if (action) { const button = make("button", null, label); button.type = "button"; button.addEventListener("click", action); note.append(" ", button); }
    detail.replaceChildren(note);
  };

  const openTask = async (words) => {
    const task = tasks.get(fields.task.value);
    const ticket = ++state.ticket;
    const index = await AKI.load(`${task.name}/index`);
    if (ticket !== state.ticket) return;
    state.index = index;
    fill(fields.group, [["", "all"], ...Object.keys(index.unions).map((name) => [name, `${name}: all`]), ...index.groups.map((group) => [group, group])], words.get("group"));
    const protocols = [task.headline, ...task.protocols.filter((name) => name !== task.headline)];
    fill(fields.protocol, protocols.map((name) => [name, name]), words.get("protocol"));
    fillResults(words.get("result"));
    for (const name of ["target", "read"]) {
      fill(fields[name], [["", "any"], ...index.words.map((word) => [word, word])], words.get(name));
      fields[name].disabled = !index.words.length;
    }
    await refilter(words.get("id"));
  };

  // -- filtering -----------------------------------------------------------------------------------------------------
  const page = (position) => Math.floor(position / manifest.page_size);
  const pageName = (number) => `${fields.task.value}/page-${number}`;
  const sampleAt = (position) => { const found = AKI.loaded(pageName(page(position))); return found && found[position % manifest.page_size]; };

  const refilter = async (id) => {
    const ticket = ++state.ticket;
    const wanted = { group: fields.group.value, result: fields.result.value, protocol: fields.protocol.value, places: places(), target: fields.target.value, read: fields.read.value };
    const found = AKI.filter.passing(state.index, wanted);
    const words = fields.q.value.trim().toLowerCase();
    if (words === "") { finish(found, id); return; }
    const hits = [];
    for (let place = 0; place < found.length; place++) {
      const position = found[place];
      if (!AKI.loaded(pageName(page(position)))) {
        count.textContent = `Searching… ${place} of ${found.length}`;
        await AKI.load(pageName(page(position)));
        if (ticket !== state.ticket) return;
      }
      if (AKI.filter.textOf(state.index.ids[position], sampleAt(position)).includes(words)) hits.push(position);
    }
    finish(hits, id);
  };

  const finish = (found, id) => {
    state.shown = found;
    const total = state.index.ids.length;
    const note = tasks.get(fields.task.value).note;
    count.textContent = `${found.length.toLocaleString("en")} of ${total.toLocaleString("en")} samples${note ? `. ${note}` : ""}`;
    spacer.style.height = `${found.length * ROW}px`;
    const asked = id !== undefined && id !== null;
    const place = asked ? found.findIndex((position) => state.index.ids[position] === id) : -1;
    if (asked && place < 0) { missing(id); return; }
    if (!found.length) {
      state.chosen = -1;
      detail.replaceChildren(make("p", "muted empty", "No sample passes these filters."));
      draw();
      remember();
      return;
    }
    choose(Math.max(0, place), false);
  };

  // A sample that a link names and that is not shown: said, never replaced by another one.
  const missing = (id) => {
    state.chosen = -1;
    draw();
    const title = tasks.get(fields.task.value).title;
    if (!state.index.ids.includes(id)) { complain(`Sample ${id} is not in ${title} of this report.`); return; }
    const clear = () => {
      for (const name of ["group", "target", "read"]) fields[name].value = "";
      fields.result.value = "all";
      fields.q.value = "";
      refilter(id);
    };
    complain(`Sample ${id} does not pass these filters.`, clear, "Clear the filters");
  };

  // -- the list ------------------------------------------------------------------------------------------------------
  const worths = (position) => {
    const worth = state.index.worth[fields.protocol.value];
    return places().map((place) => ({ place, label: manifest.runs[place], worth: worth[place][position] }));
  };

  const excerpt = (sample) => (sample ? short(sample.short, 90) : "…");

  const rowOf = (place) => {
    const position = state.shown[place];
    const row = make("div", "row");
    row.id = `row-${place}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(place === state.chosen));
    row.setAttribute("aria-posinset", String(place + 1));
    row.setAttribute("aria-setsize", String(state.shown.length));
    row.style.top = `${place * ROW}px`;
    const marks = make("span", "row-marks");
    const sides = worths(position);
    sides.forEach((side) => { const mark = make("i", `mark ${AKI.filter.kind(side.worth)}`); mark.title = side.label; marks.append(mark); });
    const words = sides.map((side) => `${side.label} ${AKI.filter.WORDS[AKI.filter.kind(side.worth)]}`).join(", ");
    row.setAttribute("aria-label", `Sample ${state.index.ids[position]}, ${words}`);
    row.append(marks, make("span", "row-id", state.index.ids[position]), make("span", "row-text", excerpt(sampleAt(position))));
    row.addEventListener("click", () => choose(place, true));
    return row;
  };

  const draw = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - AHEAD);
    const last = Math.min(state.shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + AHEAD);
    const rows = [];
    const missing = new Set();
    for (let place = first; place < last; place++) {
      rows.push(rowOf(place));
      const number = page(state.shown[place]);
      if (!AKI.loaded(pageName(number))) missing.add(pageName(number));
    }
    spacer.replaceChildren(...rows);
    if (state.chosen >= 0) list.setAttribute("aria-activedescendant", `row-${state.chosen}`);
    else list.removeAttribute("aria-activedescendant");
    for (const name of missing) AKI.load(name).then(draw);
  };

  let drawing = false;
  list.addEventListener("scroll", () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => { drawing = false; draw(); });
  });
  addEventListener("resize", draw);

  // -- the chosen sample ---------------------------------------------------------------------------------------------
  const choose = async (place, byReader) => {
    if (place < 0 || place >= state.shown.length) return;
    state.chosen = place;
    const top = place * ROW;
    if (top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = Math.max(0, top - list.clientHeight / 3);
    draw();
    const position = state.shown[place];
    remember(state.index.ids[position]);
    const ticket = state.ticket;
    await AKI.load(pageName(page(position)));
    if (ticket !== state.ticket || state.chosen !== place) return;
    const groups = state.index.members[position].map((member) => state.index.groups[member]);
    AKI.detail.show(detail, state.index.ids[position], groups, sampleAt(position), worths(position));
    detail.scrollTop = 0;
    if (byReader && matchMedia("(max-width: 760px)").matches) detail.scrollIntoView({ block: "start" });
  };

  // -- what the reader does ------------------------------------------------------------------------------------------
  const nothing = new URLSearchParams();
  fields.task.addEventListener("change", () => openTask(nothing));
  for (const field of [fields.a, fields.b, fields.protocol]) field.addEventListener("change", () => { fillResults(fields.result.value); refilter(); });
  for (const field of [fields.group, fields.result, fields.target, fields.read]) field.addEventListener("change", () => refilter());
  let typing = 0;
  fields.q.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => refilter(), 150); });
  by("filters").addEventListener("submit", (event) => event.preventDefault());

  const nextTask = () => {
    const names = [...tasks.keys()];
    fields.task.value = names[(names.indexOf(fields.task.value) + 1) % names.length];
    return openTask(nothing);
  };
  const keys = {
    j: () => choose(state.chosen + 1), ArrowDown: () => choose(state.chosen + 1),
    k: () => choose(state.chosen - 1), ArrowUp: () => choose(state.chosen - 1),
    PageDown: () => choose(Math.min(state.shown.length - 1, state.chosen + 10)), PageUp: () => choose(Math.max(0, state.chosen - 10)),
    Home: () => choose(0), End: () => choose(state.shown.length - 1),
    "/": () => fields.q.focus(), n: nextTask,
  };
  addEventListener("keydown", (event) => {
    const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (writing) { if (event.key === "Escape") document.activeElement.blur(); return; }
    const inDetail = detail.contains(document.activeElement);
    const action = keys[event.key];
    if (!action || (inDetail && event.key.length > 1)) return;
    event.preventDefault();
    action();
  });

  const start = () => {
    const words = address();
    fill(fields.task, manifest.tasks.map((task) => [task.name, task.title]), words.get("task"));
    fields.task.dataset.standard = "";
    fill(fields.a, runs, words.get("a"));
    const beside = (runs.find(([label]) => label !== fields.a.value) || [NONE])[0];
    fill(fields.b, [[NONE, "no other run"], ...runs, ...(runs.length > 2 ? [[ALL, "all runs"]] : [])], words.get("b") ?? beside);
    fields.b.disabled = runs.length < 2;
    fields.b.dataset.standard = beside;
    fields.q.value = words.get("q") || "";
    const known = { task: manifest.tasks.map((task) => task.name), a: manifest.runs, b: [...manifest.runs, NONE, ALL] };
    for (const [name, what] of [["task", "benchmark"], ["a", "run"], ["b", "run"]]) {
      const word = words.get(name);
      if (word && !known[name].includes(word)) {
        openTask(nothing).then(() => { state.chosen = -1; draw(); complain(`This report has no ${what} called ${word}. It has ${known[name].filter((each) => each !== NONE && each !== ALL).join(", ")}.`); });
        return undefined;
      }
    }
    return openTask(words);
  };

  // -- export --------------------------------------------------------------------------------------------------------
  const exported = async (kind) => {
    const shown = [...state.shown], task = fields.task.value, protocol = fields.protocol.value, at = places(), index = state.index;
    const labels = at.map((place) => manifest.runs[place]);
    const told = ["group", "result", "target", "read", "q"].filter((name) => ![fields[name].dataset.standard, ""].includes(fields[name].value));
    const filters = [...labels, protocol, ...told.map((name) => fields[name].value)];
    const records = [];
    for (const position of shown) {
      const found = (await AKI.load(`${task}/page-${page(position)}`))[position % manifest.page_size];
      const groups = index.members[position].map((member) => index.groups[member]);
      records.push(AKI.exports.record(task, protocol, labels, at, index.ids[position], groups, found));
    }
    const text = kind === "csv" ? AKI.exports.csv(records, labels) : AKI.exports.jsonl(records);
    AKI.exports.save(AKI.exports.name(task, filters, kind), kind === "csv" ? "text/csv" : "application/jsonl", text);
  };
  for (const kind of ["csv", "jsonl"]) by(`export-${kind}`).addEventListener("click", () => exported(kind));

  addEventListener("hashchange", start);
  start();
});
