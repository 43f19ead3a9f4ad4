// Loads every entry of every package, as built: beside the limits stand assertions that run then, so that a limit that
// contradicts another is told of here in words that name both. Run by `npm run check`.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packages = join(dirname(fileURLToPath(import.meta.url)), "../packages");
const problems = new Set();
for (const name of readdirSync(packages)) {
  const { exports } = JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8"));
  for (const [entry, target] of Object.entries(exports)) {
    // The helpers of tests only run under a test runner; they hold no limits of their own.
    if (typeof target === "string" || entry === "./testing") continue;
    try {
      await import(join(packages, name, target.default));
    } catch (error) {
      problems.add(error?.code === "INVARIANT" ? error.message : `${name} ${entry}: ${error?.stack ?? error}`);
    }
  }
}
for (const problem of problems) console.error(problem);
process.exit(problems.size === 0 ? 0 : 1);
