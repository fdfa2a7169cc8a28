"use strict";
// The panel with details of one filter.

function chooseFilter(filter) {
  const hadFocus = $("filter").contains(document.activeElement);
  const before = state.filter;
  state.filter = filter;
  markChosen();
  showFilter();
  remember();
  if (filter === null && hadFocus) tileOf(before).focus(); // the panel closes, so the focus needs a new place
}

function showFilterHead() {
  if (state.filter === null || !view) return;
  const off = offOf(view.layer).has(state.filter);
  $("filter-title").textContent = `${view.layer.name} · filter ${state.filter}${off ? " · switched off" : ""}`;
  $("switch").textContent = off ? "Switch on" : "Switch off";
  $("switch").setAttribute("aria-pressed", off);
  $("switch").hidden = !KNOWS_NETWORK;
}

function showFilter() {
  $("filter").hidden = state.filter === null || !view;
  if ($("filter").hidden) return;
  showFilterHead();
  const { layer, first } = view;
  const map = mapOf(first, state.filter);
  const ends = endsFor(state.filter);
  const own = range([map.data]);
  paint($("big-map"), map.data, map.height, map.width, ends, view.palette);
  const text = `from ${short(own.low)} to ${short(own.high)}`;
  $("big-map").setAttribute("aria-label", `Map of filter ${state.filter}, ${text}`);
  const spread = map.data.length > 1 ? `; standard deviation ${short(variation(map.data))}` : "";
  const key = `${layer.name}/${state.filter}`;
  $("filter-facts").textContent = map.data.length > 1 ? `Values ${text}${spread}. ` : `Value ${short(map.data[0])}. `;
  for (const address of DATA.cards[key] || []) {
    const ofClass = address.match(/results_(.*?)\//)[1];
    const link = Object.assign(document.createElement("a"), { href: encodeURI(address).replace(/[?#]/g, encodeURIComponent), target: "_blank" });
    link.textContent = `Its card for ${ofClass}, from notebook 04`;
    $("filter-facts").append(link, " ");
  }
  showOverlay(map, ends);
  $("seen-box").hidden = !layer.window || own.low === own.high; // a constant map has no strongest place
  showStrongestPlace();
  showKernel();
  showPatches();
}

// Show the picture, bright where the filter is active. For signed maps, the magnitude counts.
function showOverlay(map, ends) {
  const canvas = $("overlay");
  canvas.parentElement.hidden = map.data.length === 1;
  canvas.setAttribute("aria-label", "The picture, bright where the filter is active");
  const pixels = runs.pixels[0].slice();
  const largest = Math.max(Math.abs(ends.low), Math.abs(ends.high)) || 1;
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++) {
      const value = map.data[Math.floor((y * map.height) / HEIGHT) * map.width + Math.floor((x * map.width) / WIDTH)];
      const brightness = 0.2 + 0.8 * Math.min(1, (view.signed ? Math.abs(value) : Math.max(0, value)) / largest);
      for (let c = 0; c < CHANNELS; c++) pixels[(c * HEIGHT + y) * WIDTH + x] *= brightness;
    }
  show(canvas, pixels, DATA.input);
}

// Draw the part of a picture inside a box. The area outside the picture is grey.
function crop(canvas, pixels, { top, left, bottom, right }) {
  const [y0, x0] = [Math.max(top, -HEIGHT), Math.max(left, -WIDTH)];
  const height = Math.max(1, Math.min(bottom, 2 * HEIGHT) - y0);
  const width = Math.max(1, Math.min(right, 2 * WIDTH) - x0);
  const part = new Float32Array(CHANNELS * height * width).fill(0.8);
  for (let c = 0; c < CHANNELS; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const [row, column] = [y0 + y, x0 + x];
        if (row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH)
          part[(c * height + y) * width + x] = pixels[(c * HEIGHT + row) * WIDTH + column];
      }
  show(canvas, part, [CHANNELS, height, width]);
}

function showStrongestPlace() {
  const { layer, first } = view;
  if (!layer.window) return;
  const { data, width } = mapOf(first, state.filter);
  let strongestPlace = 0;
  for (let i = 1; i < data.length; i++) if (data[i] > data[strongestPlace]) strongestPlace = i;
  showSeen(boxOf(layer, Math.floor(strongestPlace / width), strongestPlace % width), true);
}

function showSeen(box, isStrongest = false) {
  crop($("seen"), runs.pixels[0], box);
  $("seen-caption").textContent = isStrongest ? "where it is strongest" : "what it sees there";
  $("seen").setAttribute("aria-label", $("seen-caption").textContent);
}

// The kernels of first convolutions, by value and epoch.
const kernels = new Map();
async function showKernel() {
  const { layer } = view;
  const [filter, epoch] = [state.filter, state.epoch];
  $("kernel-box").hidden = layer.kernels === null;
  if (layer.kernels === null) return;
  const key = `${layer.kernels} ${epoch}`;
  if (!kernels.has(key)) kernels.set(key, await ask({ what: "kernels", value: layer.kernels, epoch }));
  if (layer !== view?.layer || filter !== state.filter || epoch !== state.epoch) return;
  const { shape, data } = kernels.get(key);
  const [, channels, height, width] = shape;
  const own = data.subarray(filter * channels * height * width, (filter + 1) * channels * height * width);
  const largest = Math.max(...own.map(Math.abs)) || 1;
  $("kernel-box").hidden = channels !== 1 && channels !== 3; // only grey and RGB can be drawn
  if ($("kernel-box").hidden) return;
  show($("kernel"), own.map((weight) => 0.5 + (0.5 * weight) / largest), [channels, height, width]);
  $("kernel").setAttribute("aria-label", `Kernel of ${height}×${width} weights, up to ${short(largest)}`);
}

// By epoch: for every example picture, where the filters of all layers are strongest. Computed in the background.
const strongest = new Map();
function strongestOf(epoch) {
  if (!strongest.has(epoch)) strongest.set(epoch, []);
  return strongest.get(epoch);
}

let lookingAhead = false;
async function lookAhead() {
  if (lookingAhead || !KNOWS_NETWORK) return;
  lookingAhead = true;
  try {
    // The user's requests come first. `recompute` calls this function again afterwards.
    while (!running && strongestOf(state.epoch).length < DATA.pictures.length) {
      const { epoch } = state;
      const results = strongestOf(epoch);
      results.push(await ask({ what: "strongest", pixels: await pixelsOf(results.length), epoch }));
      showPatches();
    }
  } catch (error) {
    complain(error.message);
  } finally {
    lookingAhead = false;
  }
}

function showPatches() {
  if (!view || state.filter === null) return;
  const { layer, first } = view;
  const possible = KNOWS_NETWORK && layer.window && layer.shape.length === 3 && first.height * first.width > 1;
  $("patches-box").hidden = !possible;
  if (possible) drawPatches(strongestOf(state.epoch).map((ofPicture) => ofPicture[layer.name]), state.filter);
}

// `ofPictures`: for every example picture {values, places} of the layer's filters.
function drawPatches(ofPictures, filter) {
  const { layer, first } = view;
  const valueIn = (number) => ofPictures[number].values[filter];
  const order = ofPictures.map((_, number) => number).sort((a, b) => valueIn(b) - valueIn(a));
  $("patches").replaceChildren(
    ...order.slice(0, 8).map((number) => {
      const box = document.createElement("div");
      const canvas = document.createElement("canvas");
      const place = ofPictures[number].places[filter];
      crop(canvas, pictures[number].pixels, boxOf(layer, Math.floor(place / first.width), place % first.width));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${pictureTitle(number)}, ${short(valueIn(number))}`);
      canvas.title = `${pictureTitle(number)} (${pictures[number].name})`;
      const value = document.createElement("small");
      value.textContent = short(valueIn(number));
      box.append(canvas, value);
      return box;
    }),
  );
}

function allowFilter() {
  $("close").onclick = () => chooseFilter(null);
  const step = (by) => {
    const place = view.order.indexOf(state.filter) + by;
    if (place >= 0 && place < view.order.length) chooseFilter(view.order[place]);
  };
  $("previous").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  $("switch").onclick = () => toggle([state.filter]);
  $("big-map").onpointermove = (event) => {
    point({ ...placeOnMap(event, view.first), filter: state.filter, second: false });
  };
  $("big-map").onpointerleave = () => point(null);
}
