// Images from files, as Python's load_images makes them: cropped at the middle, resized by Pillow's bicubic rule, 8 bits a channel.

const BITS = 22;  // of the fractions that Pillow multiplies 8-bit values with

/** Return the pixels of an image file: {width, height, data}, data as RGBA. */
export async function decoded(file) {
  const bitmap = await createImageBitmap(file, {premultiplyAlpha: "none", colorSpaceConversion: "none"});
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** Return an image of RGBA pixels as 8-bit planes of a network's shape, [channels, height, width], one after the other. */
export function fitted({width, height, data}, shape) {
  const [channels, rows, columns] = shape;
  const planes = channels === 1 ? [grey(data)] : [0, 1, 2].map(channel => every(data, channel));
  if (width === columns && height === rows) return planes;
  const across = columns / rows <= width / height ? columns / rows * height : width;
  const down = columns / rows <= width / height ? height : width / (columns / rows);
  const [left, top] = [(width - across) / 2, (height - down) / 2];
  return planes.map(plane => {
    const narrow = resized(plane, width, height, coefficients(width, left, across, columns));
    const turned = transposed(narrow, columns, height);
    return transposed(resized(turned, height, columns, coefficients(height, top, down, rows)), rows, columns);
  });
}

/** Return 8-bit planes as one float64 array in [0, 1], of the values that float32 has: those that Python certifies. */
export function scaled(planes) {
  return Float64Array.from(planes.flatMap(plane => Array.from(plane, value => Math.fround(value / 255))));
}

// Plain loops: Uint8Array.from with a function takes seconds for a photograph.
function every(data, channel) {
  const plane = new Uint8Array(data.length / 4);
  for (let place = 0; place < plane.length; place++) plane[place] = data[4 * place + channel];
  return plane;
}

function grey(data) {  // luma, ITU-R 601-2, as Pillow rounds it
  const plane = new Uint8Array(data.length / 4);
  for (let place = 0, from = 0; place < plane.length; place++, from += 4)
    plane[place] = (19595 * data[from] + 38470 * data[from + 1] + 7471 * data[from + 2] + 0x8000) >> 16;
  return plane;
}

function transposed(plane, width, height) {
  const turned = new Uint8Array(plane.length);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) turned[column * height + row] = plane[row * width + column];
  return turned;
}

function bicubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
}

/** Return, for each of `count` pixels of a row, the first pixel it is made of and the integers to multiply these with. */
function coefficients(size, start, length, count) {
  const step = length / count, wide = Math.max(step, 1);
  return Array.from({length: count}, (_, place) => {
    const centre = start + (place + 0.5) * step;
    const first = Math.max(0, Math.trunc(centre - 2 * wide + 0.5));
    const end = Math.min(size, Math.trunc(centre + 2 * wide + 0.5));
    const weights = Array.from({length: end - first}, (_, index) => bicubic((index + first - centre + 0.5) / wide));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return {first, weights: weights.map(weight => Math.trunc(weight / sum * 2 ** BITS + (weight < 0 ? -0.5 : 0.5)))};
  });
}

/** Return a plane with another width. */
function resized(plane, width, height, places) {
  const result = new Uint8Array(places.length * height);
  for (let row = 0; row < height; row++) {
    places.forEach(({first, weights}, column) => {
      let sum = 2 ** (BITS - 1);
      for (let index = 0; index < weights.length; index++) sum += weights[index] * plane[row * width + first + index];
      result[row * places.length + column] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));
    });
  }
  return result;
}
