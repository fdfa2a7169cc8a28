"use strict";
// The page itself: what is chosen, and what follows from it.

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
let runs = { first: null, second: null }; // what the network made of both pictures
let plain = null; // the answer to the first picture, untouched, of the whole network
let view = null; // what is on the grid: maps, scales, order

// ---- the network -----------------------------------------------------------------------------------------------------

const ask = (() => {
  const waiting = new Map();
  let number = 0;
  let worker = null;
  let respond = null;
  const text = $("engine").textContent;
  const beside = () => {
    // Where no worker is allowed, the network runs in the page.
    if (!respond) {
      const script = document.createElement("script");
      script.textContent = `window.respondent = (() => {${text}\nreturn respondent; })();`;
      document.head.append(script);
      respond = window.respondent();
    }
    return respond;
  };
  try {
    worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    worker.onmessage = ({ data: { id, answer, problem } }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (problem) reject(new Error(problem));
      else resolve(answer);
    };
  } catch {
    worker = null;
  }
  return (request) =>
    worker
      ? new Promise((resolve, reject) => {
          waiting.set(++number, { resolve, reject });
          worker.postMessage({ id: number, ...request });
        })
      : beside()(request);
})();

function forward(pixels, off = [], epoch = null) {
  if (!KNOWS_NETWORK)
    return Promise.reject(new Error(`${DATA.problem} So the page has maps of the given pictures alone.`));
  return ask({ what: "forward", pixels: Float32Array.from(pixels), off, epoch });
}

function offList() {
  return [...state.off].map(([name, filters]) => [name, [...filters]]).filter(([, filters]) => filters.length);
}

async function runOf(number, pixels) {
  if (KNOWS_NETWORK) return forward(pixels, offList(), state.epoch);
  return ask({ what: "given", picture: number });
}

// Run the network on what is chosen now, and show it. While it runs, further wishes wait, and only the last counts.
let running = false;
let again = false;
async function recompute() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  const busy = setTimeout(() => ($("busy").hidden = false), 400);
  try {
    do {
      again = false;
      const first = await runOf(state.first, covered || pictures[state.first].pixels);
      const second = state.second === null ? null : await runOf(state.second, pictures[state.second].pixels);
      runs = { first, second };
      await rememberPlain();
      showAnswer();
      showMaps();
    } while (again);
  } catch (error) {
    complain(error.message);
  } finally {
    running = false;
    clearTimeout(busy);
    $("busy").hidden = true;
  }
}

async function rememberPlain() {
  const picture = pictures[state.first];
  if (isUntouched()) picture.probabilities = runs.first.probabilities;
  else if (!picture.probabilities) picture.probabilities = (await forward(picture.pixels)).probabilities;
  plain = picture.probabilities;
}

function isUntouched() {
  return !covered && state.epoch === null && !offList().length;
}

function complain(sentence) {
  $("problem").textContent = sentence;
  $("problem").hidden = !sentence;
}

// ---- pictures --------------------------------------------------------------------------------------------------------

async function choosePicture(number, isSecond = false) {
  const picture = pictures[number];
  if (!picture.pixels) picture.pixels = await loaded(picture.address, DATA.input);
  if (isSecond) state.second = number;
  else [state.first, covered] = [number, null];
  showPicture();
  showStrip();
  return recompute();
}

function showPicture() {
  show($("picture"), covered || pictures[state.first].pixels, DATA.input);
  const { label, name } = pictures[state.first];
  $("picture").setAttribute("aria-label", `The picture: ${label} ${name}`);
  $("uncover").disabled = !covered;
  const marks = $("marks");
  [marks.width, marks.height] = [WIDTH * 4, HEIGHT * 4].map((side) => Math.min(side, 1024));
}

function pictureTitle(number) {
  const { label } = pictures[number];
  const place = pictures.slice(0, number + 1).filter((each) => each.label === label).length;
  return `${label || "picture"} ${place}`;
}

