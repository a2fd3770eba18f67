"use strict";
// The report's data, loaded piece by piece. From disk a page may not fetch, but it may add scripts: each data file calls
// AKI.receive(name, content).
const AKI = (() => {
  const known = new Map();
  const waiting = new Map();
  const callbacks = [];

  const receive = (name, content) => {
    known.set(name, content);
    if (name === "manifest") callbacks.forEach((start) => start(content));
    const pending = waiting.get(name);
    if (pending) { waiting.delete(name); pending.resolve(content); }
  };

  const load = (name) => {
    if (known.has(name)) return Promise.resolve(known.get(name));
    if (waiting.has(name)) return waiting.get(name).promise;
    const pending = {};
    pending.promise = new Promise((resolve, reject) => { pending.resolve = resolve; pending.reject = reject; });
    waiting.set(name, pending);
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onload = () => script.remove();
    script.onerror = () => { waiting.delete(name); script.remove(); pending.reject(new Error(`data/${name}.js is missing`)); };
    document.head.append(script);
    return pending.promise;
  };

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined && text !== null) element.textContent = text;
    return element;
  };

  return { receive, load, make, loaded: (name) => known.get(name), onManifest: (start) => callbacks.push(start) };
})();
