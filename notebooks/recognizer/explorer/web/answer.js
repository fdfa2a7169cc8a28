"use strict";
// Run the network, and show its prediction.

// Send a request to engine.js. Returns a promise of the response.
const ask = (() => {
  const waiting = new Map();
  let number = 0;
  let respond = null;
  const text = $("engine").textContent;
  // If the browser does not allow a worker, the network runs in the page.
  const runInPage = (request) => {
    if (!respond) {
      const script = document.createElement("script");
      script.textContent = `window.respondent = (() => {${text}\nreturn respondent; })();`;
      document.head.append(script);
      respond = window.respondent();
    }
    return respond(request);
  };
  let worker = null;
  try {
    worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  } catch {
    return runInPage;
  }
  worker.onmessage = ({ data: { id, result, problem } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (problem) reject(new Error(problem));
    else resolve(result);
  };
  worker.onerror = () => {
    worker = null;
    for (const { request, resolve, reject } of waiting.values()) runInPage(request).then(resolve, reject);
    waiting.clear();
  };
  return (request) => {
    if (!worker) return runInPage(request);
    return new Promise((resolve, reject) => {
      waiting.set(++number, { request, resolve, reject });
      worker.postMessage({ id: number, ...request });
    });
  };
})();

function forward(pixels, off = [], epoch = null) {
  if (!KNOWS_NETWORK)
    return Promise.reject(new Error(`${DATA.problem} The page only has precomputed maps of the example pictures.`));
  return ask({ what: "forward", pixels: Float32Array.from(pixels), off, epoch });
}

function offList() {
  const sorted = [...state.off].map(([name, filters]) => [name, [...filters].sort((a, b) => a - b)]);
  return sorted.filter(([, filters]) => filters.length);
}

async function runOf(number, pixels) {
  if (KNOWS_NETWORK) return forward(pixels, offList(), state.epoch);
  return ask({ what: "precomputed", picture: number });
}

// Run the network for the current state, and show the results. If the state changes while it runs, it runs once more.
let running = false;
let again = false;
async function recompute() {
  again = true;
  if (running) return;
  running = true;
  const busy = setTimeout(() => ($("busy").hidden = false), 400);
  try {
    while (again) {
      again = false;
      await runOnce();
    }
  } catch (error) {
    complain(error.message);
  } finally {
    running = false;
    clearTimeout(busy);
    $("busy").hidden = true;
  }
  lookAhead();
}

async function runOnce() {
  const [number, second, epoch, picture] = [state.first, state.second, state.epoch, pictures[state.first]];
  const pixels = [covered || (await pixelsOf(number)), second === null ? null : await pixelsOf(second)];
  const untouched = isUntouched() && pixels[0] === picture.pixels; // the state may have changed during the await
  const first = await runOf(number, pixels[0]);
  const other = second === null ? null : await runOf(second, pixels[1]);
  if (untouched) picture.probabilities = first.probabilities;
  else if (!picture.probabilities) picture.probabilities = (await forward(picture.pixels)).probabilities;
  if (number !== state.first || second !== state.second || epoch !== state.epoch) return; // the choice has changed
  runs = { first, second: other, pixels };
  plain = picture.probabilities;
  showAnswer();
  showMaps();
}

function isUntouched() {
  return !covered && state.epoch === null && !offList().length;
}

function complain(sentence) {
  $("problem").textContent = sentence;
  $("problem").hidden = !sentence;
}

function currentPrediction() {
  if (runs.first.probabilities) return runs.first.probabilities;
  const picture = pictures[state.first];
  const isStored = picture.isExample && !covered && !offList().length && state.epoch !== null;
  return isStored ? DATA.epochs[state.epoch].probabilities[state.first] : null;
}

function showAnswer() {
  const now = currentPrediction();
  const box = $("answer");
  showOff();
  if (!now) {
    const note = "To keep this file small, this epoch has no last layers. So the page shows its maps but no answer.";
    box.replaceChildren(Object.assign(document.createElement("p"), { textContent: note }));
    return;
  }
  const order = now.map((_, number) => number);
  if (now.length > 6) order.sort((a, b) => now[b] - now[a]);
  const untouched = isUntouched();
  const rows = order.slice(0, 6).map((number) => {
    const row = document.createElement("div");
    row.className = "bar";
    const before = untouched || !plain ? "" : `<span class="before" style="left:${100 * plain[number]}%"></span>`;
    const fill = `<span class="fill" style="width:${100 * now[number]}%"></span>`;
    row.innerHTML = `<span></span><span class="track">${fill}${before}</span><span class="number"></span>`;
    row.firstChild.textContent = DATA.classes[number];
    row.lastChild.textContent = percent(now[number]);
    return row;
  });
  const text = document.createElement("p");
  text.textContent = answerText(now, untouched);
  box.replaceChildren(...rows, text);
}

function answerText(now, untouched) {
  const best = (all) => all.indexOf(Math.max(...all)); // of all probabilities
  const named = (all) => `${DATA.classes[best(all)]}, ${percent(all[best(all)])}`;
  const { label } = pictures[state.first];
  const hasClass = DATA.classes.includes(label);
  const verdict = hasClass ? (DATA.classes[best(now)] === label ? ": correct" : `: wrong, it is ${label}`) : "";
  const says = `It says ${named(now)}${verdict}.`;
  const second = runs.second && runs.second.probabilities;
  const compared = second ? ` For the second picture, ${pictureTitle(state.second)}, it says ${named(second)}.` : "";
  if (untouched || !plain) return says + compared;
  return `${says} After training and without changes: ${named(plain)} (vertical line).${compared}`;
}

function showOff() {
  const list = offList();
  $("off-box").hidden = !list.length;
  $("off-text").textContent = list
    .map(([name, filters]) => {
      const some = filters.slice(0, 12).join(", ") + (filters.length > 12 ? " and more" : "");
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
  showOff();
  remember();
  return recompute();
}
