// How many places did a change touch that a person had to know of? node tools/count-places.mjs BASE [REVISION]
// A place is a file that is neither a test nor made by a tool. The checklists of CONTRIBUTING.md promise bounds for some
// kinds of change; a trial branch that follows one shows whether it holds.
import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [base, revision = "HEAD"] = process.argv.slice(2);
if (base === undefined) {
  console.error("usage: node tools/count-places.mjs BASE [REVISION]");
  process.exit(64);
}
const changed = execFileSync("git", ["diff", "--name-only", `${base}...${revision}`], { cwd: root, encoding: "utf8" });
const isTest = (file) => /\.test\.ts$|\/(testing|e2e|fixtures)\/|^tools\/bench\//.test(file);
const isMade = (file) => /(^|\/)(dist|node_modules)\/|^package-lock\.json$|\/generated\//.test(file);
const places = changed.split("\n").filter((file) => file !== "" && !isTest(file) && !isMade(file));
for (const place of places) console.log(place);
console.log(`${places.length} places`);
