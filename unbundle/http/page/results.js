// What the service found: the parts of the bundle, their hits, their prices; or why there is none.

import { element, number, percent, picture, plural, price, tone } from "./element.js";
import { productPicture } from "./service.js";
import { phrases, stretches } from "./title.js";

const CROP = 72; // pixels on the screen
const THUMB = 144; // pixels asked for; screens show two for one
const PICTURE = 400;
const SKELETONS = 3;
const AT_ONCE = 4; // hits of a part, before the others are asked for
const NOT_FACTS = ["price", "url"];

const UNKNOWN = "Not in the catalogue";
const NOTHING_LEFT = "No product passes the filters";

/** What a hit is called. */
export const nameOf = (hit) => hit.label || hit.caption || hit.id;

/** What an instance most likely is, in a few words. */
export function nameOfInstance(instance) {
  if (!instance.hits.length) return NOTHING_LEFT;
  return instance.in_catalogue ? nameOf(instance.hits[0]) : UNKNOWN;
}

/**
 * @param {HTMLElement} place
 * @param {{select: (index: ?number) => void}} on
 */
export function makeResults(place, on) {
  let parts = [];

  function show(answer, title, crop) {
    const { instances } = answer;
    parts = instances.map((instance, index) => part(instance, index, title, crop));
    place.replaceChildren(
      ...[
        heading(answer),
        readTitle(instances, title),
        receipt(answer.parts, on.select),
        element("ol", { class: "parts" }, ...parts.map((made) => made.node)),
      ].filter(Boolean),
    );
    place.removeAttribute("aria-busy");
  }

  function choose(index, scroll) {
    parts.forEach((made, at) => made.open(at === index));
    if (scroll) parts[index]?.node.scrollIntoView({ block: "nearest" });
  }

  function part(instance, index, title, crop) {
    const [best] = instance.hits;
    const own = phrases(title, instance.words ?? []);
    const body = element("div", { class: "part-body", id: `hits-${index}`, hidden: true });
    const head = element("button", {
      type: "button", class: "part-head", id: `part-${index}`, "aria-expanded": "false",
      "aria-controls": body.id,
      onclick: () => on.select(head.getAttribute("aria-expanded") === "true" ? null : index),
      onkeydown: (event) => walk(event, index),
    },
    element("span", { class: "badge", text: String(index + 1) }),
    instance.box ? crop(instance.box, CROP) : element("span", { class: "crop titled", text: "T" }),
    arrow(),
    best && instance.in_catalogue
      ? picture(productPicture(best.id, THUMB), "thumb", CROP)
      : element("span", { class: "thumb nothing", "aria-hidden": "true", text: "?" }),
    element("span", { class: "part-name" },
      element("span", {
        class: "part-product",
        text: nameOfInstance(instance),
      }),
      element("span", { class: "part-more" }, ...more(instance, own))),
    element("span", { class: "part-price", text: partPrice(instance) }));
    const node = element("li", { class: "part", tone: index }, element("h3", {}, head), body);
    let filled = false;
    return {
      node,
      head,
      open(wanted) {
        if (wanted && !filled) {
          body.append(...details(instance));
          filled = true;
        }
        head.setAttribute("aria-expanded", String(wanted));
        body.hidden = !wanted;
        node.classList.toggle("open", wanted);
      },
    };
  }

  function walk(event, index) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    parts[(index + step + parts.length) % parts.length].head.focus();
  }

  function readTitle(instances, title) {
    const words = instances.map((instance) => instance.words ?? []);
    if (!title || words.every((own) => !own.length)) return null;
    const line = element("p", { class: "read", "aria-label": "The title, as it was read" });
    for (const stretch of stretches(title, words)) {
      if (!stretch.owners.length) { line.append(stretch.text); continue; }
      const owners = stretch.owners.map((owner) => owner + 1).join(" and ");
      const mark = element("mark", { text: stretch.text, title: `of product ${owners}` });
      mark.style.setProperty("--under", stripes(stretch.owners));
      line.append(mark);
    }
    return line;
  }

  return {
    show,
    choose,
    clear() { parts = []; place.replaceChildren(); place.removeAttribute("aria-busy"); },
    wait() {
      parts = [];
      place.setAttribute("aria-busy", "true");
      place.replaceChildren(
        element("p", { class: "heading waiting", text: "Looking…" }),
        element("div", { class: "skeletons", "aria-hidden": "true" },
          ...Array.from({ length: SKELETONS }, () => element("div", { class: "skeleton" }))),
      );
    },
    /** Why it takes longer, and in how many seconds the next try comes. */
    busy(problem, seconds, cancel) {
      const notice = place.querySelector(".notice.busy");
      const line = `Trying again in ${seconds} s`;
      if (notice) { notice.querySelector(".countdown").textContent = line; return; }
      place.querySelector(".heading")?.remove();
      place.prepend(element("div", { class: "notice busy" },
        element("p", { class: "notice-title", text: problem.message }),
        element("p", { class: "countdown", text: line }),
        element("button", {
          type: "button", class: "secondary", text: "Cancel", onclick: cancel,
        })));
    },
    fail(problem, again) {
      parts = [];
      place.removeAttribute("aria-busy");
      const faults = problem.errors ?? [];
      const told = faults.length > 1
        ? element("ul", {}, ...faults.map((fault) => element("li", {
          text: fault.field ? `${fault.field}: ${fault.detail}` : fault.detail,
        })))
        : element("p", { text: problem.detail ?? "" });
      place.replaceChildren(element("div", { class: "notice bad", role: "alert" },
        element("p", { class: "notice-title", text: problem.message }),
        told,
        again ? element("button", {
          type: "button", class: "secondary", text: "Try again", onclick: again,
        }) : null));
      place.scrollIntoView({ block: "nearest" });
    },
    /** Every instance without a hit: the filters keep all away. */
    barren(clear) {
      place.querySelector(".heading")?.after(element("div", { class: "notice" },
        element("p", { class: "notice-title", text: "Nothing passes the filters" }),
        element("p", { text: "The catalogue has no product that fits all of them." }),
        element("button", {
          type: "button", class: "secondary", text: "Clear the filters", onclick: clear,
        })));
    },
  };
}

