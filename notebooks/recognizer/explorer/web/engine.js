"use strict";
// Runs a network. Nothing here knows of the page: the same text runs in a worker, beside the page.
//
// A network is {input: [C, H, W], steps, gives_probabilities, layers, tensors, epochs}. Step i makes value i + 1 out of
// earlier values; value 0 is the picture. A value is {shape, data}, data a Float32Array; no step writes over what another made.

class Network {
  // `text`: the tensors as packing.py wrote them, a chapter on each line.
  constructor(description, text) {
    Object.assign(this, description);
    this.lines = text.split("\n");
    this.chapters = [];
    this.decoded = new Map();
    this.panels = new Map();
  }

  // Unpack what an epoch needs (null: the trained network, or maps that were computed beforehand).
  async open(epoch) {
    const ofEpoch = epoch === null ? [] : this.epochs[epoch].tensors.filter((number) => number !== null);
    for (const chapter of new Set([0, ...ofEpoch.map((number) => this.tensors[number].chapter)]))
      this.chapters[chapter] = this.chapters[chapter] || (await inflated(this.lines[chapter]));
  }

  // The number of a step's tensor in an epoch of training; undefined where that epoch does not have it.
  tensorNumber(step, name, epoch) {
    const number = step.tensors[name];
    if (number === undefined || epoch === null) return number;
    return this.epochs[epoch].tensors[number];
  }

  tensor(number) {
    if (!this.decoded.has(number)) {
      const entry = this.tensors[number];
      const found = decode(entry, this.chapters[entry.chapter]);
      if (entry.like !== undefined) this.tensor(entry.like).forEach((value, i) => (found[i] += value));
      this.decoded.set(number, found);
    }
    return this.decoded.get(number);
  }

  tensorsOf(step, epoch) {
    const found = { panelsOf: this.panels };
    for (const name in step.tensors) {
      const number = this.tensorNumber(step, name, epoch);
      if (number === undefined || number === null) return null;
      found[name] = this.tensor(number);
      found[name + "Number"] = number;
    }
    return found;
  }

  // All values for a picture. `off`: [[layer name, filter numbers], …]. `epoch`: its place among the saved epochs, or
  // null for the trained network. Ends early where an epoch was saved without the weights that come next.
  values(pixels, off, epoch) {
    const [channels, height, width] = this.input;
    if (pixels.length !== channels * height * width)
      throw new Error(`The picture has ${pixels.length} numbers; this network takes ${channels}×${height}×${width}.`);
    const values = [{ shape: this.input, data: pixels }];
    const silent = this.silenced(off);
    for (const step of this.steps) {
      const tensors = this.tensorsOf(step, epoch);
      if (tensors === null) break;
      const inputs = step.inputs.map((number) => values[number]);
      const value = { shape: step.shape, data: STEPS[step.kind](step, inputs, tensors) };
      values.push(silent.has(values.length) ? without(value, silent.get(values.length)) : value);
    }
    return values;
  }

  silenced(off) {
    const silent = new Map();
    for (const [name, filters] of off) {
      const layer = this.layers.find((each) => each.name === name);
      if (!layer) throw new Error(`There is no layer ${name}.`);
      silent.set(layer.value, [...(silent.get(layer.value) || []), ...filters]);
    }
    return silent;
  }

  // {probabilities, logits, maps: {layer: {shape, data}}}; the first two are null where the values end early.
  forward(pixels, off = [], epoch = null) {
    const values = this.values(pixels, off, epoch);
    const maps = {};
    for (const { name, value } of this.layers) if (values[value]) maps[name] = values[value];
    const whole = values.length > this.steps.length;
    const logits = whole ? Array.from(values[values.length - 1].data) : null;
    return { probabilities: whole ? this.probabilities(logits) : null, logits, maps };
  }