function showStrip() {
  const groups = [...new Set(pictures.map((picture) => picture.label))];
  $("strip").replaceChildren(
    ...groups.flatMap((label) => {
      const title = document.createElement("h3");
      title.textContent = label || "Pictures";
      const row = document.createElement("div");
      pictures.forEach((picture, number) => {
        if (picture.label !== label) return;
        const button = document.createElement("button");
        button.type = "button";
        button.title = `${picture.name} (with the Shift key: compare with it)`;
        button.setAttribute("aria-label", pictureTitle(number));
        button.setAttribute("aria-pressed", number === state.first);
        button.classList.toggle("second", number === state.second);
        const image = document.createElement("img");
        [image.src, image.alt] = [picture.address, ""];
        button.append(image);
        button.onclick = (event) => choosePicture(number, event.shiftKey);
        row.append(button);
      });
      return [title, row];
    }),
  );
  const options = pictures.map((_, number) => new Option(pictureTitle(number), number));
  $("second").replaceChildren(new Option("nothing", ""), ...options);
  $("second").value = state.second ?? "";
}

async function addOwn(source, name) {
  try {
    const pixels = fitted(await colours(source), DATA.input, DATA.resize);
    const canvas = document.createElement("canvas");
    show(canvas, pixels, DATA.input);
    pictures.push({ label: "Yours", name, pixels, address: canvas.toDataURL(), probabilities: null, given: false });
    complain("");
    return choosePicture(pictures.length - 1);
  } catch {
    return complain(`${name} cannot be read as a picture; choose a JPEG or PNG.`);
  }
}

function takeFiles(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/"));
  if (images.length) addOwn(images[0], images[0].name);
  else if (files.length) complain(`${files[0].name} is no picture; choose a JPEG or PNG.`);
}

function allowOwn() {
  const allowed = KNOWS_NETWORK && DATA.resize !== null;
  $("own-row").hidden = !allowed;
  if (!allowed) return;
  $("file").onchange = () => {
    takeFiles($("file").files);
    $("file").value = "";
  };
  document.addEventListener("paste", (event) => takeFiles(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    takeFiles(event.dataTransfer.files);
  });
  allowCamera();
}

function allowCamera() {
  const video = $("video");
  const close = () => {
    if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    $("camera-box").hidden = true;
  };
  $("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
  $("camera").onclick = async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      $("camera-box").hidden = false;
      await video.play();
    } catch {
      complain("The camera cannot be used here; choose a file instead.");
    }
  };
  $("shoot").onclick = async () => {
    await addOwn(video, "from the camera");
    close();
  };
  $("camera-off").onclick = close;
}

// ---- covering the picture, and pointing at it ------------------------------------------------------------------------

function placeUnder(event) {
  const box = $("marks").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
}

function cover([x, y]) {
  const radius = (Number($("brush-size").value) / 200) * WIDTH;
  covered = covered || pictures[state.first].pixels.slice();
  const each = HEIGHT * WIDTH;
  for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(HEIGHT, y + radius); row++)
    for (let column = Math.max(0, Math.floor(x - radius)); column < Math.min(WIDTH, x + radius); column++)
      if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius ** 2)
        for (let c = 0; c < CHANNELS; c++) covered[c * each + row * WIDTH + column] = 0.5;
  show($("picture"), covered, DATA.input);
  $("uncover").disabled = false;
  recompute();
}

function allowBrush() {
  $("brush-row").hidden = !KNOWS_NETWORK;
  const isOn = () => $("brush").getAttribute("aria-pressed") === "true";
  $("brush").onclick = () => {
    $("brush").setAttribute("aria-pressed", !isOn());
    $("stage").classList.toggle("brushing", isOn());
  };
  $("uncover").onclick = () => {
    covered = null;
    showPicture();
    recompute();
  };
  let down = false;
  const marks = $("marks");
  marks.onpointerdown = (event) => {
    if (!isOn()) return;
    down = true;
    marks.setPointerCapture(event.pointerId);
    cover(placeUnder(event));
  };
  marks.onpointerup = marks.onpointercancel = () => (down = false);
  marks.onpointermove = (event) => {
    if (down) cover(placeUnder(event));
    else if (!isOn() && state.filter !== null) pointAtPicture(placeUnder(event));
  };
  marks.onpointerleave = () => point(null);
}

