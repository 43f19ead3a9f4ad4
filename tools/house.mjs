// Draws the house from its code: which packages there are, how large they are, and who imports whom. The picture stands in
// ARCHITECTURE.md between two marks; `npm run fix` draws it anew, `npm run check` fails when it is not that of the code.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const page = "ARCHITECTURE.md";
const [begin, end] = ["<!-- house: drawn by `npm run fix` -->", "<!-- end of house -->"];

const isTest = (file) => /\.test\.ts$|\/src\/(.*\/)?(testing|e2e)\//.test(file);
const roomOf = (file) => /^(packages|apps|tools)\/[^/]+(?=\/src\/)/.exec(file)?.[0];

const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts", "*.tsx"], {
  encoding: "utf8",
});
const lines = new Map();
const arrows = new Map();
for (const file of files.split("\n")) {
  const room = roomOf(file);
  if (room === undefined || isTest(file) || !existsSync(file)) continue;
  const text = readFileSync(file, "utf8");
  lines.set(room, (lines.get(room) ?? 0) + text.split("\n").length);
  const to = arrows.get(room) ?? new Set();
  for (const [, name] of text.matchAll(/(?:from|import)\s*\(?\s*"@blixard\/([a-z-]+)/g)) {
    if (`packages/${name}` !== room) to.add(`packages/${name}`);
  }
  arrows.set(room, to);
}

/** An arrow that a longer way implies is left out, so that the picture shows the floors. */
function isImplied(from, to) {
  return [...(arrows.get(from) ?? [])].some((middle) => middle !== to && reaches(middle, to));
}

function reaches(from, to, seen = new Set()) {
  if (seen.has(from)) return false;
  seen.add(from);
  const next = arrows.get(from) ?? new Set();
  return next.has(to) || [...next].some((middle) => reaches(middle, to, seen));
}

const idOf = (room) => room.replaceAll(/[^a-z]/g, "_");
const rooms = [...arrows.keys()].sort();
const drawn = ["```mermaid", "graph TD"];
// Hundreds of lines, so that small changes do not redraw the picture.
for (const room of rooms) {
  const size = Math.max(0.1, Math.round((lines.get(room) ?? 0) / 500) / 2);
  drawn.push(`  ${idOf(room)}["${room.startsWith("packages/") ? basename(room) : room}<br/>${size}k lines"]`);
}
for (const from of rooms) {
  for (const to of [...(arrows.get(from) ?? [])].sort()) {
    if (!isImplied(from, to)) drawn.push(`  ${idOf(from)} --> ${idOf(to)}`);
  }
}
drawn.push("```");

const text = readFileSync(page, "utf8");
const [head, rest] = text.split(begin);
const tail = rest?.split(end)[1];
if (tail === undefined) throw new Error(`${page} has no place for the picture: ${begin}`);
const wanted = `${head}${begin}\n\n${drawn.join("\n")}\n\n${end}${tail}`;
if (process.argv.includes("--check")) {
  if (wanted !== text) {
    console.error(`${page}: the picture is not that of the code; run: npm run fix`);
    process.exit(1);
  }
} else writeFileSync(page, wanted);
