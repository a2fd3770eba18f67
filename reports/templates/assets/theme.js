"use strict";
// Light or dark: the system's choice until the reader chooses, then remembered where the browser allows it.
(() => {
  const root = document.documentElement;
  const remembered = () => {
    try { return localStorage.getItem("aki-theme"); } catch { return null; }
  };
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const stored = remembered();
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => { button.textContent = dark() ? "Light" : "Dark"; button.ariaLabel = `Switch to ${button.textContent.toLowerCase()} colours`; };
    label();
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("aki-theme", root.dataset.theme); } catch { /* private window: chosen for this page only */ }
      label();
    });
    const menu = document.querySelector("details.menu");
    if (!menu) return;
    addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    addEventListener("keydown", (event) => { if (event.key === "Escape") menu.open = false; });
  });
})();