// The position of a map whose window has its middle nearest to a place of the picture.
function pointAtPicture([x, y]) {
  const { layer } = view;
  if (layer.shape.length !== 3 || !layer.window) return;
  const [, height, width] = layer.shape;
  const nearest = (place, axis, count, side) => {
    const { size, stride, start } = layer.window;
    const found = stride[axis] ? (place - start[axis] - size[axis] / 2) / stride[axis] : (place / side) * count - 0.5;
    return Math.max(0, Math.min(count - 1, Math.round(found)));
  };
  point({ filter: state.filter, row: nearest(y, 0, height, HEIGHT), column: nearest(x, 1, width, WIDTH), second: false });
}

// Draw the window of a position on the picture, and say the value there. With null, take both away.
function point(place) {
  const marks = $("marks");
  const context = marks.getContext("2d");
  context.clearRect(0, 0, marks.width, marks.height);
  if (place === null) {
    $("reading").textContent = view && view.layer.window ? "Point at a map: its window is drawn on the picture." : "";
    return;
  }
  const { layer } = view;
  const { filter, row, column, second } = place;
  const map = mapOf(second ? view.second : view.first, filter);
  const value = map.data[row * map.width + column];
  const where = map.height * map.width > 1 ? ` at row ${row}, column ${column}` : "";
  let seen = "";
  if (layer.window) {
    const box = boxOf(layer, row, column);
    const scale = marks.width / WIDTH;
    context.lineWidth = 3;
    for (const [colour, grow] of [["#000", 1.5], ["#ffd400", 0]]) {
      context.strokeStyle = colour;
      const [x, y] = [box.left * scale - grow, box.top * scale - grow];
      context.strokeRect(x, y, (box.right - box.left) * scale + 2 * grow, (box.bottom - box.top) * scale + 2 * grow);
    }
    seen = box.isWhole ? "; it sees the whole picture" : `; it sees ${box.right - box.left}×${box.bottom - box.top} pixels`;
    if (state.filter === filter && !second) showSeen(box);
  }
  $("reading").textContent = `Filter ${filter}${where}: ${short(value)}${seen}.`;
}

function boxOf({ window: { size, stride, start } }, row, column) {
  const [top, left] = [start[0] + row * stride[0], start[1] + column * stride[1]];
  const isWhole = top <= 0 && left <= 0 && top + size[0] >= HEIGHT && left + size[1] >= WIDTH;
  return { top, left, bottom: top + size[0], right: left + size[1], isWhole };
}

// ---- the answer ------------------------------------------------------------------------------------------------------

function answerNow() {
  if (runs.first.probabilities) return runs.first.probabilities;
  const picture = pictures[state.first];
  const isStored = picture.given && !covered && !offList().length && state.epoch !== null;
  return isStored ? DATA.epochs[state.epoch].answers[state.first] : null;
}

function showAnswer() {
  const now = answerNow();
  const box = $("answer");
  if (!now) {
    const sentence = "This file keeps the earlier epochs without their last layers: the maps are shown, the answer is not known.";
    box.replaceChildren(Object.assign(document.createElement("p"), { textContent: sentence }));
    return;
  }
  const order = now.map((_, number) => number);
  if (now.length > 6) order.sort((a, b) => now[b] - now[a]);
  const untouched = isUntouched();
  const rows = order.slice(0, 6).map((number) => {
    const row = document.createElement("div");
    row.className = "bar";
    const before = untouched || !plain ? "" : `<span class="before" style="left:${100 * plain[number]}%"></span>`;
    row.innerHTML = `<span></span><span class="track"><span class="fill" style="width:${100 * now[number]}%"></span>${before}</span><span class="number"></span>`;
    row.firstChild.textContent = DATA.classes[number];
    row.lastChild.textContent = percent(now[number]);
    return row;
  });
  const text = document.createElement("p");
  text.textContent = answerText(now, untouched);
  box.replaceChildren(...rows, text);
  showOff();
}

