"use strict";
const PAGE = 200, ZOOMS = [1, 2, 4, 8, 16];
const $ = id => document.getElementById(id);
const rows = JSON.parse($("rows").textContent), meanings = JSON.parse($("meanings").textContent);
const figures = new Map([...document.querySelectorAll("figure")].map(figure => [Number(figure.dataset.id), figure]));
const columns = [...document.querySelectorAll("#table th button")].map(button => button.dataset.key);
const byName = new Intl.Collator("en", {numeric: true}).compare;
let key = "0", down = false, shown = PAGE;

const value = (row, key) => /^\d+$/.test(key) ? row.dice[Number(key)] : row[key];
const text = dice => dice === null ? "–" : dice.toFixed(3);

function compare(one, other) {
  const a = value(one, key), b = value(other, key);
  if (a === null || b === null) return (a === null) - (b === null);  // what is not defined comes last
  const order = typeof a === "number" ? a - b : byName(a, b);
  return (down ? -order : order) || byName(one.name, other.name);
}

function chosen() {
  const words = $("words").value.toLowerCase(), split = $("split")?.value, state = $("state").value;
  const number = Number($("class").value), low = Number($("low").value || 0), high = Number($("high").value || 1);
  return rows.filter(row => {
    const dice = row.dice[number], states = number ? [row.state[number - 1]] : row.state;
    const inside = dice === null ? low <= 0 && high >= 1 : dice >= low && dice <= high;
    return inside && (!split || row.split === split) && (!state || states.includes(state))
      && `${row.name} ${row.volume ?? ""}`.toLowerCase().includes(words);
  }).sort(compare);
}

function cell(row, column) {
  const td = document.createElement("td"), class_ = Number(column);
  td.textContent = /^\d+$/.test(column) ? text(row.dice[class_]) : row[column];
  const state = class_ ? row.state[class_ - 1] : "found";
  if (state && state !== "found") td.append(` (${meanings[state]})`);
  return td;
}

function update() {
  const list = chosen();
  $("count").textContent = `${list.length} of ${rows.length} images; pictures of the ${figures.size} worst`;
  for (const figure of figures.values()) figure.remove();
  pictured = list.filter(row => figures.has(row.id)).map(row => row.id);
  $("gallery").append(...pictured.map(id => figures.get(id)));
  $("all").textContent = `Show all ${pictured.length} pictures`;
  $("all").hidden = !$("gallery").classList.contains("few") || pictured.length <= 12;
  document.querySelector("#table tbody").replaceChildren(...list.slice(0, shown).map(row => {
    const tr = document.createElement("tr");
    tr.append(...columns.map(column => cell(row, column)));
    if (figures.has(row.id)) { tr.className = "pictured"; tr.onclick = () => enlarge(row.id); }
    return tr;
  }));
  $("more").hidden = list.length <= shown;
}

// One picture: the layers of its figure, enlarged
let pictured = [], current = null, zoom = 1;
const contours = document.body.dataset.contours === "yes";
const show = {truth: contours, predicted: true, errors: false};

function enlarge(id) {
  const row = rows[id], place = pictured.indexOf(id);
  current = id;
  figures.get(id).querySelectorAll(".source img").forEach((img, number) => {
    $("stage").querySelectorAll("img")[number].src = img.src;
  });
  const dices = [...$("class").options].map((option, number) => `${option.text} ${text(row.dice[number])}`);
  $("about").textContent = `${row.name} · ${row.split} · Dice: ${dices.join(", ")}`;
  $("place").textContent = `${place + 1} of ${pictured.length}`;
  $("previous").disabled = place <= 0;
  $("next").disabled = place >= pictured.length - 1;
  if (!$("large").open) $("large").showModal();
  zoomTo(1);
}

function step(by) {
  const id = pictured[pictured.indexOf(current) + by];
  if (id !== undefined) enlarge(id);
}

function toggle(layer) {
  // Errors stand alone, and tinted areas of both masks cannot be told apart: showing one hides the others.
  if (!show[layer]) {
    if (layer === "errors" || !contours) show.truth = show.predicted = false;
    show.errors = false;
  }
  show[layer] = !show[layer];
  showLayers();
}

function showPlain() {
  const plain = !show.truth && !show.predicted && !show.errors;
  Object.assign(show, {truth: plain && contours, predicted: plain, errors: false});
  showLayers();
}

