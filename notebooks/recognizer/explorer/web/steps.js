"use strict";
// What each kind of step does: from values {shape, data}, data a Float32Array, to the data of a new one. No step writes
// over what another made.

const STEPS = {
  convolution,
  linear,
  affine,
  pointwise,
  softmax,
  concatenate,
  max_pool: (step, inputs) => pool(step, inputs[0], largest),
  average_pool: (step, inputs) => pool(step, inputs[0], average),
  adaptive_average_pool: (step, inputs) => adaptivePool(step, inputs[0], (sum, value) => sum + value, 0, true),
  adaptive_max_pool: (step, inputs) => adaptivePool(step, inputs[0], Math.max, -Infinity, false),
  add: (step, inputs) => together(step, inputs, (a, b) => a + b),
  subtract: (step, inputs) => together(step, inputs, (a, b) => a - b),
  multiply: (step, inputs) => together(step, inputs, (a, b) => a * b),
  divide: (step, inputs) => together(step, inputs, (a, b) => a / b),
  same: (step, inputs) => inputs[0].data,
};

function count(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

function without({ shape, data }, filters) {
  const copy = data.slice();
  const each = copy.length / shape[0];
  for (const filter of filters) copy.fill(0, filter * each, (filter + 1) * each);
  return { shape, data: copy };
}

// The picture in a frame of zeros (or of `filling`), so that no window has to ask where the edge is.
function framed({ shape, data }, [top, left], [bottom, right], filling = 0) {
  const [channels, height, width] = shape;
  const [rows, columns] = [height + top + bottom, width + left + right];
  if (rows === height && columns === width) return { data, rows, columns };
  const frame = new Float32Array(channels * rows * columns);
  if (filling) frame.fill(filling);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++) {
      const line = (c * height + y) * width;
      frame.set(data.subarray(line, line + width), (c * rows + y + top) * columns + left);
    }
  return { data: frame, rows, columns };
}

function convolution(step, [input], tensors) {
  const [filters, height, width] = step.shape;
  const [channels] = input.shape;
  const frame = framed(input, step.before, step.after);
  const output = new Float32Array(count(step.shape));
  const perGroup = channels / step.groups;
  const made = filters / step.groups;
  const places = windowPlaces(step, perGroup, frame);
  for (let group = 0; group < step.groups; group++) {
    const from = frame.data.subarray(group * perGroup * frame.rows * frame.columns);
    const into = output.subarray(group * made * height * width, (group + 1) * made * height * width);
    if (made === 1) {
      const weight = tensors.weight.subarray(group * places.length, (group + 1) * places.length);
      oneFilter(step, from, frame, places, weight, into);
    } else {
      const panels = panelsOf(tensors, group, made, places.length);
      manyFilters(step, from, frame, places, panels, made, into);
    }
  }
  if (tensors.bias) addToEach(output, tensors.bias);
  return output;
}

// Where the numbers under a window lie, counted from the window's corner.
function windowPlaces({ kernel, dilation }, channels, { rows, columns }) {
  const places = new Int32Array(channels * kernel[0] * kernel[1]);
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < kernel[0]; y++)
      for (let x = 0; x < kernel[1]; x++) places[i++] = (c * rows + y * dilation[0]) * columns + x * dilation[1];
  return places;
}

function addToEach(output, bias) {
  const each = output.length / bias.length;
  for (let c = 0; c < bias.length; c++) for (let i = c * each, end = i + each; i < end; i++) output[i] += bias[c];
}

// A filter that is alone in its group: line by line, one weight after the other.
function oneFilter(step, from, frame, places, weight, into) {
  const [, height, width] = step.shape;
  const [down, across] = step.stride;
  for (let k = 0; k < places.length; k++)
    for (let y = 0; y < height; y++) {
      let source = y * down * frame.columns + places[k];
      for (let i = y * width, end = i + width; i < end; i++, source += across) into[i] += weight[k] * from[source];
    }
}

// Most of the time goes here. Four windows at a time are copied behind each other (`windows`), and meet four filters at
// a time (`panels`), so that each number that is fetched is used four times. In 64 bits, as JavaScript computes.
function manyFilters(step, from, frame, places, panels, made, into) {
  const [, height, width] = step.shape;
  const positions = height * width;
  const windows = new Float64Array(4 * places.length);
  const corner = (position) => {
    const p = Math.min(position, positions - 1);
    return Math.floor(p / width) * step.stride[0] * frame.columns + (p % width) * step.stride[1];
  };
  for (let position = 0; position < positions; position += 4) {
    const a = corner(position), b = corner(position + 1), c = corner(position + 2), d = corner(position + 3);
    for (let k = 0, i = 0; k < places.length; k++, i += 4) {
      const place = places[k];
      windows[i] = from[a + place];
      windows[i + 1] = from[b + place];
      windows[i + 2] = from[c + place];
      windows[i + 3] = from[d + place];
    }
    for (let filter = 0; filter < made; filter += 4)
      fourByFour(panels, filter * places.length, windows, into, filter, made, position, positions);
  }
}

