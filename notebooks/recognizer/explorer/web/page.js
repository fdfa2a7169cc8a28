"use strict";
// Tools, keys, the address of the page, and its start.

function allowTools() {
  for (const name of ["scale", "ends", "colours", "order"])
    $(name).onchange = () => {
      state[name] = $(name).value;
      showMaps();
    };
  $("size").oninput = () => {
    state.size = Number($("size").value);
    layOut();
  };
  $("second").onchange = () => {
    if ($("second").value !== "") {
      choosePicture(Number($("second").value), true);
      return;
    }
    state.second = null;
    if (state.order === "difference") state.order = $("order").value = "number";
    showStrip();
    recompute();
  };
  $("layer-off").onclick = () => toggle(view.order, offOf(view.layer).size < view.first.count);
  $("all-on").onclick = () => {
    state.off.clear();
    if (view) markOff();
    showFilterHead();
    showOff();
    remember();
    recompute();
  };
  $("help-button").onclick = () => {
    $("help").hidden = !$("help").hidden;
    $("help-button").setAttribute("aria-expanded", !$("help").hidden);
  };
}

function allowTheme() {
  const { style } = document.documentElement;
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (style.colorScheme ? style.colorScheme === "dark" : preference.matches);
  const showName = () => ($("theme").textContent = isDark() ? "Light page" : "Dark page");
  showName();
  preference.onchange = showName;
  $("theme").onclick = () => {
    style.colorScheme = isDark() ? "light" : "dark";
    showName();
  };
}

function allowEpochs() {
  const epochs = KNOWS_NETWORK ? DATA.epochs : [];
  $("training").hidden = !epochs.length;
  $("epoch").max = epochs.length;
  showEpoch();
  $("epoch").oninput = () => {
    const at = Number($("epoch").value);
    state.epoch = at < epochs.length ? at : null;
    showEpoch();
    remember();
    recompute();
  };
}

function showEpoch() {
  const epoch = state.epoch === null ? null : DATA.epochs[state.epoch];
  $("epoch").value = state.epoch ?? DATA.epochs.length;
  $("epoch-name").textContent = epoch ? epoch.label : "training";
  $("epoch").setAttribute("aria-valuetext", $("epoch-name").textContent);
  const isRounded = epoch !== null && epoch.rounded;
  $("epoch-note").textContent = isRounded ? "This epoch's weights are rounded to 8 bits, to keep this file small." : "";
}

function columnsOfGrid() {
  return getComputedStyle($("grid")).gridTemplateColumns.split(" ").length;
}

function allowKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.target.matches("input, select, textarea")) return;
    const isTyped = event.altKey && "[]".includes(event.key); // typed with AltGr (on Windows: Ctrl and Alt) or Option
    if ((event.ctrlKey || event.altKey) && !isTyped) return;
    const place = LAYERS.findIndex(({ name }) => name === state.layer);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columnsOfGrid(), ArrowDown: columnsOfGrid() };
    if (event.key === "/") {
      const list = getComputedStyle($("find")).display === "none" ? $("layer-choice") : $("find");
      list.focus();
    } else if (event.key === "[" && place > 0) chooseLayer(LAYERS[place - 1].name);
    else if (event.key === "]" && place < LAYERS.length - 1) chooseLayer(LAYERS[place + 1].name);
    else if (!view) return;
    else if (event.key === "Escape") chooseFilter(null);
    else if (event.key === "x" && KNOWS_NETWORK) switchFocused();
    else if (event.key in steps && !event.target.closest("#strip")) moveFocus(steps[event.key]);
    else return;
    event.preventDefault();
  });
}

function focused() {
  return document.activeElement.closest("#grid li");
}

function switchFocused() {
  const item = focused();
  if (item && !view.first.isFolded) toggle([Number(item.dataset.filter)]);
  else if (state.filter !== null) toggle([state.filter]);
}

function moveFocus(by) {
  if (!view) return;
  const grid = $("grid");
  const current = focused() || grid.querySelector(".chosen");
  const place = current ? [...grid.children].indexOf(current) + by : 0;
  fill(place + 1);
  const next = grid.children[place];
  if (!next) return;
  grid.querySelectorAll(".tile[tabindex='0']").forEach((tile) => (tile.tabIndex = -1));
  next.querySelector(".tile").tabIndex = 0;
  next.querySelector(".tile").focus();
  if (state.filter !== null) chooseFilter(Number(next.dataset.filter));
}

