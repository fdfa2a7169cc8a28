"use strict";
// The kinds of steps. A function takes the step, its input values {shape, data} and its tensors. It returns the data of
// the output, a Float32Array, and does not change its inputs.

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
  add: (step, inputs) => elementwise(step, inputs, (a, b) => a + b),
  subtract: (step, inputs) => elementwise(step, inputs, (a, b) => a - b),
  multiply: (step, inputs) => elementwise(step, inputs, (a, b) => a * b),
  divide: (step, inputs) => elementwise(step, inputs, (a, b) => a / b),
  same: (step, inputs) => inputs[0].data,
};

function count(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

// A copy of a value in which the maps of some filters are 0.
function without({ shape, data }, filters) {
  const copy = data.slice();
  const perMap = copy.length / shape[0];
  for (const filter of filters) copy.fill(0, filter * perMap, (filter + 1) * perMap);
  return { shape, data: copy };
}

// The maps with zero padding, so that convolutions need no checks at the edges.
function padded({ shape, data }, [top, left], [bottom, right]) {
  const [channels, height, width] = shape;
  const [rows, columns] = [height + top + bottom, width + left + right];
  if (rows === height && columns === width) return { data, rows, columns };
  const result = new Float32Array(channels * rows * columns);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++) {
      const line = (c * height + y) * width;
      result.set(data.subarray(line, line + width), (c * rows + y + top) * columns + left);
    }
  return { data: result, rows, columns };
}

function convolution(step, [input], tensors) {
  const [filters, height, width] = step.shape;
  const [channels] = input.shape;
  const source = padded(input, step.before, step.after);
  const output = new Float32Array(count(step.shape));
  const channelsPerGroup = channels / step.groups;
  const filtersPerGroup = filters / step.groups;
  const offsets = windowOffsets(step, channelsPerGroup, source);
  for (let group = 0; group < step.groups; group++) {
    const from = source.data.subarray(group * channelsPerGroup * source.rows * source.columns);
    const size = filtersPerGroup * height * width;
    const into = output.subarray(group * size, (group + 1) * size);
    if (filtersPerGroup === 1) {
      const weight = tensors.weight.subarray(group * offsets.length, (group + 1) * offsets.length);
      oneFilter(step, from, source.columns, offsets, weight, into);
    } else {
      const panels = panelsOf(tensors, group, filtersPerGroup, offsets.length);
      manyFilters(step, from, source.columns, offsets, panels, filtersPerGroup, into);
    }
  }
  if (tensors.bias) addBias(output, tensors.bias);
  return output;
}

// The places in memory of all inputs of a kernel, relative to the corner of its window.
function windowOffsets({ kernel, dilation }, channels, { rows, columns }) {
  const offsets = new Int32Array(channels * kernel[0] * kernel[1]);
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < kernel[0]; y++)
      for (let x = 0; x < kernel[1]; x++) offsets[i++] = (c * rows + y * dilation[0]) * columns + x * dilation[1];
  return offsets;
}

function addBias(output, bias) {
  const perMap = output.length / bias.length;
  for (let c = 0; c < bias.length; c++) for (let i = c * perMap, end = i + perMap; i < end; i++) output[i] += bias[c];
}

// A group with one filter: for every weight, add its products line by line.
function oneFilter(step, from, columns, offsets, weight, into) {
  const [, height, width] = step.shape;
  const [down, across] = step.stride;
  for (let k = 0; k < offsets.length; k++)
    for (let y = 0; y < height; y++) {
      let source = y * down * columns + offsets[k];
      for (let i = y * width, end = i + width; i < end; i++, source += across) into[i] += weight[k] * from[source];
    }
}

// Most of the time is spent here. Four windows are copied into `windows` and multiplied by four filters in `panels`, so
// that every number is used four times after it was read. JavaScript computes in 64 bits.
function manyFilters(step, from, columns, offsets, panels, numFilters, into) {
  const [, height, width] = step.shape;
  const positions = height * width;
  const windows = new Float64Array(4 * offsets.length);
  const corner = (position) => {
    const p = Math.min(position, positions - 1);
    return Math.floor(p / width) * step.stride[0] * columns + (p % width) * step.stride[1];
  };
  for (let position = 0; position < positions; position += 4) {
    const a = corner(position), b = corner(position + 1), c = corner(position + 2), d = corner(position + 3);
    for (let k = 0, i = 0; k < offsets.length; k++, i += 4) {
      const offset = offsets[k];
      windows[i] = from[a + offset];
      windows[i + 1] = from[b + offset];
      windows[i + 2] = from[c + offset];
      windows[i + 3] = from[d + offset];
    }
    for (let filter = 0; filter < numFilters; filter += 4)
      fourByFour(panels, filter * offsets.length, windows, into, filter, numFilters, position, positions);
  }
}

// Four filters at four positions.
function fourByFour(panels, start, windows, into, filter, numFilters, position, positions) {
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
  storeFour(into, place, left, a0, a1, a2, a3);
  if (filter + 1 < numFilters) storeFour(into, place + positions, left, b0, b1, b2, b3);
  if (filter + 2 < numFilters) storeFour(into, place + 2 * positions, left, c0, c1, c2, c3);
  if (filter + 3 < numFilters) storeFour(into, place + 3 * positions, left, d0, d1, d2, d3);
}

