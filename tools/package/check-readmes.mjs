// Each block of TypeScript in a README is a whole program: it compiles under strict TypeScript against the packed packages,
// and ends by itself, without a warning, in plain Node.js and an empty directory. Only its types are taken away first, so
// that syntax which this Node.js lacks is seen. Each command of ours in a block of shell exists, with its options.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkCommandLine } from "./check-command-line.mjs";
import { forEachOfTwo } from "./concurrency.mjs";
import { blocksOf } from "./markdown.mjs";
import { root, run } from "./pack.mjs";

const runTimeoutMs = 120_000;
const compilerOptions = {
  // What a careful user may have: stricter than `strict` alone.
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  target: "ESNext",
  module: "NodeNext",
  moduleResolution: "NodeNext",
  lib: ["ES2023"],
  types: ["node"],
};

/** Reports every breach with `report(where, breach)`; gives the number of blocks that were looked at. */
export async function checkReadmes(target, report) {
  const blocks = readmes().flatMap((readme) =>
    blocksOf(readFileSync(join(root, readme), "utf8")).map((block) => ({ readme, ...block })),
  );
  for (const { readme, line, language } of blocks) {
    if (/^(js|javascript|mjs|typescript|tsx)$/.test(language)) report(`${readme}:${line}`, "fence programs as ts");
  }
  const programs = blocks
    .filter(({ language }) => language === "ts")
    .map((block, at) => ({ ...block, name: `b${at}`, folder: join(target, `b${at}`) }));
  const broken = await compile(target, programs, report);
  await forEachOfTwo(
    programs.filter(({ name }) => !broken.has(name)),
    async (program) => {
      const fault = await runProgram(program);
      if (fault !== undefined) report(`${program.readme}:${program.line}`, fault);
    },
  );
  const commands = blocks.filter(({ language }) => language === "sh").flatMap(commandLines);
  await forEachOfTwo(commands, async ({ readme, line, text }) => {
    const fault = await checkCommandLine(text, join(root, readme, ".."));
    if (fault !== undefined) report(`${readme}:${line}`, fault);
  });
  return programs.length;
}

function readmes() {
  const folders = ["packages", "apps", "tools"].flatMap((group) =>
    readdirSync(join(root, group)).map((name) => `${group}/${name}`),
  );
  return ["README.md", ...folders.map((folder) => `${folder}/README.md`)].filter((file) =>
    existsSync(join(root, file)),
  );
}

/** Compiles all programs at once and gives the names of those with errors. */
async function compile(target, programs, report) {
  for (const { folder, code } of programs) {
    mkdirSync(join(folder, "run"), { recursive: true });
    writeFileSync(join(folder, "block.ts"), code);
  }
  writeFileSync(join(target, "package.json"), JSON.stringify({ type: "module" }));
  const files = programs.map(({ name }) => `${name}/block.ts`);
  writeFileSync(join(target, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const output = await run(join(root, "node_modules/.bin/tsc"), ["-p", target, "--pretty", "false"], {
    cwd: target,
    maxBuffer: 1 << 26,
  }).then(
    () => "",
    (error) => error.stdout,
  );
  const broken = new Set();
  for (const text of output.split("\n").filter((line) => /error TS\d+/.test(line))) {
    const [, name, line, message] = /^(b\d+)\/block\.ts\((\d+),\d+\): (.*)$/.exec(text) ?? [];
    const program = programs.find((one) => one.name === name);
    if (program === undefined) {
      // Declarations of others are theirs; those of our packages are checked with the programs that use them.
      if (text.startsWith("node_modules/@blixard/")) report("READMEs", text);
      continue;
    }
    broken.add(name);
    report(`${program.readme}:${program.line + Number(line)}`, message);
  }
  return broken;
}

/** Runs a compiled program; gives what is wrong with how it went. */
function runProgram({ folder }) {
  const env = { PATH: process.env.PATH, HOME: join(folder, "run") };
  const child = spawn(process.execPath, [join(folder, "block.js")], {
    cwd: join(folder, "run"),
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (data) => {
    output += data;
  });
  child.stderr.on("data", (data) => {
    errors += data;
  });
  return new Promise((resolve) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, runTimeoutMs);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const said = `${output}${errors}`.slice(-4_000);
      if (late) resolve(`did not end within ${runTimeoutMs / 1_000} s\n${said}`);
      else if (code !== 0) resolve(`ended with ${signal ?? `exit code ${code}`}\n${said}`);
      else if (/^\(node:\d+\).*Warning:/m.test(errors)) resolve(`made Node.js warn\n${said}`);
      else resolve(undefined);
    });
  });
}

/** The commands of a block of shell, without comments: one that goes on after a backslash is one command. */
function commandLines({ readme, line, code }) {
  const lines = code.replace(/\\\n/g, " ").split("\n");
  return lines
    .map((text) => ({ readme, line, text: text.replace(/(^|\s)#.*$/, "").trim() }))
    .filter(({ text }) => text);
}
