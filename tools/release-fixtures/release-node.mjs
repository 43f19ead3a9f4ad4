// Runs the real binary of a built checkout, and talks to it over HTTP. No code of this repository is imported, so that
// the tools work on any release.
import { spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const readyTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;
const pollMs = 50;

/** The path of the binary of a checkout. @throws when it is not built */
export function binaryOf(checkout) {
  const path = resolve(checkout, "apps/node/dist/main.js");
  if (!existsSync(path)) throw new Error(`${path} is missing: run \`npm run build\` in that checkout`);
  return path;
}

/** The environment without what would configure the binary from outside. */
function cleanEnvironment(extra = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("BLIXARD_") && name !== "NODE_OPTIONS");
  return { ...Object.fromEntries(kept), NO_COLOR: "1", ...extra };
}

export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** Asks until `look` gives something; that is the answer. */
export async function waitFor(what, look, timeoutMs = 60_000) {
  const end = Date.now() + timeoutMs;
  let last;
  while (Date.now() < end) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    await sleep(pollMs);
  }
  throw new Error(`${what} did not come within ${timeoutMs} ms`, { cause: last });
}

/** Runs a command of the binary to its end; its standard output is the answer. */
export async function runCommand(checkout, args, { env = {}, input = "" } = {}) {
  const child = spawn(process.execPath, [binaryOf(checkout), ...args], { env: cleanEnvironment(env) });
  const out = [];
  const err = [];
  child.stdout.on("data", (data) => out.push(data));
  child.stderr.on("data", (data) => err.push(data));
  child.stdin.end(input);
  const code = await new Promise((done) => child.once("close", done));
  if (code !== 0) throw new Error(`blixard ${args[0]} ended with ${code}: ${Buffer.concat(err)}`);
  return Buffer.concat(out).toString();
}

/** A `blixard node` process of a checkout. */
export class ReleaseNode {
  #child;

  /** `options`: checkout, id, dataDir, bind, http, flags, logFile. Resolves when the node is ready. */
  static async start(options) {
    const node = new ReleaseNode();
    node.id = options.id;
    node.dataDir = options.dataDir;
    const { bind = "127.0.0.1:0", http = "127.0.0.1:0", flags = [] } = options;
    const args = ["node", "--id", `${options.id}`, "--data-dir", options.dataDir, "--bind", bind, "--http", http];
    node.#child = spawn(process.execPath, [binaryOf(options.checkout), ...args, ...flags], {
      env: cleanEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    node.#child.stderr.pipe(createWriteStream(options.logFile, { flags: "a" }));
    const gone = new Promise((_, reject) => {
      node.#child.once("close", (code) => reject(new Error(`node ${options.id} ended with ${code}`)));
    });
    // Later ends are seen by `stop`.
    gone.catch(() => {});
    const line = new Promise((done) => createInterface({ input: node.#child.stdout }).once("line", done));
    const timer = setTimeout(() => node.#child.kill("SIGKILL"), readyTimeoutMs);
    try {
      node.ready = JSON.parse(await Promise.race([line, gone]));
    } catch (error) {
      node.#child.kill("SIGKILL");
      throw new Error(`${error.message}; its log is ${options.logFile}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
    return node;
  }

  get isRunning() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Calls the HTTP API as the administrator; throws for an answer that is no success unless `allow` names its status. */
  async call(verb, path, body, { headers = {}, allow = [] } = {}) {
    const token = readFileSync(join(this.dataDir, "admin.token"), "utf8").trim();
    const response = await fetch(`${this.ready.http}${path}`, {
      method: verb,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = await response.json();
    if (response.ok || allow.includes(response.status)) return answer;
    throw new Error(`${verb} ${path} was answered ${response.status}: ${JSON.stringify(answer)}`);
  }

  get(path) {
    return this.call("GET", path);
  }

  /** Sends a signal and waits for the end of the process; kills it when it does not come. */
  async stop(signal = "SIGTERM") {
    if (!this.isRunning) return;
    const closed = new Promise((done) => this.#child.once("close", done));
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    const code = await closed;
    clearTimeout(timer);
    if (signal === "SIGTERM" && code !== 0) throw new Error(`node ${this.id} ended with ${code} instead of 0`);
  }
}
