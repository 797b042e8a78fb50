"use strict";
(() => {
  const table = document.getElementById("terminations");
  const pointed = document.getElementById("pointed");
  const curves = new Map([...document.querySelectorAll(".curve")].map((curve) => [curve.dataset.id, curve]));
  const rows = table ? [...table.tBodies[0].rows] : [];
  const byId = new Map(rows.map((row) => [row.dataset.id, row]));

  const tell = (id) => {
    const curve = curves.get(id);
    if (curve) pointed.textContent = curve.querySelector("title").textContent;
  };
  const choose = (id, scroll) => {
    for (const marked of document.querySelectorAll(".chosen")) marked.classList.remove("chosen");
    const curve = curves.get(id);
    const row = byId.get(id);
    if (curve) {
      curve.classList.add("chosen");
      curve.parentNode.append(curve);
    }
    if (row) {
      row.classList.add("chosen");
      if (scroll) row.scrollIntoView({ block: "center" });
    }
    tell(id);
  };
  for (const [id, curve] of curves) {
    curve.addEventListener("pointerenter", () => tell(id));
    curve.addEventListener("click", () => choose(id, true));
  }
  if (!table) return;
  for (const row of rows) {
    row.addEventListener("click", () => choose(row.dataset.id, false));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter") choose(row.dataset.id, false);
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
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = (!arm.value || row.dataset.arm === arm.value) && row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    document.getElementById("count").textContent = shown;
  };
  search.addEventListener("input", filter);
  arm.addEventListener("change", filter);
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
