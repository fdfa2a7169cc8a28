"use strict";
// The list of layers, in plain words.

const SIMPLE = /^(ReLU|ReLU6|LeakyReLU|SiLU|Hardswish|Hardsigmoid|GELU|Sigmoid|Tanh|BatchNorm|Dropout|Identity)/;
const KINDS = [
  [/Conv/, "Compares every place with small patterns, its kernels, and answers how alike they are."],
  [/MaxPool/, "Keeps the largest of neighbouring values, so that maps become smaller."],
  [/AvgPool/, "Takes the mean of neighbouring values, so that maps become smaller."],
  [/BatchNorm/, "Moves and stretches each map, so that its values have a usual size."],
  [/ReLU|SiLU|Hardswish|GELU|ELU/, "Keeps what speaks for a pattern and takes away what speaks against it."],
  [/Sigmoid|Hardsigmoid|Softmax/, "Brings values between 0 and 1."],
  [/Tanh/, "Brings values between −1 and 1."],
  [/Norm/, "Moves and stretches values, so that they have a usual size."],
  [/Dropout/, "Only works in training; here it hands on what it gets."],
  [/Linear/, "Each of its values is a weighted sum of all values before it."],
  [/Flatten/, "Puts all maps in one row of numbers."],
];

function explained({ kind, is_block: isBlock }) {
  const found = KINDS.find(([pattern]) => pattern.test(kind));
  return isBlock ? "A block of several layers." : found ? found[1] : "";
}

function shapeText({ shape }) {
  if (shape.length !== 3) return `${shape.join("×")} values`;
  return shape[1] * shape[2] === 1 ? `${shape[0]} values` : `${shape[0]} maps of ${shape[1]}×${shape[2]}`;
}

function windowText(layer) {
  if (!layer.window) return "";
  const [height, width] = layer.window.size;
  if (height < HEIGHT || width < WIDTH) return `sees ${height}×${width} pixels`;
  const [, rows, columns] = [...layer.shape, 1, 1];
  const all = boxOf(layer, 0, 0).isWhole && boxOf(layer, rows - 1, columns - 1).isWhole;
  return all ? "sees the whole picture" : "sees up to the whole picture"; // at the edges, its window leaves the picture
}

function listLayers() {
  $("layers").replaceChildren(
    ...LAYERS.map((layer) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.name = layer.name;
      button.title = explained(layer);
      button.classList.toggle("pointwise", SIMPLE.test(layer.kind));
      button.innerHTML = '<em></em><strong></strong><span class="some-off"></span><small></small>';
      button.querySelector("strong").textContent = layer.name;
      const [kind, isLong] = [layer.kind.replace(/2d$/, ""), layer.name.length > 13];
      button.firstChild.textContent = isLong ? "" : kind;
      const seen = windowText(layer).replace(/ pixels$/, "").replace(/(up to )?the whole picture/, "all");
      const facts = [isLong ? kind : "", shapeText(layer).replace(" maps of ", "×"), seen];
      button.lastChild.textContent = facts.filter(Boolean).join(" · ");
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
    $("none-found").hidden = document.querySelector("#layers li:not([hidden])") !== null;
  };
  $("find").onkeydown = (event) => {
    const first = document.querySelector("#layers li:not([hidden]) button");
    if (event.key === "Enter" && first) {
      event.preventDefault(); // else the same key would press the tile that gets the focus
      chooseLayer(first.dataset.name);
      moveFocus(0); // so that the arrow keys go on in its maps
    }
    if (event.key === "Escape") {
      $("find").value = "";
      $("find").oninput();
      $("find").blur();
    }
  };
}

// Scroll the list, and not the page, so that a layer is in sight.
function scrollList(button) {
  const nav = button.closest("nav");
  const [{ top, bottom }, list] = [button.getBoundingClientRect(), nav.getBoundingClientRect()];
  if (top < list.top || bottom > Math.min(list.bottom, innerHeight)) nav.scrollTop += top - list.top - list.height / 2;
}

function chooseLayer(name, filter = null) {
  state.layer = name;
  state.filter = filter;
  document.querySelectorAll("#layers button").forEach((button) => {
    const isIt = button.dataset.name === name;
    button.setAttribute("aria-current", isIt);
    if (isIt) scrollList(button);
  });
  $("layer-choice").value = name;
  showMaps();
}
