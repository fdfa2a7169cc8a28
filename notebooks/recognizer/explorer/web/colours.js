"use strict";
// Draw values as colours: find the ends of a scale, and paint maps.

// {low, high, broken, total}: the lowest and the highest finite value, the number of values that are infinite or NaN,
// and the number of all values. Infinity and NaN do not influence a scale.
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

// The values below which `shares` of all numbers lie. Counting numbers in bins is faster than sorting. A few extreme
// values make the first bins coarse, so the right bin is divided and counted again until few numbers are in it.
function percentiles(arrays, shares) {
  const all = range(arrays);
  if (all.low === all.high) return shares.map(() => all.low);
  const first = histogram(arrays, all.low, all.high);
  return shares.map((share) => {
    let [{ low, high }, bins, rank] = [all, first, share * (all.total - all.broken)];
    for (let round = 0; round < 4; round++) {
      const [bin, before] = binOf(bins, rank);
      const width = (high - low) / bins.length;
      [low, high, rank] = [low + bin * width, low + (bin + 1) * width, rank - before];
      if (bins[bin] < 0.001 * all.total || !(low < high)) break;
      bins = histogram(arrays, low, high);
    }
    return share > 0.5 ? high : low; // the outer edge of the bin
  });
}

function histogram(arrays, low, high) {
  const bins = new Uint32Array(1024);
  const factor = bins.length / (high - low);
  for (const data of arrays)
    for (let i = 0; i < data.length; i++) {
      const bin = (data[i] - low) * factor;
      if (bin >= 0 && bin < bins.length) bins[bin | 0]++;
      else if (data[i] === high) bins[bins.length - 1]++;
    }
  return bins;
}

// The bin that contains the number with a given rank, and how many numbers lie in the bins before it.
function binOf(bins, rank) {
  let before = 0;
  for (let bin = 0; bin < bins.length; bin++) {
    if (before + bins[bin] > rank) return [bin, before];
    before += bins[bin];
  }
  return [bins.length - 1, before];
}

// {low, high}: the values at the two ends of the colours. For signed values, 0 is in the middle.
function endsOf(arrays, kind, signed) {
  const all = range(arrays);
  let [low, high] = [all.low, all.high];
  if (kind === "percentiles") [low, high] = percentiles(arrays, [0.005, 0.995]);
  if (low === high) [low, high] = [all.low, all.high]; // nearly all values are the same
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

// Draw a map of height × width values, one pixel per value. Infinity and NaN are bright red.
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
    const colour = (value - low) * factor; // may exceed 32 bits, so it is compared before it is rounded by `| 0`
    const index = colour > 0 ? 3 * (colour < 255 ? colour | 0 : 255) : 0;
    pixels[p] = palette[index];
    pixels[p + 1] = palette[index + 1];
    pixels[p + 2] = palette[index + 2];
  }
  context.putImageData(image, 0, 0);
}

// Draw a map in a square of `side` pixels, on a canvas that shows several maps.
const scratch = document.createElement("canvas");
scratch.getContext("2d", { willReadFrequently: true }); // keeps it off the GPU, since its pixels are set one by one
function paintSquare(context, x, y, side, { data, height, width }, ends, palette) {
  paint(scratch, data, height, width, ends, palette);
  const scale = side / Math.max(height, width);
  const [rows, columns] = [scale * height, scale * width];
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(scratch, x + (side - columns) / 2, y + (side - rows) / 2, columns, rows);
}

// A number as short text.
function short(value) {
  if (value - value !== 0) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude === 0) return "0";
  const digits = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3;
  const isExponential = magnitude >= 10000 || magnitude < 0.001;
  const text = isExponential ? magnitude.toExponential(1).replace("e+", "e") : magnitude.toFixed(digits);
  return value < 0 ? `−${text}` : text;
}

function percent(share) {
  if (share > 0.9995 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return share > 0.995 || share < 0.005 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`;
}
