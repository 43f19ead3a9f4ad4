import type { BlixardClient } from "@blixard/client";
import { BlixardError } from "@blixard/common";
import type { VmRecord } from "@blixard/protocol";

export interface DevVm {
  readonly vm: VmRecord;
  /** The first whole line that the guest wrote to its serial port. */
  readonly firstLine: string;
}

const startTimeoutMs = 120_000;
const consoleTimeoutMs = 60_000;
const consoleWaitMs = 5_000;
const memoryMiB = 64;
const image = "demo";

/** Creates a VM of the built-in image, waits until it runs, and reads what its guest wrote. */
export async function runDevVm(
  client: BlixardClient,
  name: string,
  options: { readonly onProgress: (text: string) => void; readonly signal: AbortSignal },
): Promise<DevVm> {
  const { onProgress, signal } = options;
  onProgress(`creating VM ${name}: image ${image}, ${memoryMiB} MiB`);
  await client.vms.create(name, { vcpus: 1, memoryMiB, image }, { signal });
  await client.vms.waitForPhase(name, ["Running"], {
    timeoutMs: startTimeoutMs,
    signal,
    onProgress: (vm) => onProgress(`VM ${name} is ${vm.phase} on node ${vm.node}`),
  });
  const firstLine = await readFirstLine(client, name, signal);
  onProgress(`VM ${name} says: ${firstLine}`);
  return { vm: await client.vms.get(name, { signal }), firstLine };
}

async function readFirstLine(client: BlixardClient, name: string, signal: AbortSignal): Promise<string> {
  const decoder = new TextDecoder();
  const deadline = AbortSignal.timeout(consoleTimeoutMs);
  let text = "";
  for (let offset = 0; !deadline.aborted; ) {
    const piece = await client.vms.readConsole({ name, offset, waitMs: consoleWaitMs }, { signal });
    text += decoder.decode(piece.data, { stream: true });
    offset = piece.offset + piece.data.length;
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end).trim();
  }
  throw new BlixardError("DEADLINE_EXCEEDED", `the guest of VM ${name} wrote nothing for ${consoleTimeoutMs} ms`, {
    hint: `See: blixard vm explain ${name}`,
  });
}
