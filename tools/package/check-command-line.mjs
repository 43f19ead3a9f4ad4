// Whether a command of ours that a README shows exists, and has the options that it is given: its own help tells.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readJson, root, run } from "./pack.mjs";

const binary = join(root, "apps/node/dist/bundle/main.js");
const helps = new Map();

/** Gives what is wrong with a command; undefined as well for those of others. `folder` is where its README stands. */
export async function checkCommandLine(text, folder) {
  const words = text
    .replace(/[()]/g, " ")
    .split(/[|><;]|&&/)[0]
    .trim()
    .split(/\s+/);
  if (words[0] === "blixard") return await checkBlixard(words.slice(1));
  if (words[0] === "node") {
    const known = [root, folder].some((base) => existsSync(join(base, words[1])));
    return known ? undefined : `there is no ${words[1]}`;
  }
  if (words[0] !== "npm") return;
  const script = words[1] === "run" ? words[2] : words[1];
  if (!["start", "test"].includes(script) && words[1] !== "run") return;
  if (readJson(join(root, "package.json")).scripts[script] === undefined) return `there is no script '${script}'`;
  const args = words.includes("--") ? words.slice(words.indexOf("--") + 1) : [];
  if (script === "node") return await checkBlixard(args);
  if (script === "start") return await checkBlixard(["dev", ...args]);
}

async function checkBlixard(args) {
  const plain = args.findIndex((word) => !/^[a-z][a-z-]*$/.test(word));
  const path = plain < 0 ? args : args.slice(0, plain);
  const help = await helpOf(path.slice(0, 3));
  const usage = /^Usage: blixard(.*)$/m.exec(help)?.[1].trim().split(/\s+/) ?? [];
  const command = usage.slice(
    0,
    usage.findIndex((word) => /^[[<]/.test(word)),
  );
  const isGroup = /^Commands:$/m.test(help);
  const known = command.every((word, at) => word.split("|").includes(path[at]));
  if (!known || (isGroup && path.length > command.length)) return `there is no command 'blixard ${path.join(" ")}'`;
  const options = args.filter((word) => /^--\w/.test(word)).map((word) => word.replace(/=.*/, ""));
  const general = await helpOf([]);
  for (const option of options) {
    const shown = new RegExp(`(^|[\\s,])${option}(?![\\w-])`, "m");
    if (!shown.test(help) && !shown.test(general)) return `'blixard ${command.join(" ")}' has no option ${option}`;
  }
}

/** The help of a command; asked for once. */
function helpOf(path) {
  const key = path.join(" ");
  if (!helps.has(key)) {
    const asked = run(process.execPath, [binary, ...path, "--help"], {
      env: { PATH: process.env.PATH, COLUMNS: "200" },
    });
    helps.set(
      key,
      asked.then(({ stdout }) => stdout).catch((error) => `${error.stdout ?? ""}`),
    );
  }
  return helps.get(key);
}