function showLayers() {
  for (const [layer, shown] of Object.entries(show)) {
    $("stage").querySelector(`img.${layer}`).hidden = !shown;
    $(layer).setAttribute("aria-pressed", shown);
  }
  $("stage").classList.toggle("pale", show.errors);
  $("wrong").hidden = !show.errors;
  $("plain").setAttribute("aria-pressed", !Object.values(show).includes(true));
}

function zoomTo(next) {
  const stage = $("stage"), layers = stage.querySelector(".layers"), img = stage.querySelector("img");
  const middle = [(stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth,
                  (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight];
  zoom = next;
  if (!img.naturalWidth) return;  // its load event comes back
  const fit = Math.min(stage.clientWidth, stage.clientHeight * img.naturalWidth / img.naturalHeight);
  layers.style.width = `${Math.floor(fit * zoom)}px`;
  stage.classList.toggle("pixels", zoom > 1 || fit > img.naturalWidth);
  stage.scrollTo(middle[0] * stage.scrollWidth - stage.clientWidth / 2, middle[1] * stage.scrollHeight - stage.clientHeight / 2);
  $("zoom").textContent = `${zoom}×`;
  $("out").disabled = zoom === ZOOMS[0];
  $("in").disabled = zoom === ZOOMS.at(-1);
}

const zoomBy = by => zoomTo(ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(zoom) + by))]);

const actions = {
  previous: () => step(-1), next: () => step(1), truth: () => toggle("truth"), predicted: () => toggle("predicted"),
  errors: () => toggle("errors"), plain: showPlain, in: () => zoomBy(1), out: () => zoomBy(-1),
};
const keys = {
  ArrowLeft: "previous", ArrowRight: "next", t: "truth", p: "predicted", e: "errors", i: "plain", "+": "in", "=": "in", "-": "out",
};

function sortBy(next, descending) { key = next; down = descending; update(); }

for (const id of ["words", "split", "class", "low", "high", "state"]) $(id)?.addEventListener("input", () => {
  shown = PAGE;
  $("order").dispatchEvent(new Event("change"));
});
$("order").addEventListener("change", () => {
  const order = $("order").value;
  sortBy(order === "name" ? "name" : $("class").value, order === "-dice");
});
for (const button of document.querySelectorAll("#table th button")) {
  button.onclick = () => sortBy(button.dataset.key, key === button.dataset.key && !down);
}
for (const [id, figure] of figures) figure.querySelector("button").onclick = () => enlarge(id);
for (const [id, action] of Object.entries(actions)) $(id).onclick = action;
$("large").addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  actions[keys[event.key]]();
});
$("large").addEventListener("click", event => { if (event.target === $("large")) $("large").close(); });
$("close").onclick = () => $("large").close();
$("stage").addEventListener("wheel", event => {
  if (!event.ctrlKey && !event.metaKey) return;  // the wheel alone scrolls
  event.preventDefault();
  zoomBy(event.deltaY < 0 ? 1 : -1);
}, {passive: false});
$("stage").querySelector("img").addEventListener("load", () => zoomTo(zoom));
$("stage").addEventListener("dblclick", () => zoomTo(zoom > 1 ? 1 : 4));
window.addEventListener("resize", () => { if ($("large").open) zoomTo(zoom); });
$("more").onclick = () => { shown += PAGE; update(); };
$("all").onclick = () => { $("gallery").classList.remove("few"); update(); };
for (const copy of document.querySelectorAll(".copy")) {  // of many classes, the prediction beside the truth
  const [image, , predicted] = copy.previousElementSibling.querySelectorAll("img");
  copy.append(image.cloneNode(), predicted.cloneNode());
  copy.lastChild.hidden = false;
}
$("filters").open = window.innerWidth > 600;  // on a phone they would fill the screen before the first picture
showLayers();
update();

// A box that scrolls shows that there is more on the right.
const markCut = box => box.classList.toggle("cut", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
const sizes = new ResizeObserver(entries => entries.forEach(entry => markCut(entry.target.closest(".scroll"))));
for (const box of document.querySelectorAll(".scroll")) {
  box.addEventListener("scroll", () => markCut(box), {passive: true});
  for (const one of [box, ...box.children]) sizes.observe(one);
}
