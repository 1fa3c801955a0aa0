// The page: takes a photo and a title in, asks the service, shows what it answers.

import { element, picture } from "./element.js";
import { makeFilters } from "./filters.js";
import { makeResults, nameOfInstance, summary } from "./results.js";
import { Problem, columns, samplePhoto, samplePicture, samples, search } from "./service.js";
import { makeStage } from "./photo_canvas.js";

const SAMPLE = 240; // pixels

const by = (id) => document.getElementById(id);
const [title, bundlePrice, file] = [by("title"), by("bundle-price"), by("file")];

const state = {
  photo: null, // File
  url: "", // of the photo, for the page
  boxes: null, // null: the detector's
  answer: null,
  chosen: null,
  running: null, // AbortController
};

const stage = makeStage(by("stage"), {
  select: (index) => choose(index, true),
  remove,
  drawn: (box) => {
    state.boxes = [...currentBoxes(), box];
    run({ choose: state.boxes.length - 1 });
  },
  drawing: (how) => {
    by("draw").setAttribute("aria-pressed", String(Boolean(how)));
    by("draw-hint").hidden = !how;
    by("draw-hint").textContent = how === "keyboard"
      ? "Arrows move the box, Shift and arrows size it, Enter searches, Esc cancels."
      : "Drag over a product. Esc cancels.";
  },
  say,
});
const results = makeResults(by("results"), { select: (index) => choose(index, false) });
const filters = makeFilters(by("filter-fields"), () => {
  countFilters();
  if (state.answer || state.running) run({ choose: state.chosen });
});

function say(text) {
  by("told").textContent = text;
}

function currentBoxes() {
  const found = state.answer?.instances ?? [];
  // A whole photo that was searched for want of boxes is none.
  return state.boxes ?? found.filter((one) => one.box && one.score > 0).map((one) => one.box);
}

async function takePhoto(photo) {
  state.running?.abort();
  if (state.url) URL.revokeObjectURL(state.url);
  Object.assign(state, {
    photo, url: URL.createObjectURL(photo), boxes: null, answer: null, chosen: null,
  });
  setView("work");
  scrollTo(0, 0);
  by("drop").hidden = true;
  by("stage-place").hidden = false;
  await stage.show(state.url);
  await run();
}

/** Ask the service, and show what it says. */
async function run({ choose: wanted = null } = {}) {
  state.running?.abort();
  stage.stop();
  const caption = title.value.trim();
  if (!state.photo && !caption) {
    results.fail(new Problem("There is nothing to look for yet", "Give a photo, a title or both."));
    return;
  }
  const query = {
    photo: state.photo,
    caption,
    boxes: state.photo ? state.boxes : null,
    filters: filters.conditions,
    bundlePrice: bundlePrice.value === "" ? null : bundlePrice.valueAsNumber,
    minScore: filters.minScore,
  };
  await waitFor("Looking for products", async (running, busy) => {
    const answer = await search(query, running.signal, busy);
    if (state.running === running) showAnswer(answer, caption, wanted);
  }, () => run({ choose: wanted }));
}

/** Take a sample in, as if its photo and its title had been given. */
async function takeSample(sample) {
  let photo = null;
  await waitFor("Fetching the sample", async (running, busy) => {
    photo = await samplePhoto(sample.name, running.signal, busy);
  }, () => takeSample(sample));
  if (!photo) return;
  title.value = sample.title;
  await takePhoto(photo);
}

/** Show that the service is asked, how long it is busy, and why there is no answer. */
async function waitFor(what, work, again) {
  state.running?.abort();
  const running = new AbortController();
  state.running = running;
  setView("work");
  by("query").classList.add("asking");
  results.wait();
  say(what);
  let waiting = false;
  const busy = (problem, seconds) => {
    if (!waiting) say(`${problem.message}. Trying again in ${seconds} seconds.`);
    waiting = seconds > 1;
    results.busy(problem, seconds, cancel);
  };
  try {
    await work(running, busy);
  } catch (problem) {
    if (running.signal.aborted) return;
    if (!(problem instanceof Problem)) throw problem;
    stage.clear();
    state.answer = null;
    results.fail(problem, again);
  } finally {
    if (state.running === running) {
      state.running = null;
      by("query").classList.remove("asking");
      showTools();
    }
  }
}

