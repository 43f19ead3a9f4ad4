// Which files of a package its users can reach: from what `exports` and `bin` name, over imports, and over the names of
// the files that code starts as processes and workers.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** All files that a value of `exports` or `bin` names. */
export function namedFiles(value) {
  if (typeof value === "string") return [normalize(value)];
  return Object.values(value ?? {}).flatMap(namedFiles);
}

const imported = /(?:\bfrom\s*|\bimport\s*\(?\s*)(["'])(\.{1,2}\/[^"']+)\1/g;
const relativeFile = /(?:\bfrom\s*|\bimport\s*\(?\s*)(["'])(\.{1,2}\/[^"']+)\1|(["'])([\w./-]+\.js)\3/g;

/** What the code of `file` imports from its own package and does not find. */
export function missingImports(folder, file) {
  const targets = [...readFileSync(join(folder, file), "utf8").matchAll(imported)].map((match) => match[2]);
  return targets.map((target) => join(dirname(file), target)).filter((target) => !existsSync(join(folder, target)));
}

/** The files that can be reached from `entries`, by code, by types or by sources; all paths are relative to `folder`. */
export function reachable(folder, entries) {
  const found = new Set();
  const open = entries.filter((file) => existsSync(join(folder, file)));
  while (open.length > 0) {
    const file = open.pop();
    if (found.has(file)) continue;
    found.add(file);
    if (!/\.(js|ts|html)$/.test(file)) continue;
    for (const match of readFileSync(join(folder, file), "utf8").matchAll(relativeFile)) {
      const next = normalize(join(dirname(file), match[2] ?? match[4]));
      // Declarations name each other by the extension of the source, and sources name processes by that of the output.
      for (const candidate of [next, next.replace(/\.ts$/, ".d.ts"), next.replace(/\.js$/, ".ts")]) {
        if (/\.\w+$/.test(candidate) && existsSync(join(folder, candidate))) open.push(candidate);
      }
    }
  }
  return found;
}
