// The photo with its boxes: to choose one, and to draw another by pointer or by keyboard.

import { element } from "./element.js";

const LEAST = 8; // pixels on the screen; a shorter drag is a click
const STEP = 0.02; // of the photo's longer side, for an arrow key
const FIRST = 0.3; // of each side left free around a box that the keyboard starts with

/**
 * @param {HTMLElement} place
 * @param {{select: (index: number) => void, remove: (index: number) => void,
 *   drawn: (box: number[]) => void, drawing: (how: ?string) => void,
 *   say: (text: string) => void}} on
 *   what happens: boxes are `[x0, y0, x1, y1]` in pixels of the upright photo
 */
export function makeStage(place, on) {
  const image = element("img", { alt: "The bundle", class: "shown", draggable: "false" });
  const layer = element("div", { class: "frames", role: "group", "aria-label": "Boxes" });
  let frames = [];
  let draft = null;
  let drawing = null; // "pointer" or "keyboard"
  place.append(image, layer);
  place.addEventListener("pointerdown", startDrag);

  async function show(url) {
    stop();
    clear();
    image.src = url;
    const shown = await image.decode().then(() => true, () => false);
    place.classList.toggle("blank", !shown);
    place.style.setProperty("--ratio", shown ? image.naturalWidth / image.naturalHeight : 1.5);
  }

  function clear() {
    frames = [];
    layer.replaceChildren();
    place.classList.remove("chosen");
  }

  function frame(instances, names) {
    clear();
    frames = instances.map((instance, index) => {
      if (!instance.box) return null;
      const made = element("button", {
        type: "button", class: "frame", tone: index, "aria-pressed": "false",
        "aria-label": `Product ${index + 1}: ${names[index]}`,
        onclick: () => on.select(index),
        onkeydown: (event) => walk(event, index),
      }, element("span", { class: "badge", text: String(index + 1), "aria-hidden": "true" }));
      made.classList.toggle("unknown", !instance.in_catalogue);
      lay(made, instance.box);
      // A small box in a large one stays within reach.
      made.style.zIndex = String(1 + Math.round(1000 * (1 - share(instance.box))));
      return made;
    });
    layer.replaceChildren(...frames.filter(Boolean));
  }

  function choose(index) {
    frames.forEach((made, at) => made?.setAttribute("aria-pressed", String(at === index)));
    place.classList.toggle("chosen", Boolean(frames[index]));
  }

  function walk(event, index) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = (index + step + frames.length) % frames.length;
      frames[next]?.focus({ preventScroll: true });
      on.select(next);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      on.remove(index);
    }
  }

  function start(how) {
    stop();
    drawing = how;
    place.classList.add("drawing");
    on.drawing(how);
    if (how === "keyboard") {
      const [width, height] = [image.naturalWidth, image.naturalHeight];
      sketch([FIRST * width, FIRST * height, (1 - FIRST) * width, (1 - FIRST) * height]);
      draft.node.addEventListener("keydown", move);
      draft.node.focus();
    }
  }

  function stop() {
    draft?.node.remove();
    draft = null;
    if (drawing) {
      drawing = null;
      place.classList.remove("drawing");
      on.drawing(null);
    }
  }

  function sketch(box) {
    if (!draft) {
      draft = { node: element("div", {
        class: "draft", tabindex: 0, role: "application", "aria-roledescription": "box",
        "aria-label": "New box",
      }) };
      place.append(draft.node);
    }
    draft.box = box;
    lay(draft.node, box);
  }

  function finish() {
    const box = draft.box.map((value) => Math.round(value * 10) / 10);
    stop();
    on.drawn(box);
  }

  function move(event) {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const step = STEP * Math.max(width, height);
    const x = { ArrowLeft: -step, ArrowRight: step }[event.key] ?? 0;
    const y = { ArrowUp: -step, ArrowDown: step }[event.key] ?? 0;
    let [x0, y0, x1, y1] = draft.box;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); finish(); return; }
    if (!x && !y) return;
    event.preventDefault();
    if (event.shiftKey) {
      x1 = clamp(x1 + x, x0 + step, width);
      y1 = clamp(y1 + y, y0 + step, height);
    } else {
      const dx = clamp(x, -x0, width - x1);
      const dy = clamp(y, -y0, height - y1);
      [x0, y0, x1, y1] = [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
    }
    sketch([x0, y0, x1, y1]);
    on.say(`${Math.round(x0)}, ${Math.round(y0)} to ${Math.round(x1)}, ${Math.round(y1)}`);
  }

  function startDrag(event) {
    const free = event.pointerType === "mouse" && !event.target.closest(".frame");
    if (event.button !== 0 || place.classList.contains("blank")) return;
    if (!free && !drawing) return;
    event.preventDefault();
    const first = at(event);
    const from = [event.clientX, event.clientY];
    const wide = (now) => Math.min(
      Math.abs(now.clientX - from[0]), Math.abs(now.clientY - from[1]),
    ) >= LEAST;
    const drag = (now) => {
      if (!draft && !wide(now)) return;
      const [x, y] = at(now);
      sketch([
        Math.min(x, first[0]), Math.min(y, first[1]), Math.max(x, first[0]), Math.max(y, first[1]),
      ]);
    };
    const end = (now) => {
      for (const [name, handler] of Object.entries(handlers)) {
        place.removeEventListener(name, handler);
      }
      if (now.type === "pointerup" && draft && wide(now)) finish();
      else if (draft) stop();
    };
    const handlers = { pointermove: drag, pointerup: end, pointercancel: end };
    for (const [name, handler] of Object.entries(handlers)) place.addEventListener(name, handler);
    draft?.node.remove();
    draft = null;
    place.setPointerCapture(event.pointerId);
  }

  /** Where a pointer is, in pixels of the photo. */
  function at(event) {
    const shown = place.getBoundingClientRect();
    return [
      clamp((event.clientX - shown.left) / shown.width, 0, 1) * image.naturalWidth,
      clamp((event.clientY - shown.top) / shown.height, 0, 1) * image.naturalHeight,
    ];
  }

  function lay(node, [x0, y0, x1, y1]) {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    node.style.left = `${(100 * x0) / width}%`;
    node.style.top = `${(100 * y0) / height}%`;
    node.style.width = `${(100 * (x1 - x0)) / width}%`;
    node.style.height = `${(100 * (y1 - y0)) / height}%`;
  }

  function share([x0, y0, x1, y1]) {
    return ((x1 - x0) * (y1 - y0)) / (image.naturalWidth * image.naturalHeight);
  }

  /** What a box shows, on a square canvas. */
  function crop([x0, y0, x1, y1], side) {
    const scale = window.devicePixelRatio || 1;
    const canvas = element("canvas", {
      class: "crop", width: side * scale, height: side * scale, "aria-hidden": "true",
    });
    const fit = (side * scale) / Math.max(x1 - x0, y1 - y0);
    const [width, height] = [(x1 - x0) * fit, (y1 - y0) * fit];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(
      image, x0, y0, x1 - x0, y1 - y0,
      (canvas.width - width) / 2, (canvas.height - height) / 2, width, height,
    );
    return canvas;
  }

  return {
    show, clear, frame, choose, start, stop, crop,
    get drawing() { return drawing; },
    focus: (index) => frames[index]?.focus({ preventScroll: true }),
  };
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
