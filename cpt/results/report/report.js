// What a reader may do with the page: sort and filter, choose light or dark. Without it nothing else is missing.
"use strict";

const root = document.documentElement;
const bar = document.querySelector(".controls");
bar.hidden = false;

// Light, dark, or as the system has it; on paper the style sheet has it always light.
const theme = document.getElementById("theme");
theme.value = root.dataset.theme ?? "";
theme.addEventListener("change", () => {
  if (theme.value) root.dataset.theme = theme.value;
  else delete root.dataset.theme;
  try {
    localStorage.setItem("cpt-report-theme", theme.value);
  } catch {
    // Not remembered: the page is shown somewhere that keeps nothing.
  }
});

// What a section's head must stay clear of when a link leads to it.
const head = bar.parentElement;
new ResizeObserver(() => root.style.setProperty("--top", `${head.offsetHeight}px`)).observe(head);
const contents = document.querySelector("nav details");
contents.open = matchMedia("(min-width: 64rem)").matches;

// Tables sort by a click on a header: by number where cells are numbers, else by their words; what is empty stays last.
function number(words) {
  const plain = words.replace("\u2212", "-").replaceAll(",", "").replace(/[*%]/g, "");
  return plain === "" || Number.isNaN(Number(plain)) ? undefined : Number(plain);
}

function key(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const words = cell.textContent.trim();
  return words === "–" ? "" : (number(words) ?? words);
}

const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * collator.compare(String(a), String(b));
}

function heads(table) {
  const [first, second] = table.tHead.rows;
  return second ? [first.cells[0], ...second.cells] : [...first.cells];
}

function build(name, settings = {}, ...content) {
  const element = Object.assign(document.createElement(name), settings);
  element.append(...content);
  return element;
}

// The lines of a table as they are sorted and sifted; of many only the first are laid out until a reader wants all.
const FEW = 6;
const MANY = 200;
const hiddenPoints = new Set(); // points of the study that the page's filter hides

class Lines {
  constructor(table) {
    this.table = table;
    this.rows = [...table.tBodies[0].rows];
    this.limit = MANY;
    this.words = [];
    this.more = build("button", { type: "button", className: "more", hidden: true });
    this.more.addEventListener("click", () => {
      this.limit = Infinity;
      this.show();
    });
    table.closest(".scroll").after(this.more);
    this.cells = heads(table);
    this.cells.forEach((cell, column) => {
      const button = build("button", { type: "button" }, ...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => this.sort(column));
    });
    if (hiddenPoints.size || this.rows.length > MANY) this.show();
  }

  show() {
    this.shown = this.rows.filter((row) => !hiddenPoints.has(row.dataset.a) && this.fits(row));
    this.table.tBodies[0].replaceChildren(...this.shown.slice(0, this.limit));
    this.table.closest(".scroll").classList.toggle("none", this.shown.length === 0);
    this.more.hidden = this.shown.length <= this.limit;
    this.more.textContent = `Show all ${this.shown.length} lines, not only ${this.limit}`;
  }

  fits(row) {
    if (!this.words.length) return true;
    row.words ??= [...row.querySelectorAll("th, td.t")].map((cell) => cell.textContent).join(" ").toLowerCase();
    return this.words.every((word) => row.words.includes(word));
  }

  // Lines of base models stay above in a table of changes, where they are what others are compared with.
  sort(column) {
    const head = this.cells[column];
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of this.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const pinned = this.table.closest(".heat") !== null;
    const keyed = this.rows.map((row) => [pinned && row.className === "base", key(row, column), row]);
    keyed.sort((a, b) => b[0] - a[0] || (a[0] ? 0 : compare(a[1], b[1], sign)));
    this.rows = keyed.map((parts) => parts[2]);
    this.show();
  }
}

const tables = new Map();