// Four filters on four windows.
function fourByFour(panels, start, windows, into, filter, made, position, positions) {
  let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
  for (let i = 0, p = start; i < windows.length; i += 4, p += 4) {
    const w0 = windows[i], w1 = windows[i + 1], w2 = windows[i + 2], w3 = windows[i + 3];
    const a = panels[p], b = panels[p + 1], c = panels[p + 2], d = panels[p + 3];
    a0 += a * w0; a1 += a * w1; a2 += a * w2; a3 += a * w3;
    b0 += b * w0; b1 += b * w1; b2 += b * w2; b3 += b * w3;
    c0 += c * w0; c1 += c * w1; c2 += c * w2; c3 += c * w3;
    d0 += d * w0; d1 += d * w1; d2 += d * w2; d3 += d * w3;
  }
  const place = filter * positions + position;
  const left = positions - position;
  fourOf(into, place, left, a0, a1, a2, a3);
  if (filter + 1 < made) fourOf(into, place + positions, left, b0, b1, b2, b3);
  if (filter + 2 < made) fourOf(into, place + 2 * positions, left, c0, c1, c2, c3);
  if (filter + 3 < made) fourOf(into, place + 3 * positions, left, d0, d1, d2, d3);
}

function fourOf(into, i, left, v0, v1, v2, v3) {
  into[i] = v0;
  if (left > 1) into[i + 1] = v1;
  if (left > 2) into[i + 2] = v2;
  if (left > 3) into[i + 3] = v3;
}

// The weights of a group in the order in which `fourByFour` reads them: those of four filters in turn.
function panelsOf(tensors, group, made, each) {
  const key = `${tensors.weightNumber} ${group}`;
  if (!tensors.panelsOf.has(key)) {
    const panels = new Float64Array(Math.ceil(made / 4) * 4 * each);
    for (let f = 0; f < made; f++)
      for (let k = 0; k < each; k++)
        panels[((f >> 2) * each + k) * 4 + (f & 3)] = tensors.weight[(group * made + f) * each + k];
    tensors.panelsOf.set(key, panels);
  }
  return tensors.panelsOf.get(key);
}

function linear(step, [input], { weight, bias }) {
  const output = new Float32Array(step.shape[0]);
  const { data } = input;
  for (let row = 0; row < output.length; row++) {
    const start = row * data.length;
    let [sum, further] = [bias ? bias[row] : 0, 0];
    let i = 0;
    for (; i + 1 < data.length; i += 2) {
      sum += weight[start + i] * data[i];
      further += weight[start + i + 1] * data[i + 1];
    }
    output[row] = sum + further + (i < data.length ? weight[start + i] * data[i] : 0);
  }
  return output;
}

function affine(step, [input], { scale, shift }) {
  const output = new Float32Array(input.data.length);
  const each = output.length / step.shape[0];
  for (let c = 0; c < step.shape[0]; c++) {
    const s = scale.length > 1 ? scale[c] : scale[0];
    const t = shift.length > 1 ? shift[c] : shift[0];
    for (let i = c * each, end = i + each; i < end; i++) output[i] = s * input.data[i] + t;
  }
  return output;
}

