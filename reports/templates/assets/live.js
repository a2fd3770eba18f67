"use strict";
// A run while it goes on: the state is a script that is loaded again and again. Answers are put in as text, never as markup.
(() => {
  const SECONDS = 2;
  const by = (id) => document.getElementById(id);
  const { make } = AKI;
  const number = (value) => value.toLocaleString("en");

  const value = (task, one) => {
    const cell = make("div", "so-far");
    if (one.value === null) { cell.textContent = "\u2013"; return cell; }
    const half = one.ci95 ? ` \u00b1${((one.ci95[1] - one.ci95[0]) / 2).toFixed(1)}` : "";
    cell.append(make("b", null, one.value.toFixed(1)), make("small", null, `${half} ${task.values.length > 1 ? one.metric : ""}`));
    cell.append(task.partial ? make("span", "partial-mark", `partial, n ${number(one.num_scored)}`) : make("span", "muted", `complete, n ${number(one.num_scored)}`));
    return cell;
  };

  const row = (task) => {
    const line = make("tr", task.done > 0 && task.done < task.total ? "working" : null);
    const name = make("th", null, task.title);
    name.scope = "row";
    const answered = make("td", "text");
    const bar = make("progress");
    bar.max = Math.max(1, task.total);
    bar.value = task.done;
    bar.setAttribute("aria-label", `${task.title}, answered`);
    answered.append(bar, ` ${number(task.done)} of ${number(task.total)}`);
    const sofar = make("td");
    task.values.forEach((one) => sofar.append(value(task, one)));
    if (task.judged) sofar.append(make("span", "muted", "after judging"));
    if (task.note) sofar.append(make("span", "caveat", task.note));
    const unread = task.values.length ? String(task.values[0].num_unread ?? "\u2013") : "\u2013";
    line.append(name, answered, make("td", null, task.rate === null ? "" : `${task.rate}/s`), make("td", null, task.left || ""), sofar, make("td", null, unread), make("td", null, String(task.failed)));
    return line;
  };

  const card = (one) => {
    const box = make("article", "card");
    const heading = make("h3", null, `${one.task} ${one.id}`);
    box.append(heading, make("p", "muted", one.question), make("pre", "said", one.text === null ? `No answer: ${one.error}` : one.text === "" ? "(empty)" : one.text));
    if (one.target) box.append(make("p", "muted", `right: ${one.target}`));
    return box;
  };

  const show = (state) => {
    by("model").textContent = state.model || "";
    const done = state.tasks.reduce((sum, task) => sum + task.done, 0);
    const total = state.tasks.reduce((sum, task) => sum + task.total, 0);
    const status = state.error ? `The folder could not be read: ${state.error}` : total === 0 ? "Waiting for the run\u2026"
      : done < total ? `${number(done)} of ${number(total)} answered` : `All ${number(total)} answered. aki-eval view shows the whole report once the run has scored them.`;
    if (by("status").textContent !== status) by("status").textContent = status;
    if (state.error) return;
    by("tasks").replaceChildren(...state.tasks.map(row));
    by("last").replaceChildren(...state.last.map(card));
  };

  const receive = AKI.receive;
  AKI.receive = (name, content) => (name === "live/state" ? show(content) : receive(name, content));
  const ask = () => {
    const script = document.createElement("script");
    script.src = `live/state.js?${Date.now()}`;
    script.onload = () => { script.remove(); setTimeout(ask, SECONDS * 1000); };
    script.onerror = () => { script.remove(); by("status").textContent = "The server has stopped. What is shown is the last that was known."; setTimeout(ask, 5 * SECONDS * 1000); };
    document.head.append(script);
  };
  ask();
})();