/** What an answer says in one sentence. */
export function summary({ instances }) {
  const [first] = instances;
  if (!first.box) return "What the title alone finds";
  const seen = instances.filter((instance) => instance.score > 0).length;
  if (!seen) return "No single product stood out, so the whole photo was searched";
  return `${plural(seen, "product", "products")} in this photo`;
}

function heading(answer) {
  const { instances } = answer;
  const unknown = instances.filter((instance) => !instance.in_catalogue).length;
  const whole = instances.every((instance) => instance.box && !instance.score);
  const texts = [];
  if (whole) texts.push("Draw a box around a product to search for it alone.");
  else if (unknown === instances.length) texts.push("None of them is in the catalogue.");
  else if (unknown) {
    texts.push(`${instances.length - unknown} in the catalogue, ${unknown} not.`);
  } else if (instances[0].box) texts.push("All in the catalogue.");
  return element("div", { class: "heading" },
    element("h2", { text: summary(answer) }),
    texts.length ? element("p", { text: texts.join(" ") }) : null);
}

function more(instance, own) {
  const said = [];
  if (own.length) {
    said.push(element("span", { class: "own", text: own.join(" · ") }));
  }
  if (!instance.in_catalogue && instance.hits.length) {
    said.push(element("span", { text: `nearest: ${nameOf(instance.hits[0])}` }));
  } else if (!own.length && instance.hits.length && instance.hits[0].label) {
    said.push(element("span", { text: instance.hits[0].caption }));
  }
  return said;
}

function partPrice(instance) {
  const cost = instance.in_catalogue ? instance.hits[0]?.fields?.price : undefined;
  return typeof cost === "number" ? price(cost) : "";
}

function details(instance) {
  if (!instance.hits.length) return [element("p", { class: "empty", text: NOTHING_LEFT })];
  const facts = [];
  if (instance.known !== null && instance.known !== undefined) {
    facts.push(fact("In the catalogue", percent(instance.known)));
  }
  if (instance.box && instance.score > 0 && instance.score < 1) {
    facts.push(fact("Box score", instance.score.toFixed(2)));
  }
  const list = facts.length ? element("dl", { class: "about" }, ...facts) : null;
  const lead = instance.in_catalogue ? null : element("p", {
    class: "empty", text: "The catalogue does not seem to have it. This comes nearest:",
  });
  const hits = element("ul", { class: "hits" }, ...instance.hits.slice(0, AT_ONCE).map(hitCard));
  return [list, lead, hits, others(instance.hits.slice(AT_ONCE), hits)].filter(Boolean);
}