function answerText(now, untouched) {
  const best = (answer) => answer.indexOf(Math.max(...answer));
  const { label } = pictures[state.first];
  const known = DATA.classes.includes(label);
  const verdict = known ? (DATA.classes[best(now)] === label ? ": right" : `: wrong, it is ${label}`) : "";
  const says = `It says ${DATA.classes[best(now)]}, ${percent(now[best(now)])}${verdict}.`;
  if (untouched || !plain) return says;
  return `${says} Untouched and after training: ${DATA.classes[best(plain)]}, ${percent(plain[best(plain)])} (black line).`;
}

function showOff() {
  const list = offList();
  $("off-box").hidden = !list.length;
  $("off-text").textContent = list
    .map(([name, filters]) => {
      const some = filters.slice(0, 12).join(", ") + (filters.length > 12 ? " …" : "");
      return `Off in ${name}: ${filters.length === 1 ? "filter" : `${filters.length} filters`}, ${some}.`;
    })
    .join(" ");
  document.querySelectorAll("#layers button").forEach((button) => {
    const count = (state.off.get(button.dataset.name) || new Set()).size;
    button.querySelector(".some-off").textContent = count ? ` · ${count} off` : "";
  });
}

function offOf(layer) {
  if (!state.off.has(layer.name)) state.off.set(layer.name, new Set());
  return state.off.get(layer.name);
}

function toggle(filters, off) {
  const set = offOf(view.layer);
  for (const filter of filters) {
    if (off ?? !set.has(filter)) set.add(filter);
    else set.delete(filter);
  }
  markOff();
  showFilterHead();
  remember();
  return recompute();
}

// ---- layers ----------------------------------------------------------------------------------------------------------

const SIMPLE = /^(ReLU|ReLU6|LeakyReLU|SiLU|Hardswish|Hardsigmoid|GELU|Sigmoid|Tanh|BatchNorm|Dropout|Identity)/;
const KINDS = [
  [/Conv/, "Compares every place with small patterns, its kernels, and answers how alike they are."],
  [/MaxPool/, "Keeps the largest of neighbouring values, so that maps become smaller."],
  [/AvgPool/, "Takes the mean of neighbouring values, so that maps become smaller."],
  [/BatchNorm/, "Moves and stretches each map, so that its values have a usual size."],
  [/ReLU|SiLU|Hardswish|GELU|ELU/, "Keeps what speaks for a pattern and takes away what speaks against it."],
  [/Sigmoid|Hardsigmoid|Softmax/, "Brings values between 0 and 1."],
  [/Dropout/, "Only works in training; here it hands on what it gets."],
  [/Linear/, "Each of its values is a weighted sum of all values before it."],
  [/Flatten/, "Puts all maps in one row of numbers."],
];

function explained(kind) {
  const found = KINDS.find(([pattern]) => pattern.test(kind));
  return found ? found[1] : "A block of several layers.";
}

function shapeText({ shape }) {
  if (shape.length !== 3) return `${shape.join("×")} values`;
  return shape[1] * shape[2] === 1 ? `${shape[0]} values` : `${shape[0]} maps of ${shape[1]}×${shape[2]}`;
}

function windowText({ window }) {
  if (!window) return "";
  if (window.size[0] >= HEIGHT && window.size[1] >= WIDTH) return "sees the whole picture";
  return `sees ${window.size[0]}×${window.size[1]} pixels`;
}

