#!/usr/bin/env node
// Entry of the root npm scripts. Plain JavaScript without dependencies, because in a fresh clone nothing is installed
// yet: it checks Node.js, installs, builds, and then runs what was asked for. Each step says what it does.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const bin = (name) => join(root, "node_modules", ".bin", name);
const binary = join(root, "apps/node/dist/bundle/main.js");
const buildMarker = join(root, "node_modules/.blixard-built");

function say(text) {
  process.stderr.write(`blixard: ${text}\n`);
}

function fail(text, code) {
  say(text);
  process.exit(code);
}

process.on("SIGINT", () => {});

/** How the program is started, as a shell would by its first line. It is built by then. */
async function program() {
  const { programFlags } = await import("../packages/testing/dist/program-flags.js");
  return [...programFlags(binary), binary];
}

/** Runs a command to its end; signals reach it through the terminal's process group, so they are only survived here. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: options.quiet ? ["ignore", "pipe", "pipe"] : "inherit",
      env: { ...process.env, ...options.env },
    });
    const output = [];
    child.stdout?.on("data", (data) => output.push(data));
    child.stderr?.on("data", (data) => output.push(data));
    const forward = (signal) => child.kill(signal);
    process.on("SIGTERM", forward);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      process.off("SIGTERM", forward);
      if (code !== 0 && options.quiet) process.stderr.write(Buffer.concat(output));
      resolve(signal ? 128 + (signal === "SIGINT" ? 2 : 15) : (code ?? 1));
    });
  });
}

async function must(what, command, args, options) {
  const code = await run(command, args, options);
  if (code !== 0) fail(`${what} failed with exit code ${code}`, code);
}

async function ensureInstalled() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node.js 20.19 or later is needed, this is ${process.versions.node}. Get it from your system's packages.`, 64);
  }
  const marker = join(root, "node_modules/.blixard-installed");
  const lock = readFileSync(join(root, "package-lock.json"), "utf8");
  if (existsSync(marker) && readFileSync(marker, "utf8") === lock && existsSync(bin("turbo"))) return;
  // Not `npm ci`: it refuses a lock file that lacks the binaries of platforms whose packages its writer could not see.
  say("installing dependencies (npm install) ...");
  await must("npm install", "npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], {
    quiet: true,
  });
  writeFileSync(marker, lock);
}

async function build() {
  const started = Date.now();
  await must("the build", bin("turbo"), ["run", "build", "--output-logs=errors-only", "--log-order=grouped"], {
    quiet: true,
    env: { TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" },
  });
  writeFileSync(buildMarker, "");
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  say(`built in ${seconds} s`);
}

async function test(args) {
  const results = join(root, "node_modules/.cache/blixard/jest.json");
  mkdirSync(dirname(results), { recursive: true });
  rmSync(results, { force: true });
  const code = await run(
    process.execPath,
    [
      "--experimental-vm-modules",
      "--no-warnings=ExperimentalWarning",
      join(root, "node_modules/jest/bin/jest.js"),
      "--maxWorkers=2",
      "--json",
      `--outputFile=${results}`,
      ...args,
    ],
    // Jest prints its report on standard error; the JSON goes to the file.
    { env: { FORCE_COLOR: process.env.FORCE_COLOR ?? (process.stderr.isTTY ? "1" : "0") } },
  );
  if (!existsSync(results)) fail(`jest ended with exit code ${code} and without results`, code || 1);
  const report = JSON.parse(readFileSync(results, "utf8"));
  const skipped = report.numPendingTests + report.numTodoTests;
  // A test file that could not run at all holds no test that failed; it counts as one.
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
  process.stdout.write(`${report.numPassedTests} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exit(code !== 0 || failed > 0 ? code || 1 : 0);
}

async function check() {
  const steps = [
    ["types of the pure tiers", bin("tsc"), ["-p", "packages/raft/src/core/tsconfig.json"]],
    ...["packages/cluster/src/state-machine", "packages/cluster/src/scheduler"]
      .filter((folder) => existsSync(join(root, folder, "tsconfig.json")))
      .map((folder) => [`types of ${folder}`, bin("tsc"), ["-p", `${folder}/tsconfig.json`]]),
    ["lint and format", bin("biome"), ["check", "--error-on-warnings", "."]],
    ["import rules", bin("depcruise"), ["--config", ".dependency-cruiser.mjs", "packages", "apps", "tools"]],
    ["dead code", bin("knip"), ["--no-progress"]],
    ["exports that nobody uses", process.execPath, ["tools/unused-exports.mjs"]],
    ["repository rules", process.execPath, ["tools/tidy.mjs"]],
    ["limits that depend on each other", process.execPath, ["tools/limits.mjs"]],
    ["picture of the house", process.execPath, ["tools/house.mjs", "--check"]],
    ["packages as others install them", process.execPath, ["tools/package/main.mjs"]],
  ];
  let failed = 0;
  for (const [what, command, args] of steps) {
    const code = await run(command, args, { quiet: true });
    say(`${code === 0 ? "ok  " : "FAIL"} ${what}`);
    if (code !== 0) failed++;
  }
  process.exit(failed === 0 ? 0 : 1);
}

const [command, ...args] = process.argv.slice(2);
await ensureInstalled();
switch (command) {
  case "start":
    await build();
    process.exit(await run(process.execPath, [...(await program()), "dev", ...args]));
    break;
  case "test":
    await build();
    await test(args);
    break;
  case "node":
    // A build that is already there is used, so that several nodes can start side by side.
    if (isStale()) await build();
    process.exit(await run(process.execPath, [...(await program()), ...args]));
    break;
  case "bench":
    await build();
    process.exit(await run(process.execPath, [join(root, "tools/bench/dist/main.js"), ...args]));
    break;
  case "simulate":
    await build();
    process.exit(await run(process.execPath, [join(root, "packages/testing/dist/simulator/main.js"), ...args]));
    break;
  case "rounds":
    await build();
    process.exit(await run(process.execPath, [join(root, "packages/testing/dist/rounds/main.js"), ...args]));
    break;
  case "check":
    await build();
    await check();
    break;
  case "fix":
    await must("the picture of the house", process.execPath, ["tools/house.mjs"]);
    process.exit(await run(bin("biome"), ["check", "--write", "."]));
    break;
  default:
    fail(`unknown script '${command ?? ""}': use start, test, node, bench, simulate, rounds, check or fix`, 64);
}

/** True when nothing was built yet, or when a source changed since the last build that ended well. */
function isStale() {
  if (!existsSync(buildMarker) || !existsSync(binary)) return true;
  const builtMs = statSync(buildMarker).mtimeMs;
  if (statSync(join(root, "apps/node/bundle.mjs")).mtimeMs > builtMs) return true;
  return ["packages", "apps"].some((group) =>
    readdirSync(join(root, group)).some((name) => {
      const sources = join(root, group, name, "src");
      if (!existsSync(sources)) return false;
      const files = readdirSync(sources, { recursive: true, withFileTypes: true });
      return files.some((file) => statSync(join(file.parentPath, file.name)).mtimeMs > builtMs);
    }),
  );
}
