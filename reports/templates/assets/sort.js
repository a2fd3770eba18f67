"use strict";
// Columns sort at a press of their headings: largest first, smallest first, as printed. Rows stay within their sections.
addEventListener("DOMContentLoaded", () => {
  const key = (row, place) => {
    const cell = row.children[place];
    if (!cell) return null;
    const number = cell.dataset.value === undefined ? parseFloat(cell.textContent.replace(/[^\d.+\-\u2212]/g, "").replace("\u2212", "-")) : Number(cell.dataset.value);
    return place === 0 || Number.isNaN(number) ? cell.textContent.trim() : number;
  };
  // What is no number stands last, whichever way numbers go.
  const compare = (a, b, way) => {
    if (typeof a === "number" && typeof b === "number") return way * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return way * String(a).localeCompare(String(b), "en", { numeric: true });
  };
  for (const table of document.querySelectorAll(".table table")) {
    const bodies = [...table.tBodies].map((body) => [body, [...body.rows]]);
    const headings = [...table.querySelectorAll("button.sort")].map((button) => button.closest("th"));
    headings.forEach((heading, place) => {
      heading.querySelector("button").addEventListener("click", () => {
        const before = heading.getAttribute("aria-sort");
        const way = before === null ? "descending" : before === "descending" ? "ascending" : null;
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        if (way) heading.setAttribute("aria-sort", way);
        for (const [body, printed] of bodies) {
          const fixed = printed.filter((row) => row.classList.contains("section"));
          const rows = printed.filter((row) => !row.classList.contains("section"));
          if (way) rows.sort((a, b) => compare(key(a, place), key(b, place), way === "ascending" ? 1 : -1));
          body.replaceChildren(...fixed, ...rows);
        }
      });
    });
  }
});