function listLayers() {
  $("layers").replaceChildren(
    ...LAYERS.map((layer) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.name = layer.name;
      button.title = explained(layer.kind);
      button.classList.toggle("pointwise", SIMPLE.test(layer.kind));
      button.innerHTML = '<strong></strong><span class="some-off"></span><small></small>';
      button.firstChild.textContent = layer.name;
      button.lastChild.textContent = [layer.kind, shapeText(layer).replace(" maps of ", "×"), windowText(layer)].filter(Boolean).join(" · ");
      button.onclick = () => chooseLayer(layer.name);
      item.append(button);
      return item;
    }),
  );
  $("layer-choice").replaceChildren(...LAYERS.map(({ name, kind }) => new Option(`${name} (${kind})`, name)));
  $("layer-choice").onchange = () => chooseLayer($("layer-choice").value);
  $("find").oninput = () => {
    const wanted = $("find").value.trim().toLowerCase();
    document.querySelectorAll("#layers li").forEach((item) => {
      item.hidden = !item.textContent.toLowerCase().includes(wanted);
    });
  };
  $("find").onkeydown = (event) => {
    const first = document.querySelector("#layers li:not([hidden]) button");
    if (event.key === "Enter" && first) chooseLayer(first.dataset.name);
    if (event.key === "Escape") {
      $("find").value = "";
      $("find").oninput();
      $("find").blur();
    }
  };
}

function chooseLayer(name, filter = null) {
  state.layer = name;
  state.filter = filter;
  document.querySelectorAll("#layers button").forEach((button) => {
    const isIt = button.dataset.name === name;
    button.setAttribute("aria-current", isIt);
    if (isIt) button.scrollIntoView({ block: "nearest" });
  });
  $("layer-choice").value = name;
  showMaps();
}

// ---- maps ------------------------------------------------------------------------------------------------------------

// The values of a layer as maps: {count, height, width, data}. Rows of numbers are maps of one value each; very long
// ones, as of flattening, are folded into a single map.
function asMaps(found) {
  if (!found) return null;
  const { shape, data } = found;
  if (shape.length === 3) return { count: shape[0], height: shape[1], width: shape[2], data, shape };
  if (shape[0] <= FOLDED) return { count: shape[0], height: 1, width: 1, data, shape };
  const width = Math.ceil(Math.sqrt(shape[0]) / 8) * 8;
  const height = Math.ceil(shape[0] / width);
  const filled = new Float32Array(height * width);
  filled.set(data);
  return { count: 1, height, width, data: filled, shape, isFolded: true };
}

function mapOf(maps, filter) {
  const each = maps.height * maps.width;
  return { ...maps, data: maps.data.subarray(filter * each, (filter + 1) * each) };
}

function showMaps() {
  if (!runs.first || !state.layer) return;
  const layer = LAYERS.find(({ name }) => name === state.layer);
  const first = asMaps(runs.first.maps[layer.name]);
  if (!first) {
    $("grid").replaceChildren();
    $("layer-title").textContent = layer.name;
    $("layer-facts").textContent = "This epoch was kept without the weights of this layer, to keep the file small.";
    $("filter").hidden = true;
    $("legend").hidden = true;
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
  $("layer-title").title = explained(layer.kind);
  const reduced = DATA.side && layer.shape.length === 3 && layer.shape[1] > DATA.side ? `shown at ${first.height}×${first.width}` : "";
  const sees = layer.window ? `each value ${windowText(layer)}` : "";
  $("layer-facts").textContent = [layer.kind, shapeText(layer), reduced, sees].filter(Boolean).join(" · ");
  $("layer-facts").title = explained(layer.kind);
  const { ends } = view;
  const gradient = $("gradient");
  paint(gradient, Float32Array.from({ length: 256 }, (_, i) => i), 1, 256, { low: 0, high: 256 }, view.palette);
  const middle = view.signed ? "0 in the middle" : "";
  const single = first.height * first.width === 1;
  $("low").textContent = ends ? short(ends.low) : view.signed ? "below 0" : "lowest";
  $("high").textContent = ends ? short(ends.high) : view.signed ? "above 0" : "highest";
  const notes = [middle, ends ? "" : single ? "one value each: choose another scale" : "each map has ends of its own"];
  if (ends && view.beyond > 0) notes.push(`${percent(view.beyond)} of the values lie beyond (lowest ${short(low)}, highest ${short(high)})`);
  if (broken) notes.push(`${broken} are no numbers, but infinite or undefined: red`);
  $("beyond").textContent = notes.filter(Boolean).join(" · ");
  gradient.setAttribute("aria-label", `Colours from ${$("low").textContent} to ${$("high").textContent}`);
  $("order").querySelector("[value=difference]").disabled = !view.second;
  $("layer-off").hidden = !KNOWS_NETWORK || first.isFolded;
}

// Tiles are made once and used again for other layers; only those near the screen are drawn.
const near = new Set();
const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        near.add(target);
        draw(target);
      } else near.delete(target);
    }
  },
  { rootMargin: "300px" },
);

