// Elements, and how this page writes text, numbers and pictures into them.

/** Make an element. `attributes`: text, class, on<event>, tone, others as HTML attributes. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") write(made, value);
    else if (name === "class") made.className = value;
    else if (name === "tone") made.style.setProperty("--tone", tone(value));
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text with its language where that is plain to see: fonts and screen readers need it. */
export function write(target, text) {
  target.textContent = text;
  if (/\p{Script=Hiragana}|\p{Script=Katakana}/u.test(text)) target.lang = "ja";
  else if (/\p{Script=Hangul}/u.test(text)) target.lang = "ko";
  else if (/\p{Script=Han}/u.test(text)) target.lang = "zh";
  else target.removeAttribute("lang");
}

const TONES = 8;

/** The colour of the instance with an index, as a CSS value. */
export function tone(index) {
  return `var(--tone-${index % TONES})`;
}

const prices = new Intl.NumberFormat(undefined, {
  minimumFractionDigits: 2, maximumFractionDigits: 2,
});
const numbers = new Intl.NumberFormat(undefined, { maximumFractionDigits: 4 });

export const price = (value) => prices.format(value);
export const number = (value) => numbers.format(value);
export const percent = (value) => `${Math.round(value * 100)} %`;

export function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

const TRIES = 6;

/** A picture of the service; one that is missing leaves its place marked, a service that is busy or
 * out of reach is asked again, each time later. */
export function picture(source, className, side) {
  const image = element("img", {
    class: className, alt: "", width: side, height: side, loading: "lazy", decoding: "async",
  });
  let tries = 0;
  image.addEventListener("error", async () => {
    tries += 1;
    const answer = await fetch(image.src).catch(() => null);
    if (tries < TRIES && (answer === null || answer.ok || answer.status === 503)) {
      const wait = answer?.ok ? 0 : Number(answer?.headers.get("retry-after")) || 1;
      setTimeout(() => { image.src = source; }, 1000 * wait * tries);
    } else {
      image.replaceWith(element("span", { class: `${className} missing`, "aria-hidden": "true" }));
    }
  });
  image.src = source;
  return image;
}
