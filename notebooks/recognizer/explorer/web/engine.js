"use strict";
// Run a network. This code does not use the page, so it can run in a web worker.
//
// A network is {input: [C, H, W], steps, gives_probabilities, layers, tensors, epochs}. Value 0 is the picture, and
// step i computes value i + 1 from earlier values. A value is {shape, data} with a Float32Array. No step overwrites the
// value of another step.

class Network {
  // `text` contains the tensors that packing.py wrote, one chapter per line.
  constructor(description, text) {
    Object.assign(this, description);
    this.lines = text.split("\n");
    this.chapters = [];
    this.decoded = new Map();
    this.panels = new Map();
  }

  // Unpack the chapters that an epoch needs. null stands for the trained network, or for precomputed maps.
  async open(epoch) {
    const ofEpoch = epoch === null ? [] : this.epochs[epoch].tensors.filter((number) => number !== null);
    for (const chapter of new Set([0, ...ofEpoch.map((number) => this.tensors[number].chapter)]))
      this.chapters[chapter] = this.chapters[chapter] || (await inflated(this.lines[chapter]));
  }

  // The number of a step's tensor in an epoch. It is null if the tensor was left out, undefined if the step has none.
  tensorNumber(step, name, epoch) {
    const number = step.tensors[name];
    if (number === undefined || epoch === null) return number;
    return this.epochs[epoch].tensors[number];
  }

  tensor(number) {
    if (!this.decoded.has(number)) {
      const entry = this.tensors[number];
      const values = decode(entry, this.chapters[entry.chapter]);
      if (entry.like !== undefined) this.tensor(entry.like).forEach((value, i) => (values[i] += value));
      this.decoded.set(number, values);
    }
    return this.decoded.get(number);
  }

  tensorsOf(step, epoch) {
    const tensors = { panelsOf: this.panels };
    for (const name in step.tensors) {
      const number = this.tensorNumber(step, name, epoch);
      if (number === undefined || number === null) return null;
      tensors[name] = this.tensor(number);
      tensors[name + "Number"] = number;
    }
    return tensors;
  }

  // All values for a picture. `off` is [[layer name, filter numbers], …]. `epoch` is the index of a saved epoch; null
  // stands for the trained network. The list ends early if the next step's weights were left out of the epoch.
  values(pixels, off, epoch) {
    const [channels, height, width] = this.input;
    if (pixels.length !== channels * height * width)
      throw new Error(`The picture has ${pixels.length} numbers; this network takes ${channels}×${height}×${width}.`);
    const values = [{ shape: this.input, data: pixels }];
    const switchedOff = this.switchedOff(off);
    for (const step of this.steps) {
      const tensors = this.tensorsOf(step, epoch);
      if (tensors === null) break;
      const inputs = step.inputs.map((number) => values[number]);
      const value = { shape: step.shape, data: STEPS[step.kind](step, inputs, tensors) };
      const filters = switchedOff.get(values.length);
      values.push(filters ? without(value, filters) : value);
    }
    return values;
  }

  // The filters that are off: value number → filter numbers.
  switchedOff(off) {
    const filtersOf = new Map();
    for (const [name, filters] of off) {
      const layer = this.layers.find((candidate) => candidate.name === name);
      if (!layer) throw new Error(`There is no layer ${name}.`);
      filtersOf.set(layer.value, [...(filtersOf.get(layer.value) || []), ...filters]);
    }
    return filtersOf;
  }

  // {probabilities, logits, maps: {layer: {shape, data}}}. Probabilities and logits are null if the values end early.
  forward(pixels, off = [], epoch = null) {
    const values = this.values(pixels, off, epoch);
    const maps = {};
    for (const { name, value } of this.layers) if (values[value]) maps[name] = values[value];
    const isComplete = values.length > this.steps.length;
    const logits = isComplete ? Array.from(values[values.length - 1].data) : null;
    return { probabilities: isComplete ? this.probabilities(logits) : null, logits, maps };
  }

  probabilities(logits) {
    const isProbability = this.gives_probabilities;
    if (logits.length === 1) {
      const second = isProbability ? logits[0] : 1 / (1 + Math.exp(-logits[0]));
      return [1 - second, second];
    }
    return isProbability ? logits : Array.from(softmax({ shape: [logits.length] }, [{ data: logits }]));
  }

