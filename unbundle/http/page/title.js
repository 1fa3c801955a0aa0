// Where in a title the words of each instance stand.

const LETTER = /[\p{L}\p{N}]/u;
const LATIN = /^[\p{Script=Latin}\p{N}]/u;

/**
 * The stretches of a title that belong to instances.
 * @param {string} title
 * @param {string[][]} words of each instance, in the title's order
 * @returns {{text: string, owners: number[]}[]} the whole title in order; no owners: nobody's
 */
export function stretches(title, words) {
  const owners = Array.from(title, () => new Set());
  const letters = Array.from(title);
  words.forEach((own, instance) => {
    let from = 0;
    for (const word of own) {
      const place = find(letters, Array.from(word), from);
      if (place < 0) continue;
      from = place + Array.from(word).length;
      for (let at = place; at < from; at += 1) owners[at].add(instance);
    }
  });
  bridge(letters, owners);
  const parts = [];
  letters.forEach((letter, at) => {
    const key = [...owners[at]].join();
    const last = parts.at(-1);
    if (last && last.key === key) last.text += letter;
    else parts.push({ text: letter, key, owners: [...owners[at]] });
  });
  return parts;
}

/** What of a title belongs to one instance, neighbouring words joined. */
export function phrases(title, words) {
  return stretches(title, [words]).filter((part) => part.owners.length).map((part) => part.text);
}

function find(letters, word, from) {
  const bounded = LATIN.test(word[0]);
  for (let at = from; at + word.length <= letters.length; at += 1) {
    const end = at + word.length;
    if (!word.every((letter, step) => letters[at + step] === letter)) continue;
    const inside = (before, after) =>
      bounded && before && after && LATIN.test(before) && LATIN.test(after)
      && LETTER.test(before) && LETTER.test(after);
    if (!inside(letters[at - 1], letters[at]) && !inside(letters[end - 1], letters[end])) return at;
  }
  return -1;
}

/** A space between two words of one owner is theirs, too. */
function bridge(letters, owners) {
  for (let at = 1; at + 1 < letters.length; at += 1) {
    if (letters[at] !== " ") continue;
    for (const owner of owners[at - 1]) if (owners[at + 1].has(owner)) owners[at].add(owner);
  }
}
