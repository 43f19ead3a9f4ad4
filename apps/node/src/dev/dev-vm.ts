import { once } from "node:events";
import { createServer } from "node:net";
import type { BlixardClient } from "@blixard/client";
import { BlixardError, errorCodeOf, sleep, withDeadline } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { userNetwork, type VmRecord } from "@blixard/protocol";

export interface DevVm {
  readonly vm: VmRecord;
  /** The first whole line that the guest wrote to its serial port. */
  readonly firstLine: string;
  /** Where the page of the guest answers; undefined where VMs have no network. */
  readonly page: string | undefined;
}

const startTimeoutMs = 120_000;
const consoleTimeoutMs = 60_000;
const pageTimeoutMs = 60_000;
const pagePollMs = 100;
const memoryMiB = 64;
const image = "demo";

/** Creates a VM of the built-in image, waits until it runs, reads what its guest wrote and asks for its page. */
export async function runDevVm(
  client: BlixardClient,
  name: string,
  options: { readonly onProgress: (text: string) => void; readonly signal: AbortSignal },
): Promise<DevVm> {
  const { onProgress, signal } = options;
  onProgress(`creating VM ${name}: image ${image}, ${memoryMiB} MiB`);
  const port = (await hasNetwork(client, signal)) ? await freePort() : undefined;
  const forwards = port === undefined ? {} : { forwards: [{ port, to: 80 }] };
  await client.vms.create(name, { vcpus: 1, memoryMiB, image, ...forwards }, { signal });
  await client.vms.waitForPhase(name, ["Running"], {
    timeoutMs: startTimeoutMs,
    signal,
    onProgress: (vm) => onProgress(`VM ${name} is ${vm.phase} on node ${vm.node}`),
  });
  const firstLine = await readFirstLine(client, name, signal);
  onProgress(`VM ${name} says: ${firstLine}`);
  const page = port === undefined ? undefined : `http://127.0.0.1:${port}/`;
  if (page !== undefined) {
    await untilAnswers(page, name, signal);
    onProgress(`VM ${name} shows a page: ${page}`);
  }
  return { vm: await client.vms.get(name, { signal }), firstLine, page };
}

/** All nodes stand on this machine. */
async function hasNetwork(client: BlixardClient, signal: AbortSignal): Promise<boolean> {
  const nodes = await client.nodes.list({ signal });
  return nodes.every(({ capacity }) => capacity.capabilities?.[0]?.networks?.includes(userNetwork));
}

/** One on which nobody listens now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function untilAnswers(page: string, name: string, outer: AbortSignal): Promise<void> {
  await withDeadline(
    { clock: systemClock, timeoutMs: pageTimeoutMs, what: `the page of VM ${name}`, signal: outer },
    async (signal) => {
      for (;;) {
        const response = await fetch(page, { signal }).catch(() => undefined);
        if (response?.ok === true) return;
        await sleep(systemClock, pagePollMs, signal);
      }
    },
  );
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