  // The largest value of every filter for a picture, and its position: {layer with maps: {values, places}}.
  strongest(pixels, epoch) {
    const maps = Object.entries(this.forward(pixels, [], epoch).maps);
    const withPositions = maps.filter(([, { shape }]) => shape.length === 3);
    return Object.fromEntries(withPositions.map(([name, value]) => [name, largestOf(value)]));
  }

  // The result of `forward` for a picture whose maps were computed when the page was written.
  precomputed(picture) {
    const { maps, probabilities, logits } = this.album[picture];
    const values = Object.entries(maps).map(([name, number]) => [
      name,
      { shape: this.tensors[number].shape, data: this.tensor(number) },
    ]);
    return { probabilities, logits, maps: Object.fromEntries(values) };
  }

  // The kernels of the convolution that computes value `number`: {shape: [filters, channels, height, width], data}.
  kernels(number, epoch = null) {
    const step = this.steps[number - 1];
    const tensor = this.tensorNumber(step, "weight", epoch);
    return { shape: this.tensors[tensor].shape, data: this.tensor(tensor) };
  }
}

function decode({ format, start, count, scale, shape }, bytes) {
  if (format === "float32") return new Float32Array(bytes.slice(start, start + 4 * count).buffer);
  const numbers = new Float32Array(count);
  if (format === "uint8") {
    const [maps, perMap] = [scale, count / scale];
    const ends = new Float32Array(bytes.slice(start, start + 8 * maps).buffer); // lowest and highest value of every map
    for (let i = 0; i < count; i++) {
      const map = Math.floor(i / perMap);
      numbers[i] = ends[2 * map] + ((ends[2 * map + 1] - ends[2 * map]) * bytes[start + 8 * maps + i]) / 255;
    }
    return numbers;
  }
  if (format === "int8") {
    const whole = new Int8Array(bytes.buffer, bytes.byteOffset + start, count);
    const perFilter = count / shape[0]; // every filter has its own scale
    for (let i = 0; i < count; i++) numbers[i] = whole[i] * scale[Math.floor(i / perFilter)];
    return numbers;
  }
  const table = float16Table();
  for (let i = 0; i < count; i++) numbers[i] = scale * table[(bytes[start + i] << 8) | bytes[start + count + i]];
  return numbers;
}

let table = null;
// The values of all 65,536 float16 numbers: one bit of sign, five of exponent, ten of fraction.
function float16Table() {
  if (table) return table;
  table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const magnitude = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
    table[bits] = bits & 0x8000 ? -magnitude : magnitude;
  }
  return table;
}

function largestOf({ shape, data }) {
  const perMap = data.length / shape[0];
  const values = new Float32Array(shape[0]);
  const places = new Int32Array(shape[0]);
  for (let c = 0; c < shape[0]; c++) {
    let largest = c * perMap;
    for (let i = largest; i < (c + 1) * perMap; i++) if (data[i] > data[largest]) largest = i;
    [values[c], places[c]] = [data[largest], largest - c * perMap];
  }
  return { values, places };
}

function decoded(base64) {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// Decode a chapter, which is base64 text of zlib data, into bytes.
async function inflated(chapter) {
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(chapter) : decoded(chapter);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns a function that handles the requests of the page. In a worker, requests and results are messages.
function respondent() {
  let network = null;
  return async function respond({ what, description, text, pixels, picture, off, epoch = null, value }) {
    if (what === "load") network = new Network(description, text);
    await network.open(epoch);
    if (what === "forward") return network.forward(pixels, off, epoch);
    if (what === "precomputed") return network.precomputed(picture);
    if (what === "strongest") return network.strongest(pixels, epoch);
    if (what === "kernels") return network.kernels(value, epoch);
    return null;
  };
}

// The buffers of the maps, which are transferred to the page instead of copied. Some layers share a buffer.
function buffersOf({ maps }) {
  return [...new Set(Object.values(maps).map(({ data }) => data.buffer))];
}

if (typeof document === "undefined" && typeof self !== "undefined") {
  const respond = respondent();
  self.onmessage = async ({ data }) => {
    try {
      const result = await respond(data);
      self.postMessage({ id: data.id, result }, data.what === "forward" ? buffersOf(result) : []);
    } catch (error) {
      self.postMessage({ id: data.id, problem: error.message });
    }
  };
}
