// Two conveniences; without this script the report loses nothing but them.
"use strict";

// Tables sort by a click on a header: by number where cells carry one, else by their words; what is empty stays last.
function key(row, column) {
  const cell = row.cells[column];
  const words = cell.textContent.trim();
  return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : words === "–" ? "" : words;
}

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => [key(row, column), row]);
      keyed.sort((a, b) => compare(a[0], b[0], sign));
      body.append(...keyed.map((pair) => pair[1]));
    });
  });
}

// A phone shows no titles: the numbers behind a cell are read out below its figure.
for (const figure of document.querySelectorAll("figure.heat")) {
  const readout = figure.querySelector(".readout");
  const tell = (event) => {
    const cell = event.target.closest("td[title]");
    if (cell) readout.textContent = cell.title;
  };
  figure.addEventListener("pointerover", tell);
  figure.addEventListener("click", tell);
}
