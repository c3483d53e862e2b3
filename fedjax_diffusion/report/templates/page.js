"use strict";
// Sorts, filters and hides columns of each table of class "sheet". Without it, all is shown.
function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}
function keyOf(cell, isNumber) {
  const text = cell.dataset.v ?? cell.textContent;
  if (!isNumber) return text;
  return text === "" ? NaN : Number(text);
}
function sort(table, column, head) {
  const isDown = head.getAttribute("aria-sort") === "ascending";
  const isNumber = head.classList.contains("n");
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row.cells[column], isNumber), row]);
  const sign = isDown ? -1 : 1;
  rows.sort(([a], [b]) => {
    if (!isNumber) return sign * a.localeCompare(b, "en", { numeric: true });
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // empty cells stand last
    return sign * (a - b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
function show(table, column, isShown) {
  for (const row of table.rows) row.cells[column].hidden = !isShown;
}
for (const table of document.querySelectorAll("table.sheet")) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const names = make("div", { className: "names" });
  heads.forEach((head, column) => {
    const name = head.textContent;
    const isShown = !("hidden" in head.dataset);
    const box = make("input", { type: "checkbox", checked: isShown });
    box.addEventListener("change", () => show(table, column, box.checked));
    if (!isShown) show(table, column, false);
    names.append(make("label", {}, box, " " + name));
    const button = make("button", { type: "button", title: "sort by " + name }, ...head.childNodes);
    button.addEventListener("click", () => sort(table, column, head));
    head.replaceChildren(button);
  });
  const count = make("span", { role: "status" });
  const search = make("input", { type: "search", placeholder: "filter rows" });
  search.setAttribute("aria-label", "show only rows that hold these words");
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
  const tools = make("div", { className: "tools" });
  if (rows.length > 7) tools.append(search, count);
  tools.append(make("details", {}, make("summary", {}, "columns"), names));
  table.parentNode.before(tools);
  if (rows.length > 25) table.parentNode.classList.add("long");
}
