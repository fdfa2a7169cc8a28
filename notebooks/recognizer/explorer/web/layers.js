"use strict";
// The list of layers, with plain descriptions.

const SIMPLE = /^(ReLU|ReLU6|LeakyReLU|SiLU|Hardswish|Hardsigmoid|GELU|Sigmoid|Tanh|BatchNorm|Dropout|Identity)/;
const KINDS = [
  [/Conv/, "Compares every place with small patterns, the kernels. A value is high where place and kernel match."],
  [/MaxPool/, "Keeps only the largest of neighbouring values. So the maps become smaller."],
  [/AvgPool/, "Replaces neighbouring values by their mean. So the maps become smaller."],
  [/BatchNorm/, "Shifts and scales each map, so that the values of all maps have a similar range."],
  [/ReLU|SiLU|Hardswish|GELU|ELU/, "Keeps positive values, and sets negative values to 0 or close to 0."],
  [/Sigmoid|Hardsigmoid|Softmax/, "Maps values to the range from 0 to 1."],
  [/Tanh/, "Maps values to the range from −1 to 1."],
  [/Norm/, "Shifts and scales the values, so that they have a similar range."],
  [/Dropout/, "Sets random values to 0 during training. Here it changes nothing."],
  [/Linear/, "Each output is a weighted sum of all inputs."],
  [/Flatten/, "Puts the values of all maps into one row."],
];

function explained({ kind, is_block: isBlock }) {
  if (isBlock) return "A block of several layers.";
  const [, text] = KINDS.find(([pattern]) => pattern.test(kind)) || ["", ""];
  return text;
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
  return all ? "sees the whole picture" : "sees up to the whole picture"; // windows at the edges leave the picture
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
      const sees = windowText(layer).replace(/ pixels$/, "").replace(/(up to )?the whole picture/, "all");
      const facts = [isLong ? kind : "", shapeText(layer).replace(" maps of ", "×"), sees];
      button.lastChild.textContent = facts.filter(Boolean).join(" · ");
      button.onclick = () => chooseLayer(layer.name);
      item.append(button);
      return item;
    }),
  );
  $("layer-choice").replaceChildren(...LAYERS.map(({ name, kind }) => new Option(`${name} (${kind})`, name)));
  $("layer-choice").onchange = () => chooseLayer($("layer-choice").value);
  $("find").oninput = () => {
    const text = $("find").value.trim().toLowerCase();
    document.querySelectorAll("#layers li").forEach((item) => {
      item.hidden = !item.textContent.toLowerCase().includes(text);
    });
    $("none-found").hidden = document.querySelector("#layers li:not([hidden])") !== null;
  };
  $("find").onkeydown = (event) => {
    const first = document.querySelector("#layers li:not([hidden]) button");
    if (event.key === "Enter" && first) {
      event.preventDefault(); // otherwise the same key press would also activate the tile that gets the focus
      chooseLayer(first.dataset.name);
      moveFocus(0); // to the maps, so that the arrow keys work there
    }
    if (event.key === "Escape") {
      $("find").value = "";
      $("find").oninput();
      $("find").blur();
    }
  };
}

// Scroll the list, but not the page, to make a layer visible.
function scrollList(button) {
  const nav = button.closest("nav");
  const [{ top, bottom }, list] = [button.getBoundingClientRect(), nav.getBoundingClientRect()];
  if (top < list.top || bottom > Math.min(list.bottom, innerHeight)) nav.scrollTop += top - list.top - list.height / 2;
}

function chooseLayer(name, filter = null) {
  state.layer = name;
  state.filter = filter;
  document.querySelectorAll("#layers button").forEach((button) => {
    const isChosen = button.dataset.name === name;
    button.setAttribute("aria-current", isChosen);
    if (isChosen) scrollList(button);
  });
  $("layer-choice").value = name;
  showMaps();
}
