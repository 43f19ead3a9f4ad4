// Fails on what an entry of a package exports and nobody uses: no other file of any workspace, and no page in words. knip
// alone takes every export of an entry for used. Types are left out: the signatures that are used name them.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const options = ["--include-entry-exports", "--include", "exports", "--no-progress", "--reporter", "json"];
const knip = spawnSync(join(root, "node_modules/.bin/knip"), options, { cwd: root, encoding: "utf8" });
const pages = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8",
})
  .stdout.split("\n")
  .filter((file) => file !== "")
  .map((file) => readFileSync(join(root, file), "utf8"));

let unused = 0;
for (const { file, exports: names } of JSON.parse(knip.stdout).issues) {
  for (const { name, line } of names) {
    if (name === "default" || pages.some((text) => new RegExp(`\\b${name}\\b`).test(text))) continue;
    console.error(`${file}:${line}: nobody uses the export ${name}, and no page names it`);
    unused++;
  }
}
process.exit(unused === 0 ? 0 : 1);
