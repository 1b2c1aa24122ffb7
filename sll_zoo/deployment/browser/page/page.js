// The page: what was chosen, and what the worker found about it.

import {decoded, fitted, scaled} from "./image.js";
import {distance} from "./search.js";

const at = id => document.getElementById(id);
const worker = new Worker(new URL("./worker.js", import.meta.url), {type: "module"});
const waiting = new Map();
let description = null, current = null, asked = 0;
let networkChoice = 0, imageChoice = 0;  // what was begun for an earlier choice is dropped

worker.onmessage = ({data: {id, result, error, progress}}) => {
  if (progress !== undefined) { at("change").textContent = `${progress} …`; return; }
  const {resolve, reject} = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(result); else reject(new Error(error));
};
worker.onerror = event => tell(`The network cannot be run here: ${event.message || "this browser has no module workers"}`);

function ask(task, details) {
  const id = ++asked;
  worker.postMessage({id, task, ...details});
  return new Promise((resolve, reject) => waiting.set(id, {resolve, reject}));
}

function tell(text) { at("status").textContent = text; }

/** Return a radius in words, rounded down, so that it stays proved. */
function shortened(radius) { return (Math.floor(radius * 1e5) / 1e5).toFixed(5); }

function named(place) { return place === null ? "none" : description.classes[place].replaceAll("_", " "); }

/** Draw an image of a network's shape; `value` makes the number of a pixel 0 to 255. */
function draw(canvas, image, value = number => Math.round(255 * number)) {
  const [channels, rows, columns] = description.shape, size = rows * columns;
  [canvas.width, canvas.height] = [columns, rows];
  const pixels = new ImageData(columns, rows);
  for (let place = 0; place < size; place++) {
    for (let colour = 0; colour < 3; colour++) pixels.data[4 * place + colour] = value(image[(channels === 1 ? 0 : colour) * size + place]);
    pixels.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** Take away what was shown of an image. */
function clear() {
  current = null;
  at("file").value = "";  // so that the same file can be chosen again
  for (const id of ["result", "search"]) at(id).hidden = true;
}

/** Let the browser paint what was told, before a long computation. */
function painted() { return new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve))); }

async function load(name) {
  const mine = ++networkChoice;
  imageChoice++;
  description = null;
  clear();
  at("examples").replaceChildren();
  tell(`Loading ${name} …`);
  const start = performance.now();
  let loaded;
  try {
    loaded = await ask("load", {name});
  } catch (error) {
    if (mine === networkChoice) tell(`${name} cannot be loaded: ${error.message}`);
    return;
  }
  if (mine !== networkChoice) return;
  description = loaded;
  const [channels, rows, columns] = description.shape;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  tell(`${name} is ready: ${columns} × ${rows} pixels, ${channels === 1 ? "grey" : "RGB"}, ${description.classes.length} classes; loaded in ${seconds} s.`);
  at("rounding").textContent = description.sound
    ? "The network runs in float64, in which rounding takes next to nothing of a radius; in float32 it would take more than all of most. "
      + "What rounding may take at most is proved, and subtracted from the radius."
    : "This file's radius is one of exact arithmetic: rounding is not accounted for. `sll-zoo export --sound --dtype float64` does that.";
  if (!description.images.length) return;
  try {
    await offer(name, loaded);
  } catch (error) {
    if (mine === networkChoice) tell(`${name} is ready, but its images cannot be loaded: ${error.message}`);
  }
}

/** Offer the images of a network's sheet, side by side in one picture. */
async function offer(name, {shape: [, rows, columns], images}) {
  const mine = networkChoice;
  const response = await fetch(`networks/${encodeURIComponent(name)}/images.png`);
  const sheet = await decoded(await response.blob());
  if (mine !== networkChoice) return;
  images.forEach(({place, label}, number) => {
    const tile = new ImageData(columns, rows);
    for (let row = 0; row < rows; row++) {
      const start = 4 * (row * sheet.width + place * columns);
      tile.data.set(sheet.data.subarray(start, start + 4 * columns), 4 * row * columns);
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    canvas.getContext("2d").putImageData(tile, 0, 0);
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `image ${number + 1}: ${named(label)}`);
    button.append(canvas);
    button.onclick = () => show(++imageChoice, tile, `A held-out image; its label is ${named(label)}.`);
    const entry = document.createElement("li");
    entry.append(button);
    at("examples").append(entry);
  });
}

async function open(file) {
  if (!file) return;
  if (!description) {
    clear();
    tell("No network is loaded: choose the image again when one is ready.");
    return;
  }
  const mine = ++imageChoice;
  tell("Computing …");
  await painted();
  let pixels;
  try {
    pixels = await decoded(file);
  } catch (error) {
    if (mine !== imageChoice) return;
    clear();
    tell(`${file.name} cannot be read as an image: choose a PNG or JPEG file (${error.message}).`);
    return;
  }
  if (mine !== imageChoice) return;
  const {width, height} = pixels, [, rows, columns] = description.shape;
  const same = width === columns && height === rows;
  await show(mine, pixels, same ? "As it is." : `It had ${width} × ${height} pixels: cropped at the middle and resized.`);
}