// Store up to four values; `left` is the number of positions from i on.
function storeFour(into, i, left, v0, v1, v2, v3) {
  into[i] = v0;
  if (left > 1) into[i + 1] = v1;
  if (left > 2) into[i + 2] = v2;
  if (left > 3) into[i + 3] = v3;
}

// The weights of a group in the order in which `fourByFour` reads them: one weight of four filters, then the next.
function panelsOf(tensors, group, numFilters, perFilter) {
  const key = `${tensors.weightNumber} ${group}`;
  if (!tensors.panelsOf.has(key)) {
    const panels = new Float64Array(Math.ceil(numFilters / 4) * 4 * perFilter);
    for (let f = 0; f < numFilters; f++)
      for (let k = 0; k < perFilter; k++)
        panels[((f >> 2) * perFilter + k) * 4 + (f & 3)] = tensors.weight[(group * numFilters + f) * perFilter + k];
    tensors.panelsOf.set(key, panels);
  }
  return tensors.panelsOf.get(key);
}

function linear(step, [input], { weight, bias }) {
  const output = new Float32Array(step.shape[0]);
  const { data } = input;
  for (let row = 0; row < output.length; row++) {
    const start = row * data.length;
    let [even, odd] = [bias ? bias[row] : 0, 0]; // two sums, which the processor computes at the same time
    let i = 0;
    for (; i + 1 < data.length; i += 2) {
      even += weight[start + i] * data[i];
      odd += weight[start + i + 1] * data[i + 1];
    }
    output[row] = even + odd + (i < data.length ? weight[start + i] * data[i] : 0);
  }
  return output;
}

function affine(step, [input], { scale, shift }) {
  const output = new Float32Array(input.data.length);
  const perMap = output.length / step.shape[0];
  for (let c = 0; c < step.shape[0]; c++) {
    const s = scale.length > 1 ? scale[c] : scale[0];
    const t = shift.length > 1 ? shift[c] : shift[0];
    for (let i = c * perMap, end = i + perMap; i < end; i++) output[i] = s * input.data[i] + t;
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

// Abramowitz & Stegun, formula 7.1.26. The error is at most 1.5e-7.
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
  const positions = input.data.length / channels;
  const output = new Float32Array(input.data.length);
  for (let p = 0; p < positions; p++) {
    let [highest, sum] = [-Infinity, 0];
    for (let c = 0; c < channels; c++) highest = Math.max(highest, input.data[c * positions + p]);
    for (let c = 0; c < channels; c++) sum += Math.exp(input.data[c * positions + p] - highest);
    for (let c = 0; c < channels; c++)
      output[c * positions + p] = Math.exp(input.data[c * positions + p] - highest) / sum;
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

// Apply a function to two values element by element. Sides of length 1 are repeated, as in broadcasting.
function elementwise(step, [a, b], apply) {
  const output = new Float32Array(count(step.shape));
  const [channels, height, width] = [...step.shape, 1, 1];
  if (a.data.length === output.length && b.data.length === output.length)
    return output.map((_, index) => apply(a.data[index], b.data[index]));
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

// Pooling. `reduce` computes the result of one window: `largest` or `average`. Windows end at the edge of the padding,
// even if PyTorch rounds the size of the output up (ceil_mode).
function pool(step, input, reduce) {
  const [channels, height, width] = step.shape;
  const output = new Float32Array(count(step.shape));
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        output[i++] = reduce(step, input, c, y * step.stride[0] - step.before[0], x * step.stride[1] - step.before[1]);
  return output;
}

function largest({ kernel, dilation }, { shape, data }, channel, top, left) {
  const [, height, width] = shape;
  let highest = -Infinity;
  for (let ky = 0; ky < kernel[0]; ky++) {
    const y = top + ky * dilation[0];
    if (y < 0 || y >= height) continue;
    const line = (channel * height + y) * width;
    for (let kx = 0; kx < kernel[1]; kx++) {
      const x = left + kx * dilation[1];
      if (x < 0 || x >= width) continue;
      const value = data[line + x];
      if (value > highest || value !== value) highest = value; // once it is NaN, it stays NaN
    }
  }
  return highest;
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
  const withPadding = (Math.min(bottom, height + before[0]) - top) * (Math.min(right, width + before[1]) - left);
  return sum / (divisor || (countPadding ? withPadding : inside));
}

function adaptivePool(step, { shape, data }, apply, first, isMean) {
  const [channels, height, width] = [...step.shape, 1, 1]; // a mean may output one number per channel
  const [, rows, columns] = shape;
  const output = new Float32Array(channels * height * width);
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const [top, bottom] = [Math.floor((y * rows) / height), Math.ceil(((y + 1) * rows) / height)];
        const [left, right] = [Math.floor((x * columns) / width), Math.ceil(((x + 1) * columns) / width)];
        let result = first;
        for (let u = top; u < bottom; u++)
          for (let v = left; v < right; v++) result = apply(result, data[(c * rows + u) * columns + v]);
        output[i++] = isMean ? result / ((bottom - top) * (right - left)) : result;
      }
  return output;
}
