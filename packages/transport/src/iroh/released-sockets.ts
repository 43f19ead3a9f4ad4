/**
 * A closed endpoint keeps its UDP sockets until the collector of the runtime takes its last JavaScript object; the
 * binding has no other way to let go of them (measured: "address in use" for seconds after `close`). A process that
 * stops a node and starts it again on the same port therefore asks for a collection when binding fails.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let closedEndpoints = 0;
let collect: (() => void) | undefined;

export function noteClosedEndpoint(): void {
  closedEndpoints++;
}

/** Whether this process may itself be what still holds a port. */
export function mayHoldSockets(): boolean {
  return closedEndpoints > 0;
}

/** Collects, and lets the binding's finalizers run. */
export async function releaseSockets(): Promise<void> {
  collect ??= garbageCollector();
  collect();
  await new Promise((resolve) => setTimeout(resolve, 5));
}

function garbageCollector(): () => void {
  // The flag is only needed while the function is looked up.
  setFlagsFromString("--expose-gc");
  const found = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  return found;
}