function cancel() {
  state.running?.abort();
  state.running = null;
  by("query").classList.remove("asking");
  results.clear();
  say("Cancelled");
  by("search").focus();
}

function showAnswer(answer, caption, wanted) {
  state.answer = answer;
  const { instances } = answer;
  filters.suggest(answer);
  stage.frame(instances, instances.map(nameOfInstance));
  results.show(answer, caption, stage.crop);
  if (instances.every((instance) => !instance.hits.length) && filters.count) {
    results.barren(() => { filters.clear(); countFilters(); run(); });
  }
  by("served").textContent = `Index ${answer.collection} · model ${answer.bundle}`;
  say(`${summary(answer)}. ${instances.map((one, at) => `${at + 1}: ${nameOfInstance(one)}`)
    .join(". ")}.`);
  // Several parts are first seen at a glance, one alone at once with its hits.
  const open = instances.length > 1 ? wanted : 0;
  choose(open === null ? null : Math.min(open, instances.length - 1), false);
}

function countFilters() {
  by("filter-count").hidden = !filters.count;
  by("filter-count").textContent = String(filters.count);
}

function choose(index, scroll) {
  state.chosen = index;
  stage.choose(index);
  results.choose(index, scroll);
  showTools();
}

function remove(index) {
  const boxes = currentBoxes();
  if (boxes.length < 2 || index === null) return;
  state.boxes = boxes.filter((_, at) => at !== index);
  run({ choose: Math.min(index, state.boxes.length - 1) })
    .then(() => stage.focus(state.chosen));
}

function showTools() {
  const removable = state.answer && state.chosen !== null && currentBoxes().length > 1;
  by("remove").disabled = !removable;
  by("detect").hidden = !state.boxes;
}

function setView(name) {
  document.body.dataset.view = name;
  by("afresh").hidden = name === "start";
}

function startAfresh() {
  state.running?.abort();
  if (state.url) URL.revokeObjectURL(state.url);
  Object.assign(state, {
    photo: null, url: "", boxes: null, answer: null, chosen: null, running: null,
  });
  stage.stop();
  stage.clear();
  results.clear();
  filters.clear();
  countFilters();
  by("query").reset();
  by("query").classList.remove("asking");
  by("drop").hidden = false;
  by("stage-place").hidden = true;
  by("served").textContent = "";
  setView("start");
  by("choose").focus();
}

// Ways to give a photo.

function firstFile(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((each) => each.type.startsWith("image/")) ?? files[0];
}

by("choose").addEventListener("click", () => file.click());
by("replace").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  const [photo] = file.files;
  // A copy: the field is emptied, so that the same file may be chosen again.
  if (photo) takePhoto(photo);
  file.value = "";
});

document.addEventListener("paste", (event) => {
  const photo = firstFile(event.clipboardData);
  if (!photo) return;
  event.preventDefault();
  takePhoto(photo);
});

const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  by("veil").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) by("veil").hidden = true;
});
document.addEventListener("drop", (event) => {
  by("veil").hidden = true;
  if (!carriesFile(event)) return;
  event.preventDefault();
  const photo = firstFile(event.dataTransfer);
  if (photo) takePhoto(photo);
});

// The form.

by("query").addEventListener("submit", (event) => {
  event.preventDefault();
  run({ choose: state.chosen });
});
title.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    by("query").requestSubmit();
  }
});
by("draw").addEventListener("click", (event) => {
  if (stage.drawing) stage.stop();
  else stage.start(event.detail === 0 ? "keyboard" : "pointer");
});
by("remove").addEventListener("click", () => remove(state.chosen));
by("detect").addEventListener("click", () => { state.boxes = null; run(); });
by("afresh").addEventListener("click", startAfresh);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && stage.drawing) { stage.stop(); by("draw").focus(); }
});

// What the service has to offer.

columns().then((found) => {
  filters.offer(found);
  by("filters").hidden = false;
});

samples().then((found) => {
  by("samples").hidden = !found.length;
  by("samples").querySelector("ul").replaceChildren(...found.map((sample) => element("li", {},
    element("button", {
      type: "button", class: "sample",
      "aria-label": sample.title ? `Sample: ${sample.title}` : `Sample ${sample.name}`,
      onclick: () => takeSample(sample),
    },
    picture(samplePicture(sample.name, SAMPLE), "sample-picture", SAMPLE / 2),
    element("span", { class: "sample-title", text: sample.title || sample.name })))));
});
