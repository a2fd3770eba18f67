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

  // A side is what one run has of a sample: {worth, unread, cut}.
  const single = {
    all: ["all", () => true],
    right: ["right", (a) => kind(a.worth) === "right"],
    wrong: ["wrong", (a) => kind(a.worth) === "wrong"],
    partial: ["partly right", (a) => kind(a.worth) === "partial"],
    unread: ["unread", (a) => a.unread],
    unscored: ["unscored", (a) => kind(a.worth) === "unscored"],
    cut: ["cut off", (a) => a.cut],
  };
  const both = (a, b) => [a, b].every((side) => typeof side.worth === "number" && side.worth !== ABSENT);
  const paired = {
    all: ["all", () => true],
    flipped: ["flipped either way", (a, b) => both(a, b) && counts(a.worth) !== counts(b.worth)],
    gained: ["gained: better beside", (a, b) => both(a, b) && counts(b.worth) > counts(a.worth)],
    lost: ["lost: worse beside", (a, b) => both(a, b) && counts(b.worth) < counts(a.worth)],
    bothright: ["right in both", (a, b) => kind(a.worth) === "right" && kind(b.worth) === "right"],
    bothwrong: ["wrong in both", (a, b) => kind(a.worth) === "wrong" && kind(b.worth) === "wrong"],
    unread: ["unread in one", (a, b) => a.unread || b.unread],
    unscored: ["unscored in one", (a, b) => kind(a.worth) === "unscored" || kind(b.worth) === "unscored"],
    cut: ["cut off in one", (a, b) => a.cut || b.cut],
  };
  const scored = (sides) => sides.filter((side) => typeof side.worth === "number" && side.worth !== ABSENT);
  const many = {
    all: ["all", () => true],
    flipped: ["runs differ", (...sides) => new Set(scored(sides).map((side) => counts(side.worth))).size > 1],
    bothright: ["right in all", (...sides) => sides.every((side) => kind(side.worth) === "right")],
    bothwrong: ["wrong in all", (...sides) => sides.every((side) => kind(side.worth) === "wrong")],
    unread: ["unread in one", (...sides) => sides.some((side) => side.unread)],
    unscored: ["unscored in one", (...sides) => sides.some((side) => kind(side.worth) === "unscored")],
    cut: ["cut off in one", (...sides) => sides.some((side) => side.cut)],
  };

  const results = (number) => (number === 1 ? single : number === 2 ? paired : many);

  // Sets of positions are made once for an index.
  const sets = new WeakMap();
  const setsOf = (index) => {
    if (!sets.has(index)) {
      const unread = Object.fromEntries(Object.entries(index.unread).map(([name, runs]) => [name, runs.map((own) => new Set(own))]));
      sets.set(index, { unread, cut: index.cut.map((own) => new Set(own)) });
    }
    return sets.get(index);
  };
  const side = (index, protocol, place, position) => ({
    worth: index.worth[protocol][place][position],
    unread: setsOf(index).unread[protocol][place].has(position),
    cut: setsOf(index).cut[place].has(position),
  });

  // Positions in the index that pass everything but the text. `places` are the runs shown; `read` is of the first.
  const passing = (index, { group, result, protocol, places, target, read }) => {
    const wantedGroups = group === "" ? null : new Set(index.unions[group] || [index.groups.indexOf(group)]);
    const test = (results(places.length)[result] || single.all)[1];
    const wanted = [target, read].map((word) => (word === "" ? -1 : index.words.indexOf(word)));
    const found = [];
    for (let position = 0; position < index.ids.length; position++) {
      if (wantedGroups && !index.members[position].some((member) => wantedGroups.has(member))) continue;
      if (wanted[0] >= 0 && index.targets[position] !== wanted[0]) continue;
      if (wanted[1] >= 0 && index.read[protocol][places[0]][position] !== wanted[1]) continue;
      if (test(...places.map((each) => side(index, protocol, each, position)))) found.push(position);
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
