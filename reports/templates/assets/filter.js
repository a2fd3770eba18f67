"use strict";
// Which samples are shown: by group, by worth in one run or two, by text.
AKI.filter = (() => {
  const ABSENT = -1;
  const UNREAD = -2;
  const kind = (worth) =>
    worth === ABSENT ? "absent" : worth === UNREAD ? "unread" : worth === null ? "unscored"
      : worth >= 1 ? "right" : worth <= 0 ? "wrong" : "partial";
  const WORDS = {
    right: "right", wrong: "wrong", partial: "partly right", unread: "unread", unscored: "unscored", absent: "not in this run",
  };
  // What an answer counts: an unread one nothing.
  const counts = (worth) => (worth === UNREAD ? 0 : worth);

  const single = {
    all: ["all", () => true],
    right: ["right", (a) => kind(a) === "right"],
    wrong: ["wrong", (a) => kind(a) === "wrong"],
    partial: ["partly right", (a) => kind(a) === "partial"],
    unread: ["unread", (a) => kind(a) === "unread"],
    unscored: ["unscored", (a) => kind(a) === "unscored"],
  };
  const both = (a, b) => typeof a === "number" && typeof b === "number" && a !== ABSENT && b !== ABSENT;
  const paired = {
    all: ["all", () => true],
    flipped: ["flipped either way", (a, b) => both(a, b) && counts(a) !== counts(b)],
    gained: ["better beside", (a, b) => both(a, b) && counts(b) > counts(a)],
    lost: ["worse beside", (a, b) => both(a, b) && counts(b) < counts(a)],
    bothright: ["right in both", (a, b) => kind(a) === "right" && kind(b) === "right"],
    bothwrong: ["wrong in both", (a, b) => kind(a) === "wrong" && kind(b) === "wrong"],
    unread: ["unread in one", (a, b) => kind(a) === "unread" || kind(b) === "unread"],
    unscored: ["unscored in one", (a, b) => kind(a) === "unscored" || kind(b) === "unscored"],
  };

  const results = (two) => (two ? paired : single);

  // Positions in the index that pass everything but the text.
  const passing = (index, { group, result, protocol, a, b }) => {
    const place = group === "" ? -1 : index.groups.indexOf(group);
    const worth = index.worth[protocol];
    const test = (results(b !== null)[result] || single.all)[1];
    const found = [];
    for (let position = 0; position < index.ids.length; position++) {
      if (place >= 0 && !index.members[position].includes(place)) continue;
      if (test(worth[a][position], b === null ? null : worth[b][position])) found.push(position);
    }
    return found;
  };

  const textOf = (id, sample) => {
    const parts = [id, sample.question, sample.target];
    if (!sample.question) parts.push(sample.prompt);
    for (const [, choice] of sample.choices) parts.push(choice);
    for (const run of sample.runs) if (run) parts.push(run.text, run.error);
    return parts.filter(Boolean).join("\n").toLowerCase();
  };

  return { kind, counts, WORDS, results, passing, textOf };
})();
