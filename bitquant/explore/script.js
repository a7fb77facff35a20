// SPDX-License-Identifier: Apache-2.0
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const links = JSON.parse(byId("links").textContent);
  const panes = byId("stages").querySelector(".panes");
  const buttons = all("button.stage");
  const stages = new Map(all(".pane").map((pane) => [pane.dataset.stage, {
    pane, pre: pane.querySelector("pre"), lines: [...pane.querySelector("code").children],
    links: links[pane.dataset.stage] || [], button: buttons.find((b) => b.dataset.stage === pane.dataset.stage),
  }]));
  const partOf = (line) => ["r", "b", "c", "d"].find((part) => line.classList.contains(part));

  // The texts begin with what every kernel has.
  const starts = { cuda: /^extern "C" __global__.*\{/, ptx: /^\.visible \.entry/, scheduled: /^\s*def /, llvm: /^define.*compute/, asm: /compute\w*:$/ };
  for (const [key, stage] of stages) {
    const i = starts[key] ? stage.lines.findIndex((line) => starts[key].test(line.textContent)) : -1;
    stage.begin = Math.max(0, i);
  }
  const toBegin = (stage) => {
    if (stage.seen || stage.pane.hidden) return;
    stage.seen = true;
    stage.pre.scrollTop = stage.begin ? stage.lines[stage.begin].offsetTop - stage.pre.offsetTop : 0;
  };

  // Which stages are shown: as many side by side as there is room for.
  const room = () => (innerWidth >= 1500 ? 3 : innerWidth >= 900 ? 2 : 1);
  let shown = [];
  function show(keys) {
    shown = keys.slice(-room());
    for (const [key, stage] of stages) {
      const isShown = shown.includes(key);
      stage.pane.hidden = !isShown;
      stage.button.setAttribute("aria-pressed", String(isShown));
    }
    stages.forEach((stage) => toBegin(stage));
  }
  const order = [...stages.keys()];
  const sorted = (keys) => keys.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  function open(key) {
    if (!shown.includes(key)) {
      // The one that was shown the longest makes place.
      queue.push(key);
      show(sorted(queue.slice(-room())));
      queue.splice(0, queue.length - room());
    }
  }
  const begin = stages.has("cuda") ? ["scheduled", "cuda", "ptx"] : ["tir", "scheduled", "asm"];
  const pick = () => (room() === 3 ? begin : room() === 2 ? begin.slice(1) : [begin[1]]);
  let queue = pick();
  show(queue);
  let before = room();
  addEventListener("resize", () => {
    if (room() !== before) {
      before = room();
      queue = [...new Set([...pick(), ...queue])].slice(-room());
      show(sorted([...queue]));
    }
  });
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const key = button.dataset.stage;
      if (shown.includes(key) && shown.length > 1) {
        queue = queue.filter((other) => other !== key);
        show(sorted([...queue]));
      } else open(key);
    });
  }

  // A line, and what belongs to it in the other stages.
  let selected = null;
  const byLink = new Map();
  for (const [key, stage] of stages) {
    stage.links.forEach((link, i) => {
      if (!link) return;
      if (!byLink.has(link)) byLink.set(link, []);
      byLink.get(link).push([key, i]);
    });
  }
  function into(stage, index) {
    const line = stage.lines[index], { pre } = stage;
    const top = line.offsetTop - pre.offsetTop;
    if (top < pre.scrollTop + 20 || top > pre.scrollTop + pre.clientHeight - 40) {
      pre.scrollTop = Math.max(0, top - pre.clientHeight / 3);
    }
  }
  function select(key, index) {
    all("pre .sel, pre .same").forEach((line) => line.classList.remove("sel", "same"));
    const stage = stages.get(key);
    index = Math.min(Math.max(0, index), stage.lines.length - 1);
    selected = [key, index];
    const line = stage.lines[index], link = stage.links[index];
    line.classList.add("sel");
    into(stage, index);
    const found = byLink.get(link) || [], seen = new Set([key]);
    for (const [other, i] of found) {
      if (other === key && i === index) continue;
      stages.get(other).lines[i].classList.add("same");
      if (!seen.has(other)) { seen.add(other); if (!stages.get(other).pane.hidden) into(stages.get(other), i); }
    }
    for (const [other, there] of stages) {
      if (!link || seen.has(other) || there.pane.hidden || !there.links.length) continue;
      // Nothing was made from this line alone: what was made from the one before stands beside it.
      let best = -1;
      there.links.forEach((candidate, i) => {
        if (candidate && candidate <= link && (best < 0 || candidate > there.links[best])) best = i;
      });
      if (best >= 0) { seen.add(other); into(there, best); }
    }
    const part = partOf(line);
    for (const [other, there] of stages) {
      if (!part || seen.has(other) || there.pane.hidden) continue;
      const i = there.lines.findIndex((candidate) => candidate.classList.contains(part));
      if (i >= 0) {
        into(there, i);
        for (let j = i; j < there.lines.length && there.lines[j].classList.contains(part); j++) there.lines[j].classList.add("same");
      }
    }
  }
  for (const [key, stage] of stages) {
    stage.pre.addEventListener("click", (event) => {
      const line = event.target.closest("pre span");
      if (line && getSelection().isCollapsed) select(key, stage.lines.indexOf(line));
    });
    stage.pre.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 30, PageUp: -30 }[event.key];
      const here = selected && selected[0] === key ? selected[1] : -1;
      if (step && !event.shiftKey) { event.preventDefault(); select(key, here + step); }
      else if (event.key === "Home" || event.key === "End") {
        event.preventDefault();
        select(key, event.key === "Home" ? 0 : stage.lines.length - 1);
      }
    });
  }

  // Parts of the computation.
  for (const button of all("button.part")) {
    button.addEventListener("click", () => {
      const isOn = button.getAttribute("aria-pressed") === "true";
      all("button.part").forEach((other) => other.setAttribute("aria-pressed", "false"));
      delete panes.dataset.part;
      if (isOn) return;
      button.setAttribute("aria-pressed", "true");
      panes.dataset.part = button.dataset.part;
      for (const stage of stages.values()) {
        const i = stage.lines.findIndex((line) => line.classList.contains(button.dataset.part));
        if (!stage.pane.hidden && i >= 0) into(stage, i);
      }
    });
  }

  // Search.
  const search = byId("search"), output = byId("found");
  let hits = [], at = -1, timer = 0;
  function find() {
    const text = search.value.toLowerCase();
    all("pre .hit").forEach((line) => line.classList.remove("hit"));
    hits = []; at = -1;
    const ranges = [];
    for (const [key, stage] of stages) {
      let count = 0;
      if (text) {
        stage.lines.forEach((line, i) => {
          if (!line.textContent.toLowerCase().includes(text)) return;
          count++; hits.push([key, i]); line.classList.add("hit");
          if (ranges.length < 3000) ranges.push(...rangesOf(line, text));
        });
      }
      stage.button.querySelector(".hits").textContent = count || "";
    }
    if (window.Highlight) CSS.highlights.set("found", new Highlight(...ranges));
    output.textContent = text ? `${hits.length} line${hits.length === 1 ? "" : "s"}` : "";
  }
  function rangesOf(line, text) {
    const nodes = [], walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT), result = [];
    let whole = "";
    for (let node; (node = walker.nextNode());) { nodes.push([node, whole.length]); whole += node.data.toLowerCase(); }
    const place = (offset) => { const [node, start] = nodes.findLast((entry) => entry[1] <= offset); return [node, offset - start]; };
    for (let i = whole.indexOf(text); i >= 0; i = whole.indexOf(text, i + text.length)) {
      const range = new Range();
      range.setStart(...place(i)); range.setEnd(...place(i + text.length));
      result.push(range);
    }
    return result;
  }
  function next(step) {
    clearTimeout(timer);
    if (at < 0) find();
    if (!hits.length) return;
    const isShown = hits.some(([key]) => shown.includes(key));
    if (!isShown) open(hits[0][0]);
    // The first one is in the kernel, not in what every kernel has before it.
    if (at < 0) at = Math.max(0, hits.findIndex(([key, i]) => shown.includes(key) && i >= stages.get(key).begin)) - 1;
    do at = (at + step + hits.length) % hits.length; while (!shown.includes(hits[at][0]));
    select(...hits[at]);
    output.textContent = `${at + 1} of ${hits.length} lines`;
    byId("stages").scrollIntoView({ block: "start" });
  }
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(find, 120); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); next(event.shiftKey ? -1 : 1); }
    else if (event.key === "Escape") { search.value = ""; find(); search.blur(); }
  });

  // Keys of the whole page.
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target.matches("input");
    if (isTyping) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
    else if (/^[1-9]$/.test(event.key) && order[event.key - 1]) {
      const key = order[event.key - 1];
      open(key);
      stages.get(key).pre.focus({ preventScroll: false });
    } else if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && event.target.matches(".pick button")) {
      const group = all("button", event.target.parentElement);
      const step = event.key === "ArrowRight" ? 1 : -1;
      event.preventDefault();
      group[(group.indexOf(event.target) + step + group.length) % group.length].focus();
    } else if (event.key === "Escape") {
      all("pre .sel, pre .same").forEach((line) => line.classList.remove("sel", "same"));
      selected = null;
      const on = document.querySelector('button.part[aria-pressed="true"]');
      if (on) on.click();
    }
  });

  // Light and dark: the system's, until somebody says otherwise.
  const theme = byId("theme"), prefers = matchMedia("(prefers-color-scheme: dark)");
  let forced = null;
  const isDark = () => (forced === null ? prefers.matches : forced === "dark");
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => {
    forced = isDark() ? "light" : "dark";
    document.documentElement.style.colorScheme = forced;
    label();
  });
  prefers.addEventListener("change", label);
  label();

  // The fragment layout: all elements of a lane.
  const fragment = byId("fragment");
  if (fragment) {
    const cells = all("rect.cell", fragment);
    const light = (event) => {
      const cell = event.target.closest("rect.cell");
      if (!cell) return;
      cells.forEach((other) => other.classList.toggle("lit", other.dataset.lane === cell.dataset.lane));
      byId("lane").textContent = cell.querySelector("title").textContent;
    };
    fragment.addEventListener("pointerover", light);
    fragment.addEventListener("click", light);
  }

  // One byte.
  const data = JSON.parse(byId("byte-data").textContent);
  if (data) {
    const hex = byId("hex"), bits = byId("bits");
    const draw = () => {
      const byte = parseInt(hex.value, 16);
      const isByte = /^[0-9a-f]{1,2}$/i.test(hex.value);
      hex.setAttribute("aria-invalid", String(!isByte));
      if (!isByte) return;
      bits.replaceChildren(...data.fields.toReversed().map(([first, width, n, k]) => {
        const code = (byte >> first) & ((1 << width) - 1);
        const box = document.createElement("div"), digits = document.createElement("strong");
        digits.textContent = code.toString(2).padStart(width, "0");
        const range = width === 1 ? `bit ${first}` : `bits ${first} to ${first + width - 1}`;
        const what = data.values.length ? `code ${code}, w = ${data.values[code]}` : `${code}`;
        box.append(digits, document.createElement("br"), `${range}: ${what}`, document.createElement("br"), `element n ${n}, k ${k}`);
        return box;
      }));
    };
    hex.addEventListener("input", draw);
    draw();
  }
})();
