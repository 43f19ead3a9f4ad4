/** Sums a CPU profile of V8 by function and by package. What counts is self time: a caller does not pay for what it calls. */

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

/** As the inspector's `Profiler.stop` answers. Times in microseconds. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
    readonly children?: readonly number[];
  }[];
  /** The node that was on top of the stack. */
  readonly samples: readonly number[];
  /** Time before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface ProfileSum {
  /** Of the main thread, without its idle time. */
  readonly busyMs: number;
  readonly idleMs: number;
  /** Most expensive first. */
  readonly packages: readonly { readonly name: string; readonly selfMs: number }[];
  readonly functions: readonly { readonly name: string; readonly place: string; readonly selfMs: number }[];
}

export function sumProfile({ nodes, samples, timeDeltas }: CpuProfile): ProfileSum {
  const selfUs = new Map<number, number>();
  for (const [at, id] of samples.entries()) selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, timeDeltas[at] ?? 0));
  let [busyUs, idleUs] = [0, 0];
  const callers = callersOf(nodes);
  const packages = new Map<string, number>();
  const functions = new Map<string, { name: string; place: string; selfUs: number }>();
  for (const { id, callFrame } of nodes) {
    const us = selfUs.get(id) ?? 0;
    if (us === 0) continue;
    if (callFrame.functionName === "(idle)") {
      idleUs += us;
      continue;
    }
    busyUs += us;
    const caller = isNative(callFrame) ? callers.get(id) : undefined;
    const room = roomOf(callFrame, caller);
    packages.set(room, (packages.get(room) ?? 0) + us);
    const name = callFrame.functionName || "(anonymous)";
    const place = placeOf(callFrame, caller);
    const known = functions.get(`${name} ${place}`) ?? { name, place, selfUs: 0 };
    known.selfUs += us;
    functions.set(`${name} ${place}`, known);
  }
  return {
    busyMs: busyUs / 1_000,
    idleMs: idleUs / 1_000,
    packages: [...packages].map(([name, us]) => ({ name, selfMs: us / 1_000 })).sort((a, b) => b.selfMs - a.selfMs),
    functions: [...functions.values()]
      .map(({ name, place, selfUs: us }) => ({ name, place, selfMs: us / 1_000 }))
      .sort((a, b) => b.selfMs - a.selfMs),
  };
}

/** Native code has no place of its own, and often no name: who calls it says what it is. */
function isNative({ url, functionName }: CallFrame): boolean {
  return url === "" && !functionName.startsWith("(");
}

/** For each node the nearest script that leads to it. */
function callersOf(nodes: CpuProfile["nodes"]): Map<number, CallFrame> {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const callers = new Map<number, CallFrame>();
  // The inspector lists a node before its children.
  for (const { id, callFrame, children = [] } of nodes) {
    const caller = callFrame.url === "" ? callers.get(id) : frames.get(id);
    if (caller !== undefined) for (const child of children) callers.set(child, caller);
  }
  return callers;
}

function roomOf({ url, functionName }: CallFrame, caller: CallFrame | undefined): string {
  if (caller === undefined) return packageOf(url, functionName);
  return `native code, from ${packageOf(caller.url, caller.functionName)}`;
}

function placeOf(frame: CallFrame, caller: CallFrame | undefined): string {
  if (frame.url !== "") return `${shortUrl(frame.url)}:${frame.lineNumber + 1}`;
  if (caller === undefined) return packageOf(frame.url, frame.functionName);
  return `native code, from ${caller.functionName || "(anonymous)"} ${placeOf(caller, undefined)}`;
}

/** The room of ours or the library that a script belongs to; what V8 does by itself keeps its name, such as `(garbage collector)`. */
export function packageOf(url: string, functionName: string): string {
  const modules = url.lastIndexOf("/node_modules/");
  if (modules >= 0) {
    const [first = "", second = ""] = url.slice(modules + "/node_modules/".length).split("/");
    return first.startsWith("@") ? `${first}/${second}` : first;
  }
  const [, group, name] = /\/(packages|apps|tools)\/([^/]+)\/(?:dist|src)\//.exec(url) ?? [];
  if (name !== undefined) return group === "packages" ? `@blixard/${name}` : `${group}/${name}`;
  if (url.startsWith("node:")) return "node";
  if (url === "") return functionName.startsWith("(") ? functionName : "native code";
  return "other";
}

function shortUrl(url: string): string {
  return url.replace(/^.*\/node_modules\//, "").replace(/^.*\/(packages|apps|tools)\/([^/]+)\/(dist|src)\//, "$2/");
}
