"use strict";
// The data of the page, and the current state that the other files show and change.

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const [CHANNELS, HEIGHT, WIDTH] = DATA.input;
const LAYERS = DATA.layers.filter((layer) => layer.listed);
const KNOWS_NETWORK = DATA.steps !== null;
const FOLDED = 2048; // layers with more values than this, and no maps, are folded into one map

// Pictures: {label, name, address, pixels, probabilities, isExample}. The probabilities are those of the unchanged
// network, if known. The user's own pictures are appended.
const pictures = DATA.pictures.map((picture) => ({ ...picture, pixels: null, isExample: true }));
const state = {
  layer: null, filter: null, first: 0, second: null, scale: "layer", ends: "percentiles", colours: "auto",
  order: "number", size: null, epoch: null, off: new Map(),
};
let covered = null; // the pixels of the first picture after painting with the brush, or null
let runs = { first: null, second: null, pixels: [] }; // the network's results for both pictures, and their pixels
let plain = null; // the trained network's prediction for the unchanged first picture, with all filters on
let view = null; // the contents of the grid: maps, scales, order
