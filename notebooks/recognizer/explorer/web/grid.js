"use strict";
// The grid with all maps of a layer.

// The output of a layer as maps: {count, height, width, data, shape}. The values of a linear layer become maps of one
// value each. Very many values, such as after flattening, are folded into a single map. Channels that are not maps but
// have another number of dimensions are folded into one map per channel.
function asMaps(output) {
  if (!output) return null;
  const { shape, data } = output;
  if (shape.length === 3) return { count: shape[0], height: shape[1], width: shape[2], data, shape };
  if (shape.length > 1) {
    const perChannel = data.length / shape[0];
    let rows = Math.floor(Math.sqrt(perChannel));
    while (perChannel % rows) rows--;
    return { count: shape[0], height: rows, width: perChannel / rows, data, shape };
  }
  if (shape[0] <= FOLDED) return { count: shape[0], height: 1, width: 1, data, shape };
  const width = Math.ceil(Math.sqrt(shape[0]) / 8) * 8;
  const height = Math.ceil(shape[0] / width);
  const folded = new Float32Array(height * width);
  folded.set(data);
  return { count: 1, height, width, data: folded, shape, isFolded: true };
}

function mapOf(maps, filter) {
  const perMap = maps.height * maps.width;
  return { ...maps, data: maps.data.subarray(filter * perMap, (filter + 1) * perMap) };
}

function showMaps() {
  if (!runs.first || !state.layer) return;
  const layer = LAYERS.find(({ name }) => name === state.layer);
  const first = asMaps(runs.first.maps[layer.name]);
  if (!first) {
    $("grid").replaceChildren();
    $("sheets").replaceChildren();
    sheets.length = 0;
    $("layer-title").textContent = layer.name;
    $("layer-facts").textContent = "To keep this file small, this epoch does not have the weights of this layer.";
    view = null;
    for (const id of ["filter", "legend", "layer-off"]) $(id).hidden = true;
    remember();
    return;
  }
  $("legend").hidden = false;
  const second = runs.second ? asMaps(runs.second.maps[layer.name]) : null;
  if (state.filter !== null && (state.filter >= first.count || first.isFolded)) state.filter = null;
  view = { layer, first, second };
  chooseScale();
  chooseOrder();
  showHead();
  showGrid();
  showFilter();
  point(null);
  remember();
}

function chooseScale() {
  const shown = [view.first.data, ...(view.second ? [view.second.data] : [])];
  view.range = range(shown);
  const palette = state.colours === "auto" ? (view.range.low < 0 ? "RdBu_r" : "viridis") : state.colours;
  view.signed = palette === "RdBu_r";
  view.palette = DATA.palettes[palette];
  if (state.scale === "map") view.ends = null;
  else {
    const all = [runs.first, runs.second].filter(Boolean).flatMap((run) => LAYERS.map(({ name }) => run.maps[name]));
    const arrays = state.scale === "all" ? all.filter(Boolean).map(({ data }) => data) : shown;
    view.ends = endsOf(arrays, state.ends, view.signed);
    view.beyond = shareBeyond(shown, view.ends);
  }
}

function endsFor(filter) {
  if (view.ends) return view.ends;
  const maps = [mapOf(view.first, filter).data, ...(view.second ? [mapOf(view.second, filter).data] : [])];
  return endsOf(maps, state.ends, view.signed);
}

function variation(data) {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    sum += data[i];
    squares += data[i] ** 2;
  }
  return Math.sqrt(Math.max(0, squares / data.length - (sum / data.length) ** 2));
}

function difference(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]);
  return sum / a.length;
}

function chooseOrder() {
  const { first, second } = view;
  const numbers = Array.from({ length: first.count }, (_, number) => number);
  const single = first.height * first.width === 1;
  let key = null;
  if (state.order === "variation")
    key = (n) => (single ? Math.abs(first.data[n]) : variation(mapOf(first, n).data));
  if (state.order === "difference" && second) key = (n) => difference(mapOf(first, n).data, mapOf(second, n).data);
  if (key) {
    const keys = numbers.map(key);
    numbers.sort((a, b) => keys[b] - keys[a]);
  }
  view.order = numbers;
}

