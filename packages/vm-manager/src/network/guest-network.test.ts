/** A real guest in its network `user`: what it reaches, what it does not, and how it is reached. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { networkInterfaces } from "node:os";
import { systemClock } from "@blixard/common/system";
import type { VmSpec } from "@blixard/protocol";
import { afterAll, describe, expect, it } from "@jest/globals";
import {
  identifyProcess,
  isAlive,
  mapProcesses,
  type ProcessIdentity,
  readProcessFile,
  uidOfProcess,
} from "../process/process-identity.ts";
import { QemuDriver } from "../qemu/qemu-driver.ts";
import { freePort } from "../testing/free-port.ts";
import { importNetworkGuest, networkGuestComponent, networkGuestReady } from "../testing/network-guest.ts";
import { OutsideMachine } from "../testing/outside-machine.ts";
import { describeWith } from "../testing/required-component.ts";
import { VmHarness } from "../testing/vm-harness.ts";

const isRoot = process.geteuid?.() === 0;
const withOutside = {
  ...networkGuestComponent,
  name: `root, and ${networkGuestComponent.name}`,
  present: networkGuestComponent.present && isRoot,
};
const driver = new QemuDriver({ clock: systemClock }, { accelerator: "tcg" });
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

/** Listens on every address of this machine, and counts who comes. */
async function hostService(): Promise<{ readonly port: number; readonly callers: string[] }> {
  const callers: string[] = [];
  const server = createServer((_, response) => response.end("a page of the node\n"));
  server.on("connection", ({ remoteAddress = "" }) => callers.push(remoteAddress));
  server.listen(0, "0.0.0.0");
  servers.push(server);
  await once(server, "listening");
  return { port: (server.address() as { port: number }).port, callers };
}

async function openGuest(spec: Partial<VmSpec> = {}): Promise<VmHarness> {
  const harness = await VmHarness.open({ drivers: [driver], tunables: { powerdownDeadlineMs: 1 } });
  const image = await importNetworkGuest(harness.manager);
  harness.want({ image, spec: { memoryMiB: 128, ...spec } });
  return harness;
}

/** Runs a line in the guest; resolves with what it wrote. */
async function inGuest(harness: VmHarness, line: string): Promise<string> {
  const id = ++questions;
  const from = await harness.untilConsole(networkGuestReady);
  await harness.type(`echo begin-$((${id}))-; ${line}; echo end-$((${id}))-`);
  const begin = await harness.untilConsole(`begin-${id}-`, from);
  const end = await harness.untilConsole(`end-${id}-`, begin);
  const { data } = await harness.manager.readConsole(harness.vmId, { offset: begin, bytesMax: end - begin, waitMs: 0 });
  return Buffer.from(data).toString("latin1").replaceAll("\r", "").replace(`end-${id}-`, "");
}
let questions = 0;

/** The processes that the switch of the harness has started. */
async function passtOf(harness: VmHarness): Promise<readonly ProcessIdentity[]> {
  const own = await switchOf(harness);
  return await mapProcesses((pid) => {
    const status = readProcessFile(pid, "status");
    return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]) === own?.pid ? identifyProcess(pid) : undefined;
  });
}

