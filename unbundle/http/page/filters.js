// The filters: a field for every column of the catalogue, and the least score.

import { element } from "./element.js";

let lists = 0;

/** @param {HTMLElement} place @param {() => void} changed is told of every change */
export function makeFilters(place, changed) {
  const fields = [];
  const least = leastScore(changed);

  return {
    /** Offer columns `[{name, kind}]`. */
    offer(columns) {
      fields.length = 0;
      for (const column of columns) {
        fields.push(column.kind === "number" ? range(column, changed) : values(column, changed));
      }
      place.replaceChildren(...fields.map((field) => field.node), least.node);
    },
    /** Remember what the hits of an answer have in their columns, to suggest it. */
    suggest(answer) {
      const hits = answer.instances.flatMap((instance) => instance.hits);
      for (const field of fields) field.suggest?.(hits.map((hit) => hit.fields?.[field.name]));
    },
    /** Conditions by column, as the service takes them. */
    get conditions() {
      const set = fields.filter((field) => field.condition() !== null);
      return Object.fromEntries(set.map((field) => [field.name, field.condition()]));
    },
    get minScore() { return least.value(); },
    get count() { return Object.keys(this.conditions).length + (least.value() ? 1 : 0); },
    clear() { for (const field of [...fields, least]) field.clear(); },
  };
}

function range(column, changed) {
  const bound = (label) => element("input", {
    type: "number", step: "any", inputmode: "decimal", placeholder: label, autocomplete: "off",
    "aria-label": `${column.name}, ${label}`, onchange: changed,
  });
  const low = bound("from");
  const high = bound("to");
  return {
    name: column.name,
    node: group(column.name, element("div", { class: "bounds" }, low, high)),
    condition() {
      const bounds = {};
      if (low.value !== "") bounds.min = low.valueAsNumber;
      if (high.value !== "") bounds.max = high.valueAsNumber;
      return Object.keys(bounds).length ? bounds : null;
    },
    clear() { low.value = ""; high.value = ""; },
  };
}

function values(column, changed) {
  const chosen = new Set();
  const known = new Set();
  const id = `known-${(lists += 1)}`;
  const list = element("datalist", { id });
  const chips = element("ul", { class: "chips" });
  const input = element("input", {
    type: "text", list: id, autocomplete: "off", placeholder: "add a value",
    "aria-label": `${column.name}, add a value`,
    onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); add(); } },
    onchange: () => add(),
  });

  function add() {
    const value = input.value.trim();
    input.value = "";
    if (!value || chosen.has(value)) return;
    chosen.add(value);
    show();
    changed();
  }

  function show() {
    chips.replaceChildren(...[...chosen].map((value) => element("li", {}, element("button", {
      type: "button", class: "chip", text: value, "aria-label": `Remove ${column.name} ${value}`,
      onclick: () => { chosen.delete(value); show(); input.focus(); changed(); },
    }))));
  }

  return {
    name: column.name,
    node: group(column.name, input, list, chips),
    condition: () => (chosen.size ? [...chosen] : null),
    suggest(found) {
      for (const value of found) if (typeof value === "string" && value) known.add(value);
      const sorted = [...known].sort();
      list.replaceChildren(...sorted.map((value) => element("option", { value })));
    },
    clear() { chosen.clear(); show(); },
  };
}

function leastScore(changed) {
  const input = element("input", {
    type: "number", min: 0, max: 1, step: 0.05, inputmode: "decimal", placeholder: "0 to 1",
    autocomplete: "off", "aria-label": "Least score", onchange: changed,
  });
  return {
    node: group("least score", input),
    value: () => (input.value === "" ? null : input.valueAsNumber),
    clear() { input.value = ""; },
  };
}

function group(name, ...children) {
  return element("fieldset", {}, element("legend", { text: name }), ...children);
}