// The address stores the current state, so that a link or a bookmark restores it.
let written = "";
const inList = (name) => name.replace(/[%:,]/g, encodeURIComponent); // they separate the parts of the `off` list
function remember() {
  const parts = { layer: state.layer };
  if (state.filter !== null) parts.filter = state.filter;
  if (state.first && pictures[state.first].isExample) parts.picture = state.first;
  if (state.second !== null && pictures[state.second].isExample) parts.second = state.second;
  if (state.epoch !== null) parts.epoch = state.epoch;
  for (const name of ["scale", "ends", "colours", "order"])
    if (state[name] !== $(name).options[0].value) parts[name] = state[name];
  const off = offList();
  if (off.length) parts.off = off.map(([name, filters]) => `${inList(name)}:${filters.join(".")}`).join(",");
  const readable = (value) => encodeURIComponent(value).replace(/%3A/g, ":").replace(/%2C/g, ",");
  const text = "#" + Object.entries(parts).map(([name, value]) => `${name}=${readable(value)}`).join("&");
  if (text === written) return;
  written = text;
  try {
    history.replaceState(null, "", text);
  } catch {
    // A frame without its own address cannot store the state.
  }
}

function recall() {
  const parts = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const numberOf = (text, count) => (/^\d+$/.test(text ?? "") && Number(text) < count ? Number(text) : null);
  [state.first, covered] = [numberOf(parts.picture, pictures.length) ?? 0, null];
  state.second = numberOf(parts.second, pictures.length);
  state.epoch = numberOf(parts.epoch, KNOWS_NETWORK ? DATA.epochs.length : 0);
  for (const name of ["scale", "ends", "colours", "order"]) {
    const values = [...$(name).options].map(({ value }) => value);
    state[name] = values.includes(parts[name]) ? parts[name] : values[0];
    $(name).value = state[name];
  }
  if (state.second === null && state.order === "difference") state.order = $("order").value = "number";
  state.off.clear();
  for (const part of KNOWS_NETWORK ? (parts.off || "").split(",") : []) {
    const [name, numbers] = part.split(":");
    const layer = LAYERS.find((candidate) => inList(candidate.name) === name);
    if (!layer || !numbers) continue;
    const filters = numbers.split(".").map((number) => numberOf(number, layer.shape[0]));
    state.off.set(layer.name, new Set(filters.filter((number) => number !== null)));
  }
  const layer = LAYERS.find(({ name }) => name === parts.layer) || LAYERS[0];
  state.layer = layer.name;
  state.filter = numberOf(parts.filter, layer.shape[0]);
}

async function start() {
  allowTheme();
  const classes = DATA.classes.length > 4 ? `${DATA.classes.length} classes` : DATA.classes.join(" or ");
  $("about").textContent = `Pictures of ${WIDTH}×${HEIGHT} pixels · ${classes} · ${LAYERS.length} layers`;
  if (!KNOWS_NETWORK) {
    const limits = DATA.left_out ? ` (${DATA.left_out})` : "";
    complain(`${DATA.problem} So the page shows precomputed maps${limits}, and filters cannot be switched off.`);
  }
  listLayers();
  recall();
  allowOwn();
  allowBrush();
  allowGrid();
  allowFilter();
  allowTools();
  allowEpochs();
  allowKeys();
  const { input, steps, gives_probabilities, layers, tensors, epochs, album } = DATA;
  const description = { input, steps, gives_probabilities, layers, tensors, epochs, album };
  const loading = ask({ what: "load", description, text: $("weights").textContent });
  $("weights").textContent = "";
  await showPictures();
  await loading;
  await recompute();
  chooseLayer(state.layer, state.filter);
  window.addEventListener("hashchange", async () => {
    if (location.hash === written) return;
    recall();
    showEpoch();
    chooseLayer(state.layer, state.filter); // at once, so that the chosen filter never belongs to another layer
    await showPictures();
    return recompute();
  });
}

// For scripts and tests. `forward(pixels, off, epoch)` takes a Float32Array of C×H×W in [0, 1], the filters to switch
// off as [[layer, [filters]], …], and the index of a saved epoch. It returns a promise of {probabilities, logits, maps:
// {layer: {shape, data}}}.
window.explorer = {
  forward: async (...parameters) => {
    await window.explorer.ready;
    return forward(...parameters);
  },
  fitted: (rgba, width, height) => fitted({ data: rgba, width, height }, DATA.input, DATA.resize),
  addPicture: (blob, name = "picture") => addOwn(blob, name),
  layers: LAYERS.map(({ name, kind, shape }) => ({ name, kind, shape })),
};
window.explorer.ready = start();
window.explorer.ready.catch((error) => complain(`The page could not start (${error.message}); try a current browser.`));
