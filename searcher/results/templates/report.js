"use strict";
(() => {
  const table = document.getElementById("terminations");
  const pointed = document.getElementById("pointed");
  const curves = new Map([...document.querySelectorAll(".curve")].map((curve) => [curve.dataset.id, curve]));
  const rows = table ? [...table.tBodies[0].rows] : [];
  const byId = new Map(rows.map((row) => [row.dataset.id, row]));

  const points = new Map([...document.querySelectorAll(".point")].map((point) => [point.dataset.id, point]));
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("viewer");
  let viewer = null;

  // images beyond the cell, so that a surface looks like one
  const shifts = [[0, 0], [1, 0], [0, 1], [1, 1]];
  const atomsOf = (structure) => structure.n.map((number, index) => ({
    element: data.elements[number],
    at: structure.p.slice(3 * index, 3 * index + 3),
    frozen: index < structure.f,
  }));
  const show = (id) => {
    const structure = data.structures[id];
    if (!structure || !box) return;
    box.dataset.shown = id;
    if (!viewer) {
      try {
        viewer = window.$3Dmol.createViewer(box, { backgroundAlpha: 0, antialias: true });
      } catch (problem) {
        viewer = null;
      }
    }
    if (!viewer) {
      document.getElementById("viewer-note").textContent = "This browser shows no WebGL: see the pictures in the table.";
      return;
    }
    viewer.removeAllShapes();
    for (const { element, at, frozen } of atomsOf(structure)) {
      for (const [i, j] of shifts) {
        viewer.addSphere({
          center: { x: at[0] + i * structure.c[0], y: at[1] + j * structure.c[1], z: at[2] },
          radius: element.radius,
          color: frozen ? element.pale : element.colour,
        });
      }
    }
    if (box.dataset.placed !== "yes") {
      viewer.setView([0, 0, 0, 0, -0.65, 0, 0, 0.76]);
      box.dataset.placed = "yes";
    }
    viewer.zoomTo();
    viewer.zoom(1.25);
    viewer.render();
  };
  const words = { wood: "cell", coverages: "coverage", vacancies: "vacancies below", coordination: "atoms by neighbours",
    layer_spacings_A: "metal layers / \u00c5", layer_group: "layer group" };
  const text = (value) => {
    if (value === null || value === undefined) return "\u2013";
    if (Array.isArray(value)) return value.join(", ");
    if (typeof value !== "object") return String(value);
    if ("symbol" in value) return `${value.symbol} (${value.number})`;
    return Object.entries(value).map(([key, one]) => `${key} ${typeof one === "object" ? text(one) : one}`).join("; ");
  };
  const neighbours = (elements) => Object.entries(elements).map(([symbol, counts]) =>
    `${symbol}: ${Object.entries(counts).map(([number, atoms]) => `${atoms} with ${number}`).join(", ")}`).join("; ");
  const detail = (id) => {
    const list = document.getElementById("details");
    if (!list) return;
    list.replaceChildren();
    const add = (name, value) => {
      const term = document.createElement("dt");
      const described = document.createElement("dd");
      term.textContent = name;
      described.textContent = value;
      list.append(term, described);
    };
    add("structure", id);
    for (const [key, value] of Object.entries(data.details[id] ?? {})) {
      add(words[key] ?? key, key === "coordination" ? neighbours(value) : text(value));
    }
  };

  const tell = (id) => {
    const curve = curves.get(id);
    if (curve && pointed) pointed.textContent = curve.querySelector("title").textContent;
  };
  // one row at a time is in the order of the tab key; arrow keys go on from there
  const reach = (row) => {
    for (const other of rows) other.tabIndex = -1;
    row.tabIndex = 0;
  };
  const choose = (id, scroll) => {
    for (const marked of document.querySelectorAll(".chosen")) marked.classList.remove("chosen");
    for (const marked of document.querySelectorAll("tr[aria-current]")) marked.removeAttribute("aria-current");
    const curve = curves.get(id);
    const row = byId.get(id);
    if (curve) {
      curve.classList.add("chosen");
      curve.parentNode.append(curve);
    }
    const point = points.get(id);
    if (point) {
      point.classList.add("chosen");
      point.parentNode.append(point);
    }
    show(id);
    detail(id);
    if (row) {
      row.classList.add("chosen");
      row.setAttribute("aria-current", "true");
      reach(row);
      if (scroll) row.scrollIntoView({ block: "center" });
    }
    tell(id);
  };
  for (const [id, curve] of curves) {
    curve.addEventListener("pointerenter", () => tell(id));
    curve.addEventListener("click", () => choose(id, true));
  }
  for (const [id, point] of points) point.addEventListener("click", () => choose(id, false));
  const facets = document.getElementById("facets");
  if (facets) {
    facets.addEventListener("change", () => {
      const wanted = new Set([...facets.querySelectorAll("input:checked")].map((box) => box.value));
      for (const part of document.querySelectorAll("[data-facet]")) {
        part.classList.toggle("hidden", !wanted.has(part.dataset.facet));
      }
    });
  }
  const colours = document.getElementById("colours");
  if (colours) {
    colours.addEventListener("change", () => {
      document.getElementById("map").classList.toggle("by-group", colours.value === "group");
    });
  }
  if (!table) return;
  if (rows.length) {
    show(rows[0].dataset.id);
    detail(rows[0].dataset.id);
  }
  for (const row of rows) {
    row.addEventListener("click", () => choose(row.dataset.id, false));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter") choose(row.dataset.id, false);
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      const step = event.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling";
      let other = row[step];
      while (other && other.hidden) other = other[step];
      if (!other) return;
      event.preventDefault();
      reach(other);
      other.focus();
    });
  }

  const number = (text) => {
    const value = parseFloat(text.replace("\u2212", "-").replaceAll(",", ""));
    return Number.isNaN(value) ? Infinity : value;
  };
  const sort = (head, direction) => {
    const button = head.querySelector("button");
    const column = Number(button.dataset.column);
    const numeric = button.dataset.numeric === "1";
    const keyed = rows.map((row) => [numeric ? number(row.cells[column].textContent) : row.cells[column].textContent, row]);
    const sign = direction === "ascending" ? 1 : -1;
    keyed.sort(([a], [b]) => {
      if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
      if (a === b) return 0;
      // what has no value stays below, whichever way the others go
      return a === Infinity ? 1 : b === Infinity ? -1 : sign * (a - b);
    });
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  };
  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const head = button.parentNode;
      sort(head, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    });
  }

  const search = document.getElementById("search");
  const arm = document.getElementById("arm");
  const group = document.getElementById("group");
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = (!arm.value || row.dataset.arm === arm.value) &&
        (!group || !group.value || row.dataset.group === group.value) && row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    document.getElementById("count").textContent = shown;
    const reachable = rows.find((row) => row.tabIndex === 0);
    const first = rows.find((row) => !row.hidden);
    if (first && (!reachable || reachable.hidden)) reach(first);
  };
  search.addEventListener("input", filter);
  arm.addEventListener("change", filter);
  if (group) group.addEventListener("change", filter);
  document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());

  const mu = document.getElementById("mu");
  mu.addEventListener("input", () => {
    document.getElementById("chosen").textContent = Number(mu.value).toFixed(2).replace("-", "\u2212");
    for (const row of rows) {
      if (row.dataset.zero === undefined) continue;
      const gamma = Number(row.dataset.zero) + Number(row.dataset.slope) * Number(mu.value);
      row.querySelector(".gamma").textContent = gamma.toFixed(1).replace("-", "\u2212");
    }
  });
  mu.addEventListener("change", () => {
    const head = table.tHead.querySelector("[aria-sort]");
    if (head) sort(head, head.getAttribute("aria-sort"));
  });
})();