function tile() {
  const item = document.createElement("li");
  item.innerHTML = '<button type="button" class="tile" tabindex="-1"><span class="pair"><canvas></canvas></span><span class="name"></span></button><button type="button" class="toggle" tabindex="-1">◉</button>';
  watcher.observe(item);
  return item;
}

function showGrid() {
  const grid = $("grid");
  const { first, second, order } = view;
  while (grid.children.length < order.length) grid.append(tile());
  while (grid.children.length > order.length) {
    watcher.unobserve(grid.lastChild);
    near.delete(grid.lastChild);
    grid.lastChild.remove();
  }
  const single = first.height * first.width === 1;
  const usual = first.isFolded ? 480 : single ? 44 : first.count <= 16 ? 150 : first.count <= 64 ? 104 : 84;
  const size = state.size ?? usual;
  $("size").value = size;
  grid.style.setProperty("--tile", `${size}px`);
  order.forEach((filter, place) => {
    const item = grid.children[place];
    item.dataset.filter = filter;
    item.dataset.stale = "yes";
    const pair = item.querySelector(".pair");
    if (second && pair.children.length < 2) pair.append(document.createElement("canvas"));
    if (!second && pair.children.length > 1) pair.lastChild.remove();
    item.querySelector(".toggle").hidden = !KNOWS_NETWORK || Boolean(first.isFolded);
  });
  markChosen();
  markOff();
  near.forEach(draw);
}

function draw(item) {
  if (!item.dataset.stale || !view) return;
  delete item.dataset.stale;
  const filter = Number(item.dataset.filter);
  const ends = endsFor(filter);
  const canvases = item.querySelectorAll("canvas");
  [view.first, view.second].filter(Boolean).forEach((maps, place) => {
    const { data, height, width } = mapOf(maps, filter);
    paint(canvases[place], data, height, width, ends, view.palette);
  });
  const { data } = mapOf(view.first, filter);
  const own = range([data]);
  const constant = own.low === own.high && !own.broken;
  const facts = data.length === 1 ? short(data[0]) : constant ? `always ${short(own.low)}` : `${short(own.low)} to ${short(own.high)}`;
  item.querySelector(".name").textContent = view.first.isFolded ? "all values, folded into lines" : data.length === 1 || constant ? `${filter}: ${facts}` : filter;
  item.querySelector(".tile").title = `filter ${filter}: ${facts}`;
  label(item);
}

function label(item) {
  const off = item.classList.contains("off");
  const title = item.querySelector(".tile").title;
  item.querySelector(".tile").setAttribute("aria-label", title + (off ? ", switched off" : ""));
  const button = item.querySelector(".toggle");
  button.textContent = off ? "○" : "◉";
  button.title = off ? "Switch this filter on again" : "Switch this filter off";
  button.setAttribute("aria-label", `${button.title}: ${item.dataset.filter}`);
}

function markOff() {
  const off = offOf(view.layer);
  for (const item of $("grid").children) {
    item.classList.toggle("off", off.has(Number(item.dataset.filter)));
    label(item);
  }
  const all = off.size === view.first.count;
  $("layer-off").textContent = all ? "Switch layer on" : "Switch layer off";
}

