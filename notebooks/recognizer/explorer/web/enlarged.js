"use strict";
// A filter, enlarged.

function chooseFilter(filter) {
  state.filter = filter;
  markChosen();
  showFilter();
  remember();
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
    const link = Object.assign(document.createElement("a"), { href: address, target: "_blank", textContent: "Its card from notebook 04" });
    $("filter-facts").append(link, " ");
  }
  showOverlay(map, ends);
  $("seen-box").hidden = !layer.window || map.data.length === 1;
  let most = 0;
  for (let i = 1; i < map.data.length; i++) if (map.data[i] > map.data[most]) most = i;
  if (layer.window) showSeen(boxOf(layer, Math.floor(most / map.width), most % map.width), true);
  showKernel();
  showPatches();
}

// The picture, dark where the filter is silent. The strength of a signed map is its size.
function showOverlay(map, ends) {
  const canvas = $("overlay");
  canvas.parentElement.hidden = map.data.length === 1;
  const pixels = covered || pictures[state.first].pixels;
  canvas.setAttribute("aria-label", "The picture, bright where the filter answers");
  const lit = pixels.slice();
  const most = Math.max(Math.abs(ends.low), Math.abs(ends.high)) || 1;
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++) {
      const value = map.data[Math.floor((y * map.height) / HEIGHT) * map.width + Math.floor((x * map.width) / WIDTH)];
      const light = 0.2 + 0.8 * Math.min(1, (view.signed ? Math.abs(value) : Math.max(0, value)) / most);
      for (let c = 0; c < CHANNELS; c++) lit[(c * HEIGHT + y) * WIDTH + x] *= light;
    }
  show(canvas, lit, DATA.input);
}

// The part of a picture in a box, on a canvas; what lies beyond the picture is grey.
function crop(canvas, pixels, { top, left, bottom, right }) {
  const [y0, x0] = [Math.max(top, -HEIGHT), Math.max(left, -WIDTH)];
  const [height, width] = [Math.min(bottom, 2 * HEIGHT) - y0, Math.min(right, 2 * WIDTH) - x0];
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

function showSeen(box, isStrongest = false) {
  crop($("seen"), covered || pictures[state.first].pixels, box);
  $("seen-caption").textContent = isStrongest ? "where it is strongest" : "what it sees there";
  $("seen").setAttribute("aria-label", $("seen-caption").textContent);
}

async function showKernel() {
  const { layer } = view;
  const filter = state.filter;
  $("kernel-box").hidden = layer.kernels === null;
  if (layer.kernels === null) return;
  const { shape, data } = await ask({ what: "kernels", value: layer.kernels, epoch: state.epoch });
  const [, channels, height, width] = shape;
  const own = data.subarray(filter * channels * height * width, (filter + 1) * channels * height * width);
  const most = Math.max(...own.map(Math.abs)) || 1;
  if (channels !== CHANNELS) return;
  show($("kernel"), own.map((weight) => 0.5 + (0.5 * weight) / most), [channels, height, width]);
  $("kernel").setAttribute("aria-label", `Kernel of ${height}×${width} weights, up to ${short(most)}`);
}

// Where each filter of each layer is strongest in a given picture: a promise of {layer: {values, places}}. One run of the
// network answers for all filters, so it is asked once for each picture.
const strongest = new Map();
function strongestIn(number, epoch) {
  const key = `${number} ${epoch}`;
  if (!strongest.has(key)) strongest.set(key, askForStrongest(pictures[number], epoch));
  return strongest.get(key);
}

async function askForStrongest(picture, epoch) {
  if (!picture.pixels) picture.pixels = await loaded(picture.address, DATA.input);
  return ask({ what: "strongest", pixels: picture.pixels, epoch });
}

async function showPatches() {
  const { layer, first } = view;
  const [filter, epoch] = [state.filter, state.epoch];
  const possible = KNOWS_NETWORK && layer.window && first.height * first.width > 1;
  $("patches-box").hidden = !possible;
  if (!possible) return;
  const found = [];
  for (let number = 0; number < DATA.pictures.length; number++) {
    found.push((await strongestIn(number, epoch))[layer.name]);
    if (state.filter !== filter || state.layer !== layer.name || state.epoch !== epoch) return;
    drawPatches(found, filter);
  }
}

// Asked before anybody wants to know, if the network is quick: then an enlarged filter has its patches at once.
async function lookAhead(milliseconds) {
  if (!KNOWS_NETWORK || milliseconds > 400) return;
  for (let number = 0; number < DATA.pictures.length; number++) await strongestIn(number, null);
}

function drawPatches(found, filter) {
  const { layer, first } = view;
  const order = found.map((_, number) => number).sort((a, b) => found[b].values[filter] - found[a].values[filter]);
  $("patches").replaceChildren(
    ...order.slice(0, 8).map((number) => {
      const box = document.createElement("div");
      const canvas = document.createElement("canvas");
      const place = found[number].places[filter];
      crop(canvas, pictures[number].pixels, boxOf(layer, Math.floor(place / first.width), place % first.width));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${pictureTitle(number)}, ${short(found[number].values[filter])}`);
      canvas.title = `${pictureTitle(number)} (${pictures[number].name})`;
      const value = Object.assign(document.createElement("small"), { textContent: short(found[number].values[filter]) });
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
