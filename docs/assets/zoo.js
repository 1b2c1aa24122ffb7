// The zoo's pages. Without this script all numbers of the records are there; with it, the table of networks is sorted and filtered,
// and certified accuracy is shown at the radius that a slider is moved to.
"use strict";

// --- The table of networks -----------------------------------------------------------------------------------------------------

// Columns that are sorted from the largest number on at the first click.
const BEST_LARGE = ["clean", "certified"];

function prepareTable(form) {
  const table = document.getElementById(form.dataset.table);
  const rows = [...table.tBodies[0].rows];
  const radius = form.querySelector("[data-radii]");
  const columns = [...form.querySelectorAll("select[data-column]")];
  const limits = [...form.querySelectorAll("[data-at-most]")];
  let sorted = null; // {column, direction}

  function matches(row) {
    return (
      (radius.value === "" || row.querySelector("[data-radius]:not([hidden])") !== null) &&
      columns.every((chosen) => chosen.value === "" || chosen.value === valueOf(row, chosen.dataset.column)) &&
      limits.every((limit) => limit.value === "" || within(valueOf(row, limit.dataset.atMost), limit.value * limit.dataset.unit))
    );
  }

  function show() {
    for (const row of rows) {
      for (const accuracy of row.querySelectorAll("[data-radius]"))
        accuracy.hidden = radius.value !== "" && accuracy.dataset.radius !== radius.value;
      row.hidden = !matches(row);
    }
    if (sorted) order(sorted);
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector("[role=status]").textContent = `${shown} of ${rows.length} networks`;
  }

  function sort(head) {
    const column = head.dataset.column;
    const first = BEST_LARGE.includes(column) ? -1 : 1;
    sorted = { column, direction: sorted?.column === column ? -sorted.direction : first };
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sorted.direction === 1 ? "ascending" : "descending");
    order(sorted);
  }

  function order({ column, direction }) {
    rows.sort(
      (one, other) =>
        // Accuracies at different radii say nothing of each other: networks of the same radius stay together.
        (column === "certified" ? compare(radiusOf(one), radiusOf(other), 1) : 0) ||
        compare(valueOf(one, column), valueOf(other, column), direction),
    );
    table.tBodies[0].append(...rows);
  }

  for (const head of table.tHead.querySelectorAll("th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head));
    head.replaceChildren(button);
  }
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
}

// The value that a row has in a column, as text: "" where nothing is known. Of several certified accuracies, the first that is shown.
function valueOf(row, column) {
  if (column in row.dataset) return row.dataset[column];
  const cell = row.querySelector(`[data-column="${column}"]`);
  if (column !== "certified") return cell.dataset.value ?? "";
  return parseFloat(cell.querySelector("[data-radius]:not([hidden])")?.lastChild.textContent ?? "").toString();
}

// The radius of that accuracy.
function radiusOf(row) {
  return row.querySelector("[data-radius]:not([hidden])")?.dataset.radius ?? "";
}

function within(value, limit) {
  return value !== "" && Number(value) <= limit;
}

// Numbers by size, words by the alphabet, and what is not known last, in either direction.
function compare(one, other, direction) {
  const unknown = (value) => value === "" || value === "NaN";
  if (unknown(one) || unknown(other)) return unknown(one) - unknown(other);
  const [a, b] = [Number(one), Number(other)];
  return direction * (Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other, "en", { numeric: true }) : a - b);
}

// --- Certified accuracy at any radius --------------------------------------------------------------------------------------------

async function prepareRadius(part) {
  const { n, radii } = await (await fetch(part.dataset.radii)).json();
  const slider = part.querySelector("input");
  const cursor = part.querySelector(".zoo-cursor");
  const classes = [...document.querySelectorAll("#classes tbody tr")];

  function show(eps) {
    const counts = radii.map((ascending) => above(ascending, eps));
    const all = counts.reduce((sum, count) => sum + count, 0);
    const words = `${percent(all / n)} certified at ${inWords(eps)}: ${all} of ${n} images`;
    part.querySelector("[role=status]").textContent = words;
    slider.setAttribute("aria-valuetext", words);
    const place = (cursor.dataset.width * eps) / cursor.dataset.largest;
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, place);
    for (const row of classes) row.lastElementChild.textContent = percent(counts[row.dataset.label] / row.dataset.n);
  }

  slider.addEventListener("input", () => show(slider.value / 255));
  for (const button of part.querySelectorAll("[data-eps]"))
    button.addEventListener("click", () => {
      slider.value = 255 * button.dataset.eps;
      show(Number(button.dataset.eps)); // the very number of the record
    });
  for (const cell of document.querySelectorAll(".zoo-chosen")) cell.hidden = false;
  cursor.removeAttribute("visibility");
  part.querySelector(".zoo-slider").hidden = false;
  show(slider.value / 255);
}

// How many of the ascending radii are above eps; at 0 all count, since the ball is the image itself. null is an infinite radius.
function above(ascending, eps) {
  if (eps === 0) return ascending.length;
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? Infinity) > eps) high = middle;
    else low = middle + 1;
  }
  return ascending.length - low;
}

// Rounded as Python rounds: 3.125 becomes 3.12, so that the numbers are those of the record to the last digit.
const HUNDREDTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2, roundingMode: "halfEven" });

function percent(fraction) {
  return `${HUNDREDTHS.format(100 * fraction)} %`;
}

function inWords(eps) {
  return `${Math.round(2550 * eps) / 10}/255 = ${eps.toFixed(4)}`;
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".zoo-filters").forEach(prepareTable);
  document.querySelectorAll(".zoo-radius").forEach(prepareRadius);
});
