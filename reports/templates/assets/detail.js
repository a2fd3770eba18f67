"use strict";
// One sample in full. Everything a model, a judge or a table says is put in as text, never as markup.
AKI.detail = (() => {
  const { kind, counts, WORDS } = AKI.filter;
  const { make } = AKI;
  const block = (title, text, className) => {
    const section = make("section", className);
    section.append(make("h3", null, title), make("pre", null, text));
    return section;
  };
  const folded = (title, text) => {
    const details = make("details");
    details.append(make("summary", null, title), make("pre", null, text));
    return details;
  };
  const short = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);
  const number = (value) => (typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value));

  const badge = (worth) => make("span", `badge ${kind(worth)}`, kind(worth) === "partial" ? `${Math.round(worth * 100)} %` : WORDS[kind(worth)]);

  const pictures = (id, sample) => {
    const box = make("div", sample.pictures.length > 2 ? "pictures many" : "pictures");
    sample.pictures.forEach((address, place) => {
      const link = make("a");
      link.href = address;
      link.target = "_blank";
      const image = make("img");
      image.src = address;
      image.loading = "lazy";
      image.alt = `Picture ${place + 1} of sample ${id}: ${short(sample.question || "", 120)}`;
      image.onload = () => { if (image.naturalWidth < 160) image.classList.add("tiny"); };
      image.onerror = () => link.replaceChildren(make("span", "muted", "this picture cannot be shown"));
      link.append(image);
      box.append(link);
    });
    return box;
  };

  const choices = (sample) => {
    const list = make("ul", "choices");
    for (const [letter, text] of sample.choices) {
      const item = make("li", letter === sample.target ? "target" : null);
      item.append(make("b", null, letter), ` ${text}`);
      if (letter === sample.target) item.append(make("span", "muted", " (target)"));
      list.append(item);
    }
    return list;
  };

  const reading = (name, score) => {
    const line = make("p", "reading");
    line.append(make("b", null, `${name}: `));
    if (score.value === null) line.append(`unscored, ${score.reason}`);
    else {
      line.append(number(score.value));
      if (score.parts.reference !== undefined) line.append(` (reference ${number(score.parts.reference)})`);
      if (score.reason !== null) line.append(`, ${score.reason.replaceAll("_", " ")}${score.why ? `: ${score.why}` : ""}`);
      else if (score.answer !== null) line.append(", read as ", make("q", null, score.answer));
    }
    return line;
  };

  const judged = (verdict) => {
    const details = make("details");
    const value = verdict.value === null ? verdict.error : JSON.stringify(verdict.value);
    details.append(make("summary", null, `Judge ${verdict.judge}: ${short(String(value), 80)}`), make("pre", null, verdict.raw === null ? verdict.error : verdict.raw));
    return details;
  };

  const answer = (label, place, run, worth, sample) => {
    const card = make("section", `answer run-${place % 6}`);
    const title = make("h3");
    title.append(make("b", "sign", AKI.detail.letter(place)), label, " ", badge(worth));
    card.append(title);
    if (!run) { card.append(make("p", "muted", "Not in this run.")); return card; }
    if (run.text === null) card.append(make("p", "caveat", `No answer: ${run.error}`));
    else card.append(make("pre", "said", run.text === "" ? "(empty)" : run.text));
    if (run.finish === "length") card.append(make("p", "caveat", `Cut off after ${run.tokens === 1 ? "1 token" : `${run.tokens} tokens`}.`));
    for (const [name, score] of Object.entries(run.scores)) card.append(reading(name, score));
    for (const verdict of run.judge) card.append(judged(verdict));
    if (run.prompt !== null) card.append(folded("Prompt as sent", run.prompt));
    return card;
  };

  const verdictOfPair = (first, second) => {
    const [a, b] = [first.worth, second.worth];
    if (counts(a) === counts(b) || [kind(a), kind(b)].some((each) => each === "unscored" || each === "absent")) return null;
    return make("p", `flip ${counts(b) > counts(a) ? "gained" : "lost"}`, `${counts(b) > counts(a) ? "Gained" : "Lost"}: ${first.label} ${WORDS[kind(a)]}, ${second.label} ${WORDS[kind(b)]}`);
  };

  // `sides` are the runs shown: [{label, place, worth}].
  const show = (target, id, groups, sample, sides) => {
    target.replaceChildren();
    const heading = make("h2", null, `Sample ${id}`);
    const tags = make("p", "tags");
    groups.forEach((group) => tags.append(make("span", "tag", group)));
    target.append(heading, tags);
    if (sides.length === 2) {
      const flip = verdictOfPair(sides[0], sides[1]);
      if (flip) target.append(flip);
    }
    const asked = make("div", "asked");
    const words = make("div");
    if (sample.question !== null) words.append(block("Question", sample.question, "question"));
    if (sample.choices.length) words.append(choices(sample));
    if (sample.target !== null && !sample.choices.some(([letter]) => letter === sample.target)) words.append(block("Target", sample.target, "target"));
    if (sample.pictures.length) asked.append(pictures(id, sample));
    asked.append(words);
    target.append(asked);
    const answers = make("div", sides.length > 2 ? "answers many" : `answers count-${sides.length}`);
    for (const side of sides) answers.append(answer(side.label, side.place, sample.runs[side.place], side.worth, sample));
    target.append(answers);
    if (sample.prompt !== null) {
      const prompt = folded("Prompt as sent", sample.prompt);
      prompt.open = sample.question === null;
      target.append(prompt);
    }
  };

  const letter = (place) => (place < 26 ? String.fromCharCode(65 + place) : String(place + 1));

  return { show, make, short, badge, letter };
})();
