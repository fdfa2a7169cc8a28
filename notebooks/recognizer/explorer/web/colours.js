"use strict";
// From numbers to colours: the ends of a scale, and what is drawn.

// What there is to know of numbers before they get a colour. Infinity and NaN have no part in a scale.
function range(arrays) {
  let [low, high, broken, total] = [Infinity, -Infinity, 0, 0];
  for (const data of arrays) {
    total += data.length;
    for (let i = 0; i < data.length; i++) {
      const value = data[i];
      if (value - value !== 0) broken++;
      else {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
  }
  return low > high ? { low: 0, high: 0, broken, total } : { low, high, broken, total };
}

// The values below which `shares` of all numbers lie: by counting, because sorting takes too long. A few extreme values
// make the first count coarse, so the bin that is looked for is counted again, until little is left in it.
function percentiles(arrays, shares) {
  const all = range(arrays);
  if (all.low === all.high) return shares.map(() => all.low);
  const first = counted(arrays, all.low, all.high);
  return shares.map((share) => {
    let [{ low, high }, bins, rank] = [all, first, share * (all.total - all.broken)];
    for (let round = 0; round < 4; round++) {
      const [bin, before] = binOf(bins, rank);
      const width = (high - low) / bins.length;
      [low, high, rank] = [low + bin * width, low + (bin + 1) * width, rank - before];
      if (bins[bin] < 0.001 * all.total || !(low < high)) break;
      bins = counted(arrays, low, high);
    }
    return share > 0.5 ? high : low; // the edge that is further out
  });
}

function counted(arrays, low, high) {
  const bins = new Uint32Array(1024);
  const factor = bins.length / (high - low);
  for (const data of arrays)
    for (let i = 0; i < data.length; i++) {
      const place = (data[i] - low) * factor;
      if (place >= 0 && place < bins.length) bins[place | 0]++;
      else if (data[i] === high) bins[bins.length - 1]++;
    }
  return bins;
}

function binOf(bins, rank) {
  let before = 0;
  for (let bin = 0; bin < bins.length; bin++) {
    if (before + bins[bin] > rank) return [bin, before];
    before += bins[bin];
  }
  return [bins.length - 1, before];
}

// {low, high}: what the two ends of the colours stand for. Signed values have 0 in the middle.
function endsOf(arrays, kind, signed) {
  const plain = range(arrays);
  let [low, high] = [plain.low, plain.high];
  if (kind === "percentiles") [low, high] = percentiles(arrays, [0.005, 0.995]);
  if (low === high) [low, high] = [plain.low, plain.high]; // all but a few values are the same
  if (signed) {
    high = Math.max(Math.abs(low), Math.abs(high)) || 1; // if all are 0, they get the colour of 0
    low = -high;
  }
  return { low, high };
}

function shareBeyond(arrays, { low, high }) {
  let [beyond, total] = [0, 0];
  const slack = 1e-6 * (high - low);
  for (const data of arrays) {
    total += data.length;
    for (let i = 0; i < data.length; i++) if (data[i] < low - slack || data[i] > high + slack) beyond++;
  }
  return total ? beyond / total : 0;
}

// Draw numbers of a height × width map, a pixel each. What is no number is bright red.
function paint(canvas, data, height, width, { low, high }, palette) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = image.data;
  const factor = high > low ? 256 / (high - low) : 0;
  for (let i = 0, p = 0; i < data.length; i++, p += 4) {
    const value = data[i];
    pixels[p + 3] = 255;
    if (value - value !== 0) {
      pixels[p] = 255;
      continue;
    }
    const place = (value - low) * factor; // of a value far beyond the scale it has more than 32 bits
    const index = place > 0 ? 3 * (place < 255 ? place | 0 : 255) : 0;
    pixels[p] = palette[index];
    pixels[p + 1] = palette[index + 1];
    pixels[p + 2] = palette[index + 2];
  }
  context.putImageData(image, 0, 0);
}

// The same in a square of `side` pixels, on a canvas that shows several maps.
const scratch = document.createElement("canvas");
scratch.getContext("2d", { willReadFrequently: true }); // written by numbers each time: it has no place on a GPU
function paintSquare(context, x, y, side, { data, height, width }, ends, palette) {
  paint(scratch, data, height, width, ends, palette);
  const scale = side / Math.max(height, width);
  const [rows, columns] = [scale * height, scale * width];
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(scratch, x + (side - columns) / 2, y + (side - rows) / 2, columns, rows);
}

// A number as short as it can be read.
function short(value) {
  if (value - value !== 0) return String(value);
  const size = Math.abs(value);
  if (size === 0) return "0";
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  const text = size >= 10000 || size < 0.001 ? size.toExponential(1).replace("e+", "e") : size.toFixed(digits);
  return value < 0 ? `−${text}` : text;
}

function percent(share) {
  if (share > 0.9995 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return share > 0.995 || share < 0.005 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`;
}
