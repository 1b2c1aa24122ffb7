// Runs the networks, apart from the page, which stays responsive. A message {id, task, ...} is answered by {id, result} or {id, error}.

import * as ort from "./runtime/ort.wasm.min.mjs";
import {distance, rivalOf, strongest} from "./search.js";

ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
ort.env.wasm.numThreads = 1;  // several need headers that servers of static files do not send

const SEARCHES = 6, BISECTIONS = 6, GROWTH = 1.4;
let network = null;

const tasks = {
  /** Load a network of the list, and return its description. */
  async load({name}) {
    const folder = new URL(`./networks/${encodeURIComponent(name)}/`, import.meta.url);
    const description = await (await fetched(new URL("network.json", folder))).json();
    const bytes = new Uint8Array(await (await fetched(new URL("network.onnx", folder))).arrayBuffer());
    // "basic" folds constants and leaves out what changes nothing; what it might leave out wrongly, sll-zoo export refuses to write.
    const session = await ort.InferenceSession.create(bytes, {executionProviders: ["wasm"], graphOptimizationLevel: "basic"});
    await network?.session.release();
    await network?.gradient?.release();
    network = {...description, folder, session, gradient: null};
    return description;
  },

  /** Return class, runner-up, radius and slack of an image. */
  certify({image}) {
    return certified(image);
  },

  /** Return the strongest perturbation found of a length, and what the network makes of it. */
  async perturb({image, predicted, length, start}) {
    return perturbed(image, predicted, length, start);
  },

  /** Return the shortest length at which the class was found to change, and the image there; null if it was not. */
  async nearest({id, image, predicted, radius, diameter}) {
    let low = radius, found = null, start;
    for (let search = 0, length = Math.max(radius, 1e-3) * GROWTH; search < SEARCHES && !found; search++, length *= GROWTH) {
      const tried = await perturbed(image, predicted, Math.min(length, diameter), start);
      postMessage({id, progress: `searched at length ${tried.length.toFixed(3)}`});
      start = tried.image;
      if (tried.class === predicted) low = length; else found = tried;
    }
    for (let step = 0; found && step < BISECTIONS; step++) {
      const middle = (low + found.length) / 2;
      const tried = await perturbed(image, predicted, middle, found.image);
      postMessage({id, progress: `searched at length ${middle.toFixed(3)}`});
      if (tried.class === predicted) low = middle; else found = tried;
    }
    return found;
  },
};

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address.pathname}: ${response.status} ${response.statusText}`);
  return response;
}

async function certified(image) {
  const values = network.dtype === "float64" ? Float64Array.from(image) : Float32Array.from(image);
  const images = new ort.Tensor(network.dtype, values, [1, ...network.shape]);
  const found = await network.session.run({images});
  const logits = Array.from(found.logits.data);
  const predicted = logits.indexOf(Math.max(...logits));
  return {class: predicted, runnerUp: logits.length > 1 ? rivalOf(logits, predicted) : null, radius: found.radius.data[0],
          slack: network.sound ? found.slack.data[0] : null};
}

async function perturbed(image, predicted, length, start) {
  const point = await strongest(differentiate, image, predicted, length, network.norm, start);
  return {...await certified(point), image: point, length: distance(point, image, network.norm)};
}

async function differentiate(image, up, down) {
  if (!network.gradient) {
    const bytes = await (await fetched(new URL("gradient.onnx", network.folder))).arrayBuffer();
    network.gradient = await ort.InferenceSession.create(new Uint8Array(bytes), {executionProviders: ["wasm"]});
  }
  const weights = Float32Array.from(network.classes, (_, place) => (place === up ? 1 : 0) - (place === down ? 1 : 0));
  const found = await network.gradient.run({
    images: new ort.Tensor("float32", Float32Array.from(image), [1, ...network.shape]),
    weights: new ort.Tensor("float32", weights, [1, weights.length]),
  });
  return {logits: Array.from(found.logits.data), gradient: found.gradient.data};
}

let last = Promise.resolve();  // one task at a time, in order
onmessage = ({data}) => {
  last = last.then(async () => {
    try {
      postMessage({id: data.id, result: await tasks[data.task](data)});
    } catch (error) {
      postMessage({id: data.id, error: String(error.message ?? error)});
    }
  });
};