const FUNCTIONS = {
  relu: () => (x) => (x < 0 ? 0 : x),
  clamp: ({ min = -Infinity, max = Infinity }) => (x) => (x < min ? min : x > max ? max : x),
  leaky_relu: ({ negative_slope }) => (x) => (x < 0 ? negative_slope * x : x),
  elu: ({ alpha }) => (x) => (x < 0 ? alpha * Math.expm1(x) : x),
  sigmoid: () => (x) => 1 / (1 + Math.exp(-x)),
  tanh: () => Math.tanh,
  silu: () => (x) => x / (1 + Math.exp(-x)),
  hardsigmoid: () => (x) => Math.min(Math.max(x / 6 + 0.5, 0), 1),
  hardswish: () => (x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1),
  gelu: () => (x) => 0.5 * x * (1 + errorFunction(x / Math.SQRT2)),
  gelu_tanh: () => (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

// Abramowitz & Stegun, 7.1.26: at most 1.5e-7 off.
function errorFunction(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

function pointwise(step, [input]) {
  const apply = FUNCTIONS[step.function](step);
  const output = new Float32Array(input.data.length);
  for (let i = 0; i < output.length; i++) output[i] = apply(input.data[i]);
  return output;
}

function softmax(step, [input]) {
  const channels = step.shape[0];
  const each = input.data.length / channels;
  const output = new Float32Array(input.data.length);
  for (let p = 0; p < each; p++) {
    let [most, sum] = [-Infinity, 0];
    for (let c = 0; c < channels; c++) most = Math.max(most, input.data[c * each + p]);
    for (let c = 0; c < channels; c++) sum += Math.exp(input.data[c * each + p] - most);
    for (let c = 0; c < channels; c++) output[c * each + p] = Math.exp(input.data[c * each + p] - most) / sum;
  }
  return output;
}

function concatenate(step, inputs) {
  const output = new Float32Array(count(step.shape));
  let start = 0;
  for (const { data } of inputs) {
    output.set(data, start);
    start += data.length;
  }
  return output;
}

// Two values, number by number. One of them may have a side of 1 where the other is longer: it is repeated.
function together(step, [a, b], apply) {
  const output = new Float32Array(count(step.shape));
  const [channels, height, width] = [...step.shape, 1, 1];
  if (a.data.length === output.length && b.data.length === output.length)
    return output.map((_, place) => apply(a.data[place], b.data[place]));
  const strides = [a, b].map(({ shape }) => {
    const [c, h, w] = [...shape, 1, 1];
    return [c > 1 ? h * w : 0, h > 1 ? w : 0, w > 1 ? 1 : 0];
  });
  const [[ac, ah, aw], [bc, bh, bw]] = strides;
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        output[i++] = apply(a.data[c * ac + y * ah + x * aw], b.data[c * bc + y * bh + x * bw]);
  return output;
}

// `gather(line of numbers under one channel of a window)` as in `largest` and `average`. Windows are cut off where the
// frame ends; beyond it, where PyTorch rounds up, there is nothing.
function pool(step, input, gather) {
  const [channels, height, width] = step.shape;
  const output = new Float32Array(count(step.shape));
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        output[i++] = gather(step, input, c, y * step.stride[0] - step.before[0], x * step.stride[1] - step.before[1]);
  return output;
}

function largest({ kernel, dilation }, { shape, data }, channel, top, left) {
  const [, height, width] = shape;
  let most = -Infinity;
  for (let ky = 0; ky < kernel[0]; ky++) {
    const y = top + ky * dilation[0];
    if (y < 0 || y >= height) continue;
    const line = (channel * height + y) * width;
    for (let kx = 0; kx < kernel[1]; kx++) {
      const x = left + kx * dilation[1];
      if (x < 0 || x >= width) continue;
      const value = data[line + x];
      if (value > most || value !== value) most = value; // NaN stays
    }
  }
  return most;
}

function average({ kernel, before, divisor, count_padding: countPadding }, { shape, data }, channel, top, left) {
  const [, height, width] = shape;
  const [bottom, right] = [top + kernel[0], left + kernel[1]];
  let [sum, inside] = [0, 0];
  for (let y = Math.max(top, 0); y < Math.min(bottom, height); y++)
    for (let x = Math.max(left, 0); x < Math.min(right, width); x++) {
      sum += data[(channel * height + y) * width + x];
      inside++;
    }
  const framed = (Math.min(bottom, height + before[0]) - top) * (Math.min(right, width + before[1]) - left);
  return sum / (divisor || (countPadding ? framed : inside));
}

function adaptivePool(step, { shape, data }, apply, first, isMean) {
  const [channels, height, width] = [...step.shape, 1, 1]; // a mean may leave a row of numbers
  const [, rows, columns] = shape;
  const output = new Float32Array(channels * height * width);
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const [top, bottom] = [Math.floor((y * rows) / height), Math.ceil(((y + 1) * rows) / height)];
        const [left, right] = [Math.floor((x * columns) / width), Math.ceil(((x + 1) * columns) / width)];
        let gathered = first;
        for (let u = top; u < bottom; u++)
          for (let v = left; v < right; v++) gathered = apply(gathered, data[(c * rows + u) * columns + v]);
        output[i++] = isMean ? gathered / ((bottom - top) * (right - left)) : gathered;
      }
  return output;
}
