"use strict";
// Tools, keys, the address, and the start of it all.

function allowTools() {
  for (const name of ["scale", "ends", "colours", "order"])
    $(name).onchange = () => {
      state[name] = $(name).value;
      showMaps();
    };
  $("size").oninput = () => {
    state.size = Number($("size").value);
    $("grid").style.setProperty("--tile", `${state.size}px`);
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
  const root = document.documentElement;
  const use = (dark) => {
    root.classList.toggle("dark", dark);
    $("theme").textContent = dark ? "Light" : "Dark";
  };
  const wish = matchMedia("(prefers-color-scheme: dark)");
  use(wish.matches);
  wish.onchange = () => use(wish.matches);
  $("theme").onclick = () => use(!root.classList.contains("dark"));
}

function allowEpochs() {
  const epochs = KNOWS_NETWORK ? DATA.epochs : [];
  $("training").hidden = !epochs.length;
  const slider = $("epoch");
  slider.max = epochs.length;
  const showName = () => {
    const at = Number(slider.value);
    $("epoch-name").textContent = at < epochs.length ? epochs[at].label : "training";
    slider.setAttribute("aria-valuetext", $("epoch-name").textContent);
    const rounded = at < epochs.length && epochs[at].rounded;
    $("epoch-note").textContent = rounded ? "Earlier networks are kept in 8 bits, to keep the file small." : "";
  };
  slider.value = state.epoch ?? epochs.length;
  showName();
  slider.oninput = () => {
    state.epoch = Number(slider.value) < epochs.length ? Number(slider.value) : null;
    showName();
    recompute();
  };
}

function columnsOfGrid() {
  return getComputedStyle($("grid")).gridTemplateColumns.split(" ").length;
}

function allowKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea") || !view) return;
    const place = LAYERS.findIndex(({ name }) => name === state.layer);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columnsOfGrid(), ArrowDown: columnsOfGrid() };
    if (event.key === "/") {
      const list = getComputedStyle($("find")).display === "none" ? $("layer-choice") : $("find");
      list.focus();
    } else if (event.key === "[" && place > 0) chooseLayer(LAYERS[place - 1].name);
    else if (event.key === "]" && place < LAYERS.length - 1) chooseLayer(LAYERS[place + 1].name);
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
  const grid = $("grid");
  const now = focused() || grid.querySelector(".chosen");
  const place = now ? [...grid.children].indexOf(now) + by : 0;
  const next = grid.children[place];
  if (!next) return;
  grid.querySelectorAll(".tile[tabindex='0']").forEach((each) => (each.tabIndex = -1));
  next.querySelector(".tile").tabIndex = 0;
  next.querySelector(".tile").focus();
  if (state.filter !== null) chooseFilter(Number(next.dataset.filter));
}

// What is chosen, in the address: a link or a bookmark leads back to it.
let written = "";
function remember() {
  const parts = { layer: state.layer };
  if (state.filter !== null) parts.filter = state.filter;
  if (state.first && pictures[state.first].given) parts.picture = state.first;
  if (state.second !== null && pictures[state.second].given) parts.second = state.second;
  for (const name of ["scale", "ends", "colours", "order"]) if (state[name] !== $(name).options[0].value) parts[name] = state[name];
  const off = offList();
  if (off.length) parts.off = off.map(([name, filters]) => `${name}:${filters.join(".")}`).join(",");
  const text = "#" + Object.entries(parts).map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%3A/g, ":").replace(/%2C/g, ",")}`).join("&");
  if (text === written) return;
  written = text;
  try {
    history.replaceState(null, "", text);
  } catch {
    // A frame without an address of its own has nothing to remember.
  }
}

function recall() {
  const parts = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const inRange = (text) => (pictures[Number(text)] ? Number(text) : null);
  state.first = inRange(parts.picture ?? "0") ?? 0;
  state.second = parts.second === undefined ? null : inRange(parts.second);
  for (const name of ["scale", "ends", "colours", "order"]) {
    const known = [...$(name).options].map(({ value }) => value);
    state[name] = known.includes(parts[name]) ? parts[name] : known[0];
    $(name).value = state[name];
  }
  state.off.clear();
  for (const part of KNOWS_NETWORK ? (parts.off || "").split(",") : []) {
    const [name, numbers] = part.split(":");
    const layer = LAYERS.find((each) => each.name === name);
    if (!layer || !numbers) continue;
    state.off.set(name, new Set(numbers.split(".").map(Number).filter((number) => number >= 0 && number < layer.shape[0])));
  }
  const layer = LAYERS.find(({ name }) => name === parts.layer) || LAYERS[0];
  const filter = /^\d+$/.test(parts.filter ?? "") ? Number(parts.filter) : null;
  state.layer = layer.name;
  state.filter = filter;
}

async function start() {
  allowTheme();
  const answers = DATA.classes.length > 4 ? `${DATA.classes.length} classes` : DATA.classes.join(" or ");
  $("about").textContent = `Pictures of ${WIDTH}×${HEIGHT} pixels · answers ${answers} · ${LAYERS.length} layers`;
  if (!KNOWS_NETWORK) {
    const part = DATA.left_out ? ` (${DATA.left_out})` : "";
    complain(`${DATA.problem} So these are maps of the given pictures that were computed beforehand${part}; filters cannot be switched off.`);
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
  const description = { input: DATA.input, steps: DATA.steps, layers: DATA.layers, tensors: DATA.tensors, epochs: DATA.epochs, album: DATA.album };
  const loading = ask({ what: "load", description, text: $("weights").textContent });
  $("weights").textContent = "";
  const needed = [state.first, ...(state.second === null ? [] : [state.second])];
  await Promise.all(needed.map(async (number) => (pictures[number].pixels = await loaded(pictures[number].address, DATA.input))));
  showPicture();
  showStrip();
  await loading;
  const started = performance.now();
  await recompute();
  setTimeout(lookAhead, 300, performance.now() - started);
  chooseLayer(state.layer, state.filter);
  window.addEventListener("hashchange", async () => {
    if (location.hash === written) return;
    recall();
    await choosePicture(state.first);
    chooseLayer(state.layer, state.filter);
  });
}

// For scripts and tests. `forward(pixels, off, epoch)`: a Float32Array of C×H×W in [0, 1], [[layer, [filters]], …] that
// are off, the place of a saved epoch; a promise of {probabilities, logits, maps: {layer: {shape, data}}}.
window.explorer = {
  forward: async (...given) => {
    await window.explorer.ready;
    return forward(...given);
  },
  fitted: (rgba, width, height) => fitted({ data: rgba, width, height }, DATA.input, DATA.resize),
  addPicture: (blob, name = "picture") => addOwn(blob, name),
  layers: LAYERS.map(({ name, kind, shape }) => ({ name, kind, shape })),
};
window.explorer.ready = start();
