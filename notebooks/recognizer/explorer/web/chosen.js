"use strict";
// The chosen picture: choose it in the strip, cover parts of it, point at it.

// The pixels of a picture. Those of an example picture are read when they are first needed.
async function pixelsOf(number) {
  const picture = pictures[number];
  picture.pixels = picture.pixels || (await loaded(picture.address, DATA.input));
  return picture.pixels;
}

async function choosePicture(number, isSecond = false) {
  if (isSecond) state.second = number;
  else [state.first, covered] = [number, null];
  await showPictures();
  return recompute();
}

async function showPictures() {
  showStrip();
  await pixelsOf(state.first);
  showPicture();
}

function showPicture() {
  const picture = pictures[state.first];
  if (!picture.pixels) return; // it is still being read, and is shown afterwards
  show($("picture"), covered || picture.pixels, DATA.input);
  $("picture").setAttribute("aria-label", `The picture: ${picture.label} ${picture.name}`);
  $("uncover").disabled = !covered;
  const marks = $("marks");
  const scale = Math.min(4, 1024 / Math.max(WIDTH, HEIGHT)); // one factor for both sides, so that circles stay circles
  [marks.width, marks.height] = [WIDTH, HEIGHT].map((side) => Math.round(side * scale));
}

function pictureTitle(number) {
  const { label } = pictures[number];
  const numberInClass = pictures.slice(0, number + 1).filter((picture) => picture.label === label).length;
  return `${label || "picture"} ${numberInClass}`;
}

function showStrip() {
  const groups = [...new Set(pictures.map((picture) => picture.label))];
  const focusedAt = [...$("strip").querySelectorAll("button")].indexOf(document.activeElement);
  $("strip").replaceChildren(
    ...groups.flatMap((label) => {
      const title = document.createElement("h3");
      title.textContent = label || "Pictures";
      const row = document.createElement("div");
      pictures.forEach((picture, number) => {
        if (picture.label !== label) return;
        const button = document.createElement("button");
        button.type = "button";
        button.title = `${picture.name} (hold Shift to compare with it)`;
        button.setAttribute("aria-label", pictureTitle(number));
        button.setAttribute("aria-pressed", number === state.first);
        button.classList.toggle("second", number === state.second);
        const image = document.createElement("img");
        [image.src, image.alt] = [picture.address, ""];
        button.append(image);
        button.onclick = (event) => choosePicture(number, event.shiftKey);
        row.append(button);
      });
      return label || groups.length > 1 ? [title, row] : [row]; // the section is called Pictures already
    }),
  );
  if (focusedAt >= 0) $("strip").querySelectorAll("button")[focusedAt].focus({ preventScroll: true });
  const options = pictures.map((_, number) => new Option(pictureTitle(number), number));
  $("second").replaceChildren(new Option("nothing", ""), ...options);
  $("second").value = state.second ?? "";
}

// ---- covering, and pointing

function placeUnder(event) {
  const box = $("marks").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
}

// Cover the picture with the brush along a line between two places.
function cover(from, to) {
  if (!pictures[state.first].pixels) return; // the picture is still being read
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / 2));
  for (let step = 1; step <= steps; step++) dab(from.map((start, axis) => start + ((to[axis] - start) * step) / steps));
  show($("picture"), covered, DATA.input);
  $("uncover").disabled = false;
  recompute();
}

function dab([x, y]) {
  const radius = brushRadius();
  covered = covered || pictures[state.first].pixels.slice();
  const perChannel = HEIGHT * WIDTH;
  for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(HEIGHT, y + radius); row++)
    for (let column = Math.max(0, Math.floor(x - radius)); column < Math.min(WIDTH, x + radius); column++)
      if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius ** 2)
        for (let c = 0; c < CHANNELS; c++) covered[c * perChannel + row * WIDTH + column] = 0.5;
}

function brushRadius() {
  return Math.max(0.71, (Number($("brush-size").value) / 200) * WIDTH); // covers at least one pixel at any place
}

// With the keyboard: while the picture has the focus, the brush has a place, and arrow keys move it.
let brushAt = null;
const BRUSH_MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveBrush(place) {
  brushAt = place.map((at, axis) => Math.min(Math.max(at, 0.5), [WIDTH, HEIGHT][axis] - 0.5));
}

