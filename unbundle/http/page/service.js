// What the page asks the service, and what it makes of refusals.

const MOST_TRIES = 8;
const USUAL_WAIT = 2; // seconds, where a refusal names none

/** Why there is no answer: a title, a detail, and every wrong value (RFC 9457). */
export class Problem extends Error {
  constructor(title, detail = "", errors = []) {
    super(title);
    this.detail = detail;
    this.errors = errors;
  }
}

/**
 * Search.
 * @param {{photo: ?Blob, caption: string, boxes: ?number[][], filters: object,
 *   bundlePrice: ?number, minScore: ?number}} query
 * @param {AbortSignal} signal ends it, and the waiting
 * @param {(problem: Problem, seconds: number) => void} busy is told every second of a wait
 * @throws {Problem}
 */
export async function search(query, signal, busy) {
  const form = new FormData();
  if (query.photo) form.set("photo", query.photo, query.photo.name || "photo");
  if (query.caption) form.set("caption", query.caption);
  if (query.boxes) form.set("boxes", JSON.stringify(query.boxes));
  if (Object.keys(query.filters).length) form.set("filters", JSON.stringify(query.filters));
  if (query.bundlePrice !== null) form.set("bundle_price", String(query.bundlePrice));
  if (query.minScore) form.set("min_score", String(query.minScore));
  return read(await askUntilFree("search", { method: "POST", body: form, signal }, busy));
}

/** Columns to filter by: `[{name, kind: "number" | "text"}]`. */
export const columns = async () => list("columns");

/** Photos to try: `[{name, title}]`. */
export const samples = async () => list("samples");

export const samplePicture = (name, side) => `samples/${encodeURIComponent(name)}?side=${side}`;

export const productPicture = (id, side) =>
  `products/${encodeURIComponent(id)}/image?side=${side}`;

/** A sample's photo; `signal`, `busy` and what is thrown are those of `search`. */
export async function samplePhoto(name, signal, busy) {
  const response = await askUntilFree(`samples/${encodeURIComponent(name)}`, { signal }, busy);
  return new File([await read(response, "blob")], name);
}

async function list(path) {
  try {
    return await read(await askUntilFree(path, { signal: new AbortController().signal }, () => {}));
  } catch {
    return []; // The page works without: no filters, no samples.
  }
}

async function askUntilFree(path, options, busy) {
  for (let tries = 1; ; tries += 1) {
    const response = await ask(path, options);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 503 || tries === MOST_TRIES) throw problem;
    const named = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
    const wait = Math.max(1, named || USUAL_WAIT);
    await countdown(wait, options.signal, (left) => busy(problem, left));
  }
}

async function ask(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem("The service does not answer", "Check that it runs, then try again.");
  }
}

async function read(response, as = "json") {
  try {
    return await response[as]();
  } catch {
    throw new Problem("The answer broke off", "Try again.");
  }
}

async function problemOf(response) {
  try {
    const told = await response.json();
    if (told.title) return new Problem(told.title, told.detail ?? "", told.errors ?? []);
  } catch {
    // A proxy's page, perhaps.
  }
  return new Problem(`The service answered ${response.status}`, response.statusText);
}

async function countdown(seconds, signal, tick) {
  for (let left = seconds; left > 0; left -= 1) {
    tick(left);
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000);
      signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); },
        { once: true });
    });
  }
}