function showHead() {
  const { layer, first, range: { low, high, broken } } = view;
  $("layer-title").textContent = layer.name;
  $("layer-title").title = explained(layer);
  const isReduced = DATA.side && layer.shape.length === 3 && layer.shape[1] > DATA.side;
  const reduced = isReduced ? `shown at ${first.height}×${first.width}` : "";
  const sees = layer.window ? `each value ${windowText(layer)}` : "";
  $("layer-facts").textContent = [layer.kind, shapeText(layer), reduced, sees].filter(Boolean).join(" · ");
  $("layer-facts").title = explained(layer);
  showLegend();
  $("order").querySelector("[value=difference]").disabled = !view.second;
  $("layer-off").hidden = !KNOWS_NETWORK || first.isFolded;
}

function showLegend() {
  const { ends, first, range: { low, high, broken } } = view;
  const gradient = $("gradient");
  paint(gradient, Float32Array.from({ length: 256 }, (_, i) => i), 1, 256, { low: 0, high: 256 }, view.palette);
  const single = first.height * first.width === 1;
  $("low").textContent = ends ? short(ends.low) : view.signed ? "below 0" : "lowest";
  $("high").textContent = ends ? short(ends.high) : view.signed ? "above 0" : "highest";
  const [from, to] = ends && !view.signed ? [ends.low, ends.high] : view.signed ? [-1, 1] : [0, 0];
  $("zero").hidden = !(from < 0 && to > 0);
  $("zero").style.left = `${(100 * -from) / (to - from)}%`;
  const ownScales = single ? "every map has only one value: choose another scale" : "every map has its own scale";
  const notes = [ends ? "" : ownScales];
  if (ends && view.beyond > 0)
    notes.push(`${percent(view.beyond)} of the values lie beyond (lowest ${short(low)}, highest ${short(high)})`);
  if (broken) notes.push(`red: ${broken} values are infinite or undefined`);
  $("beyond").textContent = notes.filter(Boolean).join(" · ");
  gradient.setAttribute("aria-label", `Colours from ${$("low").textContent} to ${$("high").textContent}`);
}

// ---- tiles, and the sheets on which their maps are drawn

// Maps are drawn on sheets: canvases under the tiles that hold a few rows of maps. One canvas per map would be simpler,
// but browsers handle every canvas as a separate layer, and with hundreds of them scrolling stutters.
const sheets = [];
const SHEET_HEIGHT = 500; // the approximate height of a sheet, in CSS pixels
const AHEAD = 600; // sheets farther than this from the screen are hidden, because every visible one costs time
let layout = null; // {columns, across, down, rows, size}: distances between tiles in pixels, rows per sheet, map size

const spare = []; // tiles to reuse for other layers
function tile() {
  const item = document.createElement("li");
  item.innerHTML =
    '<button type="button" class="tile" tabindex="-1" aria-expanded="false" aria-controls="filter">' +
    '<span class="pair"><span class="map"></span></span><span class="name"></span></button>' +
    '<button type="button" class="toggle" tabindex="-1">◉</button>';
  const [button, toggle] = item.children;
  item.parts = { button, toggle, pair: button.firstChild, name: button.lastChild };
  return item;
}

// The default width of a map, in CSS pixels.
function usualSize() {
  const { count, height, width, isFolded } = view.first;
  if (isFolded) return 480;
  if (height * width === 1) return count <= 20 ? 84 : 52;
  return count <= 16 ? 150 : count <= 64 ? 104 : 84;
}

function tileOf(filter) {
  fill(view.order.length);
  return $("grid").querySelector(`li[data-filter="${filter}"] .tile`);
}

