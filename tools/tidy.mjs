// The rules of this repository that no other tool checks. Run by `npm run check`; prints each breach with its place.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)));
const read = (file) => readFileSync(join(root, file), "utf8");
const breaches = [];
const breach = (file, rule) => breaches.push(`${file}: ${rule}`);

const fileLinesMax = 500;
const banned = [
  [/\bas any\b|@ts-ignore|@ts-nocheck/, "escapes from the type system"],
  [/\b(TODO|FIXME|XXX|HACK)\b/, "unfinished work belongs into an issue"],
  [/\b(it|test|describe)\.(only|todo)\b|\b(xit|xdescribe)\(/, "focused or forgotten tests"],
  [/registry\.npmjs|deb\.debian\.org/, "names the host of a registry"],
  [/(^|[\s"'`(=])\/(work|root|tmp|home)\/[a-z.]/, "carries a path of one machine"],
];
// Pure code takes time and randomness from its caller.
const pure = /^packages\/(raft\/src\/core|cluster\/src\/(state-machine|scheduler))\//;

// What a run leaves behind: it holds paths of the machine that it ran on.
for (const file of files.filter((name) => /\.(log|cpuprofile|heapsnapshot|heapprofile)$/.test(name))) {
  breach(file, "is what a program wrote when it ran");
}

for (const file of files.filter((name) => /\.(tsx?|mjs|css|md|json|yml)$/.test(name) && name !== "tools/tidy.mjs")) {
  const text = read(file);
  const code = /\.(tsx?|mjs)$/.test(file);
  if (basename(file) === "package-lock.json") continue;
  for (const [pattern, rule] of banned) {
    const at = text.split("\n").findIndex((line) => pattern.test(line));
    if (at >= 0) breach(`${file}:${at + 1}`, rule);
  }
  if (!code) continue;
  const lines = text.split("\n").length;
  if (lines > fileLinesMax) breach(file, `has ${lines} lines, the limit is ${fileLinesMax}`);
  if (!/^[a-z0-9.-]+$/.test(basename(file))) breach(file, "file names are kebab-case");
  if (pure.test(file) && !file.endsWith(".test.ts") && /Date\.now|Math\.random|performance\.now/.test(text)) {
    breach(file, "pure code reads a clock or a random source");
  }
  // Routes come from the contract: the one place that adds them to the server takes nothing else.
  const isHttp = /^packages\/(server\/src\/http|http-api\/src)\//.test(file) && !file.endsWith(".test.ts");
  const adds = /\bapp\.(on|get|put|post|patch|delete|all)\(|\baddRoute\(/;
  if (isHttp && !/\/(route-context|routes-calls|routes-streams)\.ts$/.test(file) && adds.test(text)) {
    breach(file, "adds a route that has no entry in the contract");
  }
  if (/^packages\/.*\/src\/index\.ts$/.test(file)) {
    if (!text.trimStart().startsWith("/**")) breach(file, "starts with a sentence that says what the package is for");
    if (/export \* from/.test(text)) breach(file, "lists names instead of a star");
  }
  if (/^packages\/(?!common\/src\/on-abort)/.test(file) && !file.endsWith(".test.ts")) {
    if (text.includes('addEventListener("abort"')) breach(file, "signals are listened to by onAbort, or Node.js warns");
  }
  // Each package names its metrics in one file, with their labels.
  const declares = /\bmetrics\.(counter|gauge|histogram)\(|\bbindMetrics\(|\bname: "blixard_/;
  if (/^packages\//.test(file) && !/\.test\.ts$|\/metrics\.ts$/.test(file) && declares.test(text)) {
    breach(file, "declares a metric elsewhere than in the metrics.ts of its package");
  }
  const isShipped = /^(packages|apps)\//.test(file) && !file.endsWith(".test.ts");
  if (isShipped && /\bAbortSignal\.(any|timeout)\(/.test(text)) {
    breach(file, "AbortSignal.any and AbortSignal.timeout are replaced by the tools of common/src/waiting.ts");
  }
  if (/^packages\//.test(file) && !file.endsWith(".test.ts") && /process\.exit\(/.test(text)) {
    breach(file, "packages throw; only applications end the process");
  }
}

for (const manifest of files.filter((name) => /^(packages|apps)\/[^/]+\/package\.json$/.test(name))) {
  const folder = dirname(manifest);
  const { license, description, exports: entries } = JSON.parse(read(manifest));
  if (!existsSync(join(root, folder, "README.md"))) breach(folder, "has no README.md");
  if (license !== "Apache-2.0") breach(manifest, "says no licence");
  if (!description) breach(manifest, "has no description");
  for (const entry of Object.values(entries ?? {})) {
    const source = typeof entry === "object" ? entry["@blixard/source"] : undefined;
    if (source && !existsSync(join(root, folder, source))) breach(manifest, `exports ${source}, which does not exist`);
  }
}

for (const line of breaches) console.error(line);
console.error(breaches.length === 0 ? `${files.length} files are tidy` : `${breaches.length} breaches`);
process.exit(breaches.length === 0 ? 0 : 1);