function others(rest, list) {
  if (!rest.length) return null;
  const button = element("button", {
    type: "button", class: "secondary others", text: `Show ${rest.length} more`,
    onclick: () => {
      const cards = rest.map((hit) => hitCard(hit, 1));
      list.append(...cards);
      button.remove();
      cards[0].tabIndex = -1;
      cards[0].focus({ preventScroll: true });
    },
  });
  return button;
}

function hitCard(hit, place) {
  const fields = hit.fields ?? {};
  const link = safeLink(fields.url);
  const name = element("span", { class: "hit-name", text: nameOf(hit) });
  const facts = Object.entries(fields)
    .filter(([key, value]) => !NOT_FACTS.includes(key) && value !== "" && value !== null)
    .map(([key, value]) => fact(key, typeof value === "number" ? number(value) : value));
  return element("li", { class: place ? "hit" : "hit best" },
    picture(productPicture(hit.id, PICTURE), "hit-picture", PICTURE / 2),
    element("div", { class: "hit-text" },
      link
        ? element("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, name)
        : name,
      hit.label && hit.caption
        ? element("span", { class: "hit-caption", text: hit.caption }) : null,
      element("span", { class: "hit-line" },
        meter(hit.score),
        typeof fields.price === "number"
          ? element("span", { class: "hit-price", text: price(fields.price) }) : null),
      facts.length ? element("dl", { class: "facts" }, ...facts) : null));
}

function meter(score) {
  const bar = element("span", { class: "meter-bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", String(Math.min(Math.max(score, 0), 1)));
  return element("span", { class: "meter", title: "likeness, 1 at most" }, bar,
    element("span", { class: "unseen", text: "score " }), score.toFixed(2));
}

function fact(key, value) {
  return element("div", {}, element("dt", { text: key }), element("dd", { text: String(value) }));
}

function safeLink(text) {
  try {
    const link = new URL(text);
    return ["http:", "https:"].includes(link.protocol) ? link.href : null;
  } catch {
    return null;
  }
}

function receipt(parts, select) {
  if (!parts?.items.length) return null;
  const rows = [];
  const row = (label, value, kind = null) => rows.push(
    element("div", { class: kind }, element("dt", { text: label }), element("dd", { text: value })),
  );
  const known = plural(parts.items.length, "part", "parts");
  row(parts.unknown.length ? `${known} priced` : `${known} alone`, price(parts.total));
  if (parts.bundle_price !== null) row("The bundle", price(parts.bundle_price));
  else rows.push(element("div", { class: "ask" }, element("dt", { text: "The bundle" }),
    element("dd", { text: "give its price to compare" })));
  if (parts.saving !== null) {
    const share = parts.total ? `, ${percent(Math.abs(parts.saving) / parts.total)}` : "";
    const dearer = parts.saving < 0;
    row(dearer ? `Dearer${share}` : `Saved${share}`, price(Math.abs(parts.saving)),
      dearer ? "dearer" : "saving");
  }
  const unknown = parts.unknown.length ? element("p", { class: "priceless" },
    "Without a price: ",
    ...parts.unknown.map((index) => element("button", {
      type: "button", class: "badge", tone: index, text: String(index + 1),
      "aria-label": `product ${index + 1}`, onclick: () => select(index),
    })),
    parts.bundle_price === null ? null : "so what is saved cannot be told.") : null;
  return element("section", { class: "receipt", "aria-label": "Prices" },
    element("dl", {}, ...rows), unknown);
}

function stripes(owners) {
  const share = 100 / owners.length;
  const stops = owners.map((owner, place) =>
    `${tone(owner)} ${share * place}% ${share * (place + 1)}%`);
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

function arrow() {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 20 20");
  drawing.setAttribute("class", "arrow");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", "M3 10h13m-5-5 5 5-5 5");
  drawing.append(path);
  return drawing;
}
