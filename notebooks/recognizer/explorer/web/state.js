"use strict";
// What the page was given, and what is chosen now. Each file that follows shows one thing of it.

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const [CHANNELS, HEIGHT, WIDTH] = DATA.input;
const LAYERS = DATA.layers.filter((layer) => layer.listed);
const KNOWS_NETWORK = DATA.steps !== null;
const FOLDED = 2048; // values without a place: so many at most are tiles, more are folded into one map

// Pictures: {label, name, pixels, probabilities (of the untouched network, where known)}; own ones are added.
const pictures = DATA.pictures.map((picture) => ({ ...picture, pixels: null, given: true }));
const state = {
  layer: null, filter: null, first: 0, second: null, scale: "layer", ends: "percentiles", colours: "auto",
  order: "number", size: null, epoch: null, off: new Map(),
};
let covered = null; // the pixels of the first picture with what the brush covers
let runs = { first: null, second: null, pixels: [] }; // what the network made of both pictures, and their numbers
let plain = null; // the answer to the first picture, untouched, of the whole network
let view = null; // what is on the grid: maps, scales, order