function showGrid() {
  const grid = $("grid");
  // For another layer, only about a screenful of tiles is kept. Their layout takes time, and the rest can wait.
  const kept = grid.dataset.layer === view.layer.name ? view.order.length : Math.min(view.order.length, 100);
  grid.dataset.layer = view.layer.name;
  while (grid.children.length > kept) {
    spare.push(grid.lastChild);
    grid.lastChild.remove();
  }
  grid.classList.toggle("pairs", view.second !== null);
  filled = 0;
  fill(1); // `layOut` measures this tile to place the others
  layOut();
  markChosen();
  markOff();
}

// Create or update the first `until` tiles. Visible tiles come first; the others follow together with their sheets.
let filled = 0;
function fill(until) {
  const grid = $("grid");
  const { first, second, order } = view;
  const off = offOf(view.layer);
  for (; filled < Math.min(until, order.length); filled++) {
    if (filled === grid.children.length) grid.append(spare.pop() || tile());
    const item = grid.children[filled];
    const { toggle, pair } = item.parts;
    const filter = order[filled];
    item.dataset.filter = filter;
    item.classList.toggle("off", off.has(filter));
    markAsChosen(item, filter === state.filter);
    if (second && pair.children.length < 2) pair.append(pair.firstChild.cloneNode());
    if (!second && pair.children.length > 1) pair.lastChild.remove();
    toggle.hidden = !KNOWS_NETWORK || Boolean(first.isFolded);
    caption(item, filter);
  }
}

// Measure the tiles, place the sheets under them, and draw the visible sheets.
function layOut() {
  if (!view) return;
  const grid = $("grid");
  const size = state.size ?? usualSize();
  $("size").value = size;
  grid.style.setProperty("--tile", `${size}px`);
  const style = getComputedStyle(grid);
  const [cell, row, gapAcross, gapDown] = ["gridTemplateColumns", "gridAutoRows", "columnGap", "rowGap"].map((name) =>
    parseFloat(style[name]),
  );
  const down = row + gapDown;
  const rows = Math.max(1, Math.round(SHEET_HEIGHT / down));
  layout = { columns: columnsOfGrid(), across: cell + gapAcross, down, rows, size };
  grid.style.minHeight = `${Math.ceil(view.order.length / layout.columns) * down}px`;
  const needed = Math.ceil(view.order.length / (layout.columns * rows));
  while (sheets.length < needed) {
    sheets.push(document.createElement("canvas"));
    $("sheets").append(sheets[sheets.length - 1]);
  }
  while (sheets.length > needed) sheets.pop().remove();
  sheets.forEach((sheet, number) => {
    sheet.isStale = true;
    sheet.number = number;
    sheet.style.top = `${number * rows * down}px`;
  });
  showSheets(100);
  clearTimeout(drawingAhead);
  drawingAhead = setTimeout(drawAhead, 150);
}

// Show the sheets on the screen and near it, and draw those that are at most `margin` pixels away from it.
function showSheets(margin) {
  if (!view) return;
  const height = layout.rows * layout.down;
  const top = $("sheets").getBoundingClientRect().top;
  for (const sheet of sheets) {
    const start = top + sheet.number * height;
    const isWithin = (distance) => start < innerHeight + distance && start + height > -distance;
    sheet.hidden = !isWithin(AHEAD);
    if (isWithin(margin)) drawSheet(sheet);
  }
}

// In the background, draw the other sheets one at a time, so that they are ready when the user scrolls.
let drawingAhead = null;
function drawAhead() {
  const next = sheets.find((sheet) => sheet.isStale && !sheet.hidden) || sheets.find((sheet) => sheet.isStale);
  if (!next) return;
  drawSheet(next);
  drawingAhead = setTimeout(drawAhead, 24);
}

function drawSheet(sheet) {
  if (!sheet.isStale || !view) return;
  sheet.isStale = false;
  const { columns, across, down, rows, size } = layout;
  const [start, end] = [sheet.number * rows * columns, (sheet.number + 1) * rows * columns];
  fill(end);
  const density = Math.min(devicePixelRatio, 2);
  [sheet.width, sheet.height] = [across * columns, down * rows].map((length) => Math.ceil(length * density));
  sheet.style.width = `${sheet.width / density}px`;
  const context = sheet.getContext("2d");
  context.scale(density, density);
  view.order.slice(start, end).forEach((filter, position) => {
    const ends = endsFor(filter);
    const [x, y] = [(position % columns) * across, Math.floor(position / columns) * down];
    [view.first, view.second].filter(Boolean).forEach((maps, number) => {
      paintSquare(context, x + number * (size + 2), y, size, mapOf(maps, filter), ends, view.palette);
    });
  });
}

