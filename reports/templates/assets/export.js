"use strict";
// The list as a file: what was asked, answered, read and worth in every run shown.
AKI.exports = (() => {
  // A spreadsheet would compute what begins like this.
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^\s*[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const record = (task, protocol, labels, places, id, groups, sample) => {
    const found = { task, id, groups, question: sample.question ?? sample.prompt, choices: Object.fromEntries(sample.choices), target: sample.target, protocol, runs: {} };
    places.forEach((place, number) => {
      const run = sample.runs[place];
      const score = run && run.scores[protocol];
      found.runs[labels[number]] = run && {
        answer: run.text, error: run.error, tokens: run.tokens, finish_reason: run.finish,
        value: score ? score.value : null, reason: score ? score.reason : null, read_as: score ? score.answer : null,
      };
    });
    return found;
  };
  // Line separators of Unicode end a line for many readers.
  const line = (record) => JSON.stringify(record).replace(/[\u0085\u2028\u2029]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const jsonl = (records) => records.map((each) => `${line(each)}\n`).join("");
  const csv = (records, labels) => {
    const parts = ["value", "reason", "read_as", "answer", "error", "tokens", "finish_reason"];
    const head = ["task", "id", "groups", "question", "choices", "target", "protocol", ...labels.flatMap((label) => parts.map((part) => `${label} ${part}`))];
    const lines = records.map((each) => [
      each.task, each.id, each.groups.join(" "), each.question, Object.keys(each.choices ?? {}).length ? JSON.stringify(each.choices) : null, each.target, each.protocol,
      ...labels.flatMap((label) => parts.map((part) => (each.runs[label] ? each.runs[label][part] : null))),
    ]);
    return [head, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  };
  // Two exports that hold something else have other names: runs, reading and filters are in them.
  const name = (task, filters, kind) => `${[task, ...filters].map((word) => word.trim().replace(/[^\p{L}\p{N}_-]+/gu, "-")).join(".").slice(0, 150)}.${kind}`;
  const save = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  return { record, jsonl, csv, name, save };
})();