function allowBrushKeys(isOn) {
  const stage = $("stage");
  stage.onfocus = () => {
    if (!brushAt) moveBrush([WIDTH / 2, HEIGHT / 2]);
    point(null);
  };
  stage.onblur = () => point(null);
  stage.onkeydown = (event) => {
    if (!isOn() || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = Math.max(1, brushRadius());
    if (event.key in BRUSH_MOVES) moveBrush(brushAt.map((at, axis) => at + step * BRUSH_MOVES[event.key][axis]));
    else if (event.key === " ") cover(brushAt, brushAt);
    else if (event.key === "Escape" && covered) $("uncover").onclick();
    else return;
    point(null);
    event.preventDefault();
    event.stopPropagation(); // otherwise the same keys would also move in the grid or close the filter
  };
}

function showBrush(context, scale) {
  const [x, y] = brushAt;
  for (const [colour, width] of [["#000", 5], ["#ffd400", 2]]) {
    [context.strokeStyle, context.lineWidth] = [colour, width];
    context.beginPath();
    context.arc(x * scale, y * scale, brushRadius() * scale, 0, 2 * Math.PI);
    context.stroke();
  }
  $("reading").textContent = `The brush is at row ${Math.floor(y)}, column ${Math.floor(x)}.`;
}

function allowBrush() {
  $("brush-row").hidden = !KNOWS_NETWORK;
  const isOn = () => $("brush").getAttribute("aria-pressed") === "true";
  const attributes = { tabindex: 0, role: "application", "aria-label": "The brush", "aria-describedby": "brush-help" };
  $("brush").onclick = (event) => {
    $("brush").setAttribute("aria-pressed", !isOn());
    for (const id of ["stage", "brush-row"]) $(id).classList.toggle("brushing", isOn());
    for (const name in attributes)
      if (isOn()) $("stage").setAttribute(name, attributes[name]);
      else $("stage").removeAttribute(name);
    $("reading").setAttribute("aria-live", isOn() ? "polite" : "off");
    if (isOn() && event.detail === 0) $("stage").focus(); // the button was pressed with a key
  };
  $("brush-size").oninput = () => point(null);
  allowBrushKeys(isOn);
  $("uncover").onclick = () => {
    covered = null;
    showPicture();
    recompute();
  };
  let last = null; // the last place of the brush while the pointer is down
  const marks = $("marks");
  marks.onpointerdown = (event) => {
    if (!isOn()) return;
    marks.setPointerCapture(event.pointerId);
    last = placeUnder(event);
    moveBrush(last);
    cover(last, last);
  };
  marks.onpointerup = marks.onpointercancel = () => (last = null);
  marks.onpointermove = (event) => {
    const place = placeUnder(event);
    if (last) {
      cover(last, place);
      last = place;
      moveBrush(last);
    } else if (!isOn() && view && state.filter !== null) pointAtPicture(place);
  };
  marks.onpointerleave = () => point(null);
}

// Point at the position of the map whose window has its centre closest to a place of the picture.
function pointAtPicture([x, y]) {
  const { layer } = view;
  if (layer.shape.length !== 3 || !layer.window) return;
  const [, height, width] = layer.shape;
  const nearest = (place, axis, count, side) => {
    const { size, stride, start } = layer.window;
    const centre = start[axis] + size[axis] / 2; // of the window of position 0
    const position = stride[axis] ? (place - centre) / stride[axis] : (place / side) * count - 0.5;
    return Math.max(0, Math.min(count - 1, Math.round(position)));
  };
  const [row, column] = [nearest(y, 0, height, HEIGHT), nearest(x, 1, width, WIDTH)];
  point({ filter: state.filter, row, column, second: false });
}

// Draw the window of a position on the picture, and write the value at that position. With null, remove both.
function point(place) {
  const marks = $("marks");
  const context = marks.getContext("2d");
  context.clearRect(0, 0, marks.width, marks.height);
  showUnderMarks(place !== null && place.second);
  if (place === null) {
    $("reading").textContent = view && view.layer.window ? "Point at a map to see the window on the picture." : "";
    if (document.activeElement === $("stage")) showBrush(context, marks.width / WIDTH);
    if (view && state.filter !== null) showStrongestPlace();
    return;
  }
  const { layer } = view;
  const { filter, row, column, second } = place;
  const map = mapOf(second ? view.second : view.first, filter);
  const value = map.data[row * map.width + column];
  const where = map.height * map.width > 1 ? ` at row ${row}, column ${column}` : "";
  let windowSize = "";
  if (layer.window) {
    const box = boxOf(layer, row, column);
    const scale = marks.width / WIDTH;
    context.lineWidth = 3;
    for (const [colour, grow] of [["#000", 1.5], ["#ffd400", 0]]) {
      context.strokeStyle = colour;
      const [x, y] = [box.left * scale - grow, box.top * scale - grow];
      context.strokeRect(x, y, (box.right - box.left) * scale + 2 * grow, (box.bottom - box.top) * scale + 2 * grow);
    }
    const size = `${box.right - box.left}×${box.bottom - box.top} pixels`;
    windowSize = `; it sees ${box.isWhole ? "the whole picture" : size}`;
    if (state.filter === filter && !second) showSeen(box);
  }
  $("reading").textContent = `Filter ${filter}${where}: ${short(value)}${windowSize}.`;
}

// The picture under the marks is the second one while the pointer is on one of its maps.
let isSecondShown = false;
function showUnderMarks(second) {
  if (second === isSecondShown) return;
  isSecondShown = second;
  if (second) show($("picture"), runs.pixels[1], DATA.input);
  else showPicture();
}

function boxOf({ window: { size, stride, start } }, row, column) {
  const [top, left] = [start[0] + row * stride[0], start[1] + column * stride[1]];
  const isWhole = top <= 0 && left <= 0 && top + size[0] >= HEIGHT && left + size[1] >= WIDTH;
  return { top, left, bottom: top + size[0], right: left + size[1], isWhole };
}