/** Certify the image of a choice, of RGBA pixels, and show what is proved. */
async function show(mine, pixels, preparation) {
  tell("Computing …");
  let image, found;
  try {
    image = scaled(fitted(pixels, description.shape));
    found = await ask("certify", {image});
  } catch (error) {
    if (mine !== imageChoice) return;
    clear();
    tell(`The network cannot be run: ${error.message}`);
    return;
  }
  if (mine !== imageChoice) return;
  current = {image, ...found};
  tell("Done.");
  draw(at("seen"), image);
  at("preparation").textContent = preparation;
  at("class").textContent = named(found.class);
  at("runner-up").textContent = named(found.runnerUp);
  at("radius").textContent = `${shortened(found.radius)} in ${description.norm}`;
  at("radius").dataset.value = found.radius;
  at("slack").textContent = found.slack === null ? "nothing: not accounted for" : found.slack.toExponential(1);
  at("claim").textContent = found.radius > 0
    ? `No image closer than ${shortened(found.radius)} to this one has another class than ${named(found.class)}, for this network${description.sound ? "" : ", in exact arithmetic"}.`
    : "Nothing is proved for this image: its classes are too close to each other.";
  at("result").hidden = false;
  if (description.gradient && found.runnerUp !== null) prepare();
}

/** Show the slider, at length 0. */
function prepare() {
  at("search").hidden = false;
  at("change").textContent = "";
  at("change-mark").hidden = true;
  at("length").value = 0;
  span(3 * Math.max(current.radius, 0.01));
  lay({...current, length: 0});
}

function diameter() { return description.norm === "L2" ? Math.sqrt(current.image.length) : 1; }

/** Let the slider reach a length, and mark under it what is proved and where the class was found to change. */
function span(longest, change = null) {
  longest = Math.min(longest, diameter());
  at("length").max = longest;
  at("proved-part").style.width = `${100 * Math.min(1, current.radius / longest)}%`;
  at("change-mark").hidden = change === null;
  if (change !== null) at("change-mark").style.left = `${100 * change / longest}%`;
}

/** Show a perturbed image. */
function lay(found) {
  const {image, radius} = current, kept = found.class === current.class;
  const largest = distance(found.image, image, "Linf");
  draw(at("perturbed"), found.image);
  draw(at("difference"), found.image.map((value, place) => value - image[place]), value => 128 + 127 * value / (largest || 1));
  at("difference-caption").textContent = `perturbation of length ${found.length.toFixed(4)}, its largest pixel ${largest.toFixed(4)}`;
  at("length-value").textContent = `${Number(at("length").value).toFixed(4)} in ${description.norm}`;
  const inside = found.length < radius;
  const unproved = found.length > 0 ? ", beyond the radius: the search found nothing here, which proves nothing." : ": this is the image itself.";
  at("verdict").className = kept ? "kept" : "changed";
  at("verdict").textContent = kept
    ? `Still ${named(found.class)}${inside ? ": inside the radius it cannot change." : unproved}`
    : `Now ${named(found.class)}.${inside ? " Inside the radius! That contradicts the proof: please report it." : ""}`;
}

let moving = false, next = null;
/** Search at the length that the slider shows; while a search runs, only the last length that was asked for is kept. */
async function slide(length) {
  next = length;
  if (moving) return;
  moving = true;
  try {
    while (next !== null && current) {
      const mine = current, wanted = next;
      next = null;
      const found = wanted > 0
        ? await ask("perturb", {image: mine.image, predicted: mine.class, length: wanted, start: mine.start})
        : {...mine, length: 0};
      if (current === mine) lay(found);
    }
  } catch (error) {
    tell(`The search failed: ${error.message}`);
  } finally {
    moving = false;
  }
}

async function nearest() {
  const mine = current;
  at("nearest").disabled = true;
  at("change").textContent = "Searching …";
  const {image, radius} = mine;
  let found;
  try {
    found = await ask("nearest", {image, predicted: mine.class, radius, diameter: diameter()});
  } catch (error) {
    at("change").textContent = "";
    tell(`The search failed: ${error.message}`);
    return;
  } finally {
    at("nearest").disabled = false;
  }
  if (current !== mine) return;
  if (!found) { at("change").textContent = "No change was found. That proves nothing beyond the radius."; return; }
  mine.start = found.image;
  const length = distance(found.image, image, description.norm);
  span(Math.max(3 * radius, 1.5 * length), length);
  at("length").value = length;
  lay(found);
  at("change").textContent = `The class changes at length ${length.toFixed(4)}: the shortest that was found, `
    + (radius > 0 ? `${(length / radius).toFixed(2)} times the radius.` : "where nothing is proved.");
}

at("network").onchange = event => load(event.target.value);
at("file").onchange = event => open(event.target.files[0]);
at("length").oninput = event => slide(Number(event.target.value));
at("nearest").onclick = nearest;
for (const kind of ["dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") open(event.dataTransfer.files[0]);
  });
}

const {networks} = await (await fetch("networks.json")).json();
at("network").replaceChildren(...networks.map(name => new Option(name, name)));
const wanted = new URLSearchParams(location.search).get("network");
if (networks.includes(wanted)) at("network").value = wanted;
await load(at("network").value);
