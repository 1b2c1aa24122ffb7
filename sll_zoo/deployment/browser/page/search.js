// A search for the perturbation of a given length that brings another class nearest: projected gradient ascent. It proves nothing.

const STEPS = 16;

/** Return the length of a difference of two images in a norm, "L2" or "Linf". */
export function distance(x, y, norm) {
  let sum = 0;
  x.forEach((value, place) => {
    const difference = Math.abs(value - y[place]);
    sum = norm === "L2" ? sum + difference ** 2 : Math.max(sum, difference);
  });
  return norm === "L2" ? Math.sqrt(sum) : sum;
}

/**
 * Return the image within `length` of `image` at which the class leads least, of those that the search saw.
 *
 * `differentiate(image, up, down)` returns {logits, gradient} of logit `up` − logit `down`. `start` is an image to begin at.
 */
export async function strongest(differentiate, image, predicted, length, norm, start = image) {
  let point = within(start, image, length, norm), best = {lead: Infinity, image: point};
  let rival = rivalOf((await differentiate(point, predicted, predicted)).logits, predicted);
  for (let step = 0; step < STEPS; step++) {
    const {logits, gradient} = await differentiate(point, rival, predicted);
    rival = rivalOf(logits, predicted);
    const lead = logits[predicted] - logits[rival];
    if (lead < best.lead) best = {lead, image: point};
    point = within(moved(point, gradient, 2 * length / (step + 1), norm), image, length, norm);
  }
  return best.image;
}

/** Return the class other than `predicted` with the largest logit. */
export function rivalOf(logits, predicted) {
  let rival = predicted ? 0 : 1;
  logits.forEach((logit, place) => { if (place !== predicted && logit > logits[rival]) rival = place; });
  return rival;
}

function moved(point, gradient, stride, norm) {
  if (norm !== "L2") return point.map((value, place) => value + stride * Math.sign(gradient[place]));
  const size = Math.sqrt(gradient.reduce((sum, value) => sum + value ** 2, 0)) || 1;
  return point.map((value, place) => value + stride * gradient[place] / size);
}

/** Return the image in the ball and in [0, 1] that lies towards a point: clipping to [0, 1] leads no further from the middle. */
function within(point, image, length, norm) {
  const far = distance(point, image, norm);
  const share = norm === "L2" && far > length ? length / far : 1;
  return image.map((value, place) => {
    const change = share * (point[place] - value);
    const kept = norm === "L2" ? change : Math.min(length, Math.max(-length, change));
    return Math.min(1, Math.max(0, value + kept));
  });
}
