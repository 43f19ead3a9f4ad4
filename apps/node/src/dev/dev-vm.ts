import type { BlixardClient } from "@blixard/client";
import { BlixardError, errorCodeOf, withDeadline } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VmRecord } from "@blixard/protocol";

export interface DevVm {
  readonly vm: VmRecord;
  /** The first whole line that the guest wrote to its serial port. */
  readonly firstLine: string;
}

const startTimeoutMs = 120_000;
const consoleTimeoutMs = 60_000;
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

async function readFirstLine(client: BlixardClient, name: string, outer: AbortSignal): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  return await withDeadline(
    { clock: systemClock, timeoutMs: consoleTimeoutMs, what: `the first line of VM ${name}`, signal: outer },
    async (signal) => {
      for await (const { data } of client.vms.followLogs({ name, offset: 0 }, { signal })) {
        text += decoder.decode(data, { stream: true });
        const end = text.indexOf("\n");
        if (end >= 0) return text.slice(0, end).trim();
      }
      throw new BlixardError("UNAVAILABLE", `the output of VM ${name} ended`);
    },
  ).catch((error: unknown) => {
    if (errorCodeOf(error) !== "DEADLINE_EXCEEDED") throw error;
    throw new BlixardError("DEADLINE_EXCEEDED", `the guest of VM ${name} wrote nothing for ${consoleTimeoutMs} ms`, {
      cause: error,
      hint: `See: blixard vm explain ${name}`,
    });
  });
}
