/** Processes of the floor on loopback, to measure beside. */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cleanAtEnd } from "../proc/endings.ts";
import { type Side, type SideOptions, untilWritable } from "../sides/side.ts";
import { type FloorStart, type FloorUp, serveFloor } from "./floor-node.ts";

const main = fileURLToPath(new URL("../main.js", import.meta.url));
const callTimeoutMs = 10_000;

/** `floor-process`: one node, until the process that started it ends it. */
export async function runFloorProcess([start = ""]: readonly string[]): Promise<void> {
  const up = await serveFloor(JSON.parse(start) as FloorStart);
  process.on("disconnect", () => process.exit());
  process.send?.(up);
}

export async function startFloor({ nodes }: SideOptions): Promise<Side> {
  const dataRoot = mkdtempSync(join(tmpdir(), "floor-"));
  const removeData = cleanAtEnd(() => rmSync(dataRoot, { recursive: true, force: true }));
  const children: ChildProcess[] = [];
  const ups: FloorUp[] = [];
  for (let id = 1; id <= nodes; id++) {
    const leader = ups[0]?.address;
    const start: FloorStart = {
      id,
      dataDir: join(dataRoot, `node-${id}`),
      ...(leader === undefined ? {} : { leader }),
    };
    const child = fork(main, ["floor-process", JSON.stringify(start)]);
    children.push(child);
    ups.push(await new Promise<FloorUp>((resolve) => child.once("message", (up) => resolve(up as FloorUp))));
  }
  const side = new FloorSide(children, ups, removeData);
  await untilWritable(side, [...ups.keys()]);
  return side;
}

class FloorSide implements Side {
  readonly name = "floor";
  readonly dialect = "blixard";
  readonly recovers = false;
  readonly endpoints: Side["endpoints"];
  readonly #children: readonly ChildProcess[];
  readonly #removeData: () => void;

  constructor(children: readonly ChildProcess[], ups: readonly FloorUp[], removeData: () => void) {
    this.endpoints = ups.map(({ port }) => ({ host: "127.0.0.1", port }));
    this.#children = children;
    this.#removeData = removeData;
  }

  pids(): readonly number[] {
    return this.#children.map(({ pid = 0 }) => pid);
  }

  async put(node: number, key: string, value: string): Promise<void> {
    const { host, port } = this.endpoints[node] ?? { host: "", port: 0 };
    const response = await fetch(`http://${host}:${port}/v1/kv/${key}`, {
      method: "PUT",
      body: JSON.stringify({ value }),
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    await response.text();
  }

  leader = () => Promise.resolve(0);
  term = () => Promise.resolve(1);
  metrics = () => Promise.resolve("");
  wireBytes = () => Promise.resolve(0);
  notes = () => [];
  /** It has no recovery: what it wrote is not read back. */
  list = () => Promise.reject(new Error("the floor answers puts only"));
  kill = () => Promise.reject(new Error("the floor does not recover"));
  restart = () => Promise.reject(new Error("the floor does not recover"));

  async close(): Promise<void> {
    const ended = this.#children.map((child) => new Promise<void>((resolve) => child.once("exit", () => resolve())));
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(ended);
    this.#removeData();
  }
}