async function switchOf({ dataDir }: VmHarness): Promise<ProcessIdentity | undefined> {
  const found = await mapProcesses((pid) => {
    const line = readProcessFile(pid, "cmdline").split("\0");
    const at = line.indexOf("--blixard-switch");
    return at >= 0 && line[at + 1] === `${dataDir}/run/switch` && line[0] !== "bash" ? identifyProcess(pid) : undefined;
  });
  return found[0];
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > untilMs) throw new Error(`not seen: ${what}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

const page = async (port: number, host = "127.0.0.1") => await (await fetch(`http://${host}:${port}/`)).text();

describeWith(describe, withOutside)("a guest in its network user, with a machine outside", () => {
  it("reaches machines outside, and no address of its node by any way", async () => {
    await using outside = await OutsideMachine.open();
    const service = await hostService();
    await using harness = await openGuest();
    expect(await inGuest(harness, "ip -4 -o addr show dev eth0; cat /etc/resolv.conf")).toMatch(
      /inet 10\.0\.2\.15\/24[\s\S]*nameserver 10\.0\.2\.3/,
    );
    expect(await inGuest(harness, `get ${outside.address} 80 20`)).toContain("a page from outside");
    const own = Object.values(networkInterfaces()).flatMap((all = []) => all.filter(({ family }) => family === "IPv4"));
    const targets = new Set([
      ...own.map(({ address }) => address),
      ...["10.0.2.2", "10.0.2.3", "127.0.0.1", "127.0.0.2", "0.0.0.0", "169.254.169.254", "169.254.1.1"],
      outside.hostAddress,
    ]);
    // A route of its own, so that the kernel of the guest keeps none of them to itself.
    await inGuest(harness, "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip link set lo down");
    await inGuest(harness, "ip route flush table local");
    await inGuest(harness, "ip route add local 10.0.2.15 dev eth0 table local");
    for (const target of targets) {
      const said = await inGuest(harness, `get ${target} ${service.port} 2 && echo reached || echo walled`);
      expect([target, said.trim().split("\n").at(-1)]).toEqual([target, "walled"]);
    }
    expect(service.callers).toEqual([]);
    // The service is there: this machine reaches it, and so does the machine outside.
    expect(await page(service.port)).toContain("a page of the node");
    expect(service.callers).toHaveLength(1);
  });

  it("hears no datagram from somebody whom it has not asked, at whatever port it asks others from", async () => {
    await using outside = await OutsideMachine.open();
    await using harness = await openGuest();
    await harness.untilConsole(networkGuestReady);
    // Nobody answers there: it waits, and passt holds the same port of this machine open for it.
    await inGuest(harness, `nslookup nobody.invalid ${outside.address} > /dev/null 2>&1 & sleep 1`);
    const local = await inGuest(
      harness,
      "cat /proc/net/udp | grep -i :0035 | tr -s ' ' | cut -d ' ' -f 3 | cut -d : -f 2",
    );
    const port = Number.parseInt(/^[0-9A-F]{4}$/m.exec(local)?.[0] ?? "", 16);
    expect(port).toBeGreaterThan(0);
    const heard = () => inGuest(harness, "grep '^Udp:' /proc/net/snmp | tail -n 1 | cut -d ' ' -f 2-4");
    const before = await heard();
    for (let round = 0; round < 3; round++) await outside.sendDatagram(outside.hostAddress, port);
    // A page that comes behind them over the same wire.
    expect(await inGuest(harness, `get ${outside.address} 80 20`)).toContain("a page from outside");
    expect(await heard()).toBe(before);
  });

  it("admits the sources of a forwarded port, and no others", async () => {
    await using outside = await OutsideMachine.open();
    const [open, closed] = [await freePort(), await freePort()];
    const { hostAddress, address } = outside;
    await using harness = await openGuest({
      forwards: [
        { port: open, to: 80, listen: hostAddress, sources: [`${address}/32`] },
        { port: closed, to: 8080, listen: "all", sources: ["198.51.100.0/24"] },
      ],
    });
    await inGuest(harness, "httpd -p 8080 -h /www");
    const fetchThere = (port: number) => outside.fetch(`http://${hostAddress}:${port}/`);
    expect(await fetchThere(open)).toContain("a page of the guest");
    await expect(fetchThere(closed)).rejects.toThrow();
    await expect(fetchThere(open + 1)).rejects.toThrow();
  });
});

describeWith(describe, networkGuestComponent)("a guest in its network user", () => {
  it("answers through a forwarded port, and keeps its connections while its node is started anew", async () => {
    const port = await freePort();
    await using harness = await openGuest({ forwards: [{ port, to: 80 }] });
    await harness.untilConsole(networkGuestReady);
    expect(await page(port)).toContain("a page of the guest");
    const [passt, ...more] = await passtOf(harness);
    const qemu = await harness.process();
    if (passt === undefined) throw new Error("passt does not run");
    expect(more).toEqual([]);
    // Behind the walls of its VM: the same user and control groups.
    expect(uidOfProcess(passt.pid)).toBe(uidOfProcess(qemu));
    if (isRoot) expect(uidOfProcess(passt.pid)).not.toBe(0);
    const groupsOf = (pid: number) => readFile(`/proc/${pid}/cgroup`, "utf8");
    expect(await groupsOf(passt.pid)).toBe(await groupsOf(qemu));

    await harness.close();
    expect(await page(port)).toContain("a page of the guest");
    await harness.reopen();
    harness.want({
      image: await importNetworkGuest(harness.manager),
      spec: { memoryMiB: 128, forwards: [{ port, to: 80 }] },
    });
    await harness.untilReady();
    expect(await page(port)).toContain("a page of the guest");
    expect(await passtOf(harness)).toEqual([passt]);

    harness.want({ image: await importNetworkGuest(harness.manager), desired: "stopped", spec: { memoryMiB: 128 } });
    await harness.untilPhase("Stopped");
    await until("the end of passt", async () => !isAlive(passt));
    await expect(page(port)).rejects.toThrow();
  });

  it("is carried by another switch when its switch was killed, and passt ends with that", async () => {
    const port = await freePort();
    await using harness = await openGuest({ forwards: [{ port, to: 80 }] });
    await harness.untilConsole(networkGuestReady);
    await until("the page", async () => (await page(port).catch(() => "")).includes("a page of the guest"));
    const before = await switchOf(harness);
    const [passt] = await passtOf(harness);
    if (before === undefined || passt === undefined) throw new Error("the switch or passt does not run");
    process.kill(before.pid, "SIGKILL");
    await until("the end of passt", async () => !isAlive(passt));
    await until("the page again", async () => (await page(port).catch(() => "")).includes("a page of the guest"));
    expect((await switchOf(harness))?.pid).not.toBe(before.pid);
  });

  it("ends its passt and its switch with a lease that nobody renews, while its node is away", async () => {
    const port = await freePort();
    await using harness = await openGuest();
    const { leases } = harness.manager;
    const image = await importNetworkGuest(harness.manager);
    const wish = harness.wish({ image, fencingEpoch: 2, spec: { memoryMiB: 128, forwards: [{ port, to: 80 }] } });
    await leases.extend(leases.nowMs() + 300_000);
    harness.manager.setDesired([{ ...wish, needsLease: true }]);
    await harness.untilReady(2);
    await until("the page", async () => (await page(port).catch(() => "")).includes("a page of the guest"));
    const carrier = await switchOf(harness);
    const [passt] = await passtOf(harness);
    if (carrier === undefined || passt === undefined) throw new Error("the switch or passt does not run");
    await leases.limit(leases.nowMs() + 1_000);
    await harness.close();
    await until("the end of passt", async () => !isAlive(passt));
    await until("the end of the switch", async () => !isAlive(carrier));
    expect(await harness.processes()).toEqual([]);
  });

  it("says so while its port is taken by somebody else, and takes it when it is free", async () => {
    const service = await hostService();
    await using harness = await openGuest({ forwards: [{ port: service.port, to: 80 }] });
    const down = await harness.until("the condition", ({ conditions = [] }) =>
      conditions.some(({ message }) => message.includes(`${service.port}:80`)),
    );
    expect(down).toMatchObject({
      phase: "Running",
      conditions: [{ type: "Network", status: false, reason: "NetworkDown" }],
    });
    const stateOfPort = async () => {
      const [card] = await harness.manager.networkStateOf(down.vmId);
      return card?.forwards?.map(({ port, protocol, state }) => `${protocol} ${port} ${state}`);
    };
    expect(await stateOfPort()).toEqual([`tcp ${service.port} closed`]);
    servers.at(-1)?.close();
    servers.at(-1)?.closeAllConnections();
    await harness.until("no condition", ({ conditions = [] }) => conditions.length === 0);
    await harness.untilConsole(networkGuestReady);
    expect(await page(service.port)).toContain("a page of the guest");
    expect(await stateOfPort()).toEqual([`tcp ${service.port} open`]);
  });
});