function markChosen() {
  const grid = $("grid");
  for (const item of grid.children) item.classList.toggle("chosen", Number(item.dataset.filter) === state.filter);
  const entry = grid.querySelector(".chosen") || grid.firstChild;
  grid.querySelectorAll(".tile[tabindex='0']").forEach((each) => (each.tabIndex = -1));
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
    if (!event.target.matches("canvas")) return point(null);
    const place = placeOnMap(event, view.first);
    const second = event.target.previousElementSibling !== null;
    return point({ ...place, filter: Number(event.target.closest("li").dataset.filter), second });
  };
  grid.onpointerleave = () => point(null);
}

// Where the pointer is on a canvas that shows a map, which may be higher than wide.
function placeOnMap(event, { height, width }) {
  const box = event.target.getBoundingClientRect();
  const scale = Math.min(box.width / width, box.height / height);
  const within = (place, count) => Math.max(0, Math.min(count - 1, Math.floor(place)));
  return {
    row: within((event.clientY - box.top - (box.height - scale * height) / 2) / scale, height),
    column: within((event.clientX - box.left - (box.width - scale * width) / 2) / scale, width),
  };
}

// ---- a filter, enlarged ----------------------------------------------------------------------------------------------

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
  show(canvas, pixels, DATA.input);
  canvas.setAttribute("aria-label", "The picture, bright where the filter answers");
  const context = canvas.getContext("2d");
  const image = context.getImageData(0, 0, WIDTH, HEIGHT);
  const most = Math.max(Math.abs(ends.low), Math.abs(ends.high)) || 1;
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++) {
      const value = map.data[Math.floor((y * map.height) / HEIGHT) * map.width + Math.floor((x * map.width) / WIDTH)];
      const light = 0.18 + 0.82 * Math.min(1, (view.signed ? Math.abs(value) : Math.max(0, value)) / most);
      for (let c = 0; c < 3; c++) image.data[4 * (y * WIDTH + x) + c] *= light;
    }
  context.putImageData(image, 0, 0);
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

// The strongest place of each given picture. They are asked for one by one, so that the reader need not wait for them.
const strongestOf = new Map();
async function showPatches() {
  const { layer, first } = view;
  const filter = state.filter;
  const possible = KNOWS_NETWORK && layer.window && first.height * first.width > 1;
  $("patches-box").hidden = !possible;
  if (!possible) return;
  const [epoch, key] = [state.epoch, `${layer.name} ${state.epoch}`];
  if (!strongestOf.has(key)) strongestOf.set(key, []);
  const found = strongestOf.get(key);
  const isStill = () => state.filter === filter && state.layer === layer.name && state.epoch === epoch;
  if (!found.length) $("patches").replaceChildren();
  for (let number = found.length; number < DATA.pictures.length && isStill(); number++) {
    const picture = pictures[number];
    if (!picture.pixels) picture.pixels = await loaded(picture.address, DATA.input);
    const answer = await ask({ what: "strongest", pixels: picture.pixels, value: layer.value, epoch });
    if (found.length === number) found.push(answer);
  }
  if (isStill()) drawPatches(found, filter);
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

// ---- tools, keys, address --------------------------------------------------------------------------------------------

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
    $("epoch-name").textContent = at < epochs.length ? epochs[at].label : "training (as it was saved)";
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
  $("about").textContent = `${DATA.model} · pictures of ${WIDTH}×${HEIGHT} pixels · answers ${answers} · ${LAYERS.length} layers`;
  if (!KNOWS_NETWORK) {
    const part = DATA.side < Math.max(HEIGHT, WIDTH) ? `, at most ${DATA.side} positions a side` : "";
    complain(`${DATA.problem} So these are maps that were computed beforehand, of the given pictures${part}; filters cannot be switched off.`);
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
  await recompute();
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