function caption(item, filter) {
  const { data } = mapOf(view.first, filter);
  const own = range([data]);
  const constant = own.low === own.high && !own.broken;
  const ofMap = constant ? `always ${short(own.low)}` : `${short(own.low)} to ${short(own.high)}`;
  const facts = data.length === 1 ? short(data[0]) : ofMap;
  item.caption = constant && data.length > 1 ? `${filter}: ${facts}` : filter;
  if (data.length === 1 && view.order.length <= 20) item.caption = `${filter}: ${facts}`;
  if (view.first.isFolded) item.caption = "all values in rows";
  item.parts.button.title = `filter ${filter}: ${facts}`;
  label(item);
}

function label(item) {
  const off = item.classList.contains("off");
  const { button: tileButton, toggle: button, name } = item.parts;
  name.textContent = off ? `${item.dataset.filter} off` : item.caption;
  tileButton.setAttribute("aria-label", tileButton.title + (off ? ", switched off" : ""));
  button.textContent = off ? "○" : "◉";
  button.title = off ? "Switch this filter on again" : "Switch this filter off";
  button.setAttribute("aria-label", `${button.title}: ${item.dataset.filter}`);
}

function markOff() {
  const off = offOf(view.layer);
  for (const item of $("grid").children) {
    const isOff = off.has(Number(item.dataset.filter));
    if (item.classList.contains("off") === isOff) continue;
    item.classList.toggle("off", isOff);
    label(item);
  }
  const all = off.size === view.first.count;
  $("layer-off").textContent = all ? "Switch layer on" : "Switch layer off";
}

function markAsChosen(item, isChosen) {
  if (item.classList.contains("chosen") === isChosen) return;
  item.classList.toggle("chosen", isChosen);
  item.parts.button.setAttribute("aria-expanded", isChosen);
}

function markChosen() {
  const grid = $("grid");
  for (const item of grid.children) markAsChosen(item, Number(item.dataset.filter) === state.filter);
  const entry = grid.querySelector(".chosen") || grid.firstChild;
  grid.querySelectorAll(".tile[tabindex='0']").forEach((tile) => (tile.tabIndex = -1));
  if (entry) entry.querySelector(".tile").tabIndex = 0;
}

function allowGrid() {
  const grid = $("grid");
  grid.onclick = (event) => {
    const item = event.target.closest("li");
    if (!item) return;
    const filter = Number(item.dataset.filter);
    if (event.target.closest(".toggle")) toggle([filter]);
    else if (!view.first.isFolded) chooseFilter(state.filter === filter ? null : filter);
  };
  grid.onpointermove = (event) => {
    if (!view || !event.target.matches(".map")) return point(null);
    const place = placeOnMap(event, view.first);
    const second = event.target.previousElementSibling !== null;
    return point({ ...place, filter: Number(event.target.closest("li").dataset.filter), second });
  };
  grid.onpointerleave = () => point(null);
  document.addEventListener("scroll", () => showSheets(300), { passive: true });
  let width = 0; // only a new width needs a new layout, since the layout determines the height
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    layOut();
  }).observe(grid);
}

// The row and the column of the map under the pointer. The map is centred in its square if it is not square.
function placeOnMap(event, { height, width }) {
  const box = event.target.getBoundingClientRect();
  const scale = Math.min(box.width / width, box.height / height);
  const within = (place, count) => Math.max(0, Math.min(count - 1, Math.floor(place)));
  return {
    row: within((event.clientY - box.top - (box.height - scale * height) / 2) / scale, height),
    column: within((event.clientX - box.left - (box.width - scale * width) / 2) / scale, width),
  };
}