// One box to sift by words for a table, or for all tables of a figure.
function activate(part) {
  const wholes = new Map();
  for (const table of part.querySelectorAll("table.sortable")) {
    if (tables.has(table)) continue;
    const lines = new Lines(table);
    tables.set(table, lines);
    const whole = table.closest("figure") ?? table.closest(".scroll");
    wholes.set(whole, [...(wholes.get(whole) ?? []), lines]);
  }
  for (const [whole, all] of wholes) {
    const count = all.reduce((sum, lines) => sum + lines.rows.length, 0);
    if (count < FEW) continue;
    const input = build("input", { type: "search", autocomplete: "off", placeholder: "words of a line" });
    const matching = build("output", { ariaLive: "polite" });
    const line = build("p", { className: "sift" }, build("label", {}, "Filter ", input), " ", matching);
    if (whole.matches("figure")) whole.prepend(line);
    else whole.before(line);
    input.addEventListener("input", () => {
      for (const lines of all) {
        lines.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        lines.show();
      }
      const shownNow = all.reduce((sum, lines) => sum + lines.shown.length, 0);
      matching.textContent = input.value.trim() ? `${shownNow} of ${count} lines` : "";
    });
  }
}

// What is not needed at once is plain text in the page, made into elements when it is opened or comes near.
function create(parent) {
  for (const text of parent.querySelectorAll(":scope > noscript")) {
    const parsed = document.createElement("template");
    parsed.innerHTML = text.textContent;
    const parts = [...parsed.content.children];
    text.replaceWith(parsed.content);
    for (const part of parts) activate(part.parentElement);
  }
}

const near = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    create(target);
  }
}, { rootMargin: "100%" });
for (const element of document.querySelectorAll(".later:has(> noscript)")) near.observe(element);
for (const element of document.querySelectorAll("main details")) element.addEventListener("toggle", () => create(element));
activate(document.querySelector("main"));

// Paper cannot be opened, so what is folded is opened for it, and folded again.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open])")];
  for (const element of document.querySelectorAll("main .later, main details")) create(element);
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of folded) part.open = false;
});

// The filter of the page: lines of tables by their points; all else that it hides by a rule of style.
const form = document.getElementById("filter");
const shown = document.getElementById("shown");
const reset = bar.querySelector("button[type=reset]");
const rule = document.head.appendChild(document.createElement("style"));
const axes = form.dataset.axes.split(" ");
const points = JSON.parse(form.dataset.points);

// A base model has neither data nor code: it is shown with the runs that are compared with it.
function fits(point, chosen) {
  const base = point[axes.length + 1];
  return axes.every((axis, at) => {
    const values = chosen.getAll(axis);
    return !values.length || values.includes(point[at]) || (base && (axis === "data" || axis === "code"));
  });
}

function apply() {
  const chosen = new FormData(form);
  const before = [...hiddenPoints].join();
  hiddenPoints.clear();
  let runs = 0;
  let all = 0;
  points.forEach((point, index) => {
    const fitting = fits(point, chosen);
    if (!fitting) hiddenPoints.add(String(index));
    runs += fitting ? point[axes.length] : 0;
    all += point[axes.length];
  });
  const hidden = [...hiddenPoints].map((index) => `main [data-a="${index}"]`);
  for (const name of ["task", "metric", "protocol"]) {
    const values = chosen.getAll(name);
    if (!values.length) continue;
    const others = values.map((value) => `:not([data-${name}="${CSS.escape(value)}"])`).join("");
    hidden.push(`main [data-${name}]:not([data-${name}=""])${others}`);
  }
  rule.textContent = hidden.length ? `${hidden.join(",")} { display: none !important; }` : "";
  shown.textContent = `${runs} of ${all} runs`;
  const narrowed = hidden.length > 0;
  bar.classList.toggle("narrowed", narrowed);
  reset.hidden = !narrowed;
  if (before !== [...hiddenPoints].join()) for (const lines of tables.values()) lines.show();
}

form.addEventListener("change", apply);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(apply));
form.parentElement.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  form.parentElement.open = false;
  form.parentElement.firstElementChild.focus();
});
apply();

// A phone shows no titles: the numbers behind a cell are read out below its figure.
function readOut(event) {
  const cell = event.target.closest("figure.heat td[title]");
  if (!cell) return;
  const row = cell.parentElement;
  const language = heads(cell.closest("table"))[cell.cellIndex].querySelector("abbr").title;
  const change = row.className === "base" || !cell.title.includes("base") ? "" : `; change ${cell.textContent}`;
  const words = `${row.cells[0].textContent}, ${language}: ${cell.title}${change}`;
  cell.closest("figure").querySelector(".readout").textContent = words;
}
document.addEventListener("pointerover", readOut);
document.addEventListener("click", readOut);