  probabilities(logits) {
    const done = this.gives_probabilities;
    if (logits.length === 1) {
      const second = done ? logits[0] : 1 / (1 + Math.exp(-logits[0]));
      return [1 - second, second];
    }
    return done ? logits : Array.from(softmax({ shape: [logits.length] }, [{ data: logits }]));
  }

  // For a picture, the largest value of each filter and where it is: {layer with maps: {values, places}}.
  strongest(pixels, epoch) {
    const maps = Object.entries(this.forward(pixels, [], epoch).maps);
    const places = maps.filter(([, { shape }]) => shape.length === 3);
    return Object.fromEntries(places.map(([name, found]) => [name, largestOf(found)]));
  }

  // A picture whose maps were computed when the page was written: the same as `forward`.
  given(picture) {
    const { maps, probabilities, logits } = this.album[picture];
    const found = Object.entries(maps).map(([name, number]) => [
      name,
      { shape: this.tensors[number].shape, data: this.tensor(number) },
    ]);
    return { probabilities, logits, maps: Object.fromEntries(found) };
  }

  // The kernels of the convolution that makes value `number`: {shape: [filters, channels, height, width], data}.
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
    const [maps, each] = [scale, count / scale];
    const ends = new Float32Array(bytes.slice(start, start + 8 * maps).buffer); // lowest and highest of each map
    for (let i = 0; i < count; i++) {
      const map = Math.floor(i / each);
      numbers[i] = ends[2 * map] + ((ends[2 * map + 1] - ends[2 * map]) * bytes[start + 8 * maps + i]) / 255;
    }
    return numbers;
  }
  if (format === "int8") {
    const whole = new Int8Array(bytes.buffer, bytes.byteOffset + start, count);
    const each = count / shape[0]; // a scale for each filter
    for (let i = 0; i < count; i++) numbers[i] = whole[i] * scale[Math.floor(i / each)];
    return numbers;
  }
  const table = halves();
  for (let i = 0; i < count; i++) numbers[i] = scale * table[(bytes[start + i] << 8) | bytes[start + count + i]];
  return numbers;
}

let table = null;
function halves() {
  // Every float16 as a number: sign, five bits of exponent, ten of fraction.
  if (table) return table;
  table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
    table[bits] = bits & 0x8000 ? -size : size;
  }
  return table;
}

function largestOf({ shape, data }) {
  const each = data.length / shape[0];
  const values = new Float32Array(shape[0]);
  const places = new Int32Array(shape[0]);
  for (let c = 0; c < shape[0]; c++) {
    let most = c * each;
    for (let i = most; i < (c + 1) * each; i++) if (data[i] > data[most]) most = i;
    [values[c], places[c]] = [data[most], most - c * each];
  }
  return { values, places };
}

function decoded(base64) {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// A chapter, which is base64 of zlib, as bytes.
async function inflated(chapter) {
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(chapter) : decoded(chapter);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// What the page asks, and the answer; in a worker both travel as messages.
function respondent() {
  let network = null;
  return async function respond({ what, description, text, pixels, picture, off, epoch = null, value }) {
    if (what === "load") network = new Network(description, text);
    await network.open(epoch);
    if (what === "forward") return network.forward(pixels, off, epoch);
    if (what === "given") return network.given(picture);
    if (what === "strongest") return network.strongest(pixels, epoch);
    if (what === "kernels") return network.kernels(value, epoch);
    return null;
  };
}

// Maps are handed over instead of copied; layers that change nothing share theirs.
function buffersOf({ maps }) {
  return [...new Set(Object.values(maps).map(({ data }) => data.buffer))];
}

if (typeof document === "undefined" && typeof self !== "undefined") {
  const respond = respondent();
  self.onmessage = async ({ data }) => {
    try {
      const answer = await respond(data);
      self.postMessage({ id: data.id, answer }, data.what === "forward" ? buffersOf(answer) : []);
    } catch (error) {
      self.postMessage({ id: data.id, problem: error.message });
    }
  };
}
